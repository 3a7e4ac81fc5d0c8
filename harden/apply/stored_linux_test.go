package apply_test

import (
	"context"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
)

// TestEncryptionKilled kills the process at each operation of the store and at each Secret, on the way there and on the way
// back, and recovers: forward and back. Every Secret can be read at every moment, and in the end all of them lie alike.
func TestEncryptionKilled(t *testing.T) {
	for _, way := range []struct {
		name         string
		from, to     string
		plan         func(w *world) harden.Plan
		stride, nths int
	}{
		{"there", plainly, encrypted, func(w *world) harden.Plan { return w.storedPlan("encrypt") }, 7, 4},
		{"back", encrypted, plainly, func(w *world) harden.Plan {
			res := w.apply(w.storedPlan("encrypt"))
			if res.Outcome != harden.OutcomeApplied {
				w.t.Fatal(res.Message)
			}
			w.before, w.events = w.snapshot(), nil
			return w.undo(res.Transaction, "")
		}, 11, 3},
	} {
		t.Run(way.name, func(t *testing.T) {
			settle := func(name string, i int, kill func(w *world)) (died bool) {
				w := prepared(t)
				p := way.plan(w)
				w.vault.rewrote = 0
				a := w.process()
				kill(w)
				if survives(func() { a.Apply(context.Background(), p) }) {
					w.vault.all(t, way.to)
					return false
				}
				w.fsys = w.fsys.(*backupstest.Disk).Clone()
				w.watch, w.vault.each, w.node.read = &backupstest.Watch{FS: w.fsys}, nil, w.fsys.ReadFile
				a = w.process()
				open, err := a.Store.Unsettled()
				must(t, err)
				w.end()
				for _, u := range open {
					finish := i%2 == 0
					res := w.recover(u.ID, finish)
					want, begins := harden.OutcomeRolledBack, way.from
					if finish {
						want, begins = harden.OutcomeApplied, way.to
					}
					if res.Outcome == harden.OutcomeApplied {
						begins = way.to // every gate had passed
					} else if res.Outcome != want {
						t.Fatalf("%s %d: %s: %s; want %s", name, i, res.Outcome, res.Message, want)
					}
					w.vault.all(t, begins)
					if left := w.changes(); res.Outcome == harden.OutcomeRolledBack && len(left) > 0 || res.Outcome == harden.OutcomeApplied && !w.planned(p) {
						t.Fatalf("%s %d: %s: %q", name, i, res.Outcome, left)
					}
				}
				return true
			}
			kills := 0
			for i := way.stride; settle("operation", i, func(w *world) { w.killing(w.watch.Count()+i, i%3 == 0) }); i += way.stride {
				kills++
			}
			for i := range way.nths {
				settle("Secret", i, func(w *world) {
					w.vault.each = func() {
						if w.vault.rewrote == i {
							panic(killed{})
						}
					}
				})
			}
			t.Logf("killed %d times", kills+way.nths)
		})
	}
}
