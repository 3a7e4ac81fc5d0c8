package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
)

// historyView is what history -o json prints (docs/schema/history.json).
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
	var prune, follow, yes bool
	var keep int
	var out string
	cmd := &cobra.Command{
		Use: "history [TX]", Short: "What was done", Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(out, "table", "json"); err != nil {
				return err
			}
			flags := cmd.Flags()
			switch {
			case prune && (len(args) > 0 || flags.Changed("output")):
				return usagef("--prune goes with --keep only")
			case !prune && (flags.Changed("keep") || yes):
				return usagef("--keep and --yes go with --prune")
			case follow && (len(args) == 0 || out != "table"):
				return usagef("--follow wants one transaction, and prints lines")
			case keep < 1:
				return usagef("--keep is at least 1, not %d", keep)
			}
			e, err := a.open("history")
			if err != nil {
				return err
			}
			if prune {
				return a.prune(cmd.Context(), e, keep, yes)
			}
			if follow {
				return a.follow(cmd.Context(), e, args[0])
			}
			list, err := e.History(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.oneTransaction(cmd.Context(), e, list, args[0], out)
			}
			if out == "json" {
				if list == nil {
					list = []harden.TransactionSummary{}
				}
				err = writeJSON(a.Out, historyView{"harden/v1", "History", list})
			} else {
				a.printHistory(list)
			}
			if err == nil {
				err = a.tellDamage(blocking(settledDamage(list)))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out, "output", "o", "table", "table or json")
	f.BoolVar(&follow, "follow", false, "print what happens in the transaction as it happens, until it is settled")
	f.BoolVar(&prune, "prune", false, "remove settled transactions, oldest first; they can no longer be undone")
	f.IntVar(&keep, "keep", 20, "how many to keep when pruning")
	f.BoolVar(&yes, "yes", false, "prune without asking, also what is still applied")
	return cmd
}

// follow prints a transaction's events until it has an outcome, or nobody is at it any more. Nothing ends with it but itself.
func (a *app) follow(ctx context.Context, e *engine, id string) error {
	if _, err := e.loadPlan(id); err != nil {
		return err
	}
	var offset int64
	idle := 0
	for {
		entries, next, err := e.store.Entries(id, offset)
		for _, entry := range entries {
			if ev, ok := eventOf(entry); ok {
				a.tell(ev)
			}
		}
		if err != nil {
			return err
		}
		rec, err := e.store.Load(id)
		if err != nil {
			return err
		}
		_, held, err := e.store.Holder()
		if err != nil {
			return err
		}
		// Between two holders of the lock there may be a moment.
		if idle++; held || next != offset {
			idle = 0
		}
		offset = next
		waits := rec.Outcome == "" && e.waits(id)
		if o := outcomeOf(rec.Outcome); rec.Outcome != "" || idle > 20 && !waits {
			fmt.Fprintln(a.Out, oneLine(fmt.Sprintf("transaction %s: %s", id, o)))
			if code := outcomeCode(o); code != exitDone {
				return &codeError{code}
			}
			return nil
		}
		if err := e.clock.Sleep(ctx, followEvery); err != nil {
			return nil
		}
	}
}

func (a *app) printHistory(list []harden.TransactionSummary) {
	if len(list) == 0 {
		fmt.Fprintln(a.Out, "no transactions yet")
		return
	}
	rows := [][]string{{"TRANSACTION", "STARTED", "WHERE", "STATE", "WHO", "CONTROLS", "REASON"}}
	for _, t := range list {
		state := t.State().String()
		if t.Undoes != "" && t.Damage == "" {
			state += " of " + t.Undoes
		}
		rows = append(rows, []string{t.ID, started(t), t.Where().String(), state, t.Who, fmt.Sprint(len(t.Controls)), t.Reason})
	}
	table(a.Out, rows)
}

// started is when a transaction began, as far as that is known.
func started(t harden.TransactionSummary) string {
	if t.Started.IsZero() {
		return "unknown"
	}
	return t.Started.Local().Format(time.DateTime)
}

// tellDamage says what is damaged in transactions, and what can be done about each.
func (a *app) tellDamage(damaged []harden.TransactionSummary) error {
	for _, t := range damaged {
		fmt.Fprintf(a.Err, "error: transaction %s (%s) is damaged: %s\n", oneLine(t.ID), t.Outcome, sentence(t.Damage))
		a.printWays(a.ways(t))
	}
	if len(damaged) > 0 {
		return &codeError{exitUnsettled}
	}
	return nil
}

func (a *app) oneTransaction(ctx context.Context, e *engine, list []harden.TransactionSummary, id, out string) error {
	at := slices.IndexFunc(list, func(t harden.TransactionSummary) bool { return t.ID == id })
	if at < 0 {
		return &hintedError{err: fmt.Errorf("reading the history: there is no transaction %s", id), hints: []string{program + " history"}}
	}
	t := list[at]
	p, err := e.loadPlan(id)
	if err != nil {
		return err
	}
	events, err := e.Events(ctx, id)
	if err != nil {
		return err
	}
	if out == "json" {
		if events == nil {
			events = []harden.Event{}
		}
		return writeJSON(a.Out, transactionView{"harden/v1", "Transaction", t, viewPlans([]harden.Plan{p}).Plans[0], events})
	}
	table(a.Out, a.aboutRows(t))
	fmt.Fprintln(a.Out)
	for _, ev := range events {
		fmt.Fprintf(a.Out, "%s  %-10s %s\n", ev.Time.Local().Format(time.TimeOnly), ev.Kind, oneLine(ev.Message.String()))
	}
	fmt.Fprintln(a.Out)
	return printPlans(a.Out, []harden.Plan{p}, true)
}

// aboutRows say what a transaction is, where its backup is, how it is undone, and what had a part in it.
func (a *app) aboutRows(t harden.TransactionSummary) [][]string {
	rows := [][]string{
		{"transaction", t.ID}, {"started", started(t)}, {"who", t.Who}, {"reason", t.Reason}, {"where", t.Where().String()}, {"state", t.State().String()},
	}
	add := func(label string, values []string) {
		for i, v := range values {
			if i > 0 {
				label = ""
			}
			rows = append(rows, []string{label, v})
		}
	}
	if t.Undoes != "" {
		add("undoes", []string{t.Undoes})
	}
	add("undone by", t.UndoneBy)
	if undo := a.where.pasteable(program + " rollback " + t.ID); undo != "" && t.Outcome == harden.OutcomeApplied && len(t.UndoneBy) == 0 && !t.ByHand {
		add("undo", []string{undo})
	}
	add("way out by hand", []string{a.where.byHand(t.Script)})
	controls := slices.Clone(t.Controls)
	for i, c := range controls {
		if slices.Contains(t.UndoneControls, c) {
			controls[i] += " (undone)"
		}
	}
	add("controls", controls)
	add("targets", t.Targets)
	return rows
}
