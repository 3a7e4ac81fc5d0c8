package harden

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Persist adds, as the last one, the plan of cluster scope that keeps a node's plans through the next `kubeadm upgrade`: their
// intents, rendered to where kubeadm keeps them. What has no place there, or must not be there yet, is skipped with the reason. It
// is empty where there is no cluster to ask, and for plans that undo: what was persisted is undone by its own transaction's undo.
func Persist(in BuildInput, plans []Plan) ([]Plan, error) {
	p := planner{in: in}
	out := p.empty(ScopeCluster)
	if in.Edited == nil || in.Facts.Cluster == nil {
		return append(plans, out), nil
	}
	for _, plan := range plans {
		out.Run = plan.Run
		if plan.Undoes != "" || plan.Scope != ScopeNode {
			continue
		}
		for _, c := range plan.Choices {
			p.persist(c, plan)
		}
	}
	plans = p.join(plans)
	steps, err := p.steps()
	for not, ok := refused(err); ok; not, ok = refused(err) {
		p.unpersisted(not)
		steps, err = p.steps()
	}
	if err != nil {
		return nil, err
	}
	if len(steps) > 0 {
		out.Stages = []Stage{{Title: Msg("what kubeadm renders nodes from"), Steps: steps, Effects: []Effect{}, Gates: objectStage(steps).Gates}}
	}
	for _, c := range p.taken {
		if slices.ContainsFunc(steps, func(s Step) bool { return slices.Contains(s.Controls(), c.Control) }) {
			out.Choices = append(out.Choices, c)
		}
	}
	for _, stage := range out.Stages {
		out.Preflight = append(out.Preflight, underwayChecks(in.Facts, stage)...)
	}
	out.Preflight = append(out.Preflight, p.checks...)
	out.Skipped = append(out.Skipped, p.skipped...)
	return append(plans, out), nil
}

// join takes over what the other plans edit in the same objects: of two transactions that were planned on one object, the second
// would take the first one's change for somebody else's. Where both ask for the same place, what the node is to run with counts.
func (p *planner) join(plans []Plan) []Plan {
	var objects, slots []string
	for _, a := range p.asks {
		objects = append(objects, a.Intent.Object.String())
		slots = append(slots, a.Intent.slot())
	}
	plans = slices.Clone(plans)
	for i, plan := range plans {
		var moved []string
		var rest []Step
		for _, s := range plan.Steps() {
			if plan.Undoes != "" || s.Object == nil || !slices.Contains(objects, s.Object.String()) {
				rest = append(rest, s)
				continue
			}
			moved = union(moved, s.Controls())
			p.asks = append(p.asks, slices.DeleteFunc(slices.Clone(s.Asks), func(a Ask) bool { return slices.Contains(slots, a.Intent.slot()) })...)
		}
		if moved == nil {
			continue
		}
		plan.Stages = []Stage{}
		if len(rest) > 0 {
			plan.Stages = append(plan.Stages, objectStage(rest))
		}
		plans[i] = p.takeChoices(plan, moved)
	}
	return plans
}

// takeChoices takes over the choices of controls, and what was checked for them, unless the plan does more for them.
func (p *planner) takeChoices(plan Plan, moved []string) Plan {
	stays := func(control string) bool {
		return !slices.Contains(moved, control) ||
			slices.ContainsFunc(plan.Steps(), func(s Step) bool { return slices.Contains(s.Controls(), control) })
	}
	choices, checks := plan.Choices, plan.Preflight
	plan.Choices, plan.Preflight = []Choice{}, []Check{}
	for _, c := range choices {
		if slices.Contains(moved, c.Control) {
			p.taken = append(p.taken, c)
		}
		if stays(c.Control) {
			plan.Choices = append(plan.Choices, c)
		}
	}
	for _, c := range checks {
		if slices.Contains(moved, c.Control) {
			p.checks = append(p.checks, c)
		}
		if stays(c.Control) && (c.ID != checkUnderway || slices.ContainsFunc(plan.Steps(), kubeadmWrites)) {
			plan.Preflight = append(plan.Preflight, c)
		}
	}
	return plan
}

// Keeps says that the plan is of kubeadm's own configuration and of nothing else.
func (p Plan) Keeps() bool {
	steps := p.Steps()
	return len(steps) > 0 && !slices.ContainsFunc(steps, func(s Step) bool {
		return s.Object == nil || *s.Object != KubeadmConfig && *s.Object != KubeletConfig
	})
}

// persist asks for what a choice has asked of the node, where kubeadm can keep it.
func (p *planner) persist(c Choice, node Plan) {
	var asks []Ask
	var unkept []string
	for _, s := range node.Steps() {
		for _, a := range s.Asks {
			if a.Control != c.Control {
				continue
			}
			i, ok := persisted(p.in.Facts, a.Intent)
			if !ok {
				if lostAtUpgrade(p.in.Facts, a.Intent) {
					unkept = append(unkept, a.Intent.slot())
				}
				continue
			}
			asks = append(asks, Ask{Control: c.Control, Intent: i})
		}
	}
	if len(asks) == 0 && len(unkept) == 0 {
		return
	}
	why, ok := p.mayPersist(c, asks, unkept)
	var hints []string
	if ok {
		if err := renders(p.in.Facts.Cluster.Kubeadm, asks); err != nil {
			why, ok, hints = Msg("not persisted: %s", err.Error()), false, hintOf(err)
		}
	}
	if !ok {
		p.skipped = append(p.skipped, Skip{Control: c.Control, Remedy: c.Remedy, Reason: why, Hints: hints}) // the control itself is applied
		return
	}
	p.asks = append(p.asks, asks...)
	p.taken = append(p.taken, c)
}

// unpersisted leaves out what the objects do not take.
func (p *planner) unpersisted(not refusals) {
	for i, r := range not {
		asks := func(control string) bool { return slices.Contains(r.controls, control) }
		for _, c := range p.taken {
			if asks(c.Control) {
				why := Msg("not persisted: %s", r.err.Error())
				p.skipped = append(p.skipped, Skip{Control: c.Control, Remedy: c.Remedy, Reason: why, Hints: not.hints(i)})
			}
		}
		p.asks = slices.DeleteFunc(p.asks, func(a Ask) bool { return asks(a.Control) })
		p.taken = slices.DeleteFunc(p.taken, func(c Choice) bool { return asks(c.Control) })
	}
}

// hintOf is what to do by hand about an error, as far as it tells.
func hintOf(err error) []string {
	if hint := patches.Hint(err); hint != "" {
		return []string{hint}
	}
	return nil
}

// mayPersist says whether a choice may be kept for all nodes, and why not.
func (p *planner) mayPersist(c Choice, asks []Ask, unkept []string) (why Message, ok bool) {
	_, control, _ := FindControl(p.in.Areas, c.Control)
	remedy, _ := control.Remedy(c.Remedy)
	switch {
	case remedy.NodeOnly:
		return Msg("not persisted: it is for this node alone, and the next kubeadm upgrade takes it back"), false
	case len(unkept) > 0:
		return Msg("not persisted: kubeadm has no place for the %s", strings.Join(unkept, ", ")), false
	}
	if need, missing := p.in.Facts.Missing[NeedKubeadm]; missing {
		return Msg("not persisted: %s", need.String()), false
	}
	var intents []Intent
	for _, a := range asks {
		intents = append(intents, a.Intent)
	}
	if lacking := MembersWithout(p.in.Facts, intents); len(lacking) > 0 {
		return Msg("not persisted: %s: the files that it names must be on every control-plane node first; apply it there, then here again with --control upgrade-static-pods",
			strings.Join(lacking, ", ")), false
	}
	return Message{}, true
}

// renders tries the asks on the texts that were read, so that one that cannot be rendered does not take the others along.
func renders(k *KubeadmFact, asks []Ask) error {
	if k == nil {
		return errors.New("kubeadm's configuration was not read")
	}
	cluster, kubelet := []byte(k.ClusterConfiguration), []byte(k.KubeletConfiguration)
	for _, a := range asks {
		var err error
		if *a.Intent.Object == KubeletConfig {
			kubelet, err = a.Intent.editKubeletConfiguration(kubelet)
		} else {
			cluster, err = a.Intent.editClusterConfiguration(cluster)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// persisted is the intent that asks of kubeadm's own configuration what i asks of the node.
func persisted(f *Facts, i Intent) (Intent, bool) {
	i.Along, i.Restarts = false, ""
	switch i.Kind {
	case IntentSetFlag, IntentRemoveFlag, IntentMergeList:
		_, known := kubeadmSections[i.Component]
		i.Object = &KubeadmConfig
		return i, known
	case IntentMount:
		i.Object = &KubeadmConfig
		return i, i.Component == APIServer || i.Component == ControllerManager || i.Component == Scheduler
	case IntentSetField:
		if f.Kubelet == nil || i.Path != f.Kubelet.Config.Path {
			return i, false
		}
		i.Object, i.Path = &KubeletConfig, ""
		return i, true
	}
	return i, false
}

// lostAtUpgrade says that kubeadm writes an intent's target anew and keeps nothing of it.
func lostAtUpgrade(f *Facts, i Intent) bool {
	switch i.Kind {
	case IntentMount, IntentTCPProbes:
		return true
	case IntentAnnotate:
		return i.Key != FilesAnnotation && i.Key != RestartAnnotation
	case IntentSetField:
		return f.Kubelet != nil && i.Path == f.Kubelet.Config.Path
	}
	return false
}

// namesFile is the path on the node that an intent's component would read or write; "" for none.
func namesFile(i Intent) string {
	switch i.Kind {
	case IntentMount:
		return i.Mount.HostPath
	case IntentSetFlag:
		if v, _ := i.Value.(string); path.IsAbs(v) {
			return v
		}
	}
	return ""
}

// MembersWithout names the other control-plane nodes that do not run with what the intents ask for, if any of them names a
// file. One that does has the files: it could not have started without them.
func MembersWithout(f *Facts, intents []Intent) []string {
	if !slices.ContainsFunc(intents, func(i Intent) bool { return namesFile(i) != "" }) {
		return nil
	}
	var out []string
	for _, n := range f.Cluster.Nodes {
		if !n.ControlPlane || n.Name == f.Identity.Node {
			continue
		}
		lacks := func(i Intent) bool {
			return i.Component != "" && !slices.ContainsFunc(f.Cluster.Members, func(m MemberFact) bool {
				return m.Node == n.Name && m.Component == i.Component && m.has(i)
			})
		}
		if slices.ContainsFunc(intents, lacks) {
			out = append(out, n.Name)
		}
	}
	return out
}

// has says that a member runs, and has run healthily, with what the intent asks for.
func (m MemberFact) has(i Intent) bool {
	if !m.Ready {
		return false
	}
	flag := flagFrom(m.Args, i.Key, m.Node)
	switch i.Kind {
	case IntentSetFlag:
		return flag.Set && flag.Last() == fmt.Sprint(i.Value)
	case IntentRemoveFlag:
		return !flag.Set
	case IntentMergeList:
		return !slices.ContainsFunc(i.Add, func(e string) bool { return !flag.Has(e) }) && !slices.ContainsFunc(i.Remove, flag.Has)
	}
	return true // a mount serves a flag, which is asked too
}

// renderObjectEdit makes a step of asks that edit an object as it is.
func (p *planner) renderObjectEdit(s *Step) error {
	var marks []Mark
	seen, err := p.in.Edited(*s.Object, func(now State) (after State, err error) {
		after, marks, err = renderAll(now, s.Asks, "")
		return after, err
	})
	if not, ok := refused(err); ok {
		return not.of(s.Object.String())
	}
	if err != nil {
		return fmt.Errorf("previewing %s: %w", s.Object, err)
	}
	s.Before, s.After, s.UID, s.ResourceVersion, s.Marks = seen.Before, seen.After, seen.UID, seen.ResourceVersion, marks
	return nil
}

// runsWith says that the node's files have what an intent for kubeadm's configuration asks for: what every node is to be
// rendered from has been proven on one.
func runsWith(f *Facts, i Intent) bool {
	if i.Kind == IntentSetField {
		return f.Kubelet != nil && reflect.DeepEqual(jsonValue(f.Kubelet.Field(i.Key).Value), jsonValue(i.Value))
	}
	c := f.Component(i.Component)
	if c == nil {
		return false
	}
	if i.Kind == IntentMount {
		host, ok := c.HostPath(i.Mount.MountPath)
		return ok && host == i.Mount.HostPath
	}
	return MemberFact{Args: c.Args, Ready: true}.has(i)
}

// jsonValue levels the types that the same value has in YAML, in JSON and in code.
func jsonValue(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return v
	}
	var out any
	if json.Unmarshal(data, &out) != nil {
		return v
	}
	return out
}
