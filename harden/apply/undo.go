package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// undoneEntry is the journal of a component that is proven to run as before.
type undoneEntry struct {
	Component harden.ComponentID `json:"component"`
}

// undo undoes the stages up to last, in reverse, gated, and says what became of it. The operator's interruption does not
// reach it: an undo that stops half-way helps nobody. Nor does a journal that cannot be written.
func (r *run) undo(ctx context.Context, cause error, last int) harden.Result {
	ctx = context.WithoutCancel(ctx)
	if why := r.keysNeeded(ctx, last); why != nil {
		return r.keepKeys(why)
	}
	r.due = time.Time{}
	if !wanted(cause) {
		r.tell(harden.Event{Kind: harden.EventFailed, Message: harden.Msg("%s", oneLine(cause))})
	}
	_ = r.tx.Log(kindUndoing, nil)
	r.tell(harden.Event{Kind: harden.EventUndoing, Message: harden.Msg("undoing: %s", oneLine(cause))})
	r.dropHalf()
	r.keepTheirs()
	var errs []error
	_ = r.endRedirect(ctx)
	if err := r.endCanary(ctx); err != nil {
		r.tell(harden.Event{Kind: harden.EventFailed, Message: harden.Msg("%s", oneLine(err))})
		errs = append(errs, err)
	}
	for i := last; i >= 0; i-- {
		for _, err := range r.undoStage(ctx, r.plan.Stages[i]) {
			r.tell(harden.Event{Kind: harden.EventFailed, Stage: i, Message: harden.Msg("%s", oneLine(err))})
			errs = append(errs, err)
		}
	}
	if err := r.endRedirect(ctx); err != nil {
		r.tell(harden.Event{Kind: harden.EventFailed, Message: harden.Msg("%s", oneLine(err))})
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		r.waysBack(ctx, r.plan.Stages[:last+1])
	}
	if len(errs) == 0 && len(r.owed) == 0 || !r.armed() {
		r.disarm(ctx)
	} else {
		r.leaveArmed()
	}
	res := r.end(errors.Join(errs...), cause, last)
	var drift *DriftError
	if errors.As(cause, &drift) {
		res.Drift = drift.picture()
	}
	if res.Outcome == harden.OutcomeMixed {
		res.Targets = r.targets(ctx)
	}
	return res
}

// wanted says that nothing has failed: the undo was asked for.
func wanted(cause error) bool {
	return slices.ContainsFunc([]error{errInterrupted, errUnfinished, ErrUnconfirmed, errNotWanted, errRebooted}, func(w error) bool { return errors.Is(cause, w) })
}

// end gives an undone transaction its outcome. A plan whose first rehearsal failed has restarted nothing: it was refused, and
// the store keeps its transaction as rolled back.
func (r *run) end(failed, cause error, last int) harden.Result {
	res := harden.Result{Transaction: r.tx.ID(), Script: r.tx.Script(), Outcome: harden.OutcomeRolledBack}
	why, owed := oneLine(cause), errors.Join(r.owed...)
	switch {
	case failed != nil:
		res.Outcome = harden.OutcomeMixed
		res.Message = harden.Msg("%s; the undo failed too: %s", why, oneLine(errors.Join(failed, owed)))
		res.Hints = []string{"kubectl-harden recover", "kubectl-harden history " + r.tx.ID()}
	case owed != nil:
		res.Outcome = harden.OutcomeOwed
		res.Message = harden.Msg("%s; files are as before, objects are owed: %s", why, oneLine(owed))
		res.Hints = []string{"kubectl-harden recover"}
	default:
		res.Message = r.asBefore(cause)
	}
	stored := res.Outcome
	if hints, refused := refusedLate(cause); refused && last == 0 && res.Outcome == harden.OutcomeRolledBack {
		res.Outcome, res.Hints = harden.OutcomeRefused, hints
		res.Message = harden.Msg("%s; nothing was restarted, and everything is as before", why)
	}
	done := harden.Event{Kind: harden.EventFinished, Outcome: res.Outcome, Message: res.Message}
	r.journal(&done)
	if res.Outcome == harden.OutcomeOwed {
		r.hear(done)
		return res // it stays open: recover settles it when the API answers
	}
	err := r.tx.Close(stored)
	if err != nil && res.Outcome != harden.OutcomeMixed {
		res.Outcome, res.Hints = harden.OutcomeUnsettled, []string{"kubectl-harden recover"}
		res.Message = harden.Msg("%s; the journal cannot be written: %s", res.Message.String(), oneLine(err))
	}
	done.Outcome, done.Message = res.Outcome, res.Message
	r.hear(done)
	return res
}

// refusedLate are failures from before the first restart: a rehearsal, a snapshot, or a switch that cannot be armed.
func refusedLate(cause error) (hints []string, refused bool) {
	var rehearsal *RehearsalError
	if errors.As(cause, &rehearsal) {
		return rehearsal.Hints, true
	}
	if snapshot, ok := errors.AsType[*SnapshotError](cause); ok {
		return snapshot.Hints, true
	}
	return nil, errors.As(cause, new(*ArmError))
}

// undoStage returns every target of the stage to what it was: objects, then components with their gates, then files that
// nothing reads any more, then directories. What fails does not keep the rest from coming back, but for what it still names.
func (r *run) undoStage(ctx context.Context, st harden.Stage) (errs []error) {
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	fail(r.revertObjects(ctx, st))
	undo, err := st.Undo()
	if err != nil {
		fail(err) // nothing can be proven, and the files come back all the same
		for _, s := range slices.Backward(st.Steps) {
			if s.Kind != harden.StepObject {
				fail(r.revert(s))
			}
		}
		return errs
	}
	for _, e := range undo.Effects {
		if _, begun := r.effectBegun(e.Kind, ""); e.Kind == harden.EffectSysctl && begun && r.live() {
			_ = r.tx.Log(kindEffect, e)
			fail(r.sysctls(ctx, e))
		}
	}
	// What a component will read again comes back before it; what it reads now goes when nothing does any more.
	rest := func(remains bool) {
		for _, s := range undo.Steps {
			if s.Component == "" && s.Kind != harden.StepObject && s.After.Exists == remains {
				fail(r.revert(s))
			}
		}
	}
	rest(true)
	touched := r.touched()
	for _, c := range slices.Backward(harden.Components) {
		fail(r.undoComponent(ctx, undo, c, touched))
	}
	fail(r.readAgain(ctx, undo, st, touched))
	rest(false)
	return errs
}

func (r *run) revert(s harden.Step) error {
	if by := r.namedBy(s); by != "" {
		return fmt.Errorf("putting %s back: it stays, as what could not be put back in %s names it", s.ID, by)
	}
	err := r.tx.Revert(s.ID)
	if errors.Is(err, ErrKept) {
		r.kept = append(r.kept, s.ID)
		r.tell(harden.Event{Kind: harden.EventKept, Target: s.ID, Message: harden.Msg("%s", oneLine(err))})
		return nil
	}
	if err != nil {
		return fmt.Errorf("putting %s back: %w", s.ID, err)
	}
	r.tell(harden.Event{Kind: harden.EventReverted, Target: s.ID, Component: s.Component, Message: harden.Msg("%s is as before", s.ID)})
	return nil
}

// namedBy is a component's file which is not as before and goes on to name a file that is to go: that component would not start again
// without it.
func (r *run) namedBy(s harden.Step) string {
	if prior, known := r.tx.Prior(s.ID); !known || prior.Exists || s.Component != "" {
		return ""
	}
	for _, t := range r.plan.Steps() {
		if t.Component == "" || t.Kind != harden.StepFile {
			continue
		}
		now, err := r.Node.State(t.Path)
		if err == nil && !bytes.Equal(now.Data, t.Before.Data) && bytes.Contains(now.Data, []byte(s.Path)) {
			return t.ID
		}
	}
	return ""
}

// undoComponent reverts a component's files and proves that it runs as before. One whose files were never touched is left
// alone, and so is one that an earlier undo has proven.
func (r *run) undoComponent(ctx context.Context, undo harden.Stage, c harden.Component, touched map[string]bool) error {
	if c.Loads() {
		return r.undoTable(ctx, undo, c, touched)
	}
	steps := slices.DeleteFunc(undo.ForComponent(c.ID), func(s harden.Step) bool { return !touched[s.ID] })
	away := slices.ContainsFunc(steps, r.away)
	if len(steps) == 0 || r.undone[c.ID] && !away {
		return nil
	}
	effect, restarts := undo.Effect(c.ID)
	restarts = restarts && r.live()
	w := want{restarts: r.restarts(ctx, c), since: r.Clock.Now(), undo: true}
	now, nowErr := Instance{}, error(nil)
	if restarts {
		now, nowErr = r.instance(ctx, c)
	}
	var errs []error
	leaving := r.follow(c, now)
	for _, s := range steps {
		if err := r.revert(s); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil || !restarts {
		return err // with half of its files back, what runs is left alone
	}
	old := nowErr == nil && now.ID == r.before[c.ID].Instance.ID
	_, begun := r.effectBegun(harden.EffectUnit, c.ID)
	switch {
	case !c.StaticPod() && old && !begun:
		return nil // it never saw our files
	case nowErr == nil && (!c.StaticPod() || away && !old):
		// What has run with our files is not what may run afterwards. A static pod whose file had come back already, or never
		// changed, may stay as it is.
		w.not = []string{now.ID}
	}
	_ = r.tx.Log(kindEffect, effect)
	if err := r.restart(ctx, c); err != nil {
		return err
	}
	if away && !old {
		r.shorten(ctx, c, now, leaving, w.since)
	}
	gate, _ := undo.Gate(c.ID)
	prove := r.prove
	if r.before[c.ID].Unwell != "" {
		prove = r.proveUnwell
	}
	if err := prove(ctx, c, gate, w); err != nil {
		return fmt.Errorf("after putting its files back: %w", err)
	}
	_ = r.tx.Log(kindUndone, undoneEntry{c.ID})
	return nil
}

// away says that a target's content is not, or not known to be, what the step brings.
func (r *run) away(s harden.Step) bool {
	now, err := r.Node.State(s.Path)
	return err != nil || now.Exists != s.After.Exists || !bytes.Equal(now.Data, s.After.Data)
}

// touched are the file steps that the journal says may have been written.
func (r *run) touched() map[string]bool {
	out := map[string]bool{}
	entries, err := r.tx.Entries()
	if err != nil {
		for _, s := range r.plan.Steps() {
			out[s.ID] = true
		}
		return out
	}
	for _, e := range entries {
		switch {
		case e.Target == "":
		case e.Kind == kindFailed:
			delete(out, e.Target)
		default:
			out[e.Target] = true
		}
	}
	return out
}

// effectBegun says whether, and when, the journal has the effect begun. A journal that cannot be read has everything begun.
func (r *run) effectBegun(kind harden.EffectKind, c harden.ComponentID) (at time.Time, begun bool) {
	entries, err := r.tx.Entries()
	if err != nil {
		return time.Time{}, true
	}
	for _, e := range entries {
		var effect harden.Effect
		if e.Kind == kindEffect && json.Unmarshal(e.Data, &effect) == nil && effect.Kind == kind && effect.Component == c {
			at, begun = e.Time, true
		}
	}
	return at, begun
}
