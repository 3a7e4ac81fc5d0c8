package backups_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

const rebasedPath = "/etc/kubernetes/manifests/kube-apiserver.yaml"

// theirs is what others have made of the manifest, and what that is without our change. Their mode stays.
func theirs() (now, back backups.State) {
	now, back = inMemory.targets()[8].After, inMemory.targets()[8].After
	now.Data, back.Data = []byte("kind: Pod\nspec:\n- --profiling=false\n- --theirs\n"), []byte("kind: Pod\nspec:\n- --profiling=true\n- --theirs\n")
	now.Mode, back.Mode = 0o640, 0o640
	return now, back
}

// changedByOthers is a disk on which a transaction was put and interrupted, and others have changed one of its targets since.
func changedByOthers(t *testing.T) *backupstest.Disk {
	t.Helper()
	d := inMemory.disk(t)
	x, tx, err := inMemory.begin(open(d))
	must(t, err)
	must(t, putAll(tx))
	must(t, x.Unlock())
	now, _ := theirs()
	must(t, d.Remove(rebasedPath))
	must(t, place(d, rebasedPath, now))
	d.Settle()
	return d
}

// undoOurs settles the transaction: the changed target is rebased unless an earlier process has done that.
func undoOurs(store *backups.Store) error {
	x, err := store.Lock(holder)
	if err != nil {
		return err
	}
	list, err := store.Interrupted()
	for _, sum := range list {
		var tx *backups.Tx
		if tx, err = x.Resume(sum.ID); err != nil {
			break
		}
		now, back := theirs()
		if string(tx.Targets()[8].After.Data) != string(now.Data) {
			err = tx.Rebase("apiserver", now, back)
		}
		if err == nil {
			err = revertAll(tx)
		}
		if err == nil {
			err = tx.Close(backups.RolledBack)
		}
	}
	return errors.Join(err, x.Unlock())
}

func checkRebased(d *backupstest.Disk) error {
	list, err := open(d).List()
	if err != nil || len(list) != 1 || list[0].Outcome != backups.RolledBack {
		return fmt.Errorf("%+v, %w", list, err)
	}
	if _, err := open(d).Load(list[0].ID); err != nil {
		return err
	}
	want := inMemory.before()
	_, want[rebasedPath] = theirs()
	got, err := snapshot(d)
	if err == nil && differences(want, got) != "" {
		err = errors.New(differences(want, got))
	}
	return err
}

// TestLossInARebasedUndo takes the power away after every operation of an undo that keeps what others have changed, and ends
// the process before each one: whoever recovers brings the same about.
func TestLossInARebasedUndo(t *testing.T) {
	whole := changedByOthers(t)
	var points []*backupstest.Disk
	w := &backupstest.Watch{FS: whole, After: func(op backupstest.Op) {
		if op.Writes() {
			points = append(points, whole.Clone())
		}
	}}
	must(t, undoOurs(open(w)))
	must(t, checkRebased(whole))
	states := 0
	for i, point := range points {
		losses, _ := point.Losses(60 / every(10))
		for after := range losses {
			states++
			must(t, undoOurs(open(after)))
			if err := checkRebased(after); err != nil {
				t.Fatalf("lost at %d of %d: %v", i, len(points), err)
			}
		}
	}
	for n := 1; n <= w.Count(); n += every(5) {
		d := changedByOthers(t)
		_ = undoOurs(open(die(d, n)))
		d = d.Clone()
		must(t, undoOurs(open(d)))
		after, _ := d.Losses(2)
		for lost := range after {
			if err := checkRebased(lost); err != nil {
				t.Fatalf("died at %d: %v", n, err)
			}
		}
	}
	t.Logf("%d points, %d states, %d deaths", len(points), states, w.Count()/every(5))
}

func TestRebaseIsRefused(t *testing.T) {
	d := inMemory.disk(t)
	x, tx, err := inMemory.begin(open(d))
	must(t, err)
	now, back := theirs()
	was, err := look(d, rebasedPath)
	must(t, err)
	if err := tx.Rebase("apiserver", was, back); err == nil {
		t.Error("a target that was not put is rebased")
	}
	must(t, tx.Put("apiserver"))
	if err := tx.Rebase("apiserver", now, back); !errors.Is(err, backups.ErrDrifted) {
		t.Errorf("what is not there is taken for ours: %v", err)
	}
	if err := tx.Log(backups.KindRebase, nil); err == nil {
		t.Error("a caller logs what is the store's own")
	}
	must(t, tx.Revert("apiserver"))
	must(t, d.Remove(rebasedPath))
	must(t, place(d, rebasedPath, now))
	if err := tx.Rebase("apiserver", now, back); err == nil {
		t.Error("what others have made of a target that was brought back is to be changed")
	}
	must(t, tx.Rebase("apiserver", now, now))
	must(t, tx.Revert("apiserver"))
	if is, err := look(d, rebasedPath); err != nil || !bytes.Equal(is.Data, now.Data) {
		t.Errorf("it holds %q, %v", is.Data, err)
	}
	must(t, tx.Close(backups.RolledBack))
	must(t, x.Unlock())
}
