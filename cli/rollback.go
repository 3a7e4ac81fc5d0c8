package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
)

func (a *app) rollbackCommand() *cobra.Command {
	var control string
	cmd := &cobra.Command{
		Use: "rollback [TX]", Short: "Undo a transaction, or one control of it; without TX the newest run", Args: atMost(1),
		Example: `  sudo kubectl-harden rollback
  sudo kubectl-harden rollback TX --control apiserver-profiling`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.sel.soak < 0 {
				return usagef("--soak cannot be negative: %s", a.sel.soak)
			}
			e, err := a.open("rollback")
			if err != nil {
				return err
			}
			e.soak = a.sel.soak
			ids := args
			if len(ids) == 0 {
				if ids, err = e.lastRun(cmd.Context()); err != nil {
					return err
				}
			}
			if ids, err = a.having(e, ids, control); err != nil {
				return err
			}
			if len(ids) == 0 {
				return a.nothingToUndo(e)
			}
			// One at a time: an undo is planned on what the one before has left.
			var owed error
			for _, id := range ids {
				plans, err := e.Undo(cmd.Context(), id, control)
				// An API that is away keeps nobody from undoing what is on the node.
				if errors.As(err, new(*clusterError)) && len(ids) > 1 {
					a.complain(err)
					a.printHints([]string{program + " rollback " + id})
					owed = &codeError{exitUnsettled}
					continue
				}
				if err != nil {
					return a.undoConflict(err)
				}
				if err := a.confirmAndApply(cmd.Context(), e, plans, "undo"); err != nil {
					return err
				}
			}
			return owed
		},
	}
	f := cmd.Flags()
	f.StringVar(&control, "control", "", "undo only what this control asked for")
	f.BoolVar(&a.sel.yes, "yes", false, "undo without asking, after printing the diff")
	f.BoolVar(&a.sel.dryRun, "dry-run", false, "print the diff of the undo; change nothing")
	f.StringVar(&a.sel.reason, "reason", "", "why, for the history")
	f.DurationVar(&a.sel.soak, "soak", 0, "how long health is watched after the last gate")
	return cmd
}

// having leaves the transactions in which the control has a part; without a control all of them.
func (a *app) having(e *engine, ids []string, control string) ([]string, error) {
	if control == "" || len(ids) == 0 {
		return ids, nil
	}
	var out, known []string
	for _, id := range ids {
		p, err := loadPlan(e.store, id)
		if err != nil {
			return nil, err
		}
		if slices.Contains(p.Controls(), control) {
			out = append(out, id)
		}
		known = append(known, p.Controls()...)
	}
	if len(out) == 0 {
		return nil, &harden.UnknownNameError{What: "control of transaction " + strings.Join(ids, ", "), Name: control, Known: known}
	}
	return out, nil
}

// nothingToUndo does not hide a transaction that was interrupted.
func (a *app) nothingToUndo(e *engine) error {
	open, err := e.store.Interrupted()
	if err != nil {
		return err
	}
	if len(open) > 0 {
		return a.report(harden.Result{
			Outcome: harden.OutcomeUnsettled, Transaction: open[0].ID, Script: e.script(open[0].Dir),
			Message: harden.Msg("nothing is applied, and a transaction was interrupted"), Hints: []string{program + " recover"},
		})
	}
	fmt.Fprintln(a.Out, "nothing to undo")
	return nil
}

// undoConflict shows what an undo would have to change against what somebody changed since.
func (a *app) undoConflict(err error) error {
	var conflict *harden.UndoConflictError
	if !errors.As(err, &conflict) {
		return err
	}
	a.complain(err)
	exists := func(b []byte) harden.State { return harden.State{Exists: b != nil, Data: b} }
	a.printDiff("what undoing would have to change", conflict.Target, exists(conflict.Now), exists(conflict.Want))
	return &codeError{exitRefused}
}

func (a *app) recoverCommand() *cobra.Command {
	var finish bool
	cmd := &cobra.Command{
		Use: "recover", Short: "Settle a transaction that was interrupted, or whose undo failed: undo it, or go forward with --finish", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.open("recover")
			if err != nil {
				return err
			}
			open, err := unsettled(e.store)
			if err != nil {
				return err
			}
			if len(open) == 0 {
				fmt.Fprintln(a.Out, "nothing to recover")
				return nil
			}
			if h, held, err := e.store.Holder(); err == nil && held {
				return a.report(harden.Result{
					Outcome: harden.OutcomeLocked, Message: harden.Msg("a run is under way: %s", h.String()), Hints: []string{program + " status"},
				})
			}
			// The newest first: it was begun on what the older ones have left.
			worst := exitDone
			for _, t := range open {
				res := e.Recover(cmd.Context(), t.ID, finish, a.tell)
				if res.Script == "" {
					res.Script = e.script(t.Dir)
				}
				if res.Outcome == harden.OutcomeRolledBack {
					fmt.Fprintln(a.Out, oneLine(fmt.Sprintf("transaction %s is undone: everything is as before", t.ID)))
					continue
				}
				if err := a.report(res); err != nil {
					worst = max(worst, exitCode(err))
				}
			}
			if worst != exitDone {
				return &codeError{worst}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&finish, "finish", false, "go on forward and prove it by the gates, instead of undoing")
	return cmd
}

func (a *app) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm TX", Short: "Disarm the dead man's switch of a transaction", Args: exactlyOne("transaction"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.open("confirm")
			if err != nil {
				return err
			}
			if _, err := e.store.Load(args[0]); err != nil {
				return err
			}
			// No change of this version arms a switch, so there is never one to disarm.
			return &hintedError{
				err:   fmt.Errorf("confirming: transaction %s: no dead man's switch is armed", args[0]),
				hints: []string{program + " history " + args[0]},
			}
		},
	}
}
