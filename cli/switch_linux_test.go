package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/host"
)

// lockedOut is a sandbox node on which a remedy that can lock out was applied, and waits.
func lockedOut(t *testing.T) (*engine, *leap, harden.Result) {
	t.Helper()
	e, _, clock := demoEngine(t, &app{areas: catalog.Areas()})
	plans := lockOutPlans(t, e)
	res := e.Apply(t.Context(), plans[0], func(harden.Event) {})
	if res.Outcome != harden.OutcomeWaiting {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	return e, clock, res
}

func lockOutPlans(t *testing.T, e *engine) []harden.Plan {
	t.Helper()
	f, err := e.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plans, err := e.Plan(t.Context(), f, []harden.Choice{{Control: "apiserver-anonymous-auth", Remedy: "flag-false", Accept: true, Named: true}})
	if err != nil {
		t.Fatal(err)
	}
	if plans[0].Switch == nil {
		t.Fatal("the plan has no switch")
	}
	return plans
}

func outcomeIn(t *testing.T, e *engine, id string) harden.Outcome {
	t.Helper()
	list, err := e.History(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.ID == id {
			return x.Outcome
		}
	}
	t.Fatalf("no transaction %s", id)
	return ""
}

func manifestOf(t *testing.T, e *engine) string {
	t.Helper()
	s, err := e.m.node.State("/etc/kubernetes/manifests/kube-apiserver.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(s.Data)
}

func TestWhatWaitsIsShownAndConfirmed(t *testing.T) {
	e, clock, res := lockedOut(t)
	id := res.Transaction
	if o := outcomeIn(t, e, id); o != harden.OutcomeWaiting {
		t.Errorf("the history says %s", o)
	}
	before, err := e.Switch(t.Context())
	if err != nil || before == nil || !before.Waiting || before.Lost != "" || before.Left > harden.DefaultConfirmWithin {
		t.Fatalf("Switch = %+v, %v", before, err)
	}
	clock.now = clock.now.Add(time.Minute)
	after, err := e.Switch(t.Context())
	if err != nil || before.Left-after.Left != time.Minute {
		t.Errorf("after a minute %v of %v are left, %v", after.Left, before.Left, err)
	}
	if again := e.Apply(t.Context(), lockOutAgain(t, e), func(harden.Event) {}); again.Outcome != harden.OutcomeUnsettled {
		t.Errorf("another apply meanwhile: %s: %s", again.Outcome, again.Message)
	}
	if done := e.Confirm(t.Context(), id); done.Outcome != harden.OutcomeApplied {
		t.Fatalf("%s: %s", done.Outcome, done.Message)
	}
	if o := outcomeIn(t, e, id); o != harden.OutcomeApplied || !strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
		t.Errorf("confirmed, the history says %s", o)
	}
	if s, err := e.Switch(t.Context()); err != nil || s != nil {
		t.Errorf("Switch = %+v, %v", s, err)
	}
	for _, name := range []string{switchProgram, switchScript, switchDrilled} {
		if s, err := e.m.node.State(e.deadMan().at(id, name)); err != nil || s.Exists {
			t.Errorf("%s is left, %v", name, err)
		}
	}
	if again := e.Confirm(t.Context(), id); again.Outcome != harden.OutcomeApplied || !strings.Contains(again.Message.String(), "nothing to confirm") {
		t.Errorf("confirmed twice: %s: %s", again.Outcome, again.Message)
	}
}

func lockOutAgain(t *testing.T, e *engine) harden.Plan {
	t.Helper()
	f, err := e.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plans, err := e.Plan(t.Context(), f, []harden.Choice{{Control: "apiserver-profiling"}})
	if err != nil {
		t.Fatal(err)
	}
	return plans[0]
}

func TestWhatWaitsIsUndone(t *testing.T) {
	for name, undo := range map[string]func(t *testing.T, e *engine, id string) harden.Outcome{
		"at expiry": func(t *testing.T, e *engine, id string) harden.Outcome {
			res, err := e.expire(t.Context(), id, false, func(harden.Event) {}, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := e.expire(t.Context(), id, false, func(harden.Event) {}, func(string) {}); err != nil || again.Outcome != harden.OutcomeRolledBack {
				t.Errorf("once more: %s, %v", again.Outcome, err)
			}
			return res.Outcome
		},
		"by rollback, as it was shown": func(t *testing.T, e *engine, id string) harden.Outcome {
			last, _, err := e.lastRun()
			if err != nil || len(last) != 1 || last[0].ID != id {
				t.Fatalf("the last run is %+v, %v", last, err)
			}
			plans, err := e.Undo(t.Context(), id, "")
			if err != nil {
				t.Fatal(err)
			}
			if res := e.Check(t.Context(), plans[0]); res.Outcome != harden.OutcomeApplied {
				t.Errorf("Check: %s: %s", res.Outcome, res.Message)
			}
			if res := e.Apply(t.Context(), plans[0], func(harden.Event) {}); res.Outcome != harden.OutcomeApplied {
				t.Errorf("%s: %s", res.Outcome, res.Message)
			}
			return harden.OutcomeRolledBack
		},
		"by recover": func(t *testing.T, e *engine, id string) harden.Outcome {
			return e.Recover(t.Context(), id, false, func(harden.Event) {}).Outcome
		},
		"at boot, and proven later": func(t *testing.T, e *engine, id string) harden.Outcome {
			if _, err := e.expire(t.Context(), id, true, func(harden.Event) {}, func(string) {}); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
				t.Error("the kubelet would start with the changed manifest")
			}
			if o := outcomeIn(t, e, id); o != harden.OutcomeUnsettled {
				t.Errorf("before it is proven the history says %s", o)
			}
			res, err := e.expire(t.Context(), id, false, func(harden.Event) {}, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			return res.Outcome
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, _, res := lockedOut(t)
			if o := undo(t, e, res.Transaction); o != harden.OutcomeRolledBack {
				t.Errorf("it ended as %s", o)
			}
			if o := outcomeIn(t, e, res.Transaction); o != harden.OutcomeRolledBack || strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
				t.Errorf("the history says %s", o)
			}
			if late := e.Confirm(t.Context(), res.Transaction); late.Outcome != harden.OutcomeRefused {
				t.Errorf("confirmed afterwards: %s: %s", late.Outcome, late.Message)
			}
			if names, _ := e.m.guards.Names(switchPrefix); len(names) > 0 {
				t.Errorf("left is %q", names)
			}
		})
	}
}

// TestSwitchTriesAgainAfterAFailedUndo: an undo that failed was taken for a settled one, so that neither restore.sh nor the next
// boot did anything.
func TestSwitchTriesAgainAfterAFailedUndo(t *testing.T) {
	for name, boot := range map[string]bool{"at expiry": false, "at boot": true} {
		t.Run(name, func(t *testing.T) {
			e, clock, res := lockedOut(t)
			id, planned := res.Transaction, manifestOf(t, e)
			rewrite(t, e, strings.Replace(planned, "--anonymous-auth=false", "--anonymous-auth=somebody-else", 1))
			a := &app{Streams: Streams{Out: io.Discard, Err: io.Discard}}
			fire := func(boot bool) (harden.Outcome, error) {
				res, err := e.expire(t.Context(), id, boot, func(harden.Event) {}, func(string) {})
				if err == nil && !boot {
					err = a.fired(id, res)
				}
				return res.Outcome, err
			}
			if o, err := fire(false); o != harden.OutcomeMixed || exitCode(err) != exitMixed {
				t.Fatalf("it ended as %s, %v", o, err)
			}
			if !strings.Contains(manifestOf(t, e), "somebody-else") {
				t.Error("what somebody else has written is gone")
			}
			if s, err := e.Switch(t.Context()); err != nil || s == nil || !s.Failed || s.Waiting || s.Left <= 0 || s.Lost != "" {
				t.Errorf("Switch = %+v, %v", s, err)
			} else if words := switchWords(s); !strings.Contains(words, "could not be undone wholly; it tries again in ") {
				t.Errorf("status says %q", words)
			}
			if late := e.Confirm(t.Context(), id); late.Outcome != harden.OutcomeRefused {
				t.Errorf("confirmed: %s: %s", late.Outcome, late.Message)
			}
			if boot {
				if _, err := fire(true); err == nil {
					t.Error("at boot, restore.sh is not asked")
				}
			}
			rewrite(t, e, planned)
			if boot {
				if _, err := fire(true); err != nil || strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
					t.Errorf("at boot the manifest is as planned, %v", err)
				}
			}
			if o, err := fire(false); o != harden.OutcomeRolledBack || err != nil {
				t.Errorf("at last it ended as %s, %v", o, err)
			}
			if names, _ := e.m.guards.Names(switchPrefix); len(names) > 0 || strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
				t.Errorf("left is %q", names)
			}
			clock.now = clock.now.Add(time.Hour)
			if s, err := e.Switch(t.Context()); err != nil || s != nil {
				t.Errorf("Switch = %+v, %v", s, err)
			}
		})
	}
}

// systemdGuards are guards whose timer is systemd's: it waits, or runs what it is for.
type systemdGuards struct {
	guards
	waits bool
}

func (g *systemdGuards) Armed(context.Context, string) (host.GuardPower, error) {
	if g.waits {
		return host.GuardSystemd, nil
	}
	return host.GuardNone, nil
}

// TestExpiryLeavesWhatIsArmedAnew: a timer that ran out while the time to confirm was started undid at once, as soon as the lock was
// free, although there were minutes left to confirm; and it would end who holds the lock.
func TestExpiryLeavesWhatIsArmedAnew(t *testing.T) {
	e, clock, res := lockedOut(t)
	id := res.Transaction
	timer := &systemdGuards{guards: e.m.guards, waits: true}
	e.m.guards = timer
	expire := func() harden.Outcome {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := clock.Now()
		clock.slept = func(int) {
			if clock.Now().Sub(began) > time.Minute {
				cancel()
			}
		}
		var said []string
		res, err := e.expire(ctx, id, false, func(harden.Event) {}, func(s string) { said = append(said, s) })
		if err != nil || len(said) > 0 {
			t.Errorf("%v, and it says %q", err, said)
		}
		if err := (&app{Streams: Streams{Out: io.Discard, Err: io.Discard}}).fired(id, res); err != nil {
			t.Errorf("restore.sh would go on: %v", err)
		}
		return res.Outcome
	}
	s, err := e.store.Lock(backups.Holder{PID: 1, Since: clock.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if o := expire(); o != harden.OutcomeWaiting {
		t.Errorf("while the lock is held: %s", o)
	}
	if err := s.Unlock(); err != nil {
		t.Fatal(err)
	}
	if o := expire(); o != harden.OutcomeWaiting || outcomeIn(t, e, id) != harden.OutcomeWaiting || !strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
		t.Errorf("once it is free: %s, and the history says %s", o, outcomeIn(t, e, id))
	}
	if _, held, err := e.store.Holder(); held || err != nil {
		t.Errorf("the lock is kept: %v, %v", held, err)
	}
	// Its own timer waits no more, though the journal's end of its time is a little later.
	timer.waits = false
	if o := expire(); o != harden.OutcomeRolledBack || strings.Contains(manifestOf(t, e), "--anonymous-auth=false") {
		t.Errorf("at the end of its own time: %s", o)
	}
}

// TestExpiryClearsWhatAKilledRunLeft: the desk of a run that was killed while its switch was armed stayed in /run when that had undone it.
func TestExpiryClearsWhatAKilledRunLeft(t *testing.T) {
	e, _, res := lockedOut(t)
	e.m.desks = filepath.Join(t.TempDir(), "desks")
	killed, err := thisRunner()
	if err != nil {
		t.Fatal(err)
	}
	killed.Start++
	d, err := makeDesk(e.m.desks, "left")
	if err == nil {
		_, err = d.put(deskRunner, killed)
	}
	if err != nil {
		t.Fatal(err)
	}
	done, err := e.expire(t.Context(), res.Transaction, false, func(harden.Event) {}, func(s string) { t.Error(s) })
	if err != nil || done.Outcome != harden.OutcomeRolledBack {
		t.Errorf("%s, %v", done.Outcome, err)
	}
	if _, err := os.Stat(e.m.desks); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

// TestRestoredByTheScript: restore.sh leaves no word in the journal, and what it put back waits for nobody.
func TestRestoredByTheScript(t *testing.T) {
	e, _, res := lockedOut(t)
	w, err := e.m.files.Create(e.deadMan().at(res.Transaction, "restored"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err := e.Switch(t.Context()); err != nil || s != nil {
		t.Errorf("Switch = %+v, %v", s, err)
	}
	if o := outcomeIn(t, e, res.Transaction); o != harden.OutcomeUnsettled {
		t.Errorf("the history says %s", o)
	}
	kept := e.deadMan().at(res.Transaction, "kept")
	err = e.m.files.Mkdir(kept, 0o700)
	if err == nil {
		w, err = e.m.files.Create(kept+"/1-0a1b", 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := &app{Streams: Streams{Out: &out, Err: io.Discard}}
	v, err := a.status(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if a.printStatus(v); !strings.Contains(out.String(), "was put back by restore.sh") || !strings.Contains(out.String(), "kept a copy in "+kept+"\n") {
		t.Errorf("status says %s", out.String())
	}
}

func TestOneControlOfWhatWaitsCannotBeUndone(t *testing.T) {
	e, _, res := lockedOut(t)
	if _, err := e.Undo(context.Background(), res.Transaction, "apiserver-anonymous-auth"); err == nil || !strings.Contains(err.Error(), "waits for confirm") {
		t.Errorf("Undo: %v", err)
	}
}
