package apply

import (
	"context"
	"errors"

	"kubectl-harden.io/kubectl-harden/harden"
)

// targets say what state everything is in that the plan was to change, for when the undo failed: nobody should have to
// find that out by hand.
func (r *run) targets(ctx context.Context) []harden.TargetState {
	var out []harden.TargetState
	for _, s := range r.plan.Steps() {
		now, err := r.stateOf(ctx, s)
		out = append(out, compared(s, now, err))
	}
	if !r.live() {
		return out
	}
	for _, st := range r.plan.Stages {
		undo, err := st.Undo()
		if err != nil {
			continue // its manifest, named above, cannot be read
		}
		for _, e := range st.Effects {
			c, ok := harden.ComponentByID(e.Component)
			if !ok {
				continue
			}
			if c.Loads() {
				out = append(out, r.tableState(ctx, st))
				continue
			}
			forward, _ := st.Gate(c.ID)
			was, _ := undo.Gate(c.ID)
			i, err := r.instance(ctx, c)
			out = append(out, running(c, i, err, was.Args, forward.Args))
		}
	}
	return out
}

func (r *run) stateOf(ctx context.Context, s harden.Step) (harden.State, error) {
	switch {
	case s.Kind != harden.StepObject:
		return r.Node.State(s.Path)
	case r.Cluster == nil:
		return harden.State{}, errors.New("there is no API to ask")
	}
	now, _, _, err := r.Cluster.Object(ctx, *s.Object)
	return now, err
}

func compared(s harden.Step, now harden.State, err error) harden.TargetState {
	t := harden.TargetState{Target: s.ID}
	switch {
	case err != nil:
		t.Is, t.Why = harden.TargetUnknown, harden.Msg("%s", oneLine(err))
	case now.Equal(s.Before):
		t.Is = harden.TargetBefore
	case now.Equal(s.After):
		t.Is = harden.TargetPlanned
	case !now.Exists:
		t.Is, t.Why = harden.TargetOtherwise, harden.Msg("it does not exist")
	case s.Kind != harden.StepObject && string(now.Data) == string(s.Before.Data) && s.Before.Exists:
		t.Is, t.Why = harden.TargetOtherwise, harden.Msg("its content is as before; its mode, owner or attributes are not")
	default:
		t.Is, t.Why = harden.TargetOtherwise, harden.Msg("it has another content")
	}
	return t
}

// running compares the arguments of what runs; a kubelet's say nothing of its configuration.
func running(c harden.Component, i Instance, err error, before, planned []string) harden.TargetState {
	t := harden.TargetState{Target: string(c.ID), Why: harden.Msg("process %d", i.PID)}
	switch {
	case errors.Is(err, ErrNotRunning):
		t.Is, t.Why = harden.TargetOtherwise, harden.Msg("it does not run")
	case err != nil:
		t.Is, t.Why = harden.TargetUnknown, harden.Msg("%s", oneLine(err))
	case !c.StaticPod():
		t.Is, t.Why = harden.TargetUnknown, harden.Msg("process %d runs; what configuration it has read is not known", i.PID)
	case harden.SameArgs(i.Args, before):
		t.Is = harden.TargetBefore
	case harden.SameArgs(i.Args, planned):
		t.Is = harden.TargetPlanned
	default:
		t.Is, t.Why = harden.TargetOtherwise, harden.Msg("process %d has other arguments", i.PID)
	}
	return t
}
