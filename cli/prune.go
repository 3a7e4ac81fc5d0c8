package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// prune removes the oldest transactions. What is still applied cannot be undone after that, so it is asked for.
func (a *app) prune(ctx context.Context, e *engine, keep int, yes bool) error {
	if e.m.cannotWrite != nil {
		return e.m.cannotWrite
	}
	going, err := e.prunable(ctx, keep)
	if err != nil {
		return err
	}
	if len(going) == 0 {
		// What is half made or half gone goes with the lock all the same.
		return a.pruneNow(e, keep, nil)
	}
	applied := slices.DeleteFunc(slices.Clone(going), func(t harden.TransactionSummary) bool { return !inForce(t) })
	for _, t := range applied {
		fmt.Fprintf(a.Err, "still applied, and not to be undone any more once it is removed: %s, %s, %s: %s\n",
			oneLine(t.ID), started(t), t.Where(), oneLine(strings.Join(t.Controls, ", ")))
	}
	if len(applied) > 0 && !yes {
		f, err := e.Facts(ctx)
		if err != nil {
			return err
		}
		if !terminal(a.In) {
			return &hintedError{err: usagef("there is no terminal to ask at, and what is named above would lose its undo"), whole: a.again("--yes")}
		}
		if err := a.ask(ctx, f.Identity.Node, "remove what undoes it"); err != nil {
			return err
		}
	}
	return a.pruneNow(e, keep, going)
}

// inForce says that something of a transaction is still there to be undone.
func inForce(t harden.TransactionSummary) bool {
	return t.Outcome == harden.OutcomeApplied && t.Undoes == "" && len(t.UndoneBy) == 0 && !t.Restored
}

// prunable are the transactions that pruning would remove, newest first.
func (e *engine) prunable(ctx context.Context, keep int) ([]harden.TransactionSummary, error) {
	history, err := e.History(ctx)
	if err != nil || len(history) <= keep {
		return nil, err
	}
	return slices.DeleteFunc(history[keep:], func(t harden.TransactionSummary) bool {
		return t.Damage != "" || t.Outcome == harden.OutcomeUnsettled || t.Outcome == harden.OutcomeMixed || t.Outcome == harden.OutcomeWaiting
	}), nil
}

// pruneNow removes what was looked at, under the lock, and says what that was.
func (a *app) pruneNow(e *engine, keep int, going []harden.TransactionSummary) error {
	s, err := e.store.Lock(e.holder())
	if err != nil {
		return err
	}
	gone, err := s.Prune(keep, func(id string) bool {
		return slices.ContainsFunc(going, func(t harden.TransactionSummary) bool { return t.ID == id })
	})
	for _, t := range going {
		if slices.Contains(gone, t.ID) {
			fmt.Fprintf(a.Out, "removed %s, begun %s: %s, %s\n", oneLine(t.ID), started(t), t.Where(), t.State())
		}
	}
	if len(gone) == 0 && err == nil {
		fmt.Fprintf(a.Out, "nothing to remove: the newest %d are kept, and what is unsettled or damaged\n", keep)
	}
	return errors.Join(err, s.Unlock())
}
