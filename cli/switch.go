package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
)

// guards act in our place; host.Guards on a live node.
type guards interface {
	Power(ctx context.Context) (host.GuardPower, error)
	Arm(ctx context.Context, g host.Guard, after time.Duration) (host.GuardPower, error)
	Disarm(ctx context.Context, name string) error
	Armed(ctx context.Context, name string) (host.GuardPower, error)
	Names(prefix string) ([]string, error)
	// Try runs a command once as a guard would, and waits for it.
	Try(ctx context.Context, name string, argv []string) error
	// BootClock is the running boot and the time since then, by a clock that nobody can set.
	BootClock() (boot string, since time.Duration, err error)
}

// nodeGuards are a live node's.
type nodeGuards struct {
	*host.Guards
	root *host.Root
}

func (g nodeGuards) BootClock() (string, time.Duration, error) { return g.root.BootClock() }

// deadMan is the dead man's switch of a transaction: a guard that runs a copy of this program from the transaction's folder,
// or restore.sh where the copy cannot run.
type deadMan struct {
	guards
	files              backups.FS
	stateDir, lockPath string
	program            func() (io.ReadCloser, error)
	flags              []string // with which the copy finds the same node and cluster
}

const switchPrefix = "kubectl-harden-switch-"

func switchOf(tx string) string { return switchPrefix + tx }

// What a switch has in the transaction's folder.
const (
	switchProgram = "kubectl-harden"
	switchScript  = "switch.sh"
	switchDrilled = "drilled" // what the drill has found to run
)

func (d *deadMan) at(tx, name string) string { return path.Join(d.stateDir, "transactions", tx, name) }

// Prepare copies the program and lets the script say what of it can run here, as it will run then.
func (d *deadMan) Prepare(ctx context.Context, tx string) error {
	sum, err := d.copyProgram(d.at(tx, switchProgram))
	if err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	script := d.script(tx, sum)
	if err := d.write(d.at(tx, switchScript), 0o700, strings.NewReader(script)); err != nil {
		return err
	}
	if err := d.files.SyncDir(path.Dir(d.at(tx, switchScript))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, drillWait)
	defer cancel()
	if err := d.Try(ctx, switchOf(tx)+"-drill", []string{"/bin/sh", d.at(tx, switchScript), "drill"}); err != nil {
		return fmt.Errorf("trying it: %w", err)
	}
	can, why, err := d.drilled(tx)
	if err != nil {
		return fmt.Errorf("trying it: %w", err)
	}
	if can != switchProgram && can != restoreScript {
		return fmt.Errorf("neither this program nor restore.sh can run from %s: %s", path.Dir(d.at(tx, switchScript)), why)
	}
	return nil
}

const (
	restoreScript = "restore.sh"
	// drillWait is far beyond what reading a transaction takes.
	drillWait = 30 * time.Second
)

// drilled is what the drill has written: what can run, and what it said.
func (d *deadMan) drilled(tx string) (can, said string, err error) {
	data, err := d.files.ReadFile(d.at(tx, switchDrilled))
	can, said, _ = strings.Cut(string(data), "\n")
	return can, strings.TrimSpace(said), err
}

func (d *deadMan) copyProgram(to string) (sum string, err error) {
	from, err := d.program()
	if err != nil {
		return "", err
	}
	defer from.Close()
	h := sha256.New()
	err = d.write(to, 0o700, io.TeeReader(from, h))
	return hex.EncodeToString(h.Sum(nil)), err
}

// write makes a file in one piece: the one before may be the switch that is armed.
func (d *deadMan) write(file string, mode uint32, from io.Reader) error {
	draft := path.Join(path.Dir(file), ".new-"+path.Base(file))
	if err := d.drop(draft); err != nil {
		return err
	}
	w, err := d.files.Create(draft, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, from)
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = d.files.Rename(draft, file)
	}
	if err != nil {
		return errors.Join(err, d.drop(draft))
	}
	return nil
}

func (d *deadMan) drop(file string) error {
	if err := d.files.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Arm starts its time.
func (d *deadMan) Arm(ctx context.Context, tx string, after time.Duration) (apply.Armed, error) {
	can, _, err := d.drilled(tx)
	if err != nil {
		return apply.Armed{}, err
	}
	script := d.at(tx, switchScript)
	power, err := d.guards.Arm(ctx, host.Guard{
		Name: switchOf(tx), About: "kubectl-harden undoes transaction " + tx + " unless it is confirmed",
		Expiry: [][]string{{"/bin/sh", script, "expiry"}}, Boot: [][]string{{"/bin/sh", script, "boot"}},
		Before: []string{"kubelet.service", harden.FilterUnit}, Needs: []string{d.stateDir, "/etc/kubernetes", "/var/lib/kubelet"}, Stays: true,
	}, after)
	if err != nil {
		return apply.Armed{}, err
	}
	boot, now, err := d.BootClock()
	return apply.Armed{Boot: boot, Due: now + after, Reboot: power == host.GuardSystemd, Script: can == restoreScript}, err
}

// Disarm removes the units, then what they run.
func (d *deadMan) Disarm(ctx context.Context, tx string) error {
	if err := d.guards.Disarm(ctx, switchOf(tx)); err != nil {
		return err
	}
	var errs []error
	for _, name := range []string{switchProgram, switchScript, switchDrilled} {
		errs = append(errs, d.drop(d.at(tx, ".new-"+name)), d.drop(d.at(tx, name)))
	}
	return errors.Join(errs...)
}

// switchState is the armed switch of a store; nil for none.
func (e *engine) switchState(ctx context.Context) (*harden.ArmedSwitch, error) {
	open, err := e.unsettled()
	if err != nil || e.m.guards == nil {
		return nil, err
	}
	for _, t := range open {
		entries, _, err := e.store.Entries(t.ID, 0)
		if err != nil {
			continue // its damage is told with the transaction
		}
		armed, waiting := apply.ArmedIn(entriesOf(entries))
		if armed == nil {
			if armed, err = e.leftInUndo(ctx, t.ID, entriesOf(entries)); err != nil {
				return nil, err
			}
		}
		if armed == nil || e.restored(t.ID) {
			continue
		}
		s := &harden.ArmedSwitch{Transaction: t.ID, Waiting: waiting, Reboot: armed.Reboot, Failed: apply.Undoing(entriesOf(entries))}
		boot, now, err := e.m.guards.BootClock()
		if err != nil {
			return nil, err
		}
		if s.Left = armed.Due - now; boot != armed.Boot {
			s.Left = 0
		}
		power, err := e.m.guards.Armed(ctx, switchOf(t.ID))
		switch {
		case err != nil:
			s.Lost = err.Error()
		case power == host.GuardNone && s.Left > 0:
			s.Lost = "its timer is not there any more"
		case power == host.GuardNone && s.Failed:
			names, err := e.m.guards.Names(switchOf(t.ID))
			if err != nil {
				return nil, err
			}
			if !s.Reboot || len(names) == 0 {
				s.Lost = "it has tried, and nothing lets it try again"
			}
		}
		return s, nil
	}
	return nil, nil
}

// leftInUndo is the switch of a transaction whose undo was killed, where it is still there; nil for none, and while somebody is at it.
func (e *engine) leftInUndo(ctx context.Context, id string, entries []apply.Entry) (*apply.Armed, error) {
	armed, begun := apply.ArmedBeforeUndo(entries)
	if armed == nil || !begun {
		return nil, nil
	}
	if _, held, err := e.store.Holder(); held || err != nil {
		return nil, err
	}
	power, err := e.m.guards.Armed(ctx, switchOf(id))
	if err != nil || power != host.GuardNone {
		return armed, err
	}
	return nil, nil
}

// leftSwitches are the names of switches whose transactions are settled, or gone.
func (e *engine) leftSwitches() ([]string, error) {
	if e.m.guards == nil {
		return nil, nil
	}
	names, err := e.m.guards.Names(switchPrefix)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	open, err := e.unsettled()
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(open, func(t backups.Summary) bool { return switchOf(t.ID) == strings.TrimSuffix(name, "-drill") })
	}), err
}

// Switch is the armed dead man's switch; nil where none is.
func (e *engine) Switch(ctx context.Context) (*harden.ArmedSwitch, error) { return e.switchState(ctx) }

// Confirm keeps a transaction that waits.
func (e *engine) Confirm(ctx context.Context, id string) harden.Result {
	rec, err := e.store.Load(id)
	if err != nil {
		return refused(fmt.Errorf("confirming: %w", err))
	}
	switch o := outcomeOf(rec.Outcome); o {
	case harden.OutcomeApplied:
		return harden.Result{Outcome: o, Message: harden.Msg("nothing to confirm: transaction %s is applied already", id)}
	case harden.OutcomeRolledBack, harden.OutcomeRefused, harden.OutcomeMixed:
		return harden.Result{
			Outcome: harden.OutcomeRefused, Transaction: id, Hints: []string{program + " history " + id},
			Message: harden.Msg("confirming: transaction %s does not wait for that: it is %s", id, string(o)),
		}
	}
	return e.locked(func(s *backups.Session) harden.Result {
		a, err := e.applierWithout(ctx, e.transactions(s))
		if err != nil {
			return refused(err)
		}
		return a.Confirm(ctx, id)
	})
}

// expire undoes a transaction whose switch has run out, or brings its files back at boot; again, where an undo has failed. It
// takes the place of a holder of the lock that does not do it.
func (e *engine) expire(ctx context.Context, id string, boot bool, events func(harden.Event), say func(string)) (harden.Result, error) {
	anew := func() bool { return !boot && e.armedAnew(ctx, id) }
	s, err := e.takeOver(ctx, id, anew, say)
	if errors.Is(err, errArmedAnew) {
		return harden.Result{Outcome: harden.OutcomeWaiting, Transaction: id, Message: harden.Msg("%s", err.Error())}, nil
	}
	if err != nil {
		return harden.Result{}, err
	}
	defer s.Unlock()
	rec, err := e.store.Load(id)
	if err != nil {
		return harden.Result{}, err
	}
	if rec.Outcome != "" && rec.Outcome != backups.Mixed {
		return harden.Result{Outcome: outcomeOf(rec.Outcome), Transaction: id, Message: harden.Msg("it is settled already")}, e.deadMan().Disarm(ctx, id)
	}
	if boot {
		a, err := e.applierWithout(ctx, e.transactions(s))
		if err != nil {
			return harden.Result{}, err
		}
		a.Events = events
		return harden.Result{
			Outcome: harden.OutcomeUnsettled, Transaction: id,
			Message: harden.Msg("its files are as before; what runs is proven once the kubelet is up"),
		}, a.PutBack(id)
	}
	a, err := e.applier(ctx, e.transactions(s), false)
	if err != nil {
		return harden.Result{}, err
	}
	a.Events = events
	res := a.Expire(ctx, id)
	if err := clearDesks(e.m.desks); err != nil {
		say("what is left of a killed run stays: " + err.Error())
	}
	return res, nil
}

const (
	// holderPatience is how long a holder of the lock may go on without undoing, once the switch has run out.
	holderPatience = 10 * time.Second
	// undoPatience is how long one that undoes may say nothing in the journal: longer than any gate.
	undoPatience = 10 * time.Minute
)

// errArmedAnew is the end of an expiry that came while the switch was armed once more.
var errArmedAnew = errors.New("its time has begun anew, and its timer undoes it when that is over")

// armedAnew says that the time of a transaction's switch goes on: the journal has a later end of it, and a timer waits for that.
// The timer of an expiry waits no more. Where there is no systemd, whoever arms anew has ended the process of the expiry.
func (e *engine) armedAnew(ctx context.Context, id string) bool {
	entries, _, err := e.store.Entries(id, 0)
	if err != nil {
		return false
	}
	armed, _ := apply.ArmedIn(entriesOf(entries))
	boot, now, err := e.m.guards.BootClock()
	if armed == nil || err != nil || armed.Boot != boot || armed.Due <= now {
		return false
	}
	// The journal's end is a little late, as it is taken after the timer was started: it alone does not tell.
	power, err := e.m.guards.Armed(ctx, switchOf(id))
	return err == nil && power == host.GuardSystemd
}

// takeOver takes the lock, unless the switch is armed anew. A holder that does not undo, because it hangs, is ended, if it is the
// process that took the lock.
func (e *engine) takeOver(ctx context.Context, id string, anew func() bool, say func(string)) (*backups.Session, error) {
	since, size := e.clock.Now(), int64(-1)
	patience := holderPatience
	for {
		s, err := e.store.Lock(e.holder())
		var held *backups.LockedError
		if err != nil && !errors.As(err, &held) {
			return nil, err
		}
		switch again := anew(); {
		case again && held == nil:
			return nil, errors.Join(errArmedAnew, s.Unlock())
		case again:
			return nil, errArmedAnew
		case held == nil:
			return s, nil
		}
		entries, next, err := e.store.Entries(id, 0)
		if err == nil && apply.Undoing(entriesOf(entries)) && patience != undoPatience {
			say("the holder of the lock is undoing: " + held.Holder.String())
			patience = undoPatience
		}
		now := e.clock.Now()
		if patience == undoPatience && next != size {
			since, size = now, next
		}
		if now.Sub(since) >= patience {
			since = now
			if err := e.end(held.Holder); err != nil {
				say(fmt.Sprintf("the holder of the lock hangs and cannot be ended: %v", err))
			} else {
				say("the holder of the lock hung and was ended: " + held.Holder.String())
			}
		}
		if err := e.clock.Sleep(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// end kills the process that took the lock, and no other one of its number.
func (e *engine) end(h backups.Holder) error {
	if h.PID <= 1 || h.Start == 0 {
		return errors.New("which process it is is not known for certain")
	}
	err := host.Signal("/proc", h.PID, h.Start, syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// deadMan is the switch of this node; nil where none can be armed.
func (e *engine) deadMan() *deadMan {
	if e.m.guards == nil {
		return nil
	}
	d := &deadMan{
		guards: e.m.guards, files: e.m.files, stateDir: e.m.stateDir, lockPath: e.m.lockPath, flags: e.m.flags,
		program: func() (io.ReadCloser, error) { return os.Open("/proc/self/exe") },
	}
	if e.m.sandbox {
		d.program = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	}
	return d
}

// setSwitch says how long there is to confirm, and what its switch outlives here.
func (e *engine) setSwitch(ctx context.Context, p *harden.Plan) {
	if p.Switch == nil {
		return
	}
	if e.within > 0 {
		p.Switch.Within = e.within
	}
	if e.m.guards != nil {
		power, err := e.m.guards.Power(ctx)
		p.Switch.Reboot = err == nil && power == host.GuardSystemd
	}
}

// undoesWaiting says that a plan undoes a transaction that waits for confirm: that one takes its own change back then.
func (e *engine) undoesWaiting(p harden.Plan) bool {
	return p.Undoes != "" && len(p.UndoesControls) == 0 && e.waits(p.Undoes)
}

// abandon undoes a transaction that waits, as the plan of its undo says.
func (e *engine) abandon(ctx context.Context, p harden.Plan, events func(harden.Event)) harden.Result {
	if e.m.start != nil {
		return e.send(ctx, errand{Abandon: &p}, events)
	}
	return e.abandonHere(ctx, p, events)
}
