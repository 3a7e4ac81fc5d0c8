package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// errUnfinished is why recovery undoes.
var errUnfinished = errors.New("it was not finished")

// Recover settles a transaction that was interrupted, waits for confirm, or whose undo failed: it is undone, or goes forward
// where every gate had passed and no confirm is awaited. With finish it goes on forward, unless the undo has begun.
func (a *Applier) Recover(ctx context.Context, id string, finish bool) harden.Result {
	if finish {
		return a.settle(ctx, id, nil, nil)
	}
	return a.settle(ctx, id, errUnfinished, nil)
}

// settle goes forward where that is decided already, or there is no cause to undo. The turn of the process that died is over
// with it; where the API does not answer the lease runs out, and status tells of it. The undo is the one that was shown, where one was.
func (a *Applier) settle(ctx context.Context, id string, cause error, shown *harden.Plan) harden.Result {
	defer func() { _ = a.GiveTurnBack(context.WithoutCancel(ctx)) }()
	res := harden.Result{Transaction: id, Outcome: harden.OutcomeUnsettled}
	tx, plan, err := a.Store.Resume(id)
	if err != nil {
		res.Message = harden.Msg("resuming transaction %s: %s", id, oneLine(err))
		return res
	}
	res.Script = tx.Script()
	r := newRun(a, plan, tx)
	r.resumed, r.shown = true, shown
	// A root that was changed while it was offline may run by now: its files come back, whatever reads them.
	started := plan.Target.Offline && !a.Facts.Identity.Offline
	same := a.sameTarget
	if started {
		same = a.sameMachine
	}
	if err := same(plan.Target); err != nil {
		res.Message = harden.Msg("%s", oneLine(err))
		return res
	}
	found, err := r.reread()
	if err == nil {
		err = r.tidy()
	}
	switch {
	case err != nil:
		res.Message = harden.Msg("%s", oneLine(err))
		return res
	case found.passed:
		if err := errors.Join(r.endRedirect(ctx), r.endCanary(ctx)); err != nil {
			res.Message, res.Hints = harden.Msg("%s", oneLine(err)), []string{"kubectl-harden recover"}
			return res
		}
		return r.commit(ctx)
	case shown != nil:
		if err := r.asShown(ctx, *shown); err != nil {
			refusal := a.refusal(err)
			refusal.Transaction, refusal.Script = id, tx.Script()
			return refusal
		}
	case cause == nil && found.undoing:
		res.Message = harden.Msg("the undo of transaction %s has begun, so it cannot be finished any more", id)
		res.Hints = []string{"kubectl-harden recover"}
		return res
	case cause == nil && found.waiting:
		res.Message = harden.Msg("transaction %s is finished, and waits for confirm", id)
		res.Hints = []string{"kubectl-harden confirm " + id}
		return res
	case cause == nil && started:
		res.Message = harden.Msg("transaction %s was made for an offline root, which runs now: it can be undone only", id)
		res.Hints = []string{"kubectl-harden recover"}
		return res
	case cause == nil && plan.Switch != nil && r.live() && a.Switch == nil:
		res.Message = harden.Msg("%s", errNoSwitch.Error())
		return res
	case cause == nil:
		if err := r.takeUp(ctx); err != nil {
			return r.undo(ctx, err, len(plan.Stages)-1)
		}
		return r.forward(ctx)
	case found.rebooted:
		cause = errRebooted
	case found.waiting && errors.Is(cause, errUnfinished):
		cause = errNotWanted
	}
	res = r.undo(ctx, cause, len(plan.Stages)-1)
	if started {
		res.Hints = append(res.Hints, "kubectl-harden assess") // what started in between may run with other files
	}
	return res
}

// takeUp makes ready to go on where the process that died was: what it has left of a canary goes, and a stage that was not
// rehearsed will be.
func (r *run) takeUp(ctx context.Context) error {
	if err := errors.Join(r.endRedirect(ctx), r.endCanary(ctx)); err != nil {
		return err
	}
	for i, st := range r.plan.Stages {
		if err := r.resumeCanary(i, st); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) planned(step string) bool {
	return slices.ContainsFunc(r.plan.Steps(), func(s harden.Step) bool { return s.ID == step })
}

// found is what the journal says of how far a transaction came.
type found struct{ passed, undoing, waiting, rebooted bool }

// reread takes from the journal what the process that died knew.
func (r *run) reread() (f found, err error) {
	entries, err := r.tx.Entries()
	if err != nil {
		return f, fmt.Errorf("reading the journal: %w", err)
	}
	for _, e := range entries {
		switch e.Kind {
		case kindPassed:
			f.passed = true
		case kindUndoing:
			f.undoing = true
			var u undoingEntry
			if json.Unmarshal(e.Data, &u) == nil {
				f.rebooted = f.rebooted || u.Rebooted
			}
		case kindNoReturn, kindSaved:
			if err := r.passedPoint(e); err != nil {
				return f, err
			}
		case kindRebase:
			r.adopt(e.Target)
		case kindRevert, kindReverted:
			f.undoing = f.undoing || r.planned(e.Target) // a canary comes and goes on the way forward
		case kindWaiting:
			f.waiting, r.waited = true, true
		case kindRehearsed:
			var s rehearsedEntry
			if err := json.Unmarshal(e.Data, &s); err != nil {
				return f, fmt.Errorf("reading the journal: %w", err)
			}
			r.rehearsed[s.Stage] = true
		case kindCanary:
			r.canary = &canaryEntry{since: e.Time}
			if err := json.Unmarshal(e.Data, r.canary); err != nil {
				return f, fmt.Errorf("reading the journal: %w", err)
			}
		case kindCanaryGone:
			r.canary = nil
		case kindHandover:
			r.handed, r.handedBack = &handoverEntry{}, false
			if err := json.Unmarshal(e.Data, r.handed); err != nil {
				return f, fmt.Errorf("reading the journal: %w", err)
			}
		case kindHandedBack:
			r.handedBack = true
		case kindStarted:
			var s startedEntry
			if err := json.Unmarshal(e.Data, &s); err != nil {
				return f, fmt.Errorf("reading the journal: %w", err)
			}
			r.before[s.Component] = s
		case kindUndone:
			var u undoneEntry
			if err := json.Unmarshal(e.Data, &u); err != nil {
				return f, fmt.Errorf("reading the journal: %w", err)
			}
			r.undone[u.Component] = true
		}
	}
	return f, nil
}

// restartedBy says that the process that died has restarted a unit with all of its new files: it runs since after the journal
// told of the restart.
func (r *run) restartedBy(ctx context.Context, c harden.Component) bool {
	at, begun := r.effectBegun(harden.EffectUnit, c.ID)
	if c.StaticPod() || !begun {
		return false
	}
	now, err := r.instance(ctx, c)
	return err == nil && now.ID != r.before[c.ID].Instance.ID && !now.Started.Before(at)
}
