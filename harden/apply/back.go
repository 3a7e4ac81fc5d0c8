package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// undo takes the stages up to last back, in reverse, gated, and says what became of it. The operator's interruption does not
// reach it: a way back that stops half-way helps nobody.
func (r *run) undo(ctx context.Context, last int, cause error) harden.Result {
	ctx = context.WithoutCancel(ctx)
	r.tell(harden.Event{Kind: harden.EventUndoing, Message: harden.Msg("going back: %s", cause.Error())})
	var errs []error
	for i := last; i >= 0; i-- {
		if err := r.backStage(ctx, r.plan.Stages[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return r.close(errors.Join(errs...), cause)
}

func (r *run) close(failed, cause error) harden.Result {
	res := harden.Result{Transaction: r.tx.ID(), Script: r.tx.Script()}
	var owed *owedError
	switch {
	case failed == nil:
		res.Outcome = harden.OutcomeRolledBack
		res.Message = harden.Msg("%s; everything is as before", cause.Error())
	case errors.As(failed, &owed) && onlyOwed(failed):
		res.Outcome = harden.OutcomeOwed
		res.Message = harden.Msg("%s; files are as before, objects are owed: %s", cause.Error(), oneLine(failed))
		res.Hints = []string{"kubectl-harden recover"}
	default:
		res.Outcome = harden.OutcomeMixed
		res.Message = harden.Msg("%s; the way back failed too: %s", cause.Error(), oneLine(failed))
		res.Hints = []string{"kubectl-harden history " + r.tx.ID()}
	}
	r.tell(harden.Event{Kind: harden.EventFinished, Outcome: res.Outcome, Message: res.Message})
	if res.Outcome == harden.OutcomeOwed {
		return res // it stays open: recover settles it when the API answers
	}
	if err := r.tx.Close(res.Outcome); err != nil {
		res.Outcome = harden.OutcomeUnsettled
		res.Message = harden.Msg("%s; and the journal cannot be written: %s", res.Message.String(), err.Error())
	}
	return res
}

// oneLine is errors.Join's text on one line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func onlyOwed(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		var owed *owedError
		return errors.As(err, &owed)
	}
	return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !onlyOwed(e) })
}

// backStage returns every target of the stage to what it was: objects, then components with their gates, then files that
// nothing reads any more, then directories.
func (r *run) backStage(ctx context.Context, st harden.Stage) error {
	back, err := st.Back()
	if err != nil {
		return err
	}
	var errs []error
	if err := r.revertObjects(ctx, st); err != nil {
		errs = append(errs, err)
	}
	touched, err := r.touchedSteps()
	if err != nil {
		return err
	}
	for _, e := range back.Effects {
		if e.Kind == harden.EffectSysctl && r.effectStarted(harden.EffectSysctl, "") {
			if err := r.sysctls(ctx, e); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, c := range slices.Backward(harden.Components) {
		if err := r.backComponent(ctx, back, c, touched); err != nil {
			errs = append(errs, err)
		}
	}
	for _, s := range back.Steps {
		if s.Component == "" && s.Kind != harden.StepObject {
			if err := r.revert(s); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (r *run) revert(s harden.Step) error {
	err := r.tx.Revert(s.ID)
	if errors.Is(err, ErrKept) {
		r.tell(harden.Event{Kind: harden.EventKept, Target: s.ID, Message: harden.Msg("%s", err.Error())})
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting %s back: %w", s.ID, err)
	}
	r.tell(harden.Event{Kind: harden.EventReverted, Target: s.ID, Component: s.Component, Message: harden.Msg("%s is as before", s.ID)})
	return nil
}

// backComponent reverts a component's files and proves that it runs as before. One whose files were never touched is left
// alone.
func (r *run) backComponent(ctx context.Context, back harden.Stage, c harden.Component, touched map[string]bool) error {
	steps := back.ForComponent(c.ID)
	if !slices.ContainsFunc(steps, func(s harden.Step) bool { return touched[s.ID] }) {
		return nil
	}
	var not []string
	if !r.plan.Target.Offline {
		// Whatever runs now with our files is not what may run afterwards.
		if now, err := r.instance(ctx, c); err == nil && now.ID != r.before[c.ID].ID {
			not = append(not, now.ID)
		}
	}
	changed := r.Clock.Now()
	for _, s := range steps {
		if err := r.revert(s); err != nil {
			return err
		}
	}
	effect, restarts := back.Effect(c.ID)
	if r.plan.Target.Offline || !restarts || !c.StaticPod() && !r.effectStarted(harden.EffectUnit, c.ID) {
		return nil
	}
	if err := r.start(ctx, c, effect); err != nil {
		return err
	}
	gate, _ := back.Gate(c.ID)
	return r.proveBack(ctx, c, gate, want{since: changed, not: not})
}

// proveBack is the gate of an undo. A static pod whose file the kubelet never noticed keeps its old instance; that is as good
// as a new one, if it stays healthy.
func (r *run) proveBack(ctx context.Context, c harden.Component, g harden.Gate, w want) error {
	err := r.prove(ctx, c, g, w)
	if err != nil {
		return fmt.Errorf("after putting its files back: %w", err)
	}
	return nil
}

// touchedSteps are the file steps that the journal says may have been written.
func (r *run) touchedSteps() (map[string]bool, error) {
	entries, err := r.tx.Entries()
	if err != nil {
		return nil, fmt.Errorf("reading the journal: %w", err)
	}
	out := map[string]bool{}
	for _, e := range entries {
		switch {
		case e.Target == "":
		case e.Kind == kindFailed:
			delete(out, e.Target)
		default:
			out[e.Target] = true
		}
	}
	return out, nil
}

// effectStarted says whether the journal has the effect begun: a unit that was never restarted need not be restarted back.
func (r *run) effectStarted(kind harden.EffectKind, c harden.ComponentID) bool {
	entries, err := r.tx.Entries()
	if err != nil {
		return true
	}
	for _, e := range entries {
		var effect harden.Effect
		if e.Kind == kindEffect && decode(e.Data, &effect) == nil && effect.Kind == kind && effect.Component == c {
			return true
		}
	}
	return false
}

// Recover settles an interrupted transaction: back, or forward where every gate had passed.
func (a *Applier) Recover(ctx context.Context, id string, finish bool) harden.Result {
	tx, plan, err := a.Store.Resume(id)
	if err != nil {
		return harden.Result{Transaction: id, Outcome: harden.OutcomeUnsettled, Message: harden.Msg("%s", fmt.Errorf("resuming transaction %s: %w", id, err).Error())}
	}
	r := &run{Applier: a, plan: plan, tx: tx, before: map[harden.ComponentID]Instance{}}
	if err := r.sameTarget(plan.Target); err != nil {
		return harden.Result{Transaction: id, Outcome: harden.OutcomeUnsettled, Script: tx.Script(), Message: harden.Msg("%s", err.Error())}
	}
	passed, err := r.reread()
	if err != nil {
		return harden.Result{Transaction: id, Outcome: harden.OutcomeUnsettled, Script: tx.Script(), Message: harden.Msg("%s", err.Error())}
	}
	if passed {
		return r.commit()
	}
	if finish {
		return r.finish(ctx)
	}
	return r.undo(ctx, len(plan.Stages)-1, errors.New("it was interrupted"))
}

// finish goes on forward. What is written already is not written again.
func (r *run) finish(ctx context.Context) harden.Result {
	for _, st := range r.plan.Stages {
		if err := r.stage(ctx, st); err != nil {
			return r.undo(ctx, len(r.plan.Stages)-1, err)
		}
	}
	if err := r.soak(ctx); err != nil {
		return r.undo(ctx, len(r.plan.Stages)-1, err)
	}
	return r.commit()
}

// reread takes from the journal what the dead process knew.
func (r *run) reread() (passed bool, err error) {
	entries, err := r.tx.Entries()
	if err != nil {
		return false, fmt.Errorf("reading the journal: %w", err)
	}
	for _, e := range entries {
		switch e.Kind {
		case kindPassed:
			passed = true
		case kindStarted:
			var s struct {
				Component harden.ComponentID
				Instance  Instance
			}
			if err := decode(e.Data, &s); err != nil {
				return false, err
			}
			r.before[s.Component] = s.Instance
		}
	}
	return passed, nil
}

func decode(data json.RawMessage, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("reading the journal: %w", err)
	}
	return nil
}
