package harden

import (
	"fmt"
	"slices"
	"time"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Done is a transaction that was applied, with the plan that it wrote.
type Done struct {
	ID   string
	Plan Plan
}

// UndoInput is what an undo is made from.
type UndoInput struct {
	Done Done
	// Later are the applied transactions after it that are not undone, oldest first.
	Later []Done
	// Control limits the undo to what this control asked for; empty: everything.
	Control string
	Facts   *Facts
	Read    func(path string) (State, error)
	// Object gives what an object is now. Nil: no cluster.
	Object func(ref ObjectRef) (s State, uid, resourceVersion string, err error)
	Now    time.Time
	Tool   string
}

// UndoConflictError is a target that others have changed since, on the same lines.
type UndoConflictError struct {
	Target string
	Later  string // the newer transaction that did, if one of ours did
	// Want is what undoing would write, Now what is there.
	Want, Now []byte
}

func (e *UndoConflictError) Error() string {
	if e.Later != "" {
		return fmt.Sprintf("undoing: %s: transaction %s changed the same lines since; undo that one first", e.Target, e.Later)
	}
	return fmt.Sprintf("undoing: %s: somebody changed the same lines since", e.Target)
}

// Undo makes the plan that brings back prior values. While a target still holds what the transaction wrote, it becomes what
// it was before, wholly; otherwise only our changes are reversed and others' stay. It is applied like any plan, so it is
// shown, journaled and gated the same.
func Undo(in UndoInput) (Plan, error) {
	p := Plan{
		APIVersion: "harden/v1", Kind: "Plan", Scope: in.Done.Plan.Scope, Target: in.Facts.Identity, Created: in.Now, Tool: in.Tool,
		Choices: []Choice{}, Stages: []Stage{}, Preflight: []Check{}, Skipped: []Skip{}, Undoes: in.Done.ID, UndoesControl: in.Control,
	}
	var steps []Step
	all := in.Done.Plan.Steps()
	slices.Reverse(all)
	for _, done := range all {
		s, err := undoStep(in, done)
		if err != nil {
			return Plan{}, err
		}
		if s != nil {
			steps = append(steps, *s)
		}
	}
	if len(steps) == 0 {
		return p, nil
	}
	if p.Scope == ScopeCluster {
		p.Stages = []Stage{objectStage(steps)}
		return p, nil
	}
	backOrder(steps)
	st, err := stageOf(Msg("this node, back"), steps, in.Facts, nil)
	if err != nil {
		return Plan{}, err
	}
	undoSysctls(&st, in.Done.Plan, in.Control)
	p.Stages = []Stage{st}
	return p, nil
}

// undoSysctls loads the prior live values of kernel settings instead of the ones that were asked for.
func undoSysctls(st *Stage, done Plan, control string) {
	for i := range st.Effects {
		e := &st.Effects[i]
		if e.Kind != EffectSysctl {
			continue
		}
		e.Prior, e.Sysctls = e.Sysctls, map[string]string{}
		for _, was := range done.Stages {
			for _, w := range was.Effects {
				if w.Kind == EffectSysctl && (control == "" || slices.Contains(w.Controls, control)) {
					for k, v := range w.Prior {
						e.Sysctls[k] = v
					}
				}
			}
		}
	}
}

// backOrder sorts the steps of going back: components first, so that nothing reads a file when it goes; then the files;
// directories last, inner ones first.
func backOrder(steps []Step) {
	weight := func(s Step) int {
		switch {
		case s.Kind == StepDir:
			return 2
		case s.Component == "":
			return 1
		}
		return 0
	}
	slices.SortStableFunc(steps, func(a, b Step) int {
		if d := weight(a) - weight(b); d != 0 {
			return d
		}
		return rank(a) - rank(b)
	})
}

func undoStep(in UndoInput, done Step) (*Step, error) {
	want, asks, err := wantedBack(in, done)
	if err != nil {
		return nil, err
	}
	if want.Equal(done.After) {
		return nil, nil // this control had no part in it
	}
	s := &Step{ID: done.ID, Kind: done.Kind, Path: done.Path, Object: done.Object, Component: done.Component, Secret: done.Secret, Asks: asks}
	if done.Kind == StepObject {
		if in.Object == nil {
			return nil, fmt.Errorf("undoing: %s: it needs the cluster's API", done.ID)
		}
		if s.Before, s.UID, s.ResourceVersion, err = in.Object(*done.Object); err != nil {
			return nil, fmt.Errorf("undoing: %w", err)
		}
	} else if s.Before, err = in.Read(done.Path); err != nil {
		return nil, fmt.Errorf("undoing: %w", err)
	}
	if s.Before.Equal(want) {
		return nil, nil
	}
	if s.After, err = reverse(in, done, want, s.Before); err != nil {
		return nil, err
	}
	if s.Before.Equal(s.After) {
		return nil, nil
	}
	tracker := newAttribution(s.Before.Data)
	if err := tracker.advance(s.Before.Data, s.After.Data, s.Controls()); err != nil {
		return nil, err
	}
	s.Marks = tracker.marks()
	return s, nil
}

// wantedBack is what the target would hold had the undone controls never been in the transaction, and their asks.
func wantedBack(in UndoInput, done Step) (State, []Ask, error) {
	if in.Control == "" {
		return done.Before, done.Asks, nil
	}
	var gone, kept []Ask
	for _, a := range done.Asks {
		if a.Control == in.Control {
			gone = append(gone, a)
		} else {
			kept = append(kept, a)
		}
	}
	if len(gone) == 0 {
		return done.After, nil, nil
	}
	if len(kept) == 0 {
		return done.Before, gone, nil
	}
	container := ""
	if c := in.Facts.Component(done.Component); c != nil {
		container = c.Container
	}
	want, _, err := renderAll(done.Before, kept, container)
	if err != nil {
		return State{}, nil, fmt.Errorf("undoing %s: %w", in.Control, err)
	}
	return want, gone, nil
}

// reverse takes our change out of what is there now.
func reverse(in UndoInput, done Step, want, now State) (State, error) {
	if now.Equal(done.After) {
		return want, nil
	}
	conflict := func() error {
		return &UndoConflictError{Target: done.ID, Later: laterOn(in, done.ID), Want: want.Data, Now: now.Data}
	}
	if done.Kind == StepDir || now.Exists != done.After.Exists || !want.Exists || !now.Exists {
		if done.Kind == StepDir && now.Exists && !want.Exists {
			return want, nil // removed only when empty; what others keep in it keeps it
		}
		if string(now.Data) == string(done.After.Data) && now.Exists == done.After.Exists && !want.Exists {
			return want, nil // ours, but for its mode or owner
		}
		return State{}, conflict()
	}
	back := now
	if now.Mode == done.After.Mode {
		back.Mode = want.Mode
	}
	if now.UID == done.After.UID && now.GID == done.After.GID {
		back.UID, back.GID = want.UID, want.GID
	}
	merged, conflicts, err := patches.Merge3(done.After.Data, want.Data, now.Data)
	if err != nil {
		return State{}, fmt.Errorf("undoing: %s: %w", done.ID, err)
	}
	if len(conflicts) > 0 {
		return State{}, conflict()
	}
	back.Data = merged
	return back, nil
}

func laterOn(in UndoInput, id string) string {
	for i := len(in.Later) - 1; i >= 0; i-- {
		for _, s := range in.Later[i].Plan.Steps() {
			if s.ID == id {
				return in.Later[i].ID
			}
		}
	}
	return ""
}
