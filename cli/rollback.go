package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
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
			for _, id := range a.sel.accept {
				if id != string(harden.Etcd) {
					return usagef("--accept is etcd, not %q: nothing else holds an undo back that can be accepted", id)
				}
			}
			e, err := a.open("rollback")
			if err != nil {
				return err
			}
			e.soak = a.sel.soak
			if len(args) == 1 {
				return a.undoAll(cmd.Context(), e, args, control)
			}
			last, damaged, err := e.lastRun()
			if err != nil {
				return err
			}
			ids := make([]string, len(last))
			for i, t := range last {
				ids[i] = t.ID
			}
			if len(damaged) == 0 {
				return a.undoAll(cmd.Context(), e, ids, control)
			}
			for _, t := range damaged {
				a.complain(&damagedError{fmt.Errorf("looking for the newest run: transaction %s is left out: %s", t.ID, t.Damage), t.Script})
			}
			if len(last) == 0 {
				return &codeError{exitUnsettled}
			}
			if slices.ContainsFunc(damaged, func(t harden.TransactionSummary) bool { return mayReach(t, last) }) {
				fmt.Fprintf(a.Err, "error: below it, what transaction %s did may have been changed again; undo by hand what is left out, or say that you mean the older one\n", oneLine(ids[0]))
				a.printHints([]string{program + " rollback " + ids[0]})
				return &codeError{exitUnsettled}
			}
			if err := a.undoAll(cmd.Context(), e, ids, control); err != nil {
				return err
			}
			return &codeError{exitUnsettled} // of what was left out
		},
	}
	f := cmd.Flags()
	f.StringVar(&control, "control", "", "undo only what this control asked for")
	f.BoolVar(&a.sel.yes, "yes", false, "undo without asking, after printing the diff")
	f.BoolVar(&a.sel.dryRun, "dry-run", false, "print the diff of the undo; change nothing")
	f.StringVar(&a.sel.reason, "reason", "", "why, for the history")
	f.StringSliceVar(&a.sel.accept, "accept", nil, "undo although etcd has no quorum while this node's member restarts: etcd")
	f.DurationVar(&a.sel.soak, "soak", 0, "how long health is watched after the last gate")
	return cmd
}

// undoAll undoes transactions, newest first, one at a time: an undo is planned on what the one before has left.
func (a *app) undoAll(ctx context.Context, e *engine, ids []string, control string) error {
	ids, err := a.having(e, ids, control)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		return a.nothingToUndo(e)
	}
	all, err := e.together(ids, control)
	if err != nil {
		return err
	}
	var done []harden.Result
	var owed error
	run := word(4)
	if err := a.inTheWay(ctx, e, all, run); err != nil {
		return err
	}
	for _, u := range all {
		p, err := e.undo(ctx, u, run)
		// Neither an API that is away nor what others wrote there keeps anybody from undoing what is on the node.
		if len(all) > 1 && (errors.As(err, new(*clusterError)) || u.mayStay(err)) {
			a.owes(u, control, err)
			owed = &codeError{exitUnsettled}
			continue
		}
		if err != nil {
			return a.stays(done, a.undoConflict(err))
		}
		if p.Empty() && len(all) > 1 && !slices.Contains(ids, u.id) {
			continue // of that nothing is left
		}
		if len(a.sel.accept) > 0 {
			p = p.Accept(harden.Etcd)
		}
		undone, err := a.confirmAndApply(ctx, e, []harden.Plan{p}, "undo")
		if err != nil {
			return a.stays(done, err)
		}
		done = append(done, undone...)
	}
	return owed
}

// inTheWay refuses what others have changed on the node since, before anything is undone: what keeps a change through upgrades comes
// first, and would be gone while the change is still there.
func (a *app) inTheWay(ctx context.Context, e *engine, all []undoing, run string) error {
	if len(all) < 2 {
		return nil
	}
	for _, u := range all {
		if u.keeps {
			continue
		}
		var conflict *harden.UndoConflictError
		if _, err := e.undo(ctx, u, run); errors.As(err, &conflict) && conflict.Later == "" {
			return a.undoConflict(err)
		}
	}
	return nil
}

// owes says which part of an undo is left, and what comes of that.
func (a *app) owes(u undoing, control string, err error) {
	if errors.As(err, new(*harden.UndoConflictError)) {
		_ = a.undoConflict(err)
	} else {
		a.complain(err)
	}
	if u.keeps {
		fmt.Fprintf(a.Err, "error: transaction %s stays: kubeadm's own configuration still has what is undone on the node, and the next kubeadm upgrade brings it back; undo it before that\n", oneLine(u.id))
	}
	again := program + " rollback " + u.id
	if control != "" {
		again += " --control " + control
	}
	a.printHints([]string{again})
}

// mayReach says that a transaction which cannot be read may have changed what the others did.
func mayReach(damaged harden.TransactionSummary, others []harden.TransactionSummary) bool {
	for _, t := range others {
		if damaged.Scope == "" || damaged.Scope == t.Scope && t.Scope == harden.ScopeCluster ||
			slices.ContainsFunc(damaged.Targets, func(p string) bool { return slices.Contains(t.Targets, p) }) {
			return true
		}
	}
	return false
}

// having leaves the transactions in which the control has a part; without a control all of them.
func (a *app) having(e *engine, ids []string, control string) ([]string, error) {
	if control == "" || len(ids) == 0 {
		return ids, nil
	}
	var out, known []string
	for _, id := range ids {
		p, err := e.loadPlan(id)
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

// nothingToUndo does not hide a transaction that has to be settled.
func (a *app) nothingToUndo(e *engine) error {
	if res, open := e.Pending(); open {
		return a.report(res)
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
	if conflict.Gone {
		a.printWays(a.waysWithout(*conflict))
		return &codeError{exitRefused}
	}
	if conflict.Secret {
		return &codeError{exitRefused}
	}
	exists := func(b []byte) harden.State { return harden.State{Exists: b != nil, Data: b} }
	a.printDiff("what undoing would have to change", conflict.Target, exists(conflict.Now), exists(conflict.Want))
	if conflict.Later != "" {
		a.printHints([]string{program + " rollback " + conflict.Later})
	} else {
		a.printHints([]string{program + " history " + conflict.Of}) // which shows how it left them
	}
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
			open, err := e.unsettled()
			if err != nil {
				return err
			}
			worst := exitDone
			if whole, err := a.whole(cmd.Context(), e); err != nil {
				return err
			} else if !whole {
				worst = exitUnsettled
			}
			if len(open) == 0 && worst == exitDone {
				fmt.Fprintln(a.Out, "nothing to recover")
				return nil
			}
			if h, held, err := e.store.Holder(); err == nil && held {
				return a.report(harden.Result{
					Outcome: harden.OutcomeLocked, Message: harden.Msg("a run is under way: %s", h.String()), Hints: []string{program + " status"},
				})
			}
			// The newest first: it was begun on what the older ones have left.
			for _, t := range open {
				res := e.Recover(cmd.Context(), t.ID, finish, a.tell)
				if res.Script == "" {
					res.Script = e.script(t.Dir)
				}
				if res.Outcome == harden.OutcomeRolledBack {
					fmt.Fprintln(a.Out, oneLine(fmt.Sprintf("transaction %s is undone: %s", t.ID, res.Message)))
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

// whole says whether every settled transaction still is what was written. What is not can be undone by hand only.
func (a *app) whole(ctx context.Context, e *engine) (bool, error) {
	damaged, err := e.damaged(ctx)
	damaged = blocking(damaged)
	_ = a.tellDamage(damaged) // the code is recover's
	return len(damaged) == 0, err
}

// ways are the commands for a damaged transaction: undoing what is still in force, and putting its record aside.
func (a *app) ways(t harden.TransactionSummary) []way {
	dir := path.Dir(t.Script)
	aside := way{"once that is settled, put its record aside; nothing else goes by it then",
		a.where.sudo() + "mv " + shellWord(dir) + " " + shellWord(path.Join(path.Dir(path.Dir(dir)), t.ID+".damaged"))}
	switch {
	case t.Outcome != harden.OutcomeApplied || len(t.UndoneBy) > 0 || t.Restored:
		aside.what = "nothing of it is in force; put its record aside"
		return []way{aside}
	case t.ByHand:
		return []way{{"undo it by hand; where a saved original is damaged, it says which, and how all else is restored", a.where.byHand(t.Script)}, aside}
	}
	return []way{
		{"undo it; the plan has what is needed", program + " rollback " + t.ID},
		{"or by hand; it says what cannot be restored, and how all else is", a.where.byHand(t.Script)},
		aside,
	}
}

// waysWithout are the commands where a target is gone.
func (a *app) waysWithout(c harden.UndoConflictError) []way {
	script := path.Join(a.where.root, a.where.stateDir, "transactions", c.Of, "restore.sh")
	ways := []way{{"bring everything back as it was before the transaction, this too", a.where.byHand(script)}}
	if len(c.Rest) > 0 {
		ways = append(ways, way{"or undo the rest, control by control", program + " rollback " + c.Of + " --control " + c.Rest[0]})
	}
	return ways
}

// way is a command, and what it is for.
type way struct{ what, command string }

// printWays prints them as hints, each with what it is for.
func (a *app) printWays(ways []way) {
	for _, w := range ways {
		fmt.Fprintf(a.Err, "%s:\n", w.what)
		a.printHints([]string{w.command})
	}
}
