package backups_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// errShort stands for a write that stops early and says nothing.
var errShort = errors.New("short write")

var faults = []error{syscall.ENOSPC, syscall.EIO, syscall.EACCES, syscall.EROFS, errShort}

// fault fails operation n, or all from n on, where that concerns it. Reads fail with EIO and EACCES alone.
type fault struct {
	err   error
	n     int
	lasts bool
	below string // only operations on paths below this
}

func (f fault) String() string {
	return fmt.Sprintf("%v at operation %d, lasting %v, below %q", f.err, f.n, f.lasts, f.below)
}

// concerns reports whether such an operation can fail so.
func (f fault) concerns(op backupstest.Op) bool {
	switch {
	case !strings.HasPrefix(op.Path, f.below) || op.Name == "Unlock":
		return false
	case f.err == errShort:
		return op.Name == "Write"
	case f.err == syscall.ENOSPC:
		return op.Writes()
	case f.err == syscall.EROFS:
		return op.Writes() || op.Name == "Append"
	}
	return true
}

// on wraps fsys. hit is set once the fault has struck; healed ends it.
func (f fault) on(fsys backups.FS, hit *bool, healed *bool) *backupstest.Watch {
	return &backupstest.Watch{FS: fsys, Before: func(op backupstest.Op) error {
		if *healed || op.N < f.n || op.N > f.n && !f.lasts || !f.concerns(op) {
			return nil
		}
		*hit = true
		switch {
		case f.err == errShort:
			return backupstest.Partly{N: op.Size / 2}
		case op.Name == "Write":
			return backupstest.Partly{N: op.Size / 3, Err: f.err}
		}
		return f.err
	}}
}

// tryToTheEnd runs the transaction as harden/apply does: a failure is undone at once, in the same process.
func (s scenario) tryToTheEnd(store *backups.Store, forward bool) (err error) {
	x, tx, err := s.begin(store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Unlock()) }()
	if err = putAll(tx); err == nil && forward {
		if err = tx.Close(backups.Committed); err == nil {
			return nil
		}
	}
	if undone := revertAll(tx); undone != nil {
		return errors.Join(err, undone, tx.Close(backups.Mixed))
	}
	return errors.Join(err, tx.Close(backups.RolledBack))
}

// TestFaults fails every operation of begin, put, revert and close, once and for good, everywhere or in one place.
func TestFaults(t *testing.T) {
	for _, forward := range []bool{true, false} {
		ops := watched(t, inMemory.disk(t), func(s *backups.Store) error { return inMemory.tryToTheEnd(s, forward) })
		name := map[bool]string{true: "forward", false: "back"}[forward]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			struck, undone, resumed, unnoticed := 0, 0, 0, 0
			for _, err := range faults {
				for _, f := range []fault{
					{err: err}, {err: err, lasts: true},
					{err: err, lasts: true, below: stateDir}, {err: err, lasts: true, below: "/etc"},
				} {
					for _, op := range ops {
						if f.n = op.N; !f.concerns(op) || f.n%every(11) != 0 {
							continue
						}
						r, err := f.strike(t, forward)
						if err != nil {
							t.Fatalf("%v: %v", f, err)
						}
						struck += r.struck
						undone += r.undone
						resumed += r.resumed
						unnoticed += r.unnoticed
					}
				}
			}
			t.Logf("%d faults struck: %d undone in the same run, %d settled by a later one, %d harmless",
				struck, undone, resumed, unnoticed)
		})
	}
}

type struck struct{ struck, undone, resumed, unnoticed int }

func (f fault) strike(t *testing.T, forward bool) (r struck, err error) {
	var hit, healed bool
	d := inMemory.disk(t)
	w := f.on(d, &hit, &healed)
	err = inMemory.tryToTheEnd(open(w), forward)
	if !hit {
		return r, errors.New("it did not strike")
	}
	r.struck = 1
	if err == nil {
		r.unnoticed = 1
		outcome, err := inMemory.check(d)
		if want := map[bool]string{true: backups.Committed, false: backups.RolledBack}[forward]; err == nil && outcome != want {
			err = fmt.Errorf("it was said to have ended as %q, and is %q", want, outcome)
		}
		return r, err
	}
	if f.err != errShort && !errors.Is(err, f.err) {
		return r, fmt.Errorf("the error does not tell of it: %w", err)
	}
	if _, err := inMemory.check(d); err == nil {
		if list, err := open(d).List(); err == nil && (len(list) == 0 || list[0].Outcome != backups.Mixed) {
			r.undone = 1
			return r, nil
		}
	}
	// The disk works again: whatever is owed, recover pays, also what a run had to give up as mixed.
	healed = true
	r.resumed = 1
	if err := settleMixed(open(d)); err != nil {
		return r, fmt.Errorf("recovering: %w", err)
	}
	outcome, err := inMemory.check(d)
	if err == nil && outcome != backups.RolledBack && outcome != backups.Aborted && outcome != "" {
		err = fmt.Errorf("settled as %q", outcome)
	}
	return r, err
}

// settleMixed is settle for what was left mixed, too.
func settleMixed(store *backups.Store) error {
	x, err := store.Lock(holder)
	if err != nil {
		return err
	}
	list, err := store.List()
	for _, sum := range list {
		if err == nil && (sum.Outcome == "" || sum.Outcome == backups.Mixed) {
			err = undo(x, sum.ID)
		}
	}
	return errors.Join(err, x.Unlock())
}

// TestRecoveryFaults fails every operation of a recovery; the next one succeeds.
func TestRecoveryFaults(t *testing.T) {
	d := inMemory.disk(t)
	x, tx, err := inMemory.begin(open(d))
	must(t, err)
	must(t, putAll(tx))
	must(t, x.Unlock())
	ops := watched(t, d.Clone(), settle)
	count := 0
	for _, err := range faults {
		for _, lasts := range []bool{false, true} {
			for _, op := range ops {
				f := fault{err: err, n: op.N, lasts: lasts}
				if !f.concerns(op) || op.N%every(5) != 0 {
					continue
				}
				var hit, healed bool
				c := d.Clone()
				err := settle(open(f.on(c, &hit, &healed)))
				if !hit {
					t.Fatalf("%v did not strike", f)
				}
				count++
				if err != nil {
					healed = true
					must(t, settle(open(c)))
				}
				if _, err := inMemory.check(c); err != nil {
					t.Fatalf("%v: %v", f, err)
				}
			}
		}
	}
	t.Logf("%d faults in recovery", count)
}
