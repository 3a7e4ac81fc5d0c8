package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Plan renders choices with the real edits. It is small on purpose: screens are tested here, not planning.
func (e *fakeEngine) Plan(_ context.Context, f *harden.Facts, choices []harden.Choice) ([]harden.Plan, error) {
	if e.planErr != nil {
		return nil, e.planErr
	}
	node := harden.Plan{Scope: harden.ScopeNode, Target: f.Identity, Created: e.clock.Now()}
	cluster := harden.Plan{Scope: harden.ScopeCluster, Target: f.Identity, Created: e.clock.Now()}
	nodeStage, clusterStage := harden.Stage{}, harden.Stage{}
	for _, choice := range choices {
		_, c, ok := harden.FindControl(e.areas, choice.Control)
		if !ok {
			return nil, fmt.Errorf("planning: unknown control: %q", choice.Control)
		}
		r, ok := harden.DefaultRemedy(f, c)
		if choice.Remedy != "" {
			r, ok = c.Remedy(choice.Remedy)
		}
		if !ok {
			node.Skipped = append(node.Skipped, harden.Skip{Control: c.ID, Reason: harden.Msg("there is no remedy")})
			continue
		}
		values, err := r.Fill(c.ID, choice.Options)
		if err != nil {
			return nil, err
		}
		plan, stage := &node, &nodeStage
		if r.Risk == harden.RiskWorkloads {
			plan, stage = &cluster, &clusterStage
		}
		blocked := false
		if r.Preconditions != nil {
			for _, p := range r.Preconditions(f, values) {
				plan.Preflight = append(plan.Preflight, harden.Check{Control: c.ID, Precondition: p})
				if p.State == harden.PreconditionUnknown && !choice.Accept {
					node.Skipped = append(node.Skipped, harden.Skip{Control: c.ID, Remedy: r.ID, Reason: harden.Msg("%s: not known (%s)", p.Title, p.Message), Way: harden.ByAccept})
					blocked = true
				}
			}
		}
		if blocked {
			continue
		}
		intents, err := r.Intents(f, values)
		if err != nil {
			return nil, err
		}
		for _, i := range intents {
			if err := e.edit(stage, c.ID, i); err != nil {
				return nil, err
			}
		}
		choice.Remedy, choice.Options = r.ID, values
		plan.Choices = append(plan.Choices, choice)
	}
	if len(nodeStage.Steps) > 0 {
		effects(&nodeStage)
		node.Stages = []harden.Stage{nodeStage}
		if e.shared != nil {
			node.Stages[0].Sharing = e.shared
		}
		if e.unrehearsed {
			unrehearsed(&node)
		}
		node.Preflight = append([]harden.Check{{Component: harden.APIServer, Blocks: true, Precondition: harden.Precondition{ID: "file-is-running", Title: harden.Msg("the live process runs what the manifest says"), State: harden.Met}}}, node.Preflight...)
	}
	if len(clusterStage.Steps) > 0 {
		clusterStage.Gates = []harden.Gate{{Objects: []harden.ObjectRef{*clusterStage.Steps[0].Object}, Timeout: time.Minute}}
		cluster.Stages = []harden.Stage{clusterStage}
	}
	node.Skipped = append(node.Skipped, e.refused...)
	return []harden.Plan{node, cluster}, nil
}

func effects(s *harden.Stage) {
	for _, step := range s.Steps {
		switch step.Component {
		case harden.APIServer:
			s.Effects = append(s.Effects, harden.Effect{Kind: harden.EffectStaticPod, Component: harden.APIServer, Controls: step.Controls()})
			s.Gates = append(s.Gates, harden.Gate{Component: harden.APIServer, Timeout: 3 * time.Minute})
		case harden.Kubelet:
			s.Effects = append(s.Effects, harden.Effect{Kind: harden.EffectUnit, Component: harden.Kubelet, Controls: step.Controls()})
			s.Gates = append(s.Gates, harden.Gate{Component: harden.Kubelet, Timeout: 2 * time.Minute})
		}
	}
}

// edit renders one intent into its step.
func (e *fakeEngine) edit(stage *harden.Stage, control string, i harden.Intent) error {
	path, component := i.Path, i.Restarts
	if i.Component != "" {
		path, component = apiserverPath, i.Component
	}
	id, kind := path, harden.StepFile
	switch i.Kind {
	case harden.IntentMakeDir:
		kind = harden.StepDir
	case harden.IntentPutObject:
		id, kind = i.Object.String(), harden.StepObject
	case harden.IntentWriteFile:
		component = ""
	}
	at := slices.IndexFunc(stage.Steps, func(s harden.Step) bool { return s.ID == id })
	if at < 0 {
		before := e.state(path)
		stage.Steps = append(stage.Steps, harden.Step{ID: id, Kind: kind, Path: path, Object: i.Object, Component: component, Before: before, After: before})
		at = len(stage.Steps) - 1
	}
	s := &stage.Steps[at]
	before := s.After.Data
	after, err := before, error(nil)
	value := fmt.Sprint(i.Value)
	switch i.Kind {
	case harden.IntentSetFlag:
		after, err = patches.SetFlag(before, "kube-apiserver", i.Key, value)
	case harden.IntentMergeList:
		after, err = patches.MergeList(before, "kube-apiserver", i.Key, i.Add, i.Remove)
	case harden.IntentMount:
		after, err = patches.AddMount(before, "kube-apiserver", *i.Mount)
	case harden.IntentTCPProbes:
		after, err = patches.SetProbeTCP(before, "kube-apiserver")
	case harden.IntentSetField:
		var at patches.Path
		if at, err = patches.ParsePath(i.Key); err == nil {
			after, err = patches.Set(before, at, i.Value)
		}
	case harden.IntentMakeDir:
		s.After = harden.State{Exists: true, Dir: true, Mode: i.Mode}
	default:
		after = i.Data
	}
	if err != nil {
		return err
	}
	if kind != harden.StepDir {
		mode := s.Before.Mode
		if !s.Before.Exists {
			mode = i.Mode
		}
		s.After = harden.State{Exists: true, Data: after, Mode: mode}
	}
	s.Asks = append(s.Asks, harden.Ask{Control: control, Intent: i})
	return mark(s, control, before, after)
}

// mark gives the lines that an edit added or removed to its control, by their text.
func mark(s *harden.Step, control string, before, after []byte) error {
	d, err := patches.Diff(before, after, patches.DiffOptions{})
	if err != nil {
		return err
	}
	lines := func(b []byte) []string { return strings.Split(string(b), "\n") }
	old, new := lines(s.Before.Data), lines(after)
	for i, m := range s.Marks { // what came before may have moved
		if m.New > 0 {
			s.Marks[i].New = 1 + slices.Index(new, lines(before)[m.New-1])
		}
	}
	for _, h := range d.Hunks {
		for _, l := range h.Lines {
			switch l.Op {
			case patches.Add:
				s.Marks = append(s.Marks, harden.Mark{New: 1 + slices.Index(new, l.Text), Controls: []string{control}})
			case patches.Remove:
				if at := slices.Index(old, l.Text); at >= 0 {
					s.Marks = append(s.Marks, harden.Mark{Old: at + 1, Controls: []string{control}})
				}
			}
		}
	}
	return nil
}
