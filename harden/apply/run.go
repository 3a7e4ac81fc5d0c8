package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// run is one transaction on its way.
type run struct {
	*Applier
	plan   harden.Plan
	tx     Tx
	before map[harden.ComponentID]Instance // what ran before the first change
}

// forward writes the plan and proves it, or goes back.
func (r *run) forward(ctx context.Context) harden.Result {
	r.tell(harden.Event{Kind: harden.EventBegun, Message: harden.Msg("originals are saved; the way out by hand is %s", r.tx.Script())})
	for i, st := range r.plan.Stages {
		if err := r.stage(ctx, st); err != nil {
			r.tell(harden.Event{Kind: harden.EventFailed, Stage: i, Message: harden.Msg("%s", err.Error())})
			return r.undo(ctx, i, err)
		}
	}
	if err := r.soak(ctx); err != nil {
		r.tell(harden.Event{Kind: harden.EventFailed, Message: harden.Msg("%s", err.Error())})
		return r.undo(ctx, len(r.plan.Stages)-1, err)
	}
	return r.commit()
}

func (r *run) commit() harden.Result {
	if err := r.tx.Log(kindPassed, nil); err != nil {
		return r.unsettled(err)
	}
	r.tell(harden.Event{Kind: harden.EventFinished, Outcome: harden.OutcomeApplied, Message: harden.Msg("applied")})
	if err := r.tx.Close(harden.OutcomeApplied); err != nil {
		return r.unsettled(err)
	}
	return harden.Result{
		Transaction: r.tx.ID(), Outcome: harden.OutcomeApplied, Script: r.tx.Script(),
		Message: r.praise(),
		Hints:   []string{"kubectl-harden rollback " + r.tx.ID()},
	}
}

func (r *run) praise() harden.Message {
	switch {
	case r.plan.Target.Offline:
		return harden.Msg("written; no kubelet runs from this root, so nothing restarted and nothing was proven")
	case r.plan.Undoes != "":
		return harden.Msg("undone, every gate has passed")
	}
	return harden.Msg("applied, every gate has passed")
}

// unsettled is for a journal that cannot be written any more: the change is made, and recovery will say what became of it.
func (r *run) unsettled(err error) harden.Result {
	return harden.Result{
		Transaction: r.tx.ID(), Outcome: harden.OutcomeUnsettled, Script: r.tx.Script(),
		Message: harden.Msg("the journal cannot be written: %s", err.Error()),
		Hints:   []string{"kubectl-harden recover"},
	}
}

// stage goes through the steps in the plan's order; a component's are done together, where its first one stands. Kernel
// settings are loaded before the first component, which may look at them when it starts.
func (r *run) stage(ctx context.Context, st harden.Stage) error {
	done := map[harden.ComponentID]bool{}
	loaded := false
	for _, s := range st.Steps {
		if s.Kind == harden.StepObject || done[s.Component] {
			continue
		}
		if s.Component == "" {
			if err := r.put(ctx, s); err != nil {
				return err
			}
			continue
		}
		if !loaded {
			if err := r.loadSysctls(ctx, st); err != nil {
				return err
			}
			loaded = true
		}
		done[s.Component] = true
		c, ok := harden.ComponentByID(s.Component)
		if !ok {
			return fmt.Errorf("writing %s: unknown component %q", s.ID, s.Component)
		}
		if err := r.component(ctx, st, c); err != nil {
			return err
		}
	}
	if !loaded {
		if err := r.loadSysctls(ctx, st); err != nil {
			return err
		}
	}
	return r.putObjects(ctx, st)
}

func (r *run) loadSysctls(ctx context.Context, st harden.Stage) error {
	for _, e := range st.Effects {
		if e.Kind == harden.EffectSysctl {
			if err := r.sysctls(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// component swaps a component's files, lets it restart once, and proves the new instance.
func (r *run) component(ctx context.Context, st harden.Stage, c harden.Component) error {
	steps := st.ForComponent(c.ID)
	if len(steps) == 0 {
		return nil
	}
	effect, restarts := st.Effect(c.ID)
	live := restarts && !r.plan.Target.Offline
	if live {
		if err := r.remember(ctx, c); err != nil {
			return err
		}
	}
	changed := r.Clock.Now()
	for _, s := range steps {
		if err := r.put(ctx, s); err != nil {
			return err
		}
	}
	if !live {
		return nil
	}
	if err := r.start(ctx, c, effect); err != nil {
		return err
	}
	gate, _ := st.Gate(c.ID)
	return r.prove(ctx, c, gate, want{since: changed, not: []string{r.before[c.ID].ID}})
}

// remember notes the instance that runs before the first change, so that the gate does not take it for the new one.
func (r *run) remember(ctx context.Context, c harden.Component) error {
	i, err := r.instance(ctx, c)
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return fmt.Errorf("looking at %s: %w", c.ID, err)
	}
	r.before[c.ID] = i
	return r.tx.Log(kindStarted, map[string]any{"component": c.ID, "instance": i})
}

// instance is the running instance of a static pod or of a unit.
func (r *run) instance(ctx context.Context, c harden.Component) (Instance, error) {
	if c.StaticPod() {
		return r.Node.Instance(ctx, c)
	}
	u, err := r.Node.Unit(ctx, c.Unit)
	if err != nil {
		return Instance{}, err
	}
	if !u.Active || u.PID == 0 {
		return Instance{}, ErrNotRunning
	}
	return Instance{ID: fmt.Sprintf("process %d", u.PID), PID: u.PID, Started: u.Since}, nil
}

// start brings the effect about: a unit is restarted; a static pod is the kubelet's to restart.
func (r *run) start(ctx context.Context, c harden.Component, e harden.Effect) error {
	if err := r.tx.Log(kindEffect, e); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if c.StaticPod() {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventAwaiting, Component: c.ID, Message: harden.Msg("%s restarts", c.Unit)})
	if err := r.Node.RestartUnit(ctx, c.Unit); err != nil {
		return fmt.Errorf("restarting %s: %w", c.Unit, err)
	}
	return nil
}

func (r *run) sysctls(ctx context.Context, e harden.Effect) error {
	if r.plan.Target.Offline || len(e.Sysctls) == 0 {
		return nil
	}
	if err := r.tx.Log(kindEffect, e); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if err := r.Node.LoadSysctls(ctx, e.Sysctls); err != nil {
		return fmt.Errorf("loading kernel settings: %w", err)
	}
	r.tell(harden.Event{Kind: harden.EventPassed, Message: harden.Msg("kernel settings are loaded")})
	return nil
}

// put writes one file step. Interruption is heard here, before the write, which is a safe point.
func (r *run) put(ctx context.Context, s harden.Step) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	err := r.tx.Put(s.ID)
	if errors.Is(err, ErrKept) {
		r.tell(harden.Event{Kind: harden.EventKept, Target: s.ID, Message: harden.Msg("%s", err.Error())})
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", s.ID, err)
	}
	r.tell(harden.Event{Kind: harden.EventWritten, Target: s.ID, Component: s.Component, Message: written(s)})
	return nil
}

func written(s harden.Step) harden.Message {
	switch {
	case !s.After.Exists:
		return harden.Msg("%s is removed", s.ID)
	case !s.Before.Exists:
		return harden.Msg("%s is made", s.ID)
	}
	return harden.Msg("%s is written", s.ID)
}

// errInterrupted is the operator's wish to stop: SIGINT, SIGTERM, or quitting the UI.
var errInterrupted = errors.New("interrupted")

func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return nil
}

// soak watches the health of everything that was restarted, so that what dies late is noticed.
func (r *run) soak(ctx context.Context) error {
	if r.Soak <= 0 || r.plan.Target.Offline {
		return nil
	}
	r.tell(harden.Event{Kind: harden.EventSoaking, Timeout: r.Soak, Message: harden.Msg("watching health")})
	for end := r.Clock.Now().Add(r.Soak); r.Clock.Now().Before(end); {
		if err := r.Clock.Sleep(ctx, time.Second); err != nil {
			return errInterrupted
		}
		for _, st := range r.plan.Stages {
			for _, g := range st.Gates {
				if err := r.stillHealthy(ctx, g); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *run) stillHealthy(ctx context.Context, g harden.Gate) error {
	for _, p := range g.Probes {
		if res := r.Node.Probe(ctx, p); !res.Healthy(p) && ctx.Err() == nil {
			return fmt.Errorf("watching %s: its %s probe %s", g.Component, p.Name, describe(p, res))
		}
	}
	return nil
}

// tell writes an event to the journal, then to whoever listens. A journal that cannot be written stops the next mutation,
// which is journaled itself; progress alone does not.
func (r *run) tell(e harden.Event) {
	e.Time = r.Clock.Now()
	_ = r.tx.Log(KindEvent, e)
	if r.Events != nil {
		r.Events(e)
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
