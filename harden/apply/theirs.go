package apply

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Abandon undoes a transaction that waits for confirm, as shown: that is the plan of its undo, which keeps what others have
// changed since. Where that is not the undo any more, nothing is changed.
func (a *Applier) Abandon(ctx context.Context, shown harden.Plan) harden.Result {
	res := a.settle(ctx, shown.Undoes, errNotWanted, &shown)
	if res.Outcome == harden.OutcomeRolledBack {
		res.Outcome = harden.OutcomeApplied // it was the undo that was asked for
	}
	return res
}

// asShown refuses an undo that would not be the one that was shown.
func (r *run) asShown(ctx context.Context, shown harden.Plan) error {
	for _, s := range shown.Steps() {
		if s.Kind == harden.StepObject {
			continue
		}
		now, err := r.Node.State(s.Path)
		if err != nil {
			return fmt.Errorf("checking the plan: %s: %w", s.ID, err)
		}
		if !now.Equal(s.Before) {
			return &DriftError{Step: s, Now: now}
		}
		if _, ours := r.tx.Content(s.ID); !ours {
			return &RefusedError{
				Why:   fmt.Sprintf("checking the plan: %s: transaction %s has not changed it, so that its own undo cannot: confirm it, and undo it then", s.ID, r.tx.ID()),
				Hints: []string{"kubectl-harden confirm " + r.tx.ID()},
			}
		}
	}
	return r.sameUndo(ctx, shown)
}

// keepTheirs lets the undo of a transaction that has waited take back our changes only: others had the time to change the
// same files, and nothing of theirs goes with ours. What it makes of a file is in the journal before the file is written.
// Where they have changed the same as we did, nothing is arranged, and the file is left to them. A file that an earlier undo
// has brought back is theirs in any case.
func (r *run) keepTheirs() {
	for _, s := range r.asPlanned.Steps() {
		now, back, changed := r.withoutOurs(s)
		if !changed {
			continue
		}
		if err := r.tx.Rebase(s.ID, now, back); err != nil {
			r.tell(harden.Event{Kind: harden.EventFailed, Target: s.ID, Message: harden.Msg("%s", oneLine(err))})
			continue
		}
		if r.adopt(s.ID); !slices.Contains(r.theirs, s.ID) {
			continue // they have put it back
		}
		r.tell(harden.Event{Kind: harden.EventKept, Target: s.ID, Component: s.Component, Message: harden.Msg("others have changed %s since: only what was changed here is taken back", s.ID)})
	}
	if r.waited {
		r.keepSettings()
	}
}

// withoutOurs is what is at a step's target now and what it is to become, where that is not simply what the transaction has saved.
func (r *run) withoutOurs(s harden.Step) (now, back harden.State, changed bool) {
	if s.Kind == harden.StepObject {
		return now, back, false
	}
	prior, known := r.tx.Prior(s.ID)
	content, _ := r.tx.Content(s.ID)
	now, err := r.Node.State(s.Path)
	switch {
	case err != nil || !known:
		return now, back, false
	case r.broughtBack(s.ID):
		return now, now, s.Kind == harden.StepFile && !now.Equal(prior)
	case !r.waited:
		return now, back, false
	}
	if r.shown != nil {
		steps := r.shown.Steps()
		if i := slices.IndexFunc(steps, func(u harden.Step) bool { return u.ID == s.ID }); i >= 0 {
			return steps[i].Before, steps[i].After, !bytes.Equal(steps[i].Before.Data, content.Data) || !steps[i].After.Equal(prior)
		}
		// Nothing was shown of it: it is to stay as it is.
		return now, now, s.Kind == harden.StepFile && !now.Equal(content) && !now.Equal(prior)
	}
	// An undo that was killed may have left attributes half-way: here only the content tells of others.
	same := func(was harden.State) bool { return now.Exists == was.Exists && bytes.Equal(now.Data, was.Data) }
	if same(prior) || same(content) {
		return now, back, false
	}
	back, changed = s.Without(now)
	return now, back, changed
}

// broughtBack says that an earlier undo has brought a step's target back, so that nothing of ours is in it any more.
func (r *run) broughtBack(step string) (back bool) {
	entries, err := r.tx.Entries()
	for _, e := range entries {
		if e.Target == step && e.Kind != kindRebase {
			back = e.Kind == kindReverted
		}
	}
	return err == nil && back
}

// adopt takes a rebased target into the plan that the undo goes by, so that the gates prove what is written.
func (r *run) adopt(step string) {
	before, okBefore := r.tx.Prior(step)
	after, okAfter := r.tx.Content(step)
	if !okBefore || !okAfter {
		return
	}
	r.plan.Stages = slices.Clone(r.plan.Stages)
	for i := range r.plan.Stages {
		st := &r.plan.Stages[i]
		if j := slices.IndexFunc(st.Steps, func(s harden.Step) bool { return s.ID == step }); j >= 0 {
			st.Steps = slices.Clone(st.Steps)
			st.Steps[j].Before, st.Steps[j].After = before, after
		}
	}
	r.theirs = slices.DeleteFunc(r.theirs, func(id string) bool { return id == step })
	steps := r.asPlanned.Steps()
	if i := slices.IndexFunc(steps, func(s harden.Step) bool { return s.ID == step }); i < 0 || !before.Equal(steps[i].Before) {
		r.theirs = append(r.theirs, step)
	}
}

// keepSettings leaves out of the undo the kernel settings that have another value by now than the one that was loaded.
func (r *run) keepSettings() {
	r.plan.Stages = slices.Clone(r.plan.Stages)
	for i := range r.plan.Stages {
		st := &r.plan.Stages[i]
		st.Effects = slices.Clone(st.Effects)
		for j, e := range st.Effects {
			if e.Kind == harden.EffectSysctl {
				st.Effects[j].Prior = maps.Clone(e.Prior)
				maps.DeleteFunc(st.Effects[j].Prior, func(k, _ string) bool {
					now, known := r.Facts.Sysctls[k]
					return known && now != e.Sysctls[k]
				})
			}
		}
		st.Effects = slices.DeleteFunc(st.Effects, func(e harden.Effect) bool {
			return e.Kind == harden.EffectSysctl && len(e.Prior) == 0
		})
	}
}

// asBefore says that everything is, but for what others have changed.
func (r *run) asBefore(cause error) harden.Message {
	others := strings.Join(slices.Concat(r.theirs, r.kept), ", ")
	switch {
	case r.shown != nil && others == "":
		return harden.Msg("undone, everything is as before")
	case r.shown != nil:
		return harden.Msg("undone, everything is as before, but for what others have changed in %s", others)
	case len(r.theirs) > 0:
		return harden.Msg("%s; everything is as before, but for what others have changed in %s", oneLine(cause), others)
	case len(r.kept) > 0:
		return harden.Msg("%s; everything is as before, but for what others have put into %s", oneLine(cause), others)
	}
	return harden.Msg("%s; everything is as before", oneLine(cause))
}
