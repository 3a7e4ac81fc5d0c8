package backups_test

import (
	"errors"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// TestDeathWhileADirectoryIsKept ends the process before every operation of an undo that keeps a directory for what others
// put there. Whoever settles the transaction then keeps it too, and it ends as rolled back.
func TestDeathWhileADirectoryIsKept(t *testing.T) {
	const theirs = "/etc/kubernetes/policies/theirs"
	// prepared is the node with the transaction applied but not ended, and something of others in the new directory.
	prepared := func() (*backupstest.Disk, string) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		must(t, putAll(tx))
		must(t, place(d, theirs, inMemory.state(0o600, 0, "x")))
		return d.Clone(), tx.ID()
	}
	revert := func(fsys backups.FS, id string) error {
		x, err := open(fsys).Lock(backups.Holder{PID: 2})
		if err != nil {
			return err
		}
		tx, err := x.Resume(id)
		if err != nil {
			return err
		}
		var errs []error
		for _, tg := range tx.Targets() {
			if err := tx.Revert(tg.ID); err != nil && !errors.Is(err, backups.ErrNotEmpty) {
				errs = append(errs, err)
			}
		}
		return errors.Join(append(errs, tx.Close(backups.RolledBack), x.Unlock())...)
	}
	d, id := prepared()
	w := &backupstest.Watch{FS: d}
	must(t, revert(w, id))
	deaths := 0
	for n := 1; n <= w.Count(); n += every(8) {
		d, id := prepared()
		_ = revert(die(d, n), id) // dead processes report nothing
		deaths++
		d = d.Clone()
		if sum := one(t, open(d)); sum.Outcome == "" {
			if err := revert(d, id); err != nil {
				t.Fatalf("died at %d: %v", n, err)
			}
		}
		if sum := one(t, open(d)); sum.Outcome != backups.RolledBack {
			t.Fatalf("died at %d: outcome %q", n, sum.Outcome)
		}
		got, err := snapshot(d)
		must(t, err)
		want := inMemory.before()
		for p, st := range got {
			if p == theirs || p == "/etc/kubernetes/policies" {
				want[p] = st
			}
		}
		if _, kept := got[theirs]; !kept {
			t.Fatalf("died at %d: what others put there is gone", n)
		}
		if diff := differences(want, got); diff != "" {
			t.Fatalf("died at %d:\n%s", n, diff)
		}
	}
	t.Logf("%d deaths while a directory was kept", deaths)
}
