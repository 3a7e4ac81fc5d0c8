package backups_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// race takes the lock as often as asked, against others, and proves each time that it is alone.
func race(root, times string) error {
	want, err := strconv.Atoi(times)
	if err != nil {
		return err
	}
	real := backupstest.OS{Root: root, NoSync: true}
	store := backups.Open(real, backups.Options{Dir: stateDir})
	marker := filepath.Join(root, "marker")
	for got := 0; got < want; {
		x, err := store.Lock(backups.Holder{PID: os.Getpid(), Command: "race"})
		var locked *backups.LockedError
		if errors.As(err, &locked) {
			if locked.Holder.PID == os.Getpid() {
				return errors.New("locked by ourselves")
			}
			continue
		}
		if err != nil {
			return err
		}
		f, err := os.OpenFile(marker, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("another process holds the lock too: %w", err)
		}
		tx, err := x.Begin(backups.Meta{}, nil, nil, backups.Script{})
		if err != nil {
			return err
		}
		if err := tx.Close(backups.Aborted); err != nil {
			return err
		}
		got++
		if err := errors.Join(f.Close(), os.Remove(marker), x.Unlock()); err != nil {
			return err
		}
	}
	return nil
}

// TestLockRace lets processes race for the lock, each making transactions while it has it.
func TestLockRace(t *testing.T) {
	root := scratch(t)
	must(t, os.MkdirAll(filepath.Join(root, "var/lib"), 0o755))
	const processes, times = 3, 25
	done := make(chan error)
	for range processes {
		go func() {
			_, err := startChild("race", root, strconv.Itoa(times))
			done <- err
		}()
	}
	for range processes {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	list, err := open(backupstest.OS{Root: root}).List()
	must(t, err)
	if len(list) != processes*times {
		t.Errorf("%d transactions, want %d", len(list), processes*times)
	}
	for _, sum := range list {
		if sum.Damage != nil || sum.Outcome != backups.Aborted {
			t.Errorf("%s: %q, %v", sum.ID, sum.Outcome, sum.Damage)
		}
	}
	t.Logf("%d processes took the lock %d times each", processes, times)
}

// TestLockDiesWithItsProcess finds the lock free, and says so, after its holder was killed.
func TestLockDiesWithItsProcess(t *testing.T) {
	real, _ := realNode(t, t.TempDir())
	if killed, err := startChild("commit", real.Root, "before", "40"); err != nil || !killed {
		t.Fatal(killed, err)
	}
	left, err := real.ReadFile(stateDir + "/lock")
	must(t, err)
	if len(left) == 0 {
		t.Fatal("the killed process left no name: nothing is tested")
	}
	store := open(real)
	for range 2 {
		if h, held, err := store.Holder(); held || err != nil || h.PID != 0 {
			t.Errorf("holder %v, held %v, %v", h, held, err)
		}
	}
	x, err := store.Lock(holder)
	must(t, err)
	if h, held, err := store.Holder(); !held || err != nil || h.PID != holder.PID || !h.Since.Equal(holder.Since) {
		t.Errorf("holder %v, held %v, %v", h, held, err)
	}
	_, err = store.Lock(holder)
	var locked *backups.LockedError
	if !errors.Is(err, backups.ErrLocked) || !errors.As(err, &locked) || locked.Holder.Command != holder.Command {
		t.Errorf("second lock: %v", err)
	}
	must(t, x.Unlock())
	if _, held, err := store.Holder(); held || err != nil {
		t.Errorf("held %v after unlock, %v", held, err)
	}
	if err := x.Unlock(); !errors.Is(err, backups.ErrUnlocked) {
		t.Errorf("second unlock: %v", err)
	}
}
