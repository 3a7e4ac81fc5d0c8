package harden

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// BuildInput is everything that a plan is made from.
type BuildInput struct {
	Facts   *Facts
	Areas   []Area
	Choices []Choice
	// Skipped are choices that selection has left out already.
	Skipped []Skip
	// Read gives what a path of the host holds now.
	Read func(path string) (State, error)
	// Writes says beforehand which targets would be refused. Nil: it is not asked.
	Writes WriteChecker
	// Preview gives what an object is now, and what the server would make of the YAML (its dry run). Nil: no cluster.
	Preview func(ref ObjectRef, yaml []byte) (ObjectPreview, error)
	// Edited gives the same where edit makes the whole object from what it is. Nil: no cluster.
	Edited func(ref ObjectRef, edit func(State) (State, error)) (ObjectPreview, error)
	// NewKey makes an encryption key of EncryptionKeySize bytes. Nil: none can be made here.
	NewKey func() []byte
	// Renew lets kubeadm renew certificates, by its names for them, in copies of their files. Nil: it cannot be run here.
	Renew func(names []string) (Renewed, error)
	Now   time.Time
	Tool  string
}

// ObjectPreview is an object before and after, by the server's own dry run.
type ObjectPreview struct {
	Before, After        State
	UID, ResourceVersion string
}

// Build makes the plans of the choices. It reads through its input only. A control whose target does not take what it asks is left
// out with the reason, and the others are planned without it.
func Build(in BuildInput) (Plans, error) {
	for {
		p := planner{in: in, skipped: slices.Clone(in.Skipped)}
		out, err := p.build()
		not, ok := refused(err)
		if !ok {
			return out, err
		}
		in = in.without(not, p.taken)
	}
}

func (p *planner) build() (Plans, error) {
	in := p.in
	if why, only := AssessOnly(in.Facts); only {
		for _, c := range in.Choices {
			p.skip(c, "", why)
		}
	} else if err := p.choose(); err != nil {
		return Plans{}, err
	}
	if not := p.keysBesideASwitch(); not != nil {
		return Plans{}, not
	}
	steps, err := p.steps()
	if err != nil {
		return Plans{}, err
	}
	out := Plans{Node: p.empty(ScopeNode), Etcd: p.empty(ScopeNode), Cluster: p.empty(ScopeCluster)}
	for _, x := range []struct {
		part part
		plan *Plan
	}{{partNode, &out.Node}, {partEtcd, &out.Etcd}, {partCluster, &out.Cluster}} {
		if err := p.fill(x.plan, x.part, steps); err != nil {
			return Plans{}, err
		}
		x.plan.Switch = switchFor(*x.plan, p.lockOut)
	}
	out.Node.Skipped = p.skipped
	return out, nil
}

type planner struct {
	in      BuildInput
	asks    []Ask
	checks  []Check
	proofs  []Proof
	skipped []Skip
	taken   []Choice
	lockOut []string        // controls whose remedies can lock the operator out
	parts   map[string]part // by control
}

func (p *planner) empty(scope Scope) Plan {
	return Plan{
		APIVersion: "harden/v1", Kind: "Plan", Scope: scope, Target: p.in.Facts.Identity, Created: p.in.Now, Tool: p.in.Tool,
		Choices: []Choice{}, Stages: []Stage{}, Preflight: []Check{}, Skipped: []Skip{},
	}
}

func (p *planner) skip(c Choice, remedy string, why Message) {
	p.leave(c, Skip{Remedy: remedy, Reason: why})
}

func (p *planner) leave(c Choice, s Skip) {
	s.Control, s.Named = c.Control, c.Named
	p.skipped = append(p.skipped, s)
}

// choose renders every choice to intents, or skips it with the reason.
func (p *planner) choose() error {
	p.parts = map[string]part{}
	choices, err := shareOptions(p.in.Facts, p.in.Areas, p.in.Choices)
	if err != nil {
		return err
	}
	for _, c := range choices {
		if err := p.take(c); err != nil {
			return err
		}
	}
	p.asks = ownAsks(p.asks)
	return nil
}

func (p *planner) take(c Choice) error {
	f := p.in.Facts
	_, control, ok := FindControl(p.in.Areas, c.Control)
	if !ok {
		return &UnknownNameError{What: "control", Name: c.Control}
	}
	v := verdict(f, control)
	passes := v.Status == StatusPass
	switch {
	case passes && !asksMore(f, control, c):
		p.leaveAsItIs(c, Msg("it passes already, and is left as it is"))
		return nil
	case v.Status == StatusNotApplicable:
		p.leaveAsItIs(c, v.Message)
		return nil
	case v.Status == StatusUnknown:
		p.leave(c, Skip{Remedy: c.Remedy, Reason: v.Message, Refused: len(unread(f, control)) > 0})
		return nil
	}
	remedy, ok := DefaultRemedy(f, control)
	if c.Remedy != "" {
		remedy, ok = control.Remedy(c.Remedy)
		if !ok {
			return &UnknownNameError{What: "remedy of " + c.Control, Name: c.Remedy}
		}
		if !remedy.Versions.Contains(VersionFor(f, control)) {
			p.skip(c, c.Remedy, Msg("remedy %s holds for %s; here is %s", c.Remedy, remedy.Versions, VersionFor(f, control)))
			return nil
		}
	}
	if !ok {
		p.leave(c, noDefault(f, control))
		return nil
	}
	values, err := remedy.Fill(c.Control, c.Options)
	if err != nil {
		return err
	}
	values = remedy.find(f, values)
	if passes && !p.changes(c.Control, remedy, values) {
		p.leaveAsItIs(c, Msg("what is asked for is in force already"))
		return nil
	}
	if !p.permitted(c, control, remedy, values) {
		return nil
	}
	intents, err := p.intents(c, control, remedy, values)
	if err != nil {
		p.skip(c, remedy.ID, Msg("%s", err.Error()))
		return nil
	}
	at, err := partOfIntents(intents)
	if err != nil {
		return fmt.Errorf("planning: %s: %w", c.Control, err)
	}
	if at == partCluster && p.in.Preview == nil {
		p.skip(c, remedy.ID, Msg("it needs the cluster's API, and there is none here"))
		return nil
	}
	asked := len(intents)
	if intents, err = p.renewedIntents(intents); err != nil {
		p.skip(c, remedy.ID, Msg("%s", err.Error()))
		return nil
	}
	if asked > 0 && len(intents) == 0 {
		p.leaveAsItIs(c, Msg("none of its certificates would be good for longer"))
		return nil
	}
	if intents, err = p.adopted(intents); err != nil {
		p.skip(c, remedy.ID, Msg("%s", err.Error()))
		return nil
	}
	for _, i := range intents {
		if i.Kind == IntentNewKey {
			if p.in.NewKey == nil {
				p.skip(c, remedy.ID, Msg("no key can be made here"))
				return nil
			}
			i.Data = p.in.NewKey()
		}
		p.asks = append(p.asks, Ask{Control: c.Control, Intent: i})
	}
	p.parts[c.Control] = at
	if remedy.Risk == RiskLockOut {
		p.lockOut = append(p.lockOut, c.Control)
	}
	if remedy.Proofs != nil {
		p.addProofs(remedy.Proofs(f, values))
	}
	if remedy.Next != nil {
		if next := remedy.Next(f, values); !next.IsZero() {
			p.skip(c, remedy.ID, next)
		}
	}
	p.taken = append(p.taken, Choice{Control: c.Control, Remedy: remedy.ID, Options: values, Accept: c.Accept, Named: c.Named})
	return nil
}

// intents are the remedy's. Where nothing is wrong but that the component has not read its file, they are a start, unless more is
// asked for.
func (p *planner) intents(c Choice, control Control, r Remedy, values Values) ([]Intent, error) {
	start := p.in.Facts.start(control)
	usual, _ := DefaultRemedy(p.in.Facts, control)
	if start != nil && r.ID == usual.ID && len(c.Options) == 0 {
		return start, nil
	}
	out, err := r.Intents(p.in.Facts, values)
	if err == nil && start != nil && !p.changes(c.Control, r, values) {
		return start, nil
	}
	return out, err
}

// asksMore says that a choice asks for something beyond that the control passes: an option, or one of several remedies.
func asksMore(f *Facts, control Control, c Choice) bool {
	holding := 0
	for _, r := range control.Remedies {
		if r.Versions.Contains(VersionFor(f, control)) {
			holding++
		}
	}
	return len(c.Options) > 0 || c.Remedy != "" && holding > 1
}

// changes says that what a remedy asks for on its control's own account is not in force, or cannot be told to be.
func (p *planner) changes(control string, r Remedy, values Values) bool {
	intents, err := r.Intents(p.in.Facts, values)
	if err != nil {
		return true // the remedy says why it cannot be had
	}
	trial := planner{in: p.in}
	trial.in.Writes = nil
	for _, i := range intents {
		if i.Object != nil && (p.in.Preview == nil || p.in.Edited == nil) {
			return true
		}
		if !i.Along {
			trial.asks = append(trial.asks, Ask{Control: control, Intent: i})
		}
	}
	steps, err := trial.steps()
	return err != nil || len(steps) > 0
}

// leaveAsItIs says why nothing is done for a control that was named. That is no fault, and worth no exit code.
func (p *planner) leaveAsItIs(c Choice, why Message) {
	if c.Named {
		p.skipped = append(p.skipped, Skip{Control: c.Control, Remedy: c.Remedy, Reason: why})
	}
}

// permitted checks the remedy's preconditions: unmet ones block it, unknown ones block a risky one until accepted, and any on
// a version that it was not tried with.
func (p *planner) permitted(c Choice, control Control, r Remedy, values Values) bool {
	var all []Precondition
	if r.Preconditions != nil {
		all = r.Preconditions(p.in.Facts, values)
	}
	untried, newer := tried(p.in.Facts, control)
	if newer {
		all = append(all, untried)
	}
	ok := true
	for _, pre := range all {
		p.addCheck(c.Control, r, pre)
		switch {
		case !ok:
		case pre.State == Unmet:
			p.skip(c, r.ID, Msg("%s: %s", pre.Title, pre.Message))
			ok = false
		case pre.State == PreconditionUnknown && (r.Risk != RiskNode || pre.Needed || newer) && !c.Accept:
			p.leave(c, Skip{Remedy: r.ID, Reason: Msg("%s: not known (%s)", pre.Title, pre.Message), Way: ByAccept})
			ok = false
		}
	}
	return ok
}

// adopted reads the files that are to be taken over, which are no facts: they are secret.
func (p *planner) adopted(intents []Intent) ([]Intent, error) {
	out := slices.Clone(intents)
	for i := range out {
		if out[i].Kind != IntentAdoptKeys {
			continue
		}
		s, err := p.in.Read(out[i].Key)
		if err != nil {
			return nil, err
		}
		if s.Digest() != out[i].Value {
			return nil, fmt.Errorf("%s: it has changed meanwhile", out[i].Key)
		}
		out[i].Data = s.Data
	}
	return out, nil
}

// keysBesideASwitch refuses to change what is encrypted with in a run that waits for confirm: others may have gone on with a key that its
// end would take away.
func (p *planner) keysBesideASwitch() error {
	if len(p.lockOut) == 0 {
		return nil
	}
	var controls []string
	for _, a := range p.asks {
		if a.Intent.ofKeys() {
			controls = union(controls, []string{a.Control})
		}
	}
	if controls == nil {
		return nil
	}
	return refusals{{controls: controls, err: fmt.Errorf("it has a run of its own, and %s would have this one wait for confirm", strings.Join(p.lockOut, ", "))}}
}
