package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

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
			e, err := a.open(cmd.Context(), "rollback")
			if err != nil {
				return err
			}
			e.soak = a.sel.soak
			ids := args
			if len(ids) == 0 {
				if ids, err = e.lastRun(cmd.Context()); err != nil {
					return err
				}
				if len(ids) == 0 {
					fmt.Fprintln(a.Out, "nothing to undo")
					return nil
				}
			}
			// One at a time: an undo is planned on what the one before has left.
			for _, id := range ids {
				plans, err := e.Undo(cmd.Context(), id, control)
				if err != nil {
					if len(ids) > 1 && control != "" && errors.As(err, new(*hintedError)) {
						continue // the control has no part in this one of the run's transactions
					}
					return a.undoConflict(err)
				}
				if err := a.confirmAndApply(cmd.Context(), e, plans); err != nil {
					return err
				}
			}
			return nil
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
		Use: "recover", Short: "Settle an interrupted transaction: back, or forward with --finish", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			e, err := a.open(cmd.Context(), "recover")
			if err != nil {
				return err
			}
			open, err := e.store.Interrupted()
			if err != nil {
				return err
			}
			if len(open) == 0 {
				fmt.Fprintln(a.Out, "nothing to recover")
				return nil
			}
			if h, held, err := e.store.Holder(); err == nil && held {
				return a.report(harden.Result{
					Outcome: harden.OutcomeLocked, Message: harden.Msg("a run is under way: %s", h.String()), Hints: []string{"kubectl-harden status"},
				})
			}
			// The newest first: it was begun on what the older ones have left.
			worst := exitDone
			for _, t := range open {
				res := e.Recover(cmd.Context(), t.ID, finish, a.tell)
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
	cmd.Flags().BoolVar(&finish, "finish", false, "go on forward and prove it by the gates, instead of back")
	return cmd
}

func (a *app) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm TX", Short: "Disarm the dead man's switch of a transaction", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.open(cmd.Context(), "confirm")
			if err != nil {
				return err
			}
			if _, err := e.store.Load(args[0]); err != nil {
				return err
			}
			// No change of this version arms a switch, so there is never one to disarm.
			return &hintedError{
				fmt.Errorf("confirming: transaction %s: no dead man's switch is armed", args[0]),
				[]string{name() + " history " + args[0]},
			}
		},
	}
}

// history is what history -o json prints (docs/schema/history.json).
type historyView struct {
	APIVersion   string                      `json:"apiVersion"`
	Kind         string                      `json:"kind"`
	Transactions []harden.TransactionSummary `json:"transactions"`
}

// transactionView is what history TX -o json prints (docs/schema/transaction.json).
type transactionView struct {
	APIVersion string                    `json:"apiVersion"`
	Kind       string                    `json:"kind"`
	Summary    harden.TransactionSummary `json:"summary"`
	Plan       planView                  `json:"plan"`
	Events     []harden.Event            `json:"events"`
}

func (a *app) historyCommand() *cobra.Command {
	var prune bool
	var keep int
	var out string
	cmd := &cobra.Command{
		Use: "history [TX]", Short: "What was done", Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(out, "table", "json"); err != nil {
				return err
			}
			e, err := a.open(cmd.Context(), "history")
			if err != nil {
				return err
			}
			if prune {
				return a.prune(e, keep)
			}
			list, err := e.History(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.oneTransaction(cmd, e, list, args[0], out)
			}
			if out == "json" {
				if list == nil {
					list = []harden.TransactionSummary{}
				}
				return writeJSON(a.Out, historyView{"harden/v1", "History", list})
			}
			a.printHistory(list)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "table", "table or json")
	f.BoolVar(&prune, "prune", false, "remove settled transactions, oldest first; they can no longer be undone")
	f.IntVar(&keep, "keep", 20, "how many to keep when pruning")
	return cmd
}

func (a *app) prune(e *engine, keep int) error {
	if keep < 1 {
		return usagef("--keep is at least 1, not %d", keep)
	}
	if e.m.cannotWrite != nil {
		return e.m.cannotWrite
	}
	s, err := e.store.Lock(e.holder())
	if err != nil {
		return err
	}
	gone, err := s.Prune(keep)
	for _, id := range gone {
		fmt.Fprintln(a.Out, "removed", oneLine(id))
	}
	return errors.Join(err, s.Unlock())
}

func (a *app) printHistory(list []harden.TransactionSummary) {
	if len(list) == 0 {
		fmt.Fprintln(a.Out, "no transactions yet")
		return
	}
	rows := [][]string{{"TRANSACTION", "STARTED", "SCOPE", "OUTCOME", "WHO", "CONTROLS", "REASON"}}
	for _, t := range list {
		outcome := string(t.Outcome)
		if len(t.UndoneBy) > 0 {
			outcome += ", undone"
		}
		if t.Undoes != "" {
			outcome += ", undoes " + t.Undoes
		}
		if t.Damage != "" {
			outcome = "damaged: " + t.Damage
		}
		rows = append(rows, []string{t.ID, t.Started.Local().Format(time.DateTime), string(t.Scope), outcome, t.Who, fmt.Sprint(len(t.Controls)), t.Reason})
	}
	table(a.Out, rows)
}

func (a *app) oneTransaction(cmd *cobra.Command, e *engine, list []harden.TransactionSummary, id, out string) error {
	at := slices.IndexFunc(list, func(t harden.TransactionSummary) bool { return t.ID == id })
	if at < 0 {
		return &hintedError{fmt.Errorf("reading the history: there is no transaction %s", id), []string{name() + " history"}}
	}
	t := list[at]
	p, err := loadPlan(e.store, id)
	if err != nil {
		return err
	}
	events, err := e.Events(cmd.Context(), id)
	if err != nil {
		return err
	}
	if out == "json" {
		if events == nil {
			events = []harden.Event{}
		}
		return writeJSON(a.Out, transactionView{"harden/v1", "Transaction", t, viewPlans([]harden.Plan{p}).Plans[0], events})
	}
	table(a.Out, [][]string{
		{"transaction", t.ID}, {"started", t.Started.Local().Format(time.DateTime)}, {"who", t.Who}, {"reason", t.Reason},
		{"outcome", string(t.Outcome)}, {"way out by hand", t.Script},
	})
	for _, ev := range events {
		fmt.Fprintf(a.Out, "%s  %-10s %s\n", ev.Time.Local().Format(time.TimeOnly), ev.Kind, oneLine(ev.Message.String()))
	}
	fmt.Fprintln(a.Out)
	return printPlans(a.Out, []harden.Plan{p})
}
