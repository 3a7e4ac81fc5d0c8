package harden

import (
	"fmt"
	"reflect"
	"slices"
	"time"
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
	// Controls limit the undo to what these asked for; none: everything.
	Controls []string
	// Undone are controls whose part in the transaction was undone already, each by itself.
	Undone []string
	Facts  *Facts
	// Keys are what the API servers of all control planes have read, for an undo of a change of the encryption configuration. Nil: there
	// is one control plane, or the API was not asked.
	Keys []KeyFact
	// Kubeadm is what kubeadm renders manifests from, where this undo leaves it as it is. Nil: not known.
	Kubeadm *KubeadmFact
	Read    func(path string) (State, error)
	// Writes says beforehand which targets would be refused. Nil: it is not asked.
	Writes WriteChecker
	// Object gives what an object is now. Nil: no cluster.
	Object func(ref ObjectRef) (s State, uid, resourceVersion string, err error)
	Now    time.Time
	Tool   string

	shared *Sharing // what an undo that is checked has found
}

// UndoConflictError is a target that others have changed since, on the same lines.
type UndoConflictError struct {
	Target string
	Of     string // the transaction that was to be undone
	Later  string // the newer transaction that did, if one of ours did
	// Want is what undoing would write, Now what is there.
	Want, Now []byte
	// Secret: neither is here, as they must not be shown.
	Secret bool
	// Gone: nothing is there now. Rest are the transaction's controls that have no part in the target.
	Gone bool
	Rest []string
}

func (e *UndoConflictError) Error() string {
	if e.Gone {
		return fmt.Sprintf("undoing: %s: it is gone, and transaction %s changed it: bring it back, or undo the rest", e.Target, e.Of)
	}
	if e.Later != "" {
		return fmt.Sprintf("undoing: %s: transaction %s changed the same lines since; undo that one first", e.Target, e.Later)
	}
	return fmt.Sprintf("undoing: %s: somebody changed the same lines since; write them as transaction %s left them and undo again, or take its change back by hand", e.Target, e.Of)
}

// Undo makes the plan that brings back prior values. While a target still holds what the transaction wrote, it becomes what
// it was before, wholly; otherwise only our changes are reversed and others' stay. It is applied like any plan, so it is
// shown, journaled and gated the same.
func Undo(in UndoInput) (Plan, error) {
	p := Plan{
		APIVersion: "harden/v1", Kind: "Plan", Scope: in.Done.Plan.Scope, Target: in.Facts.Identity, Created: in.Now, Tool: in.Tool,
		Choices: []Choice{}, Stages: []Stage{}, Preflight: []Check{}, Skipped: []Skip{}, Undoes: in.Done.ID, UndoesControls: in.Controls, Undone: in.Undone,
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
		p.Stages = append(needsNothing(keyChange{}, steps, true), objectStage(steps))
		return p, nil
	}
	steps, err := in.restartReaders(steps)
	if err != nil {
		return Plan{}, err
	}
	order(steps)
	shared, sharing := sharingOf(steps, in.Facts.Identity.Node, in.Keys, true)
	if in.shared != nil {
		shared = in.shared
	}
	stages, main, err := stagesOf(Msg("this node, undo"), steps, in.Facts, nil, shared, true)
	if err != nil {
		return Plan{}, err
	}
	st := &stages[main]
	st.Rehearsals = Rehearsals(*st, in.Facts, true)
	undoSysctls(st, in, in.Facts.Sysctls)
	p.Stages = stages
	p.Preflight = append(p.Preflight, sharing...)
	p.Preflight = append(p.Preflight, in.namedStill(steps)...)
	p.Preflight = append(p.Preflight, targetChecks(in.Writes, steps)...)
	p.Preflight = append(p.Preflight, endedChecks(steps, in.Facts.CollectedAt)...)
	p.Preflight = append(p.Preflight, wellFormed(in.Facts, in.merged(*st))...)
	return p, nil
}

// namedStill tells that kubeadm goes on to give API servers an encryption configuration which is gone from here.
func (in UndoInput) namedStill(steps []Step) []Check {
	_, now, ok := KeyFile(steps)
	if !ok || now != "" || in.Kubeadm == nil {
		return nil
	}
	flag, _ := in.Kubeadm.Flag(APIServer, EncryptionFlag)
	if !flag.Set {
		return nil
	}
	return []Check{{Component: APIServer, Precondition: Precondition{
		ID: "not-kept", Title: Msg("kubeadm does not name the encryption configuration that goes"), State: PreconditionUnknown,
		Message: Msg("its configuration has --%s=%s, and after an upgrade the API server would not start here: undo the run that keeps it too, which may be another control plane's, or take it out with kubectl edit configmap kubeadm-config", EncryptionFlag, flag.Last()),
	}}}
}

// merged is the part of a stage whose targets become something that they never were: others' changes stay in them. What a
// target was before is brought back unjudged.
func (in UndoInput) merged(st Stage) Stage {
	var ids []string
	for _, s := range in.Done.Plan.Steps() {
		ids = append(ids, s.ID+" "+s.Before.Digest())
	}
	part := Stage{}
	for _, s := range st.Steps {
		if s.Kind == StepFile && !slices.Contains(ids, s.ID+" "+s.After.Digest()) {
			part.Steps = append(part.Steps, s)
		}
	}
	for _, e := range st.Effects {
		if slices.ContainsFunc(part.Steps, func(s Step) bool { return s.Component == e.Component }) {
			part.Effects = append(part.Effects, e)
		}
	}
	return part
}

// restartReaders adds a step for each static pod that reads a changed file at its start and whose manifest stays as it is:
// without a change of its own the kubelet would not restart it.
func (in UndoInput) restartReaders(steps []Step) ([]Step, error) {
	files := map[ComponentID][]Step{}
	for _, s := range steps {
		if c, ok := ComponentByID(s.restarts()); ok && c.StaticPod() && s.Component == "" && s.After.Exists {
			files[c.ID] = append(files[c.ID], s)
		}
	}
	for _, c := range Components {
		if len(files[c.ID]) == 0 || slices.ContainsFunc(steps, func(s Step) bool { return s.Component == c.ID }) {
			continue
		}
		facts := in.Facts.Component(c.ID)
		if facts == nil {
			continue
		}
		s := Step{ID: facts.Manifest.Path, Kind: StepFile, Path: facts.Manifest.Path, Component: c.ID, Asks: restartAsks(facts, files[c.ID])}
		var err error
		if s.Before, err = in.Read(s.Path); err != nil {
			return nil, fmt.Errorf("undoing: %w", err)
		}
		if s.After, s.Marks, err = renderAll(s.Before, s.Asks, facts.Container); err != nil {
			return nil, fmt.Errorf("undoing: %s: %w", s.ID, err)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// restarts names the component that reads the step's file at its start, if one was said to.
func (s Step) restarts() ComponentID {
	for _, a := range s.Asks {
		if a.Intent.Restarts != "" {
			return a.Intent.Restarts
		}
	}
	return ""
}

// undoSysctls loads the prior live values of kernel settings instead of the ones that were asked for. A setting that has another
// value than the one that was loaded is somebody else's, and stays.
func undoSysctls(st *Stage, in UndoInput, live map[string]string) {
	for i := range st.Effects {
		e := &st.Effects[i]
		if e.Kind != EffectSysctl {
			continue
		}
		e.Prior, e.Sysctls = e.Sysctls, map[string]string{}
		for _, was := range in.Done.Plan.Stages {
			for _, w := range was.Effects {
				if w.Kind == EffectSysctl && slices.ContainsFunc(w.Controls, in.meant) {
					for k, v := range w.Prior {
						if now, known := live[k]; !known || now == w.Sysctls[k] {
							e.Sysctls[k] = v
						}
					}
				}
			}
		}
		for k := range e.Prior {
			if _, loaded := e.Sysctls[k]; !loaded {
				delete(e.Prior, k)
			}
		}
	}
	st.Effects = slices.DeleteFunc(st.Effects, func(e Effect) bool { return e.Kind == EffectSysctl && len(e.Sysctls) == 0 })
}

func undoStep(in UndoInput, done Step) (*Step, error) {
	kept, gone := in.parts(done)
	ours, err := in.rendered(done, slices.Concat(kept, gone))
	if err != nil {
		return nil, err
	}
	want, err := in.rendered(done, kept)
	if err != nil {
		return nil, err
	}
	if want.Equal(ours) {
		return nil, nil // this control had no part in it
	}
	s := &Step{ID: done.ID, Kind: done.Kind, Path: done.Path, Object: done.Object, Component: done.Component, Secret: done.Secret, Asks: gone}
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
	if done.Path == EncryptionIncoming && s.Before.Exists {
		return nil, nil // a newer copy, for a later change
	}
	done.After = ours
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

// meant says that what the control asked for is to be undone.
func (in UndoInput) meant(control string) bool {
	return len(in.Controls) == 0 || slices.Contains(in.Controls, control)
}

// parts are the asks of a step that stay, and those that are to be undone now. What was undone before is in neither.
func (in UndoInput) parts(done Step) (kept, gone []Ask) {
	for _, a := range done.Asks {
		switch {
		case slices.Contains(in.Undone, a.Control):
		case in.meant(a.Control):
			gone = append(gone, a)
		default:
			kept = append(kept, a)
		}
	}
	return kept, gone
}

// rendered is what the target would hold had only these asks been in the transaction.
func (in UndoInput) rendered(done Step, asks []Ask) (State, error) {
	switch len(asks) {
	case 0:
		return done.Before, nil
	case len(done.Asks):
		return done.After, nil
	}
	container := ""
	if c := in.Facts.Component(done.Component); c != nil {
		container = c.Container
	}
	s, _, err := renderAll(done.Before, inOrder(done.Asks, asks), container)
	if err != nil {
		return State{}, fmt.Errorf("undoing %s: %w", done.ID, err)
	}
	return s, nil
}

// inOrder gives the asks in the order in which the transaction had them.
func inOrder(all, some []Ask) []Ask {
	var out []Ask
	for _, a := range all {
		if slices.ContainsFunc(some, func(b Ask) bool { return reflect.DeepEqual(a, b) }) {
			out = append(out, a)
		}
	}
	return out
}

// reverse takes our change out of what is there now.
func reverse(in UndoInput, done Step, want, now State) (State, error) {
	if now.Equal(done.After) {
		return want, nil
	}
	conflict := func() error {
		later := laterOn(in, done.ID)
		if !now.Exists && done.Before.Exists && done.After.Exists && later == "" {
			rest := slices.DeleteFunc(in.Done.Plan.Controls(), func(c string) bool { return slices.Contains(done.Controls(), c) })
			return &UndoConflictError{Target: done.ID, Of: in.Done.ID, Secret: done.Secret, Gone: true, Rest: rest}
		}
		if done.Secret {
			return &UndoConflictError{Target: done.ID, Of: in.Done.ID, Later: later, Secret: true}
		}
		return &UndoConflictError{Target: done.ID, Of: in.Done.ID, Later: later, Want: want.Data, Now: now.Data}
	}
	if now.Exists != done.After.Exists || !want.Exists || !now.Exists {
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
	if string(done.After.Data) == string(want.Data) {
		return back, nil // only attributes were changed
	}
	if done.Secret || done.renews() {
		return State{}, conflict() // keys are taken away only where it is known what they are needed for
	}
	merged, ok, err := done.takenBack(done.After.Data, want.Data, now.Data)
	if err != nil {
		return State{}, fmt.Errorf("undoing: %s: %w", done.ID, err)
	}
	if !ok {
		return State{}, conflict()
	}
	back.Data = merged
	return back, nil
}

// Without is what a file that others have changed becomes when all of the step is undone and theirs stays. False: they have
// changed the same, or it cannot be told.
func (s Step) Without(now State) (State, bool) {
	if s.Kind != StepFile {
		return State{}, false
	}
	back, err := reverse(UndoInput{}, s, s.Before, now)
	return back, err == nil
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

// Undo is the stage that returns st's targets to what they were: used when a gate fails and by recovery, where nothing else
// can have changed since. Components come first, in reverse order, so that the kubelet works before static pods need it.
func (st Stage) Undo() (Stage, error) {
	out := Stage{Title: Msg("undo"), Steps: []Step{}, Effects: []Effect{}, Gates: []Gate{}}
	for _, s := range slices.Backward(st.Steps) {
		s.Before, s.After = s.After, s.Before
		s.Marks = nil
		out.Steps = append(out.Steps, s)
	}
	for _, e := range slices.Backward(st.Effects) {
		e.Sysctls, e.Prior = e.Prior, e.Sysctls
		out.Effects = append(out.Effects, e)
	}
	for _, g := range slices.Backward(st.Gates) {
		gate := Gate{Component: g.Component, Probes: g.Probes, Objects: g.Objects, Timeout: g.Timeout}
		if g.Prior != nil {
			gate.Probes, gate.Prior = g.Prior, g.Probes
		}
		if c, ok := ComponentByID(g.Component); ok && c.StaticPod() {
			var err error
			if gate, err = gateFor(c, obeyed(out.Steps, c).After.Data, out.Steps, &Facts{}); err != nil {
				return Stage{}, fmt.Errorf("planning the undo: %w", err)
			}
		}
		out.Gates = append(out.Gates, gate)
	}
	return out, nil
}
