package tui

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestTheWalkIgnoredWhatTheCommandLineSelects: it begins with that, says what it does not take, and the operator has the last
// word.
func TestTheWalkIgnoredWhatTheCommandLineSelects(t *testing.T) {
	e := newFake(t)
	asked := func(f *harden.Facts) ([]harden.Choice, []harden.Skip, error) {
		return harden.Select(f, e.areas, harden.Selection{All: true, Controls: []string{"apiserver-authorization-mode"}})
	}
	w := begun(t, e, Options{Preselect: asked})
	w.want("3 controls chosen", "the command line chooses 3 controls, and leaves out 2, which the plan tells",
		"left out: apiserver-authorization-mode: nothing to do: it is as recommended")
	w.keys("p").want("Plan: 3 controls", "3 controls left out")
	w.keys("G").want("networkpolicy-shop: it can cut off workloads or their users; space on this control takes it")
	w.keys("esc", "enter", "j", "j", "space", "r", "esc").want("Areas", "2 controls chosen")

	text, _, err := plainly(t, newFake(t), Options{Preselect: begin("networkpolicy-shop", "audit-policy")}, "q")
	if err != nil {
		t.Fatal(err)
	}
	inOrder(t, text, "the command line chooses 2 controls", "Chosen: 2.")
}

// TestTheSaveScreenPromisedWalksThatTakeAFile: what it says is how a file is taken.
func TestTheSaveScreenPromisedWalksThatTakeAFile(t *testing.T) {
	w := begun(t, newFake(t), Options{Sandbox: true, Walk: "kubectl-harden demo", Command: "sudo kubectl-harden"})
	w.keys("*", "s").want("walk kubectl-harden demo --file FILE", "plan sudo kubectl-harden plan --file FILE", "apply sudo kubectl-harden apply --file FILE")
	if strings.Contains(w.frame(), "later walks") {
		t.Error(w.frame())
	}
}
