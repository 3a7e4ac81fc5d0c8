package harden

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// PlanError is a plan that cannot have been made by this program for this node as it is.
type PlanError struct{ Target, Why string }

func (e *PlanError) Error() string { return fmt.Sprintf("checking the plan: %s: %s", e.Target, e.Why) }

// CheckPlan refuses a plan that is not what planning makes: one edited by hand, cut short, or made by a program that renders
// otherwise. f are the facts of the node now. Of an undo only the shape is checked here; CheckUndo does the rest. Which proofs the
// plan's choices want is checked by Recheck, which knows the controls.
func CheckPlan(p Plan, f *Facts) error {
	wrong := func(format string, args ...any) error { return &PlanError{"the plan", fmt.Sprintf(format, args...)} }
	if p.APIVersion != "harden/v1" || p.Kind != "Plan" {
		return wrong("it is not of apiVersion harden/v1 and kind Plan, but %q and %q", p.APIVersion, p.Kind)
	}
	if p.Scope != ScopeNode && p.Scope != ScopeCluster {
		return wrong("unknown scope %q", p.Scope)
	}
	ids := map[string]bool{}
	for _, st := range p.Stages {
		for _, s := range st.Steps {
			if why := misshapen(p.Scope, s); why != "" {
				return &PlanError{s.ID, why}
			}
			if ids[s.ID] {
				return &PlanError{s.ID, "two steps have this target"}
			}
			ids[s.ID] = true
		}
		if err := checkGates(st); err != nil {
			return err
		}
		beside := func(e Effect) bool { return e.Component != Etcd && e.Kind != EffectSnapshot }
		if _, etcd := st.Effect(Etcd); etcd && slices.ContainsFunc(st.Effects, beside) {
			return &PlanError{string(Etcd), "it is changed in a transaction of its own, and here something else is changed with it"}
		}
		if hidden := shownChecks(st.Steps); len(hidden) > 0 && p.Undoes == "" {
			return &PlanError{hidden[0].Title.String(), hidden[0].Message.String()}
		}
	}
	if p.Undoes != "" {
		return nil
	}
	return checkStages(p, f)
}

// misshapen says what is wrong with a step in itself, "" for nothing.
func misshapen(scope Scope, s Step) string {
	if s.Kind == StepObject {
		switch {
		case scope != ScopeCluster:
			return "an object is not a node's"
		case s.Path != "" || s.Component != "":
			return "an object has neither path nor component"
		case s.Object == nil || s.Object.Kind == "" || s.Object.Name == "" || s.Object.APIVersion == "":
			return "which object it is is not said"
		case s.ID != s.Object.String():
			return "it names another object: " + s.Object.String()
		case s.Before.Exists && (s.UID == "" || s.ResourceVersion == ""):
			return "which object it replaces is not said"
		}
		return ""
	}
	dir := s.Kind == StepDir
	_, known := ComponentByID(s.Component)
	switch {
	case s.Kind != StepFile && !dir:
		return fmt.Sprintf("unknown kind of step %q", s.Kind)
	case scope != ScopeNode:
		return "a file is not the cluster's"
	case s.Object != nil:
		return "a file is no object"
	case !path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path || s.Path == "/" || strings.ContainsRune(s.Path, 0):
		return "its path is not absolute and clean"
	case s.ID != s.Path:
		return "it names another path: " + s.Path
	case s.Component != "" && !known:
		return fmt.Sprintf("unknown component %q", s.Component)
	case s.Before.Exists && s.Before.Dir != dir || s.After.Exists && s.After.Dir != dir:
		return "a file cannot become a directory, or the reverse"
	case (s.Before.Mode|s.After.Mode)&^0o7777 != 0:
		return "its mode has bits that chmod does not know"
	case s.Before.Equal(s.After):
		return "it changes nothing"
	}
	return ""
}

// checkGates wants a gate with a time limit for every restart.
func checkGates(st Stage) error {
	seen := map[ComponentID]bool{}
	for _, e := range st.Effects {
		switch e.Kind {
		case EffectSysctl, EffectSnapshot:
			continue
		case EffectRewrite:
			if g, gated := st.Gate(""); !gated || g.Stored == nil || !sameJSON(g.Stored, e.Stored) {
				return &PlanError{"the plan", "what is written anew is not looked for afterwards"}
			}
			continue
		}
		at := string(e.Component)
		c, known := ComponentByID(e.Component)
		g, gated := st.Gate(e.Component)
		switch {
		case !known:
			return &PlanError{at, "unknown component"}
		case seen[e.Component]:
			return &PlanError{at, "it would restart twice"}
		case e.Kind != c.effect():
			return &PlanError{at, fmt.Sprintf("it does not restart that way: %q", e.Kind)}
		case !gated || g.Timeout <= 0:
			return &PlanError{at, "it restarts without a gate"}
		case c.StaticPod() && len(g.Args) == 0:
			return &PlanError{at, "its gate does not say which arguments it should have"}
		}
		seen[e.Component] = true
	}
	return nil
}

// checkStages makes the stages again from the asks of their steps, and compares.
func checkStages(p Plan, f *Facts) error {
	var want []Stage
	for _, st := range p.Stages {
		if len(st.Steps) == 0 {
			continue // it comes of the steps beside it
		}
		var proofs []Proof
		for _, s := range st.Steps {
			if err := checkStep(p, s, f); err != nil {
				return err
			}
		}
		for _, g := range st.Gates {
			proofs = append(proofs, g.Proofs...)
		}
		sorted := slices.Clone(st.Steps)
		order(sorted)
		if !slices.EqualFunc(sorted, st.Steps, func(a, b Step) bool { return a.ID == b.ID }) {
			return &PlanError{"the plan", "its steps are not in the order in which they are safe"}
		}
		if p.Scope == ScopeCluster {
			want = append(want, objectStage(st.Steps))
			continue
		}
		around, _, err := stagesOf(st.Title, st.Steps, f, proofs, st.Sharing, false)
		if err != nil {
			return &PlanError{"the plan", err.Error()}
		}
		want = append(want, around...)
	}
	same := func(a, b Stage) bool {
		return a.NoReturn == b.NoReturn && len(a.Steps) == len(b.Steps) && sameJSON(a.Effects, b.Effects) && sameJSON(a.Gates, b.Gates) && sameJSON(a.Sharing, b.Sharing)
	}
	if !slices.EqualFunc(want, p.Stages, same) {
		return &PlanError{"the plan", "the effects and gates that its steps have here now are not those that it says"}
	}
	return nil
}

// checkStep renders a step's asks again. What a server makes of an object is not known here: that is read back.
func checkStep(p Plan, s Step, f *Facts) error {
	wrong := func(why string) error { return &PlanError{s.ID, why} }
	if len(s.Asks) == 0 {
		return wrong("no control asks for it")
	}
	for _, control := range s.Controls() {
		if !slices.ContainsFunc(p.Choices, func(c Choice) bool { return c.Control == control }) {
			return wrong(fmt.Sprintf("%s asks for it and is not among the plan's choices", control))
		}
	}
	for _, a := range s.Asks {
		if a.Control == "" || a.Intent.Kind == IntentPutObject && a.Intent.Object == nil || a.Intent.Kind == IntentMount && a.Intent.Mount == nil {
			return wrong("what is asked for is not said")
		}
	}
	if s.Secret != secretAsks(s.Asks) {
		return wrong("whether it may be shown is not as it says")
	}
	asked := planner{in: BuildInput{Facts: f}, asks: s.Asks}
	homes, not := asked.homes()
	if not != nil {
		return wrong(not[0].err.Error())
	}
	h := homes[0]
	if len(homes) > 1 || h.id != s.ID || h.kind != s.Kind {
		return wrong("what is asked for is not for this target: " + h.id)
	}
	if f.readsAlong(h.component, h.path) {
		h.component = "" // its file; the manifest restarts it
	}
	if h.component != s.Component {
		return wrong(fmt.Sprintf("it is read by %q, not by %q", h.component, s.Component))
	}
	if s.Kind == StepObject {
		if *h.object != *s.Object {
			return wrong("what is asked for is not for this object")
		}
		return nil
	}
	after, _, err := renderAll(s.Before, h.asks, h.container)
	if err != nil {
		return wrong(err.Error())
	}
	if !after.Equal(s.After) {
		return wrong("what is asked for gives something else than it would write")
	}
	return nil
}

// CheckUndo refuses an undo that is not what undoing that transaction gives now.
func CheckUndo(p Plan, in UndoInput) error {
	for _, st := range p.Stages {
		if st.Sharing != nil {
			in.shared = st.Sharing // whether it holds is asked of the members, before anything is done
		}
	}
	want, err := Undo(in)
	if err != nil {
		return fmt.Errorf("checking the plan: %w", err)
	}
	if p.Scope != want.Scope || !sameJSON(p.Stages, want.Stages) {
		return &PlanError{"the plan", "it is not what undoing transaction " + in.Done.ID + " gives now"}
	}
	return nil
}

// Recheck gives the preconditions that are unmet now, of the plan's choices and of the components that it touches: a plan may
// be old. What is not known now counts as it did when the plan was made.
func Recheck(p Plan, f *Facts, areas []Area) ([]Check, error) {
	if why, only := AssessOnly(f); only {
		return nil, &PlanError{"the plan", why.String()}
	}
	var out []Check
	wanted := map[string]bool{}
	var lockOut []string
	var proofs planner
	for _, c := range p.Choices {
		_, control, ok := FindControl(areas, c.Control)
		if !ok {
			return nil, &UnknownNameError{What: "control", Name: c.Control}
		}
		r, ok := control.Remedy(c.Remedy)
		if !ok {
			return nil, &UnknownNameError{What: "remedy of " + c.Control, Name: c.Remedy}
		}
		if r.Risk == RiskLockOut && !p.persists(c.Control) {
			lockOut = append(lockOut, c.Control)
		}
		values, err := r.Fill(c.Control, c.Options)
		if err != nil {
			return nil, err
		}
		// What is kept has been done on the node already: the remedy may have nothing to ask for there any more.
		intents, err := r.Intents(f, values)
		start := f.start(control)
		if err != nil && start == nil && !p.persists(c.Control) {
			return nil, &PlanError{c.Control, err.Error()}
		}
		intents = append(slices.Clip(intents), start...)
		for _, i := range intents {
			wanted[askKey(c.Control, i)] = true
			if kept, ok := persisted(f, i); ok {
				wanted[askKey(c.Control, kept)] = true
			}
		}
		if r.Proofs != nil {
			proofs.addProofs(r.Proofs(f, values))
		}
		if r.Preconditions == nil || p.persists(c.Control) {
			continue
		}
		for _, pre := range r.Preconditions(f, values) {
			out = append(out, Check{Control: c.Control, Blocks: true, Precondition: pre})
		}
	}
	if err := checkAsks(p, f, wanted); err != nil {
		return nil, err
	}
	if err := checkSwitch(p, lockOut); err != nil {
		return nil, err
	}
	for _, st := range p.Stages {
		if err := checkProofs(st, proofs.proofs, p.Choices); err != nil {
			return nil, err
		}
		out = append(out, underwayChecks(f, st)...)
		out = append(out, componentChecks(f, st)...)
		out = append(out, wellFormed(f, st)...)
	}
	return slices.DeleteFunc(out, func(c Check) bool { return c.State != Unmet }), nil
}

// checkProofs refuses a plan whose gates do not want every proof that its choices want now, or want one that none of them has. A
// choice may have had more of them when the plan was made: what the cluster showed then is not known here.
func checkProofs(st Stage, all []Proof, choices []Choice) error {
	for _, g := range st.Gates {
		for _, p := range all {
			if g.Component == proofComponent(p) && !slices.ContainsFunc(g.Proofs, func(o Proof) bool { return sameJSON(o, p) }) {
				return &PlanError{string(g.Component), "its gate does not want the proofs that the plan's choices have"}
			}
		}
		for _, p := range g.Proofs {
			wanted := slices.ContainsFunc(all, func(o Proof) bool { return sameJSON(o, p) }) ||
				slices.ContainsFunc(choices, func(c Choice) bool { return c.Control == p.Control })
			if g.Component != proofComponent(p) || !wanted {
				return &PlanError{string(g.Component), "its gate wants a proof that none of the plan's choices has"}
			}
		}
	}
	return nil
}

// checkSwitch refuses a plan whose switch is not the one that its remedies need.
func checkSwitch(p Plan, lockOut []string) error {
	want := switchFor(p, lockOut)
	switch {
	case want == nil && p.Switch == nil:
	case want == nil:
		return &PlanError{"the plan", "it has a dead man's switch, and nothing in it can lock anybody out"}
	case p.Switch == nil || !slices.Equal(p.Switch.Controls, want.Controls) || p.Switch.NewConnection != want.NewConnection:
		return &PlanError{"the plan", strings.Join(want.Controls, ", ") + " can lock the operator out, and its dead man's switch does not say so"}
	case p.Switch.Within < MinConfirmWithin || p.Switch.Within > MaxConfirmWithin:
		return &PlanError{"the plan", fmt.Sprintf("the time to confirm is between %s and %s, not %s", MinConfirmWithin, MaxConfirmWithin, p.Switch.Within)}
	}
	return nil
}

// persists says that all that the plan does for a control is to keep what the node's own plan does for it.
func (p Plan) persists(control string) bool {
	for _, s := range p.Steps() {
		for _, a := range s.Asks {
			if a.Control == control && !a.Intent.edits() {
				return false
			}
		}
	}
	return true
}

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && string(x) == string(y)
}

// checkAsks refuses a plan that asks, in a control's name, for what none of its remedies asks. What planning adds by itself
// are missing directories above a target and the annotation that restarts a pod. What kubeadm is to keep may also be what the
// node runs already.
func checkAsks(p Plan, f *Facts, wanted map[string]bool) error {
	steps := p.Steps()
	for _, s := range steps {
		for _, a := range s.Asks {
			added := a.Intent.Kind == IntentAnnotate && a.Intent.Key == FilesAnnotation ||
				a.Intent.Kind == IntentMakeDir && slices.ContainsFunc(steps, func(o Step) bool { return strings.HasPrefix(o.Path, a.Intent.Path+"/") })
			kept := a.Intent.edits() && runsWith(f, a.Intent)
			if !added && !kept && !wanted[askKey(a.Control, a.Intent)] {
				return &PlanError{s.ID, "it has something that " + a.Control + " does not ask for on this node"}
			}
		}
	}
	return nil
}

// askKey tells asks apart; whether one was asked along plays no part, nor does a key, which is another one each time.
func askKey(control string, i Intent) string {
	i.Along = false
	if i.Kind == IntentNewKey || i.Kind == IntentRenew || i.Kind == IntentAdoptKeys {
		i.Data = nil
	}
	data, err := json.Marshal(i)
	if err != nil {
		return ""
	}
	return control + " " + string(data)
}
