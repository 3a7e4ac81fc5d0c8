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

// TestAControlHadToBeAcceptedBeforeItsDiffWasShown: what is left out is not called "no change", a preview is shown all the
// same, and the way is said by the key or the word that is there.
func TestAControlHadToBeAcceptedBeforeItsDiffWasShown(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("enter", "j", "d").want("Diff of apiserver-anonymous-auth alone", "Not applied before it is accepted: apiserver-anonymous-auth: load balancers",
		"a on this control accepts", "new directory").wantNot("No change", "--accept")
	w.keys("esc", "space", "p").want("Plan: no change, 1 control left out", "a on this control accepts").wantNot("No change:", "--accept")
	w.keys("d").want("Left out: apiserver-anonymous-auth").wantNot("No change")
	text, _, err := plainly(t, newFake(t), Options{}, "walk", "d", "c", "b", "plan", "q")
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, text, "Not applied before it is accepted", "accept unknown, on this control, takes that on your word", "new directory", "Left out",
		"accept unknown, on this control, takes that on your word")
	if strings.Contains(text, "--accept") || strings.Contains(text, noChange) {
		t.Error(text)
	}
}
