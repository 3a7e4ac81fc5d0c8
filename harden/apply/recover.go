package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"kubectl-harden.io/kubectl-harden/harden"
)

// errUnfinished is why recovery undoes.
var errUnfinished = errors.New("it was not finished")

// Recover settles a transaction that was interrupted, waits for confirm, or whose undo failed: it is undone, or goes forward
// where every gate had passed and no confirm is awaited. With finish it goes on forward, unless the undo has begun.
func (a *Applier) Recover(ctx context.Context, id string, finish bool) harden.Result {
	if finish {
		return a.settle(ctx, id, nil)
	}
	return a.settle(ctx, id, errUnfinished)
}

// settle goes forward where that is decided already, or there is no cause to undo.
func (a *Applier) settle(ctx context.Context, id string, cause error) harden.Result {
	res := harden.Result{Transaction: id, Outcome: harden.OutcomeUnsettled}
	tx, plan, err := a.Store.Resume(id)
	if err != nil {
		res.Message = harden.Msg("resuming transaction %s: %s", id, oneLine(err))
		return res
	}
	res.Script = tx.Script()
	r := newRun(a, plan, tx)
	r.resumed = true
	if err := a.sameTarget(plan.Target); err != nil {
		res.Message = harden.Msg("%s", oneLine(err))
		return res
	}
	found, err := r.reread()
	switch {
	case err != nil:
		res.Message = harden.Msg("%s", oneLine(err))
		return res
	case found.passed:
		return r.commit(ctx)
	case cause == nil && found.undoing:
		res.Message = harden.Msg("the undo of transaction %s has begun, so it cannot be finished any more", id)
		res.Hints = []string{"kubectl-harden recover"}
		return res
	case cause == nil && found.waiting:
		res.Message = harden.Msg("transaction %s is finished, and waits for confirm", id)
		res.Hints = []string{"kubectl-harden confirm " + id}
		return res
	case cause == nil && plan.Switch != nil && r.live() && a.Switch == nil:
		res.Message = harden.Msg("%s", errNoSwitch.Error())
		return res
	case cause == nil:
		return r.forward(ctx)
	case found.waiting && errors.Is(cause, errUnfinished):
		cause = errNotWanted
	}
	return r.undo(ctx, cause, len(plan.Stages)-1)
}

// found is what the journal says of how far a transaction came.
type found struct{ passed, undoing, waiting bool }

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
		case kindUndoing, kindRevert, kindReverted:
			f.undoing = true
		case kindWaiting:
			f.waiting = true
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
