package backups_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

var inMemory = scenario{odd: true, xattrs: true}

func (s scenario) disk(t testing.TB) *backupstest.Disk {
	t.Helper()
	d := backupstest.NewDisk(s.uid, s.gid)
	must(t, s.build(d))
	d.Settle()
	return d
}

// everyState makes TestLoss go through all states of each point, which takes minutes.
var everyState = flag.Bool("every-state", false, "recover from every state that is legal after a loss, not from a sample")

// TestLoss takes the power away after every operation, in every way that is legal, and recovers.
func TestLoss(t *testing.T) {
	limit := 120 / every(10)
	if *everyState {
		limit = math.MaxInt32
	}
	for name, run := range map[string]func(scenario, *backups.Store) error{
		"commit":   scenario.commit,
		"rollback": scenario.rollback,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := inMemory.disk(t)
			var points []*backupstest.Disk
			var ops []backupstest.Op
			w := &backupstest.Watch{FS: disk, After: func(op backupstest.Op) {
				if op.Writes() {
					points, ops = append(points, disk.Clone()), append(ops, op)
				}
			}}
			must(t, run(inMemory, open(w)))
			points, ops = append(points, disk.Clone()), append(ops, backupstest.Op{Name: "end"})

			states, sampled, committed, second := 0, 0, 0, 0
			for i, point := range points {
				losses, exhaustive := point.Losses(limit)
				if !exhaustive {
					sampled++
				}
				for after := range losses {
					states++
					outcome, again, err := recoverFrom(after, 4)
					if err != nil {
						t.Fatalf("point %d (%s %s), state %d: %v", i, ops[i].Name, ops[i].Path, states, err)
					}
					second += again
					if outcome == backups.Committed {
						committed++
					}
					if i == len(points)-1 && name == "commit" && outcome != backups.Committed {
						t.Fatalf("a committed transaction came back as %q", outcome)
					}
				}
			}
			t.Logf("%d points (%d sampled, the rest exhaustive), %d states, %d of them committed, %d losses after recovery",
				len(points), sampled, states, committed, second)
		})
	}
}

// recoverFrom settles what is on the disk and proves that the result is right, and stays so when power goes at once:
// in so many ways, of which the first loses all that can be lost.
func recoverFrom(d *backupstest.Disk, losses int) (outcome string, again int, err error) {
	if err := settle(open(d)); err != nil {
		return "", 0, fmt.Errorf("recovering: %w", err)
	}
	if outcome, err = inMemory.check(d); err != nil {
		return "", 0, err
	}
	after, _ := d.Losses(losses)
	for lost := range after {
		if again == losses {
			break
		}
		again++
		settled, err := inMemory.check(lost)
		if err != nil {
			return "", again, fmt.Errorf("after a second loss: %w", err)
		}
		if outcome != settled {
			return "", again, fmt.Errorf("the outcome %q became %q", outcome, settled)
		}
	}
	return outcome, again, nil
}

// TestLossAfterAFailedPut proves that the dot-file of a put that failed stays away.
func TestLossAfterAFailedPut(t *testing.T) {
	d := inMemory.disk(t)
	w := &backupstest.Watch{FS: d}
	_, tx, err := inMemory.begin(open(w))
	must(t, err)
	w.Before = func(op backupstest.Op) error {
		if op.Name == "Sync" && strings.HasPrefix(op.Path, "/etc/") {
			return syscall.ENOSPC
		}
		return nil
	}
	if err := tx.Put("apiserver"); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v", err)
	}
	must(t, tx.Close(backups.Aborted))
	losses, exhaustive := d.Losses(1000)
	for lost := range losses {
		if _, err := inMemory.check(lost); err != nil || !exhaustive {
			t.Fatal(err, exhaustive)
		}
	}
}

// TestLossInPrune takes the power away while a transaction is removed: it is there as a whole, or not at all.
func TestLossInPrune(t *testing.T) {
	d := inMemory.disk(t)
	must(t, inMemory.commit(open(d)))
	var points []*backupstest.Disk
	w := &backupstest.Watch{FS: d, After: func(op backupstest.Op) {
		if op.Writes() {
			points = append(points, d.Clone())
		}
	}}
	x, err := open(w).Lock(holder)
	must(t, err)
	pruned, err := x.Prune(0, all)
	if len(pruned) != 1 || err != nil {
		t.Fatal(pruned, err)
	}
	states := 0
	for _, point := range points {
		losses, _ := point.Losses(100)
		for lost := range losses {
			states++
			list, err := open(lost).List()
			must(t, err)
			for _, sum := range list {
				_, err := open(lost).Load(sum.ID)
				must(t, err)
			}
		}
	}
	t.Logf("%d states", states)
}

// TestNextRunAfterDeath ends a process before every operation, lets the next run go through, and takes the power away
// after that: nothing that the first left half done may make the second's transaction disappear.
func TestNextRunAfterDeath(t *testing.T) {
	w := &backupstest.Watch{FS: inMemory.disk(t)}
	must(t, inMemory.commit(open(w)))
	for n := 1; n < w.Count(); n += every(5) {
		d := inMemory.disk(t)
		_ = inMemory.commit(open(die(d, n)))
		d = d.Clone()
		must(t, settle(open(d)))
		if list, err := open(d).List(); err != nil || len(list) == 0 || list[0].Outcome != backups.Committed {
			must(t, err)
			must(t, inMemory.commit(open(d)))
		}
		after, _ := d.Losses(1)
		for lost := range after {
			list, err := open(lost).List()
			if err != nil || len(list) == 0 || list[0].Outcome != backups.Committed {
				t.Fatalf("died at %d: %v, %v", n, list, err)
			}
			got, err := snapshot(lost)
			must(t, err)
			if diff := differences(inMemory.after(), got); diff != "" {
				t.Fatalf("died at %d:\n%s", n, diff)
			}
		}
	}
	t.Logf("%d deaths before a run that went through", (w.Count()-1)/every(5))
}

// Asking who holds the lock took the name of a killed holder away, by which the next run knows that what can be read of its
// journal need not be durable: that run took a transaction for settled, and after a loss of power it was not.
func TestAskingWhoHoldsTheLockMadeTheNextRunBuildOnWhatWasNotDurable(t *testing.T) {
	var last int
	for _, op := range watched(t, inMemory.disk(t), inMemory.commit) {
		if op.Name == "Sync" && strings.HasSuffix(op.Path, "/journal.jsonl") {
			last = op.N // of the outcome
		}
	}
	d := inMemory.disk(t)
	_ = inMemory.commit(open(die(d, last)))
	d = d.Clone()
	for range 2 {
		if h, held, err := open(d).Holder(); held || err != nil || h.PID != 0 {
			t.Errorf("holder %v, held %v, %v", h, held, err)
		}
	}
	_, err := open(d).Lock(holder)
	must(t, err)
	if sum := one(t, open(d)); sum.Outcome != backups.Committed {
		t.Fatalf("the outcome is %q: nothing is tested", sum.Outcome)
	}
	after, _ := d.Losses(1)
	for lost := range after {
		if sum := one(t, open(lost)); sum.Outcome != backups.Committed {
			t.Errorf("the outcome that the next run has read became %q", sum.Outcome)
		}
	}
}

// errDead is what a killed process would see, if it saw anything.
var errDead = errors.New("the process is dead")

// die stops everything from operation n on.
func die(fsys backups.FS, n int) *backupstest.Watch {
	return &backupstest.Watch{FS: fsys, Before: func(op backupstest.Op) error {
		if op.N >= n {
			return errDead
		}
		return nil
	}}
}

// TestDeathInRecovery ends the process before an operation, the recovery from there before one of its own, and
// recovers again, with and without a loss of power in between. The steps through both are coprime and the second
// starts anew each time, so that all operations have their turn.
func TestDeathInRecovery(t *testing.T) {
	step, stride := 5*every(8), 7
	w := &backupstest.Watch{FS: inMemory.disk(t)}
	must(t, inMemory.commit(open(w)))
	deaths, losses := 0, 0
	for n := 1; n <= w.Count(); n += step {
		first := inMemory.disk(t)
		_ = inMemory.commit(open(die(first, n))) // dead processes report nothing
		for m := 1 + n%stride; ; m += stride {
			second := first.Clone()
			recovery := die(second, m)
			err := settle(open(recovery))
			if m > recovery.Count() {
				must(t, err)
				break
			}
			deaths++
			after, _ := second.Losses(1)
			for lost := range after {
				losses++
				if _, _, err := recoverFrom(lost, 1); err != nil {
					t.Fatalf("died at %d, then at %d, and lost power: %v", n, m, err)
				}
				break
			}
			if _, _, err := recoverFrom(second.Clone(), 1); err != nil {
				t.Fatalf("died at %d, then at %d: %v", n, m, err)
			}
		}
	}
	t.Logf("%d deaths in recovery, %d losses of power after them", deaths, losses)
}
