package apply_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// armedWorld has a switch, and a plan that needs one.
func armedWorld(t testing.TB) (*world, *deadMan, harden.Plan) {
	w := newWorld(t)
	w.dead = &deadMan{w: w}
	p := w.plan(locking...)
	if p.Switch == nil {
		t.Fatal("the plan has no switch")
	}
	return w, w.dead, p
}

var locking = []string{"audit", "lockout", "pids"}

func (w *world) confirm(id string) harden.Result {
	w.t.Helper()
	a := w.process()
	defer w.end()
	return a.Confirm(context.Background(), id)
}

func (w *world) expire(id string) harden.Result {
	w.t.Helper()
	a := w.process()
	defer w.end()
	return a.Expire(context.Background(), id)
}

func TestPlanThatLocksOutWaitsForConfirm(t *testing.T) {
	w, dead, p := armedWorld(t)
	w.on("Rename", apiserverManifest, 1, func() {
		if !dead.armed {
			t.Error("the manifest is written before the switch is armed")
		}
	})
	res := w.apply(p)
	if res.Outcome != harden.OutcomeWaiting || !dead.armed || !strings.Contains(res.Message.String(), "undone in 5m") {
		t.Fatalf("%s: %s; armed %v", res.Outcome, res.Message, dead.armed)
	}
	if want := []string{"kubectl-harden confirm " + res.Transaction, "kubectl-harden rollback " + res.Transaction}; !slices.Equal(res.Hints, want) {
		t.Errorf("hints %q", res.Hints)
	}
	if len(dead.arms) != 2 || dead.arms[1] != p.Switch.Within || dead.arms[0] < p.Switch.Within+3*time.Minute {
		t.Errorf("armed for %v", dead.arms)
	}
	if w.outcome() != "" || !w.planned(p) {
		t.Errorf("stored as %q", w.outcome())
	}
	if kinds := w.kinds(); !strings.Contains(kinds, "armed") || !strings.HasSuffix(kinds, " waiting") {
		t.Errorf("events: %s", kinds)
	}
	if other := w.apply(p); other.Outcome != harden.OutcomeUnsettled || !strings.Contains(other.Message.String(), "waits for confirm") {
		t.Errorf("a second run: %s: %s", other.Outcome, other.Message)
	}
	done := w.confirm(res.Transaction)
	if done.Outcome != harden.OutcomeApplied || dead.armed || dead.prepared || w.outcome() != backups.Committed || !w.planned(p) {
		t.Errorf("%s: %s; armed %v, stored as %q", done.Outcome, done.Message, dead.armed, w.outcome())
	}
	if again := w.confirm(res.Transaction); again.Outcome != harden.OutcomeRefused {
		t.Errorf("confirmed twice: %s: %s", again.Outcome, again.Message)
	}
}

// TestWaitingIsUndone undoes what waits, in every way that there is; it cannot be confirmed afterwards.
func TestWaitingIsUndone(t *testing.T) {
	for name, undo := range map[string]func(w *world, id string) harden.Result{
		"at expiry":  func(w *world, id string) harden.Result { return w.expire(id) },
		"by recover": func(w *world, id string) harden.Result { return w.recover(id, false) },
		"at boot": func(w *world, id string) harden.Result {
			a := w.process()
			w.node.unit.Active = false
			kubelets := w.node.restarts
			must(w.t, a.PutBack(id))
			w.end()
			if left := w.changes(); len(left) > 0 {
				w.t.Errorf("the kubelet would start with %q", left)
			}
			if w.node.restarts != kubelets || w.outcome() != "" {
				w.t.Errorf("before the kubelet runs: %d restarts, stored as %q", w.node.restarts-kubelets, w.outcome())
			}
			if !w.dead.armed {
				w.t.Error("the switch is disarmed before anything is proven")
			}
			w.node.startKubelet()
			res := w.expire(id)
			if !strings.Contains(res.Message.String(), "restarted before it was confirmed") {
				w.t.Errorf("after a reboot: %s", res.Message)
			}
			return res
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, dead, p := armedWorld(t)
			id := w.apply(p).Transaction
			w.events = nil
			res := undo(w, id)
			if res.Outcome != harden.OutcomeRolledBack || dead.armed || w.outcome() != backups.RolledBack || len(w.changes()) > 0 {
				t.Fatalf("%s: %s; armed %v, stored as %q, left %q", res.Outcome, res.Message, dead.armed, w.outcome(), w.changes())
			}
			if res := w.confirm(id); res.Outcome != harden.OutcomeRefused {
				t.Errorf("confirmed what was undone: %s: %s", res.Outcome, res.Message)
			}
		})
	}
}

// TestFailedUndoLeavesItsSwitchArmed: a switch that was disarmed by an undo that failed left the operator locked out, with
// nothing that would try again.
func TestFailedUndoLeavesItsSwitchArmed(t *testing.T) {
	broken := errors.New("input/output error")
	for name, tt := range map[string]struct {
		begin func(w *world, p harden.Plan) harden.Result // ends with the undo that fails
		mend  func(w *world, p harden.Plan)
		says  string
	}{
		"at expiry, as somebody else has changed the same line": {
			func(w *world, p harden.Plan) harden.Result {
				id := w.apply(p).Transaction
				w.write(apiserverManifest, strings.Replace(w.node.text(apiserverManifest), "--min-request-timeout=1801", "--min-request-timeout=1802", 1))
				return w.expire(id)
			},
			func(w *world, p harden.Plan) { w.write(apiserverManifest, string(w.before[apiserverManifest].Data)) },
			"putting " + apiserverManifest + " back",
		},
		"at expiry, as a file cannot be written": {
			func(w *world, p harden.Plan) harden.Result {
				id := w.apply(p).Transaction
				w.failing("Rename", kubeletConfig, 1, ever, broken)
				return w.expire(id)
			},
			func(w *world, _ harden.Plan) { w.watch.Before = nil },
			"input/output error",
		},
		"by the run itself, when a gate has failed": {
			func(w *world, p harden.Plan) harden.Result {
				w.node.dies = has("--min-request-timeout")
				w.failing("Rename", apiserverManifest, 2, ever, broken)
				return w.apply(p)
			},
			func(w *world, _ harden.Plan) { w.watch.Before = nil },
			"input/output error",
		},
		"by recover, as the kubelet does not restart": {
			func(w *world, p harden.Plan) harden.Result {
				id := w.apply(p).Transaction
				w.node.restart = func(string) error { return broken }
				return w.recover(id, false)
			},
			func(w *world, _ harden.Plan) { w.node.restart = nil },
			"restarting kubelet.service: input/output error",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, dead, p := armedWorld(t)
			res := tt.begin(w, p)
			if res.Outcome != harden.OutcomeMixed || !strings.Contains(res.Message.String(), tt.says) {
				t.Fatalf("%s: %s", res.Outcome, res.Message)
			}
			if !dead.armed || !dead.prepared || !strings.Contains(w.said(harden.EventKept), "stays armed") {
				t.Errorf("armed %v, prepared %v, said %q", dead.armed, dead.prepared, w.said(harden.EventKept))
			}
			if armed, waiting := w.armedIn(res.Transaction); armed == nil || waiting {
				t.Errorf("its journal says armed %v, waiting %v", armed, waiting)
			}
			if again := w.expire(res.Transaction); again.Outcome != harden.OutcomeMixed || !dead.armed {
				t.Errorf("once more: %s: %s; armed %v", again.Outcome, again.Message, dead.armed)
			}
			tt.mend(w, p)
			if last := w.expire(res.Transaction); last.Outcome != harden.OutcomeRolledBack || dead.armed || len(w.changes()) > 0 {
				t.Errorf("at last: %s: %s; armed %v, left %q", last.Outcome, last.Message, dead.armed, w.changes())
			}
		})
	}
}

func (w *world) armedIn(id string) (*apply.Armed, bool) {
	w.t.Helper()
	entries, _, err := backups.Open(w.fsys, backups.Options{Dir: stateDir}).Entries(id, 0)
	must(w.t, err)
	return apply.ArmedIn(converted(entries))
}

func TestConfirmIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange func(w *world, id string)
		says    string
	}{
		"after restore.sh": {func(w *world, id string) {
			w.write(stateDir+"/transactions/"+id+"/restored", "")
		}, "restore.sh was run"},
		"when it was put back and the journal does not say so": {func(w *world, _ string) {
			w.write(apiserverManifest, string(w.before[apiserverManifest].Data))
		}, "is as it was before"},
		"while it is put back at boot": {func(w *world, id string) {
			a := w.process()
			must(w.t, a.PutBack(id))
			w.end()
		}, "its undo has begun"},
		"on another node": {func(w *world, _ string) { w.write("/etc/kubernetes/pki/ca.crt", "") }, "another target"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, p := armedWorld(t)
			id := w.apply(p).Transaction
			tt.arrange(w, id)
			res := w.confirm(id)
			if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), tt.says) {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			if w.outcome() != "" {
				t.Errorf("stored as %q", w.outcome())
			}
		})
	}
	w, _, _ := armedWorld(t)
	id := w.killApply(w.plan(locking...), func() { w.die("Rename", apiserverManifest, 1) })
	if res := w.confirm(id); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "it was interrupted") {
		t.Errorf("one that was interrupted: %s: %s", res.Outcome, res.Message)
	}
}

func TestSwitchThatCannotBeArmedRefusesThePlan(t *testing.T) {
	noexec := errors.New("neither the program nor restore.sh runs from the transaction's folder")
	for name, arrange := range map[string]func(*world){
		"nothing of it runs":     func(w *world) { w.dead.refuses = noexec },
		"systemd does not start": func(w *world) { w.dead.fails = func(int) error { return noexec } },
	} {
		t.Run(name, func(t *testing.T) {
			w, dead, p := armedWorld(t)
			arrange(w)
			res := w.apply(p)
			if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "arming the dead man's switch: neither") {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			if left := w.changes(); len(left) > 0 || dead.armed || w.node.started[harden.APIServer]+w.node.restarts > 0 {
				t.Errorf("left %q, armed %v", left, dead.armed)
			}
		})
	}
	w, dead, p := armedWorld(t)
	dead.fails = func(nth int) error {
		if nth == 2 {
			return noexec
		}
		return nil
	}
	if res := w.apply(p); res.Outcome != harden.OutcomeRolledBack || dead.armed || len(w.changes()) > 0 {
		t.Errorf("its time cannot begin anew: %s: %s", res.Outcome, res.Message)
	}
	w, _, p = armedWorld(t)
	w.dead = nil
	if res := w.apply(p); res.Outcome != harden.OutcomeRefused || w.outcome() != "none" {
		t.Errorf("without a switch: %s: %s", res.Outcome, res.Message)
	}
}

// TestRunBeyondItsSwitchUndoes: the living holder of the lock undoes by itself, when the switch would.
func TestRunBeyondItsSwitchUndoes(t *testing.T) {
	w, dead, p := armedWorld(t)
	w.on("Rename", kubeletConfig, 1, func() { w.clock.now = dead.due })
	res := w.apply(p)
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "has run out") || dead.armed || len(w.changes()) > 0 {
		t.Errorf("%s: %s; left %q", res.Outcome, res.Message, w.changes())
	}
}

// TestRunBeyondItsSwitchIsNotArmedAnew: a run whose switch ran out after its last look armed it once more and waited, while the
// switch undid.
func TestRunBeyondItsSwitchIsNotArmedAnew(t *testing.T) {
	w, dead, p := armedWorld(t)
	w.apply(p)
	last := slices.IndexFunc(w.events, func(e harden.Event) bool { return e.Kind == harden.EventWaiting })
	w, dead, p = armedWorld(t)
	a := w.process()
	hear := a.Events
	a.Events = func(e harden.Event) {
		if hear(e); len(w.events) == last {
			w.clock.now = dead.due
		}
	}
	res := a.Apply(context.Background(), p)
	w.end()
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "has run out") || len(dead.arms) != 1 || len(w.changes()) > 0 {
		t.Errorf("%s: %s; armed for %v, left %q", res.Outcome, res.Message, dead.arms, w.changes())
	}
}

func TestFinishArmsAnewAndWaits(t *testing.T) {
	w, dead, p := armedWorld(t)
	id := w.killApply(p, func() { w.die("Rename", apiserverManifest, 1) })
	if !dead.armed {
		t.Fatal("a killed run has left no switch")
	}
	if res := w.recover(id, true); res.Outcome != harden.OutcomeWaiting || !dead.armed || len(dead.arms) != 3 {
		t.Fatalf("%s: %s; armed %v", res.Outcome, res.Message, dead.arms)
	}
	if res := w.recover(id, true); res.Outcome != harden.OutcomeUnsettled || !strings.Contains(res.Message.String(), "waits for confirm") {
		t.Errorf("finished twice: %s: %s", res.Outcome, res.Message)
	}
	if res := w.confirm(id); res.Outcome != harden.OutcomeApplied || !w.planned(p) {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// TestKilledWhileArmed kills a run, and the confirm that follows it, before or after each operation by which they change
// something. Then the switch's time is over: everything is as before, or confirmed, and no switch is left.
func TestKilledWhileArmed(t *testing.T) {
	base := t.TempDir()
	build := func(dir string) (*world, harden.Plan) {
		w := onDisk(t, filepath.Join(base, dir))
		w.dead = &deadMan{w: w}
		return w, w.plan(locking...)
	}
	both := func(w *world, p harden.Plan) {
		if res := w.apply(p); res.Outcome == harden.OutcomeWaiting {
			w.confirm(res.Transaction)
		}
	}
	w, p := build("count")
	var writes []backupstest.Op
	w.watch.Before = func(op backupstest.Op) error {
		if op.Writes() && op.Name != "Lock" {
			writes = append(writes, op)
		}
		return nil
	}
	both(w, p)
	outcomes := map[string]int{}
	sample := []int{len(writes) - 1}
	for i := 0; i < len(writes)-1; i += 3 * stride {
		sample = append(sample, i)
	}
	for _, i := range sample {
		op, dir := writes[i], fmt.Sprint(i)
		w, p := build(dir)
		w.killing(op.N, i%2 == 0)
		survives(func() { both(w, p) })
		w.watch = &backupstest.Watch{FS: w.fsys}
		open, err := (&store{Store: backups.Open(w.fsys, backups.Options{Dir: stateDir})}).Unsettled()
		must(t, err)
		for _, u := range open {
			w.expire(u.ID)
		}
		stored, left := w.outcome(), w.changes()
		switch {
		case w.dead.armed && stored != "none":
			t.Fatalf("killed at operation %d (%s %s): the switch is left armed", op.N, op.Name, op.Path)
		case stored == backups.Committed && w.planned(p):
		case (stored == backups.RolledBack || stored == backups.Aborted || stored == "none") && len(left) == 0:
		default:
			t.Fatalf("killed at operation %d (%s %s): stored as %q, left %q", op.N, op.Name, op.Path, stored, left)
		}
		outcomes[stored]++
		must(t, os.RemoveAll(filepath.Join(base, dir)))
	}
	if outcomes[backups.Committed] == 0 || outcomes[backups.RolledBack] == 0 {
		t.Errorf("of %d operations: %v", len(writes), outcomes)
	}
	t.Logf("of %d operations: %v", len(writes), outcomes)
}
