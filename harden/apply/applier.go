// Package apply runs plans: it writes a plan's steps through a write-ahead transaction, brings about their effects, proves
// the result by gates, and undoes it when a gate fails. It is the only package that acts.
package apply

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Applier runs plans on one node and its cluster.
type Applier struct {
	Node Node
	// Cluster is nil where there is none to ask.
	Cluster Cluster
	// Members are the other control planes; nil where there is no API to ask for them.
	Members Members
	// Courtesy is nil where runs on other control planes are not waited for. Holder is who they are told runs here.
	Courtesy Courtesy
	Holder   string
	// CheckOnly says that nothing will be begun: what may pass by itself until then refuses nothing.
	CheckOnly bool
	// Etcd is nil where it is not known how to ask it.
	Etcd Etcd
	// Storage is nil where it is not known how to look at what etcd holds; Rewriter, where no API can write it anew.
	Storage  Storage
	Rewriter Rewriter
	// Restarts is nil where the kubelet is left to itself.
	Restarts Restarts
	// Handover is nil where connections cannot be led elsewhere.
	Handover Handover
	// Filter and Logins are nil where the packet filter of the machine is not ours to change.
	Filter Filter
	Logins Logins
	Store  Store
	Clock  Clock
	// Facts are of the node as it is now; a plan made elsewhere, or for another state of it, is refused.
	Facts *harden.Facts
	// Areas are the controls that the plan's choices name.
	Areas []harden.Area
	// Files are asked for room, read-only file systems and unsafe targets before anything is begun.
	Files Files
	// StateDir is where the store keeps its transactions, below the node's root.
	StateDir string
	// Switch arms dead man's switches. Nil: a plan that needs one is refused.
	Switch Switch
	// Soak is how long health is watched after the last gate.
	Soak time.Duration
	// Events hears what the journal was told, after it was told. May be nil.
	Events func(harden.Event)
	// NewMarker makes a unique word for the audit proof.
	NewMarker func() string
}

// RefusedError says why a plan was not begun. Nothing was changed.
type RefusedError struct {
	Why   string
	Hints []string
}

func (e *RefusedError) Error() string { return e.Why }

// DriftError is a target that is no longer what the plan was made for.
type DriftError struct {
	Step harden.Step
	Now  harden.State
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("checking the plan: %s: it changed since the plan was made", e.Step.ID)
}

func (e *DriftError) picture() *harden.Drift {
	d := &harden.Drift{Target: e.Step.ID, Planned: e.Step.Before, After: e.Step.After, Now: e.Now, Secret: e.Step.Secret}
	if d.Secret {
		d.Planned.Data, d.After.Data, d.Now.Data = nil, nil, nil
	}
	return d
}

// Apply does what the plan says. When anything fails after the first change, everything is undone, gated too.
func (a *Applier) Apply(ctx context.Context, p harden.Plan) harden.Result {
	if r, open := Pending(a.Store); open {
		return r
	}
	if p.Empty() {
		return harden.Result{Outcome: harden.OutcomeApplied, Message: harden.Msg("nothing to do")}
	}
	if err := a.preflight(ctx, p); err != nil {
		if a.alreadyThere(ctx, p, err) {
			return harden.Result{Outcome: harden.OutcomeApplied, Message: harden.Msg("somebody else has made the same change meanwhile; nothing was written")}
		}
		return a.refusal(err)
	}
	release, refusal := a.takeTurn(ctx, p)
	if refusal != nil {
		return *refusal
	}
	defer release()
	if err := a.bears(ctx, p); err != nil {
		return a.refusal(err)
	}
	canaries, err := a.prepare(ctx, p)
	if err != nil {
		return a.refusal(err)
	}
	tx, err := a.Store.Begin(p, files(canaries), scriptFor(p))
	if err != nil {
		return a.refusal(fmt.Errorf("saving the originals: %w", err))
	}
	r := newRun(a, p, tx)
	r.canaries = canaries
	return r.forward(ctx)
}

// alreadyThere says of a plan that was refused for a drift that all of its objects are what they were to become: two nodes keep the
// same in kubeadm's configuration.
func (a *Applier) alreadyThere(ctx context.Context, p harden.Plan, refused error) bool {
	var drift *DriftError
	if !errors.As(refused, &drift) || p.Undoes != "" {
		return false
	}
	for _, s := range p.Steps() {
		if s.Kind != harden.StepObject {
			return false
		}
		now, uid, _, err := a.Cluster.Object(ctx, *s.Object)
		if err != nil || !s.Before.Exists || uid != s.UID || !now.Equal(s.After) {
			return false
		}
	}
	return true
}

// Pending says what an earlier transaction has left to settle, so that nothing is built on it.
func Pending(s Store) (harden.Result, bool) {
	open, err := s.Unsettled()
	if err != nil {
		return harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("looking for interrupted transactions: %s", oneLine(err))}, true
	}
	if len(open) == 0 {
		return harden.Result{}, false
	}
	first := open[0]
	r := harden.Result{
		Outcome: harden.OutcomeUnsettled, Transaction: first.ID, Script: first.Script, Hints: []string{"kubectl-harden recover"},
		Message: harden.Msg("transaction %s was interrupted and has to be settled first", first.ID),
	}
	if first.Waiting {
		r.Message = harden.Msg("transaction %s waits for confirm and has to be settled first", first.ID)
		r.Hints = []string{"kubectl-harden confirm " + first.ID, "kubectl-harden rollback " + first.ID}
	}
	if first.Mixed {
		r.Message = harden.Msg("the undo of transaction %s failed and has to be settled first", first.ID)
	}
	return r, true
}

func outOfRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func (a *Applier) refusal(err error) harden.Result {
	r := harden.Result{Outcome: harden.OutcomeRefused, Message: harden.Msg("%s", oneLine(err))}
	var refused *RefusedError
	var drift *DriftError
	var plan *harden.PlanError
	switch {
	case errors.As(err, &refused):
		r.Hints = refused.Hints
	case errors.As(err, &drift):
		r.Hints = []string{"kubectl-harden plan"}
		r.Drift = drift.picture()
	case errors.As(err, &plan):
		r.Hints = []string{"kubectl-harden plan"}
	case errors.Is(err, syscall.EROFS):
		r.Hints = []string{"findmnt -T " + a.hereOrAbove(a.StateDir)}
	case outOfRoom(err):
		r.Hints = a.roomHints(a.StateDir)
	}
	return r
}

// roomHints say what to look at where a file system is full, and what of ours may take it up.
func (a *Applier) roomHints(dir string) []string {
	return []string{"df -h " + a.hereOrAbove(dir), "kubectl-harden history --prune"}
}
