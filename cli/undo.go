package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// undoing is one transaction of an undo.
type undoing struct {
	id       string
	controls []string // that it is limited to; none: all of it
	keeps    bool     // it is of what kubeadm keeps
	kept     bool     // what kubeadm keeps of it is undone too
}

// together are the transactions that are undone when these are, newest first: themselves, and of the same run what keeps them
// through upgrades. Files that go while kubeadm's configuration names them would be missed at its next upgrade.
func (e *engine) together(ids []string, control string) ([]undoing, error) {
	history, plans, err := e.historyAndPlans()
	if err != nil {
		return nil, err
	}
	var out []undoing
	for i, t := range history {
		if slices.Contains(ids, t.ID) {
			u := undoing{id: t.ID, keeps: plans[i].Keeps()}
			if control != "" {
				u.controls = []string{control}
			}
			out = append(out, u)
			continue
		}
		if !plans[i].Keeps() || plans[i].Run == "" || t.Outcome != harden.OutcomeApplied || len(t.UndoneBy) > 0 {
			continue
		}
		var kept []string
		for j, of := range history {
			if !slices.Contains(ids, of.ID) || plans[j].Run != plans[i].Run {
				continue
			}
			for _, c := range plans[j].Controls() {
				if (control == "" || c == control) && slices.Contains(plans[i].Controls(), c) {
					kept = append(kept, c)
				}
			}
		}
		switch {
		case len(kept) == 0:
		case control == "" && len(kept) == len(plans[i].Controls()):
			out = append(out, undoing{id: t.ID, keeps: true})
		default:
			out = append(out, undoing{id: t.ID, controls: kept, keeps: true})
		}
	}
	for i := range out {
		out[i].kept = slices.ContainsFunc(out, func(u undoing) bool { return u.keeps })
	}
	if len(out) == 0 {
		return nil, &hintedError{err: fmt.Errorf("undoing: %s: there is no such transaction", strings.Join(ids, ", ")), hints: []string{program + " history"}}
	}
	return out, nil
}

// mayStay says that an undo goes on without what kubeadm keeps: the node's own part must not wait for the API, nor for what
// others have written there.
func (u undoing) mayStay(err error) bool {
	var conflict *harden.UndoConflictError
	return u.keeps && (errors.As(err, new(*clusterError)) || errors.As(err, &conflict) && conflict.Later == "")
}

// Undo plans the undo of a transaction, or of what one control asked for in it, and of what keeps it through upgrades. What of
// that cannot be undone now is said in what the plans leave out.
func (e *engine) Undo(ctx context.Context, id, control string) ([]harden.Plan, error) {
	all, err := e.together([]string{id}, control)
	if err != nil {
		return nil, err
	}
	run := word(4)
	var plans []harden.Plan
	var stays []harden.Skip
	for _, u := range all {
		p, err := e.undo(ctx, u, run)
		switch {
		case err == nil && p.Empty() && u.id != id: // of that nothing is left
		case err == nil:
			plans = append(plans, p)
		case u.id != id && u.mayStay(err):
			stays = append(stays, harden.Skip{
				Control: "upgrade-static-pods", Named: true,
				Reason: harden.Msg("kubeadm's own configuration still has it, and the next kubeadm upgrade brings it back: undo transaction %s too, before that; now it cannot be: %s", u.id, strings.TrimPrefix(err.Error(), "undoing: ")),
			})
		default:
			return nil, err
		}
	}
	last := &plans[len(plans)-1] // the transaction that was named, or the oldest one
	last.Skipped = append(last.Skipped, stays...)
	return plans, nil
}

// undo plans the undo of one transaction as part of a run.
func (e *engine) undo(ctx context.Context, u undoing, run string) (harden.Plan, error) {
	history, plans, err := e.historyAndPlans()
	if err != nil {
		return harden.Plan{}, err
	}
	at := slices.IndexFunc(history, func(t harden.TransactionSummary) bool { return t.ID == u.id })
	if at < 0 {
		return harden.Plan{}, &hintedError{err: fmt.Errorf("undoing: %s: there is no such transaction", u.id), hints: []string{program + " history"}}
	}
	switch o := history[at].Outcome; {
	case o == harden.OutcomeWaiting && len(u.controls) > 0:
		return harden.Plan{}, &hintedError{
			err:   fmt.Errorf("undoing: transaction %s: it waits for confirm, and can be undone only wholly until then", u.id),
			hints: []string{program + " rollback " + u.id, program + " confirm " + u.id},
		}
	case o != harden.OutcomeApplied && o != harden.OutcomeWaiting:
		return harden.Plan{}, &hintedError{err: fmt.Errorf("undoing: transaction %s: it is not applied (%s)", u.id, o), hints: []string{program + " history " + u.id}}
	}
	in, err := e.undoInput(ctx, history, plans, at, u.controls)
	if err != nil {
		return harden.Plan{}, err
	}
	for _, c := range u.controls {
		if !slices.Contains(in.Done.Plan.Controls(), c) {
			return harden.Plan{}, &hintedError{
				err:   fmt.Errorf("undoing: transaction %s: %s has no part in it", u.id, c),
				hints: []string{program + " history " + u.id},
			}
		}
	}
	if u.kept {
		in.Kubeadm = nil // it goes with this
	}
	p, err := harden.Undo(in)
	p.Run = run
	return p, err
}

func (e *engine) undoInput(ctx context.Context, history []harden.TransactionSummary, plans []harden.Plan, at int, controls []string) (harden.UndoInput, error) {
	in := harden.UndoInput{Controls: controls, Read: e.m.node.State, Writes: e.m.files, Now: e.clock.Now().UTC(), Tool: e.meta.Binary.Version}
	var err error
	if in.Facts, err = e.Facts(ctx); err != nil {
		return in, err
	}
	if history[at].ByHand { // read once more, for the error that says what is wrong with it
		if plans[at], err = e.loadPlan(history[at].ID); err != nil {
			return in, err
		}
	}
	in.Done = harden.Done{ID: history[at].ID, Plan: plans[at]}
	for i, t := range slices.Backward(history[:at]) {
		if t.Outcome != harden.OutcomeApplied || len(t.UndoneBy) > 0 {
			continue
		}
		switch {
		case t.Undoes == in.Done.ID:
			if t.ByHand {
				if plans[i], err = e.loadPlan(t.ID); err != nil {
					return in, err
				}
			}
			in.Undone = append(in.Undone, plans[i].UndoesControls...)
		case t.Undoes != "":
		case t.ByHand: // it cannot be named where the same lines are in the way; that they are is seen in the file
		default:
			in.Later = append(in.Later, harden.Done{ID: t.ID, Plan: plans[i]})
		}
	}
	if _, _, keys := harden.KeyFile(in.Done.Plan.Steps()); keys {
		in.Keys, in.Kubeadm = e.keysRead(ctx, in.Facts.Identity)
	}
	if in.Done.Plan.Scope == harden.ScopeCluster && e.m.connect != nil {
		c, err := e.ownCluster(ctx, in.Facts.Identity)
		if err != nil {
			return in, &clusterError{err}
		}
		in.Object = func(ref harden.ObjectRef) (harden.State, string, string, error) {
			s, uid, version, err := c.Object(ctx, ref)
			if err != nil {
				err = &clusterError{err}
			}
			return s, uid, version, err
		}
	}
	return in, nil
}

// keysRead asks what the control planes encrypt with, and what kubeadm gives to new ones; nothing where that cannot be asked: the
// applier asks again.
func (e *engine) keysRead(ctx context.Context, node harden.Identity) ([]harden.KeyFact, *harden.KubeadmFact) {
	if e.m.connect == nil {
		return nil, nil
	}
	c, err := e.ownCluster(ctx, node)
	if err != nil {
		return nil, nil
	}
	facts, _ := c.Facts(ctx, []harden.Need{harden.NeedKeys, harden.NeedKubeadm})
	return facts.Keys, facts.Kubeadm
}

// clusterError is an undo of objects that the API cannot be asked for.
type clusterError struct{ err error }

func (e *clusterError) Error() string { return "undoing: " + e.err.Error() }
func (e *clusterError) Unwrap() error { return e.err }

// putBack says that restore.sh was run, and that every target is as it was before the transaction.
func (e *engine) putBack(t harden.TransactionSummary, p harden.Plan) bool {
	return t.Restored && !t.ByHand && !slices.ContainsFunc(p.Steps(), func(s harden.Step) bool {
		now, err := e.m.node.State(s.Path)
		return err != nil || !now.Equal(s.Before)
	})
}

// lastRun are the applied transactions of the newest run that is not undone and can be read, newest first, and the damaged
// ones above it.
func (e *engine) lastRun() (last, damaged []harden.TransactionSummary, err error) {
	history, plans, err := e.historyAndPlans()
	if err != nil {
		return nil, nil, err
	}
	run := ""
	for i, t := range history {
		there := t.Outcome == harden.OutcomeApplied || t.Outcome == harden.OutcomeWaiting
		if !there || len(t.UndoneBy) > 0 || t.Undoes != "" && !t.ByHand || t.ByHand && t.Restored || e.putBack(t, plans[i]) {
			continue
		}
		switch {
		case t.ByHand && len(last) == 0:
			damaged = append(damaged, t)
			continue
		case t.ByHand || len(last) > 0 && plans[i].Run != run:
			return last, damaged, nil
		}
		last, run = append(last, t), plans[i].Run
	}
	return last, damaged, nil
}
