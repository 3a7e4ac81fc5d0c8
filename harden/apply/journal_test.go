package apply_test

import (
	"strings"
	"syscall"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
)

var some = []string{"audit", "pids", "kernel"}

// journalWrites counts the lines that an apply writes into its journal.
func journalWrites(t *testing.T, p harden.Plan, arrange func(*world)) int {
	w := newWorld(t)
	arrange(w)
	n := 0
	w.watch.Before = func(op backupstest.Op) error {
		if op.Name == "Write" && strings.HasSuffix(op.Path, "journal.jsonl") {
			n++
		}
		return nil
	}
	w.apply(p)
	return n
}

// TestJournalFails fails each line of the journal, alone and with all that follow, forward and in the undo.
func TestJournalFails(t *testing.T) {
	p := newWorld(t).plan(some...)
	for _, way := range []struct {
		name    string
		arrange func(*world)
	}{
		{"forward", func(*world) {}},
		{"back", func(w *world) { w.node.dies = has(newField) }},
	} {
		total := journalWrites(t, p, way.arrange)
		outcomes := map[harden.Outcome]int{}
		for n := 1; n <= total; n += stride {
			for _, last := range []int{n, ever} {
				w := newWorld(t)
				way.arrange(w)
				w.failing("Write", "journal.jsonl", n, last, syscall.ENOSPC)
				res := w.apply(p)
				outcomes[res.Outcome]++
				w.watch.Before = nil
				w.checkJournaled(n, last == ever, res, p)
				if t.Failed() {
					t.Fatalf("%s: line %d of %d, all that follow: %t: %s: %s", way.name, n, total, last == ever, res.Outcome, res.Message)
				}
			}
		}
		t.Logf("%s: %d lines of the journal, failed alone and with all that follow: %v", way.name, total, outcomes)
	}
}

// checkJournaled checks what became of a run whose journal could not be written, and settles it.
func (w *world) checkJournaled(n int, full bool, res harden.Result, p harden.Plan) {
	w.t.Helper()
	left := w.changes()
	switch res.Outcome {
	case harden.OutcomeRefused:
		if n > 1 || len(left) > 0 {
			w.t.Errorf("refused at line %d, and %q changed", n, left)
		}
		return
	case harden.OutcomeRolledBack:
		if full || len(left) > 0 {
			w.t.Errorf("rolled back, and %q changed", left)
		}
		return
	case harden.OutcomeApplied:
		if full || !w.planned(p) {
			w.t.Errorf("applied, and it is not as planned: %q", left)
		}
		return
	case harden.OutcomeUnsettled:
	default:
		w.t.Errorf("outcome %s", res.Outcome)
		return
	}
	if !strings.Contains(strings.Join(res.Hints, "\n"), "kubectl-harden recover") || res.Script == "" {
		w.t.Errorf("hints %q, script %q", res.Hints, res.Script)
	}
	kept := w.planned(p)
	if !kept && len(left) > 0 {
		w.t.Errorf("unsettled, and neither as before nor as planned: %q", left)
	}
	finish := kept && strings.Contains(strings.Join(res.Hints, "\n"), "--finish")
	res = w.recover(res.Transaction, finish)
	switch {
	case res.Outcome == harden.OutcomeRolledBack && !finish && len(w.changes()) == 0:
	case res.Outcome == harden.OutcomeApplied && kept && w.planned(p):
	default:
		w.t.Errorf("recovered: %s: %s: %q", res.Outcome, res.Message, w.changes())
	}
}

// planned says that every file is as the plan says.
func (w *world) planned(p harden.Plan) bool {
	for _, s := range p.Steps() {
		if is, err := w.State(s.Path); err != nil || !is.Equal(s.After) {
			return false
		}
	}
	return true
}
