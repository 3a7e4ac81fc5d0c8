package apply

import (
	"context"
	"fmt"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Courtesy is a Lease in kube-system by which runs on several control planes wait for each other, so that no two API servers
// restart at once. It is no fence: a run that was frozen may come back and believe that it still holds it. Hence recovery never
// needs it, nor does an undo but of what all members encrypt with, and what must hold is asked of the members themselves.
type Courtesy interface {
	// Take makes the lease the holder's and keeps it renewed until release; held is whose it is instead. A holder in over has
	// gone.
	Take(ctx context.Context, holder string, over harden.Lease) (release func(), held harden.Lease, err error)
	// Taken is the lease as somebody holds it; the zero value where nobody does.
	Taken(ctx context.Context) (harden.Lease, error)
	// GiveBack deletes the lease if it is the holder's; otherwise it does nothing.
	GiveBack(ctx context.Context, holder string) error
}

// HolderOf is what others are told of a process of this node that holds the lease.
func HolderOf(node string, pid int, who string) string {
	return fmt.Sprintf("%s%d of %s", processOf(node), pid, who)
}

func processOf(node string) string { return node + ": process " }

// TurnLeft is the lease if a process of this node holds it that is not this one; the zero value otherwise. That process is no
// more where nobody else has the node's lock: only who has it takes a turn.
func (a *Applier) TurnLeft(ctx context.Context) (harden.Lease, error) {
	if a.Courtesy == nil {
		return harden.Lease{}, nil
	}
	held, err := a.Courtesy.Taken(ctx)
	if err != nil || !a.left(held) {
		return harden.Lease{}, err
	}
	return held, nil
}

func (a *Applier) left(held harden.Lease) bool {
	return held.Holder != a.Holder && strings.HasPrefix(held.Holder, processOf(a.Facts.Identity.Node))
}

// GiveTurnBack gives back what a process of this node has left of its turn when it was killed. The node's lock is ours.
func (a *Applier) GiveTurnBack(ctx context.Context) error {
	held, err := a.TurnLeft(ctx)
	if err != nil || held.Holder == "" {
		return err
	}
	return a.Courtesy.GiveBack(ctx, held.Holder)
}

const (
	// courtesyWait is how long another member's run is waited for.
	courtesyWait = 10 * time.Minute
	// undoWait is how long an undo waits for it, before it goes on all the same: nothing that goes wrong with the others may keep
	// anybody from going back.
	undoWait      = time.Minute
	courtesyEvery = 2 * time.Second
)

// takeTurn waits until no run on another control plane holds the lease. The refusal is what it ends with when that takes too
// long.
func (a *Applier) takeTurn(ctx context.Context, p harden.Plan) (release func(), refusal *harden.Result) {
	nothing := func() {}
	_, _, keys := harden.KeyFile(p.Steps())
	if a.Courtesy == nil || p.Target.Offline || !restartsPods(p) {
		return nothing, nil
	}
	wait, needed := courtesyWait, true
	if p.Undoes != "" && !keys {
		wait, needed = undoWait, false
	}
	others, err := a.others(ctx)
	switch {
	case err != nil:
		a.say(harden.EventUnproven, harden.Msg("whether a run on another control plane is under way is not known: %s", oneLine(err)))
		return nothing, nil
	case len(others) == 0:
		return nothing, nil
	}
	var seen, over harden.Lease // as it was found, and since when it is like that; and that of one that has gone
	var since time.Time
	for begun := a.Clock.Now(); ; {
		if !since.IsZero() && a.Clock.Now().Sub(since) > harden.CourtesyDuration {
			over = seen
		}
		release, held, err := a.Courtesy.Take(ctx, a.Holder, over)
		switch {
		case interrupted(ctx) != nil:
			return nothing, &harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("interrupted before anything was changed")}
		case err != nil:
			a.say(harden.EventUnproven, harden.Msg("whether a run on another control plane is under way is not known: %s", oneLine(err)))
			return nothing, nil
		case held.Holder == "":
			return release, nil
		case a.left(held) && !held.Same(over):
			over = held
			continue
		case a.Clock.Now().Sub(begun) >= wait && !needed:
			a.say(harden.EventUnproven, harden.Msg("a run on another control plane is under way, and the undo goes on beside it: %s", held.Holder))
			return nothing, nil
		case a.Clock.Now().Sub(begun) >= wait:
			return nothing, &harden.Result{
				Outcome: harden.OutcomeLocked, Hints: []string{"kubectl get lease -n kube-system kubectl-harden -o yaml"},
				Message: harden.Msg("a run on another control plane is under way, for longer than %s: %s", wait, held.Holder),
			}
		case !held.Same(seen):
			if held.Holder != seen.Holder {
				a.hear(harden.Event{
					Kind: harden.EventAwaiting, Timeout: wait - a.Clock.Now().Sub(begun),
					Message: harden.Msg("a run on another control plane ends: %s", held.Holder),
				})
			}
			seen, since = held, a.Clock.Now()
		}
		if a.Clock.Sleep(ctx, courtesyEvery) != nil {
			return nothing, &harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("interrupted before anything was changed")}
		}
	}
}

// restartsPods says that a plan restarts a static pod, which other members may notice.
func restartsPods(p harden.Plan) bool {
	for _, st := range p.Stages {
		for _, e := range st.Effects {
			if e.Kind == harden.EffectStaticPod {
				return true
			}
		}
	}
	return false
}

func (a *Applier) say(kind harden.EventKind, m harden.Message) {
	a.hear(harden.Event{Kind: kind, Message: m})
}
