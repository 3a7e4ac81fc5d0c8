package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/tui"
)

// Standing is what stands open on the node besides the walk. Who may not look is not told: they cannot apply anything either.
func (w walker) Standing(ctx context.Context) (*tui.Standing, error) {
	s, err := w.standing(ctx)
	if errors.Is(err, fs.ErrPermission) && w.m.cannotWrite != nil {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for other runs: %w", err)
	}
	return s, nil
}

func (w walker) standing(ctx context.Context) (*tui.Standing, error) {
	holder, held, err := w.store.Holder()
	if err != nil {
		return nil, err
	}
	open, err := w.unsettled()
	if err != nil {
		return nil, err
	}
	if !held && len(open) == 0 {
		return nil, nil
	}
	s := &tui.Standing{}
	if held {
		s.Running, s.Holder = true, heldBy(holder)
	}
	if len(open) > 0 {
		newest := open[0]
		s.Transaction, s.Script = newest.ID, w.script(newest.Dir)
		if s.Switch, err = w.switchState(ctx); err != nil {
			return nil, err
		}
		if !held {
			s.Hints = []string{w.where.called() + " recover"}
			if newest.Outcome == backups.Mixed {
				s.Hints = append(s.Hints, w.where.byHand(s.Script))
			}
		}
	}
	return s, nil
}

// heldBy is who holds the lock, in words.
func heldBy(h backups.Holder) string {
	return fmt.Sprintf("%s of %s, process %d, since %s", h.Command, h.Who, h.PID, h.Since.Local().Format("15:04:05"))
}

// Confirm keeps a transaction that waits.
func (w walker) Confirm(ctx context.Context, id string) harden.Result {
	return w.where.forTheWalk(w.engine.Confirm(ctx, id))
}
