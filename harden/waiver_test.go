package harden_test

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func verdictOf(v harden.Verdict) []harden.Area {
	c := failing("it", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false"))
	c.Assess = func(*harden.Facts) harden.Verdict { return v }
	return []harden.Area{{ID: "test", Controls: []harden.Control{c}}}
}

func TestWaiversChangeHowAFindingCounts(t *testing.T) {
	day := func(n int) time.Time { return hardentest.Now.AddDate(0, 0, n) }
	for name, tt := range map[string]struct {
		verdict harden.Verdict
		until   time.Time
		want    harden.Status
		message string
	}{
		"a failure":        {harden.Failed(harden.Msg("bad")), day(1), harden.StatusWaived, "why (it is: fail: bad)"},
		"a person's":       {harden.NeedsPerson(harden.Msg("look")), day(1), harden.StatusWaived, "why (it is: manual: look)"},
		"a pass":           {harden.Passed(harden.Msg("good")), day(1), harden.StatusPass, "good"},
		"an ended one":     {harden.Failed(harden.Msg("bad")), day(-1), harden.StatusFail, "bad (its waiver ended on 2026-11-30)"},
		"ended just now":   {harden.Failed(harden.Msg("bad")), day(0), harden.StatusFail, "ended"},
		"what is not here": {harden.NotFor(harden.Msg("none")), day(1), harden.StatusNotApplicable, "none"},
	} {
		f := hardentest.Fixture(t, "1.37").Facts(t)
		f.Waivers = []harden.Waiver{{Control: "it", Reason: "why", Who: "ops", Since: day(-9), Until: tt.until}, {Control: "another", Until: day(9)}}
		got := harden.Assess(f, verdictOf(tt.verdict))[0]
		if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.message) {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
		if last := got.Evidence[len(got.Evidence)-1]; last.Source != "waiver" || !strings.Contains(last.Value, "by ops on 2026-11-22: why") {
			t.Errorf("%s: evidence %v", name, got.Evidence)
		}
	}
}

func TestWhatIsUnknownCannotBeWaived(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	f.Missing[harden.NeedAPIServer] = harden.Msg("away")
	f.Waivers = []harden.Waiver{{Control: "it", Until: hardentest.Now.AddDate(1, 0, 0)}}
	if got := harden.Assess(f, verdictOf(harden.Failed(harden.Msg("bad"))))[0]; got.Status != harden.StatusUnknown {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

func TestAllLeavesOutWhatIsWaived(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	areas := verdictOf(harden.Failed(harden.Msg("bad")))
	f.Waivers = []harden.Waiver{{Control: "it", Reason: "why", Until: hardentest.Now.AddDate(0, 0, 1)}}
	choices, skipped, err := harden.Select(f, areas, harden.Selection{All: true})
	if err != nil || len(choices) != 0 || len(skipped) != 1 || !strings.Contains(skipped[0].Reason.String(), "waived until") {
		t.Errorf("%v %v %v", choices, skipped, err)
	}
	if choices, _, err := harden.Select(f, areas, harden.Selection{Controls: []string{"it"}}); err != nil || len(choices) != 1 {
		t.Errorf("by name: %v %v", choices, err)
	}
	f.Waivers[0].Until = hardentest.Now
	if choices, _, err := harden.Select(f, areas, harden.Selection{All: true}); err != nil || len(choices) != 1 {
		t.Errorf("ended: %v %v", choices, err)
	}
}
