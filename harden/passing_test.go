package harden_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// maxage is a control that passes with 30 days or more, with another remedy beside the usual one.
func maxage(unmet bool) harden.Control {
	remedy := harden.Remedy{
		ID: "keep", Risk: harden.RiskNode,
		Options: []harden.Option{{Name: "days", Kind: harden.OptionNumber, Default: "30"}},
		Intents: func(_ *harden.Facts, v harden.Values) ([]harden.Intent, error) {
			along := harden.Along([]harden.Intent{harden.SetFlag(harden.APIServer, "v", "2")})
			return append(along, harden.SetFlag(harden.APIServer, "audit-log-maxage", v["days"])), nil
		},
		Preconditions: func(*harden.Facts, harden.Values) []harden.Precondition {
			if !unmet {
				return nil
			}
			return []harden.Precondition{{ID: "room", Title: harden.Msg("there is room"), State: harden.Unmet, Message: harden.Msg("there is none")}}
		},
	}
	forever := remedy
	forever.ID, forever.Options = "forever", nil
	forever.Intents = func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
		return []harden.Intent{harden.SetFlag(harden.APIServer, "audit-log-maxage", "0")}, nil
	}
	return harden.Control{
		ID: "maxage", Title: "maxage", Needs: []harden.Need{harden.NeedAPIServer}, Remedies: []harden.Remedy{remedy, forever},
		Assess: func(f *harden.Facts) harden.Verdict {
			if f.Component(harden.APIServer).Flag("audit-log-maxage").Last() == "" {
				return harden.Failed(harden.Msg("it is not set"))
			}
			return harden.Passed(harden.Msg("it is set"))
		},
	}
}

// TestWhatIsAskedOfAControlThatPassesIsNotDropped: it is planned where it is not in force, else it is said that nothing is to do.
func TestWhatIsAskedOfAControlThatPassesIsNotDropped(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, apiserverManifest, "    - --allow-privileged=true\n", "    - --allow-privileged=true\n    - --audit-log-maxage=30\n")
	for _, row := range []struct {
		name     string
		choice   harden.Choice
		unmet    bool
		flag     string // in the manifest afterwards
		says     string
		exitCode bool
	}{
		{"nothing but its name", harden.Choice{}, false, "", "it passes already, and is left as it is", false},
		{"another value", harden.Choice{Options: harden.Values{"days": "60"}}, false, "--audit-log-maxage=60", "", false},
		{"the value that it has", harden.Choice{Options: harden.Values{"days": "30"}}, true, "", "what is asked for is in force already", false},
		{"another remedy", harden.Choice{Remedy: "forever"}, false, "--audit-log-maxage=0", "", false},
		{"the remedy that it has", harden.Choice{Remedy: "keep"}, false, "", "what is asked for is in force already", false},
		{"what may not be", harden.Choice{Options: harden.Values{"days": "60"}}, true, "", "there is room: there is none", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.choice.Control, row.choice.Named = "maxage", true
			areas := []harden.Area{{ID: "test", Controls: []harden.Control{maxage(row.unmet)}}}
			plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{row.choice}, Read: n.State})
			if err != nil {
				t.Fatal(err)
			}
			p := plans.Node
			var after string
			for _, s := range p.Steps() {
				after += string(s.After.Data)
			}
			if !strings.Contains(after, row.flag) || (row.flag == "") != p.Empty() {
				t.Errorf("planned\n%s", after)
			}
			if row.says == "" && len(p.Skipped) == 0 {
				return
			}
			if len(p.Skipped) != 1 || p.Skipped[0].Reason.String() != row.says || p.Skipped[0].Named != row.exitCode {
				t.Errorf("left out: %+v", p.Skipped)
			}
		})
	}
}
