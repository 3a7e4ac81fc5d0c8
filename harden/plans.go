package harden

import (
	"errors"
	"slices"
)

// Plans are what Build makes: one transaction each, any of them possibly empty.
type Plans struct {
	Node Plan
	// Etcd is the node's too, and a transaction of its own: its quorum is proven before anything else may be changed again.
	Etcd    Plan
	Cluster Plan
}

// InOrder are the plans in the order in which they are applied. An empty plan of etcd is left out: most runs have none. One that renews
// what has ended comes first: without etcd no API server gets well.
func (p Plans) InOrder() []Plan {
	if p.Etcd.Empty() {
		return []Plan{p.Node, p.Cluster}
	}
	if p.Etcd.Mends(p.Etcd.Created) {
		return []Plan{p.Etcd, p.Node, p.Cluster}
	}
	return []Plan{p.Node, p.Etcd, p.Cluster}
}

// part is which of the plans a control, or a step, belongs to.
type part int

const (
	partNode part = iota
	partEtcd
	partCluster
)

// partOfIntents says which plan a remedy belongs to. Etcd shares its transaction with nothing, so a remedy cannot either.
func partOfIntents(intents []Intent) (part, error) {
	out, etcd, others := partNode, false, false
	for _, i := range intents {
		switch {
		case i.Object != nil:
			out = partCluster
		case i.Component == Etcd || i.Restarts == Etcd:
			out, etcd = partEtcd, true
		case i.Component != "" || i.Restarts != "":
			others = true
		}
	}
	if etcd && (others || out == partCluster) {
		return out, errors.New("it asks for a change of etcd together with another one, and etcd has a transaction of its own")
	}
	return out, nil
}

// partOf a step: what restarts etcd is etcd's, and so is what only controls of etcd ask for.
func (p *planner) partOf(s Step) part {
	if s.Kind == StepObject {
		return partCluster
	}
	if controls, _ := touched([]Step{s}, Component{ID: Etcd}); len(controls) > 0 {
		return partEtcd
	}
	for _, control := range s.Controls() {
		if p.parts[control] != partEtcd {
			return partNode
		}
	}
	return partEtcd
}

// fill gives a plan its steps, the choices that have a part in it and their checks.
func (p *planner) fill(plan *Plan, at part, all []Step) error {
	var steps []Step
	asking := map[string]bool{}
	for _, s := range all {
		if p.partOf(s) != at {
			continue
		}
		steps = append(steps, s)
		for _, control := range s.Controls() {
			asking[control] = true
		}
	}
	switch {
	case len(steps) == 0:
	case at == partCluster:
		stage := objectStage(steps)
		plan.Stages = []Stage{stage}
		plan.Preflight = append(plan.Preflight, underwayChecks(p.in.Facts, stage)...)
	default:
		var keys []KeyFact
		if c := p.in.Facts.Cluster; c != nil {
			keys = c.Keys
		}
		shared, sharing := sharingOf(steps, p.in.Facts.Identity.Node, keys, false)
		stages, main, err := stagesOf(Msg("this node"), steps, p.in.Facts, p.proofs, shared, false)
		if err != nil {
			return err
		}
		plan.Preflight = append(plan.Preflight, sharing...)
		stage := &stages[main]
		stage.Rehearsals = Rehearsals(*stage, p.in.Facts, false)
		plan.Stages = stages
		plan.Preflight = append(plan.Preflight, underwayChecks(p.in.Facts, *stage)...)
		plan.Preflight = append(plan.Preflight, componentChecks(p.in.Facts, *stage)...)
		plan.Preflight = append(plan.Preflight, wellFormed(p.in.Facts, *stage)...)
		plan.Preflight = append(plan.Preflight, rehearsalChecks(*stage)...)
		plan.Preflight = append(plan.Preflight, unsavedChecks(p.in.Facts, *stage)...)
		plan.Preflight = append(plan.Preflight, targetChecks(p.in.Writes, steps)...)
		plan.Preflight = append(plan.Preflight, shownChecks(steps)...)
	}
	has := func(control string) bool { return p.parts[control] == at || asking[control] }
	for _, c := range p.checks {
		if has(c.Control) {
			plan.Preflight = append(plan.Preflight, c)
		}
	}
	plan.Choices = append(plan.Choices, slices.DeleteFunc(slices.Clone(p.taken), func(c Choice) bool { return !has(c.Control) })...)
	return nil
}
