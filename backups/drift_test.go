package backups_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// overwrite puts other content at p, as somebody else would.
func overwrite(t *testing.T, d *backupstest.Disk, p, data string) {
	t.Helper()
	st, err := look(d, p)
	must(t, err)
	if st.Exists {
		must(t, d.Remove(p))
	} else {
		st = inMemory.state(0o644, 0, "x")
	}
	st.Data = []byte(data)
	must(t, place(d, p, st))
}

// TestDrift changes a target behind the transaction's back at every stage.
func TestDrift(t *testing.T) {
	const p = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	drifted := func(t *testing.T, err error, wanted int) {
		t.Helper()
		var drift *backups.DriftError
		if !errors.Is(err, backups.ErrDrifted) || !errors.As(err, &drift) || drift.Path != p || len(drift.Wanted) != wanted {
			t.Fatalf("got %v", err)
		}
		if string(drift.Found.Data) != "theirs" || len(drift.Wanted[0].Data) == 0 {
			t.Errorf("the three sides are not there: %+v", drift)
		}
	}
	theirs := func(t *testing.T, d *backupstest.Disk) {
		t.Helper()
		if st, err := look(d, p); err != nil || string(st.Data) != "theirs" {
			t.Errorf("their file became %q, %v", st.Data, err)
		}
	}
	t.Run("before put", func(t *testing.T) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		overwrite(t, d, p, "theirs")
		drifted(t, tx.Put("apiserver"), 1)
		must(t, tx.Revert("apiserver"))
		must(t, tx.Close(backups.Aborted))
		theirs(t, d)
	})
	t.Run("during put", func(t *testing.T) {
		d := inMemory.disk(t)
		w := &backupstest.Watch{FS: d}
		_, tx, err := inMemory.begin(open(w))
		must(t, err)
		w.After = func(op backupstest.Op) {
			if op.Name == "Create" {
				overwrite(t, d, p, "theirs")
			}
		}
		drifted(t, tx.Put("apiserver"), 1)
		must(t, tx.Revert("apiserver"))
		must(t, tx.Close(backups.RolledBack))
		theirs(t, d)
	})
	t.Run("before revert", func(t *testing.T) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		must(t, tx.Put("apiserver"))
		overwrite(t, d, p, "theirs")
		drifted(t, tx.Revert("apiserver"), 2)
		theirs(t, d)
		if err := tx.Close(backups.RolledBack); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("closed as rolled back: %v", err)
		}
		must(t, tx.Close(backups.Mixed))
		// They give up their change, and the mixed transaction can be settled after all.
		overwrite(t, d, p, string(tx.Targets()[8].After.Data))
		store := open(d.Clone())
		must(t, settleMixed(store))
		if sum := one(t, store); sum.Outcome != backups.RolledBack {
			t.Errorf("outcome %q", sum.Outcome)
		}
	})
	t.Run("attributes", func(t *testing.T) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		must(t, tx.Put("chmod"))
		must(t, d.Chmod("/etc/kubernetes/pki/ca.key", 0o444))
		if err := tx.Revert("chmod"); !errors.Is(err, backups.ErrDrifted) {
			t.Errorf("a mode that is neither: %v", err)
		}
		// Where the content was changed, the content decides.
		must(t, tx.Put("replace"))
		must(t, d.Chmod("/etc/kubernetes/pki/odd", 0o444))
		must(t, tx.Revert("replace"))
		if st, err := look(d, "/etc/kubernetes/pki/odd"); err != nil || st.Mode != 0o4711 {
			t.Errorf("mode %04o, %v", st.Mode, err)
		}
	})
	t.Run("a directory that others use", func(t *testing.T) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		must(t, tx.Put("mkdir"))
		for i := range 5 {
			must(t, place(d, fmt.Sprintf("/etc/kubernetes/policies/%d", i), inMemory.state(0o600, 0, "x")))
		}
		if err := tx.Revert("mkdir"); !errors.Is(err, backups.ErrNotEmpty) || !strings.Contains(err.Error(), "0, 1, 2, and 2 more") {
			t.Errorf("got %v", err)
		}
		must(t, tx.Close(backups.RolledBack))
		rec, err := open(d).Load(tx.ID())
		must(t, err)
		if last := rec.Entries[len(rec.Entries)-2]; rec.Outcome != backups.RolledBack || last.Kind != backups.KindKept || last.Target != "mkdir" {
			t.Errorf("outcome %q, last entry %+v", rec.Outcome, last)
		}
	})
	t.Run("a directory that others used", func(t *testing.T) {
		d := inMemory.disk(t)
		_, tx, err := inMemory.begin(open(d))
		must(t, err)
		must(t, tx.Put("mkdir"))
		must(t, place(d, "/etc/kubernetes/policies/theirs", inMemory.state(0o600, 0, "x")))
		if err := tx.Revert("mkdir"); !errors.Is(err, backups.ErrNotEmpty) {
			t.Errorf("got %v", err)
		}
		must(t, d.Remove("/etc/kubernetes/policies/theirs"))
		// Whoever settles the transaction after our death finds it empty.
		x, err := open(d.Clone()).Lock(backups.Holder{PID: 2})
		must(t, err)
		again, err := x.Resume(tx.ID())
		must(t, err)
		must(t, again.Revert("mkdir"))
		must(t, again.Close(backups.RolledBack))
	})
}
