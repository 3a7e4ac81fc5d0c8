package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Switch is the dead man's switch of a transaction: something outside of our process that undoes it when its time is over, and
// at the next boot, unless it is disarmed.
type Switch interface {
	// Prepare puts what the switch runs into the transaction's folder, and lets it run once without doing anything. An error
	// says why nothing of it can run here.
	Prepare(ctx context.Context, tx string) error
	// Arm starts its time, or starts it anew: the one before holds until then.
	Arm(ctx context.Context, tx string, after time.Duration) (Armed, error)
	// Disarm removes all that Prepare and Arm have made; nothing is no error.
	Disarm(ctx context.Context, tx string) error
}

// Armed is the journal of an armed switch. Its time is the boot's own, which nobody can set.
type Armed struct {
	Boot   string        `json:"boot"`   // which boot
	Due    time.Duration `json:"due"`    // since then
	Reboot bool          `json:"reboot"` // it undoes after a reboot too
	Script bool          `json:"script"` // our program cannot run from there: restore.sh does it
}

// ArmError is a switch that cannot be armed. Nothing was restarted.
type ArmError struct{ Err error }

func (e *ArmError) Error() string { return "arming the dead man's switch: " + e.Err.Error() }
func (e *ArmError) Unwrap() error { return e.Err }

var (
	// errExpired is the end of a run that takes longer than its switch allows.
	errExpired = fmt.Errorf("the dead man's switch has run out: %w", errInterrupted)
	// ErrUnconfirmed is why a switch undoes.
	ErrUnconfirmed = errors.New("nobody confirmed it in time")
	errNotWanted   = errors.New("it was not confirmed")
	errRebooted    = errors.New("the node was restarted before it was confirmed")
)

// undoingEntry is the journal of an undo that begins; of one that is not begun at boot there is nothing to say.
type undoingEntry struct {
	Rebooted bool `json:"rebooted"`
}

// armSlack is added to what the gates may take, for what lies between them.
const armSlack = 2 * time.Minute

// switched says that the plan needs a switch here.
func (r *run) switched() bool { return r.plan.Switch != nil && r.live() }

// arm arms the switch before the first change that can lock anybody out. It is armed for as long as the change may take and
// the time to confirm: when all has passed, its time begins anew.
func (r *run) arm(ctx context.Context, _ harden.Stage) error {
	if !r.switched() || !r.due.IsZero() {
		return nil
	}
	if err := interrupted(ctx); err != nil {
		return err
	}
	if err := r.tx.Log(kindArming, nil); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := r.Switch.Prepare(ctx, r.tx.ID()); err != nil {
		return r.unarmed(ctx, err)
	}
	after := r.longest() + r.plan.Switch.Within
	due := r.Clock.Now().Add(after)
	armed, err := r.Switch.Arm(ctx, r.tx.ID(), after)
	if err != nil {
		return r.unarmed(ctx, err)
	}
	if err := r.tx.Log(kindArmed, armed); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	r.due = due
	r.tell(harden.Event{Kind: harden.EventArmed, Timeout: after, Message: armedMessage(armed)})
	return nil
}

func (r *run) unarmed(ctx context.Context, err error) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	return &ArmError{err}
}

func armedMessage(a Armed) harden.Message {
	switch {
	case a.Script && a.Reboot:
		return harden.Msg("the dead man's switch is armed, and a reboot undoes it too: by restore.sh, as this program cannot run from the transaction's folder")
	case a.Script:
		return harden.Msg("the dead man's switch is armed, until a reboot: restore.sh undoes it, as this program cannot run from the transaction's folder")
	case a.Reboot:
		return harden.Msg("the dead man's switch is armed; a reboot undoes it too")
	}
	return harden.Msg("the dead man's switch is armed, until a reboot: nothing here starts it then")
}

// longest is how long the change may take while everything still goes well.
func (r *run) longest() time.Duration {
	d := armSlack + r.Soak
	for _, st := range r.plan.Stages {
		for _, g := range st.Gates {
			d += g.Timeout + readyWait + leaseWait + leaseWaitOthers
			d += time.Duration(len(g.Proofs)) * proofWait
		}
	}
	return d
}

// stopped says why a run goes no further: the operator wants it so, or its switch has run out.
func (r *run) stopped(ctx context.Context) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	if !r.due.IsZero() && !r.Clock.Now().Before(r.due) {
		return errExpired
	}
	return nil
}

// wait leaves a proven transaction to the operator. Nothing of us has to stay: the switch undoes it, or confirm keeps it.
func (r *run) wait(ctx context.Context) harden.Result {
	within := r.plan.Switch.Within
	last := len(r.plan.Stages) - 1
	if err := r.stopped(ctx); err != nil {
		return r.undo(ctx, err, last) // what was armed acts by now
	}
	armed, err := r.Switch.Arm(ctx, r.tx.ID(), within)
	if err != nil {
		return r.undo(ctx, fmt.Errorf("starting the time to confirm: %w", err), last)
	}
	if err := r.tx.Log(kindWaiting, armed); err != nil {
		return r.undo(ctx, fmt.Errorf("writing the journal: %w", err), last)
	}
	res := harden.Result{
		Transaction: r.tx.ID(), Outcome: harden.OutcomeWaiting, Script: r.tx.Script(),
		Message: harden.Msg("applied, every gate has passed; it is undone in %s unless it is confirmed", harden.Spell(within)),
		Hints:   []string{"kubectl-harden confirm " + r.tx.ID(), "kubectl-harden rollback " + r.tx.ID()},
	}
	if r.plan.Switch.NewConnection {
		res.Message = harden.Msg("applied, every gate has passed; it is undone in %s unless it is confirmed over a new SSH connection, or at a console", harden.Spell(within))
	}
	res = r.leading(res)
	r.tell(harden.Event{Kind: harden.EventWaiting, Timeout: within, Outcome: res.Outcome, Message: res.Message})
	return res
}

// disarm removes the switch. One that cannot be removed does no harm any more: it looks at the journal first.
func (r *run) disarm(ctx context.Context) {
	if !r.switched() || r.Switch == nil {
		return
	}
	if err := r.Switch.Disarm(ctx, r.tx.ID()); err != nil {
		r.tell(harden.Event{Kind: harden.EventKept, Message: harden.Msg("the dead man's switch is not removed wholly, and does nothing any more: %s", oneLine(err))})
	}
}

// armed says that the switch was armed, be it by a process that died.
func (r *run) armed() bool {
	entries, err := r.tx.Entries()
	return r.switched() && (err != nil || slices.ContainsFunc(entries, func(e Entry) bool { return e.Kind == kindArmed }))
}

// leaveArmed leaves the switch as it is: nothing else would bring back what an undo could not, where nobody can log in. It
// tries again when its time is over, and at the next boot.
func (r *run) leaveArmed() {
	_ = r.tx.Log(kindLeftArmed, nil)
	r.tell(harden.Event{Kind: harden.EventKept, Message: harden.Msg("the dead man's switch stays armed, as not everything is as before")})
}

// Confirm keeps a transaction that waits, and disarms its switch. Undo and confirm exclude each other: each is in the journal
// before anything of it is done, and only the holder of the store's lock writes there.
func (a *Applier) Confirm(ctx context.Context, id string) harden.Result {
	refused := func(m harden.Message, hints ...string) harden.Result {
		return harden.Result{Transaction: id, Outcome: harden.OutcomeRefused, Message: m, Hints: hints}
	}
	tx, plan, err := a.Store.Resume(id)
	if err != nil {
		return refused(harden.Msg("confirming: %s", oneLine(err)), "kubectl-harden history "+id)
	}
	r := newRun(a, plan, tx)
	r.resumed = true
	found, err := r.reread()
	if err == nil {
		err = a.sameTarget(plan.Target)
	}
	switch {
	case err != nil:
		return refused(harden.Msg("confirming transaction %s: %s", id, oneLine(err)))
	case found.passed:
	case found.undoing:
		return refused(harden.Msg("confirming transaction %s: its undo has begun", id), "kubectl-harden history "+id, "kubectl-harden recover")
	case !found.waiting:
		return refused(harden.Msg("confirming transaction %s: it does not wait for that: it was interrupted", id), "kubectl-harden recover")
	case tx.Restored():
		return refused(harden.Msg("confirming transaction %s: restore.sh was run", id), "kubectl-harden recover")
	}
	if !found.passed && plan.Filters() {
		if err := r.newLogin(); err != nil {
			return refused(harden.Msg("confirming transaction %s: %s", id, oneLine(err)), "kubectl-harden confirm "+id)
		}
	}
	// An undo whose journal could not be written has left no other trace.
	for _, s := range plan.Steps() {
		if !found.passed && s.Kind != harden.StepObject && !s.Before.Equal(s.After) {
			if now, err := a.Node.State(s.Path); err != nil || now.Equal(s.Before) {
				return refused(harden.Msg("confirming transaction %s: %s is as it was before", id, s.ID), "kubectl-harden recover")
			}
		}
	}
	return r.commit(ctx)
}

// Expire undoes a transaction that nobody confirmed in time, as Recover does; one that was confirmed it keeps.
func (a *Applier) Expire(ctx context.Context, id string) harden.Result {
	return a.settle(ctx, id, ErrUnconfirmed, nil)
}

// PutBack brings the files of a transaction back at boot, before anything reads them, when nothing runs that could be restarted
// or asked. The transaction stays open: Expire proves it once the node is up. One that was confirmed is left alone.
func (a *Applier) PutBack(id string) error {
	tx, plan, err := a.Store.Resume(id)
	if err != nil {
		return err
	}
	r := newRun(a, plan, tx)
	r.resumed = true
	if found, err := r.reread(); err != nil || found.passed {
		return err
	}
	_ = r.tx.Log(kindUndoing, undoingEntry{Rebooted: true})
	r.tell(harden.Event{Kind: harden.EventUndoing, Message: harden.Msg("undoing: %s; the kubelet is not started yet, and what it runs is proven when it is", oneLine(errRebooted))})
	r.keepTheirs()
	var errs []error
	for _, st := range slices.Backward(r.plan.Stages) {
		steps := slices.Clone(st.Steps)
		slices.Reverse(steps)
		if undo, err := st.Undo(); err == nil {
			steps = undo.Steps
		}
		for _, s := range steps {
			if s.Kind != harden.StepObject {
				errs = append(errs, r.revert(s))
			}
		}
	}
	return errors.Join(errs...)
}

// armedEntry reads the journal of a switch.
func armedEntry(e Entry) (Armed, error) {
	var a Armed
	return a, json.Unmarshal(e.Data, &a)
}

// ArmedIn is what a transaction's journal says of its switch: nil where it has none, or was confirmed or undone since; an undo
// that failed leaves it armed. waiting says that every gate has passed.
func ArmedIn(entries []Entry) (armed *Armed, waiting bool) {
	canaries, undone := canaryTargets(entries), false
	for _, e := range entries {
		switch e.Kind {
		case kindArming:
			armed = &Armed{}
		case kindArmed, kindWaiting:
			if a, err := armedEntry(e); err == nil {
				armed, waiting = &a, e.Kind == kindWaiting
			}
		case kindLeftArmed:
			undone = false
		case kindPassed:
			return nil, false
		}
		if undoes(e, canaries) {
			undone, waiting = true, false
		}
	}
	if undone {
		return nil, false
	}
	return armed, waiting
}

// ArmedBeforeUndo is what the journal says of the switch when the undo began; whether it is still there only the switch can tell.
func ArmedBeforeUndo(entries []Entry) (armed *Armed, undoing bool) {
	canaries := canaryTargets(entries)
	first := slices.IndexFunc(entries, func(e Entry) bool { return undoes(e, canaries) })
	if first < 0 {
		return nil, false
	}
	armed, _ = ArmedIn(entries[:first])
	return armed, true
}

// Undoing says that a transaction's undo has begun.
func Undoing(entries []Entry) bool {
	canaries := canaryTargets(entries)
	return slices.ContainsFunc(entries, func(e Entry) bool { return undoes(e, canaries) })
}

// undoes says that an entry is of an undo. A canary comes and goes on the way forward.
func undoes(e Entry, canaries []string) bool {
	return e.Kind == kindUndoing || (e.Kind == kindRevert || e.Kind == kindReverted) && !slices.Contains(canaries, e.Target)
}
