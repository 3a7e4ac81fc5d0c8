package tui

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// unrehearsed makes the plan say that the API server cannot be rehearsed.
func unrehearsed(p *harden.Plan) {
	p.Stages[0].Rehearsals = []harden.Rehearsal{{
		Component: harden.APIServer, Flags: true, Files: []string{"/a"}, Unrehearsed: harden.Msg("no second instance can run beside the live one: no memory"),
		GateOnly: harden.Msg("whether it starts"),
	}}
	p.Preflight = append(p.Preflight, harden.Check{Component: harden.APIServer, Blocks: true, Precondition: harden.Precondition{
		ID: "rehearsed", Title: harden.Msg("kube-apiserver is rehearsed before it is touched"), State: harden.PreconditionUnknown, Message: harden.Msg("no memory"),
	}})
}

// TestWhatIsNotRehearsedIsAccepted by a key of its own, which the command line below it repeats by name.
func TestWhatIsNotRehearsedIsAccepted(t *testing.T) {
	e := newFake(t)
	e.unrehearsed = true
	w := begun(t, e, Options{Height: 50})
	w.keys("enter", "j", "j", "j", "space", "p").want("Plan: 1 control")
	w.keys("g").want("Rehearsal, before anything restarts", "its own program checks the planned flags", "no second instance can run beside", "only the gate tells: whether it starts")
	w.keys("A").want("kube-apiserver cannot be rehearsed as it should be", "a accepts that on your word")
	w.keys("a").want("accepted on your word: kube-apiserver")
	w.keys("g").want("no memory  - accepted on your word")
	w.keys("G").want("--accept kube-apiserver")
	w.keys("a").want("there is nothing to accept")
	w.keys("d", "A").want("Apply on")
	w.keys("esc")
}

// TestControlPlanesThatHaveToFollow are named where it is agreed to, as nothing is written anew until they have.
func TestControlPlanesThatHaveToFollow(t *testing.T) {
	e := newFake(t)
	e.shared = &harden.Sharing{Nodes: []string{"cp2", "cp3"}, Behind: []string{"cp3"}}
	w := begun(t, e, Options{Height: 50})
	w.keys("enter", "j", "j", "j", "space", "p").want("What happens", "cp3 have to follow, each by a run of its own")
	w.keys("esc")
}

func TestPlainAcceptsWhatIsNotRehearsed(t *testing.T) {
	for name, tt := range map[string]struct {
		lines   []string
		applied int
		says    string
	}{
		"by name":      {[]string{"kube-apiserver", "cp1"}, 1, "Accepted on your word: kube-apiserver."},
		"not at all":   {[]string{"", "cp1"}, 0, "Not applied: kube-apiserver cannot be rehearsed"},
		"not by yes":   {[]string{"yes", "cp1"}, 0, "Not applied: kube-apiserver cannot be rehearsed"},
		"other's name": {[]string{"cp1", "cp1"}, 0, "Not applied: kube-apiserver cannot be rehearsed"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newFake(t)
			e.unrehearsed = true
			text, _, err := plainly(t, e, Options{Preselect: begin("apiserver-profiling")}, append([]string{"plan"}, tt.lines...)...)
			if err != nil || len(e.applied) != tt.applied || !strings.Contains(text, tt.says) {
				t.Errorf("err %v, applied %d:\n%s", err, len(e.applied), text)
			}
		})
	}
}
