package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// TestRollbackOfWhatWaitsIsTheOneThatWasShown: where somebody had upgraded the API server meanwhile it showed an undo that keeps
// the upgrade, and then refused to put the whole file back, so that the change stayed in force.
func TestRollbackOfWhatWaitsIsTheOneThatWasShown(t *testing.T) {
	for name, apart := range map[string]bool{"by this process": false, "by an applier of its own": true} {
		t.Run(name, func(t *testing.T) {
			n := newApartNode(t)
			if !apart {
				n.m.start = nil
			}
			e := n.engine
			res := e.Apply(t.Context(), lockOutPlans(t, e)[0], func(harden.Event) {})
			if res.Outcome != harden.OutcomeWaiting {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			rewrite(t, e, manifestOf(t, e)+"# somebody else\n")
			plans, err := e.Undo(t.Context(), res.Transaction, "")
			if err != nil {
				t.Fatal(err)
			}
			stale := plans[0]
			rewrite(t, e, manifestOf(t, e)+"# and again\n")
			if late := e.Apply(t.Context(), stale, func(harden.Event) {}); late.Outcome != harden.OutcomeRefused || late.Drift == nil || !slices.Equal(late.Hints, []string{program + " rollback " + res.Transaction + " --dry-run"}) {
				t.Errorf("one that was shown before another change: %s: %s (%q)", late.Outcome, late.Message, late.Hints)
			}
			if plans, err = e.Undo(t.Context(), res.Transaction, ""); err != nil {
				t.Fatal(err)
			}
			done := e.Apply(t.Context(), plans[0], func(harden.Event) {})
			if done.Outcome != harden.OutcomeApplied || !strings.Contains(done.Message.String(), "but for what others have changed in /etc/kubernetes/manifests/kube-apiserver.yaml") {
				t.Errorf("%s: %s", done.Outcome, done.Message)
			}
			for _, s := range plans[0].Steps() {
				if now, err := e.m.node.State(s.Path); err != nil || !now.Equal(s.After) {
					t.Errorf("%s is not as it was shown, %v", s.Path, err)
				}
			}
			if text := manifestOf(t, e); !strings.HasSuffix(text, "# somebody else\n# and again\n") || strings.Contains(text, "--anonymous-auth=false") {
				t.Errorf("the manifest is\n%s", text)
			}
			if o := outcomeIn(t, e, res.Transaction); o != harden.OutcomeRolledBack {
				t.Errorf("the history says %s", o)
			}
		})
	}
}

// TestRollbackThatComesTooLateSaysSo: where the switch, or confirm, was faster by a moment it said that the transaction had to be settled
// and named restore.sh; where that confirm was killed, it said that it was applied, with exit code 0.
func TestRollbackThatComesTooLateSaysSo(t *testing.T) {
	for name, first := range map[string]func(e *engine, id string) error{
		"the switch undid it": func(e *engine, id string) error {
			_, err := e.expire(t.Context(), id, false, func(harden.Event) {}, func(string) {})
			return err
		},
		"it was confirmed": func(e *engine, id string) error {
			e.Confirm(t.Context(), id)
			return nil
		},
		"whoever confirmed it was killed": func(e *engine, id string) error {
			s, err := e.store.Lock(e.holder())
			if err != nil {
				return err
			}
			tx, err := s.Resume(id)
			if err == nil {
				err = tx.Log("passed", nil)
			}
			return errors.Join(err, s.Unlock())
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, res := lockedOut(t)
			plans, err := e.Undo(t.Context(), res.Transaction, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := first(e, res.Transaction); err != nil {
				t.Fatal(err)
			}
			was := manifestOf(t, e)
			late := e.abandon(t.Context(), plans[0], func(harden.Event) {})
			if late.Outcome != harden.OutcomeRefused || !strings.Contains(late.Message.String(), "does not wait for confirm any more") || manifestOf(t, e) != was {
				t.Errorf("%s: %s", late.Outcome, late.Message)
			}
		})
	}
}

// TestRollbackOfWhatWasPutBackByHandEndsIt: there was nothing left to undo, so that it said that the transaction waits and named confirm,
// which refuses that, and itself.
func TestRollbackOfWhatWasPutBackByHandEndsIt(t *testing.T) {
	e, _, _ := demoEngine(t, &app{areas: catalog.Areas()})
	original := manifestOf(t, e)
	res := e.Apply(t.Context(), lockOutPlans(t, e)[0], func(harden.Event) {})
	if res.Outcome != harden.OutcomeWaiting {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	rewrite(t, e, original)
	var said bytes.Buffer
	a := &app{Streams: Streams{Out: &said, Err: &said}, sel: selectFlags{yes: true}}
	if err := a.undoAll(t.Context(), e, []string{res.Transaction}, ""); err != nil {
		t.Errorf("exit code %d: %s", exitCode(err), said.String())
	}
	if o := outcomeIn(t, e, res.Transaction); o != harden.OutcomeRolledBack || manifestOf(t, e) != original {
		t.Errorf("the history says %s", o)
	}
	if names, _ := e.m.guards.Names(switchPrefix); len(names) > 0 {
		t.Errorf("left is %q", names)
	}
}

// TestStatusAfterAKilledUndo: the switch goes on to wait, and status said that none is armed.
func TestStatusAfterAKilledUndo(t *testing.T) {
	e, _, res := lockedOut(t)
	s, err := e.store.Lock(e.holder())
	if err != nil {
		t.Fatal(err)
	}
	tx, err := s.Resume(res.Transaction)
	if err == nil {
		err = tx.Log("undoing", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if armed, err := e.Switch(t.Context()); err != nil || armed != nil {
		t.Errorf("while it is undone: %+v, %v", armed, err)
	}
	if err := s.Unlock(); err != nil {
		t.Fatal(err)
	}
	if armed, err := e.Switch(t.Context()); err != nil || armed == nil || !armed.Failed || armed.Waiting || armed.Left <= 0 || armed.Lost != "" {
		t.Errorf("once it is killed: %+v, %v", armed, err)
	}
	if err := e.m.guards.Disarm(t.Context(), switchOf(res.Transaction)); err != nil {
		t.Fatal(err)
	}
	if armed, err := e.Switch(t.Context()); err != nil || armed != nil {
		t.Errorf("killed once the switch is removed: %+v, %v", armed, err)
	}
}

// rewrite changes the API server's manifest as somebody else would.
func rewrite(t *testing.T, e *engine, text string) {
	t.Helper()
	const file = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	err := e.m.files.Remove(file)
	if err == nil {
		w, made := e.m.files.Create(file, 0o600)
		if err = made; err == nil {
			_, err = w.Write([]byte(text))
			err = errors.Join(err, w.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
