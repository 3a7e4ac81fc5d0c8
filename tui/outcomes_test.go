package tui

import (
	"context"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestOutcomes(t *testing.T) {
	for outcome, want := range map[harden.Outcome]string{
		harden.OutcomeRolledBack: "Rolled back: everything is as it was before.",
		harden.OutcomeMixed:      "Run restore.sh",
		harden.OutcomeOwed:       "objects are still owed",
		harden.OutcomeUnsettled:  "run recover",
		harden.OutcomeRefused:    "Refused: nothing was changed.",
	} {
		e := newFake(t)
		e.outcome = outcome
		w := begun(t, e, Options{})
		w.keys("*", "p", "d", "A").settle().keys("'cp1", "enter").want(want)
		w.wantNot("rollback 2026")
		w.keys("enter").want("2 controls chosen")
		if sum := w.m.summary.String(); !strings.Contains(sum, "restore.sh") || strings.Contains(sum, "undo  ") {
			t.Errorf("%s: %s", outcome, sum)
		}
	}
}

// An undo that failed leaves every target in some state, and each is said, on the screen and after it.
func TestWhatStateEachTargetIsIn(t *testing.T) {
	s := Summary{}
	res := harden.Result{Outcome: harden.OutcomeMixed, Script: "/tx/restore.sh", Targets: []harden.TargetState{
		{Target: "/etc/a", Is: harden.TargetBefore}, {Target: "kube-apiserver", Is: harden.TargetOtherwise, Why: harden.Msg("it does not run\x1b[2J")},
	}}
	s.Applied = []Applied{{Result: res}}
	d := newDoc(NewTheme(false, false), 80)
	describeResult(d, Options{Command: "kubectl-harden"}, s.Applied[0])
	screen := ansi.Strip(strings.Join(d.lines, "\n"))
	for _, want := range []string{"as before    /etc/a", "unlike both  kube-apiserver (it does not run"} {
		if !strings.Contains(screen, want) || !strings.Contains(s.String(), want) {
			t.Errorf("%q is missing in\n%s\n%s", want, screen, s.String())
		}
	}
	if strings.Contains(screen, "\x1b") || strings.Contains(s.String(), "\x1b") {
		t.Error("what was found moves the cursor")
	}
}

// TestTheSandboxThatIsKeptWasSaidToBeGone: demo --keep said both.
func TestTheSandboxThatIsKeptWasSaidToBeGone(t *testing.T) {
	for kept, want := range map[bool]bool{false: true, true: false} {
		s := Summary{Applied: []Applied{{}}, opts: Options{Sandbox: true, SandboxKept: kept}}
		if got := strings.Contains(s.String(), "gone"); got != want {
			t.Errorf("kept %t: %s", kept, s)
		}
	}
}

// panicky is an engine with a bug in apply.
type panicky struct{ *fakeEngine }

func (panicky) Apply(context.Context, harden.Plan, Confirmation, func(harden.Event)) harden.Result {
	panic("a bug\x1b[2J")
}

func TestABugWhileApplyingIsNotTakenForNoChange(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.m.engine = panicky{w.e}
	w.keys("*", "p", "d", "A").settle().keys("'cp1", "enter").want("Interrupted: run recover", "a bug^[[2J", "sudo kubectl-harden recover")
	if sum := w.m.summary.String(); !strings.Contains(sum, "hint: sudo kubectl-harden recover") || strings.Contains(sum, "Nothing was changed") {
		t.Error(sum)
	}
	if !strings.Contains(w.m.crash, "tui.panicky") {
		t.Errorf("the bug cannot be found: %q", w.m.crash)
	}
}
