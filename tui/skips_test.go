package tui

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestWhatToDoAboutWhatWasRefusedIsShown in the review, in the diff of one control alone, and in the plain walk.
func TestWhatToDoAboutWhatWasRefusedIsShown(t *testing.T) {
	e := newFake(t)
	e.refused = []harden.Skip{{Control: "scheduler-profiling", Reason: harden.Msg("line 13: flow style"), Refused: true, Hints: []string{"write it as a block"}}}
	begun(t, e, Options{}).keys("*", "p", "G").want("scheduler-profiling: line 13: flow style", "what to do: write it as a block")
	text, _, err := plainly(t, e, Options{Preselect: begin("apiserver-profiling")}, "plan", "no", "walk", "d", "b", "q")
	if err != nil || strings.Count(text, "flow style; what to do: write it as a") != 2 {
		t.Errorf("%v:\n%s", err, text)
	}
}
