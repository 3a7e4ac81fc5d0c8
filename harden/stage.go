package harden

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// order sorts steps by what they leave behind, forward and back alike: directories that are to be, outer ones first; files that
// are to be and that nothing reads by itself; then component by component, the kubelet last; then what goes away, when
// nothing reads it any more, directories last and inner ones first; objects at the end.
func order(steps []Step) {
	slices.SortStableFunc(steps, func(a, b Step) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		switch {
		case a.Component != "" && a.Component == b.Component && a.After.Exists != b.After.Exists:
			// The manifest is as it is to be before a rival of it goes: that is one restart, and not two.
			if a.After.Exists {
				return -1
			}
			return 1
		case a.Kind != StepDir || b.Kind != StepDir:
			return 0
		case a.After.Exists:
			return strings.Compare(a.Path, b.Path)
		}
		return strings.Compare(b.Path, a.Path)
	})
}

func rank(s Step) int {
	c, read := ComponentByID(s.Component)
	switch {
	case s.Kind == StepObject:
		return 1000
	case s.Kind == StepDir && s.After.Exists:
		return 0
	case read:
		return 10 + c.Order
	case s.After.Exists:
		return 1
	case s.Kind == StepDir:
		return 101
	}
	return 100
}

// stageOf makes the effects and gates that follow from the steps.
func stageOf(title Message, steps []Step, f *Facts, proofs []Proof) (Stage, error) {
	st := Stage{Title: title, Steps: steps, Effects: []Effect{}, Gates: []Gate{}}
	if e, ok := sysctlEffect(steps, f); ok {
		st.Effects = append(st.Effects, e)
	}
	for _, c := range Components {
		controls, data := touched(steps, c)
		if len(controls) == 0 {
			continue
		}
		st.Effects = append(st.Effects, Effect{Kind: c.effect(), Component: c.ID, Controls: controls})
		g, err := gateFor(c, data, steps, f)
		if err != nil {
			return Stage{}, err
		}
		if c.Loads() {
			g.Probes = nodeProbes(f, st.Gates)
		}
		for _, p := range proofs {
			if proofComponent(p) == c.ID {
				g.Proofs = append(g.Proofs, p)
			}
		}
		st.Gates = append(st.Gates, g)
	}
	return st, nil
}

func proofComponent(p Proof) ComponentID {
	switch {
	case p.Component != "":
		return p.Component
	case p.Kind == ProofConfigz || p.Kind == ProofServing:
		return Kubelet
	}
	return APIServer
}

// touched gives the controls behind a component's steps, and the new text of its manifest if it is a static pod. Steps that
// change modes only have no effect: a kubelet reads a chmod as no change of the pod.
func touched(steps []Step, c Component) (controls []string, data []byte) {
	for _, s := range steps {
		if s.Component != c.ID || string(s.Before.Data) == string(s.After.Data) && s.Before.Exists == s.After.Exists {
			continue
		}
		controls = union(controls, s.Controls())
	}
	if len(controls) > 0 && c.StaticPod() {
		data = obeyed(steps, c).After.Data
	}
	return controls, data
}

// obeyed is the step of the file that the kubelet goes by for a static pod once the steps are done: the last one by name. The zero
// value where they leave none.
func obeyed(steps []Step, c Component) Step {
	var out Step
	for _, s := range steps {
		if c.StaticPod() && s.Component == c.ID && s.Kind == StepFile && s.After.Exists && s.Path > out.Path {
			out = s
		}
	}
	return out
}

// Controls that asked for anything in this step, in order.
func (s Step) Controls() []string {
	var out []string
	for _, a := range s.Asks {
		if a.Control != "" && !slices.Contains(out, a.Control) {
			out = append(out, a.Control)
		}
	}
	return out
}

func sysctlEffect(steps []Step, f *Facts) (Effect, bool) {
	e := Effect{Kind: EffectSysctl, Sysctls: map[string]string{}, Prior: map[string]string{}}
	for _, s := range steps {
		for _, a := range s.Asks {
			if a.Intent.Kind != IntentSysctl {
				continue
			}
			value, _ := a.Intent.Value.(string)
			e.Sysctls[a.Intent.Key] = value
			e.Controls = union(e.Controls, []string{a.Control})
			if live, ok := f.Sysctls[a.Intent.Key]; ok {
				e.Prior[a.Intent.Key] = live
			}
		}
	}
	return e, len(e.Sysctls) > 0
}

// Gates wait this long at most: a static pod's old process may use its full grace period before the new one starts.
const (
	staticPodTimeout = 3 * time.Minute
	unitTimeout      = 2 * time.Minute
)

func gateFor(c Component, data []byte, steps []Step, f *Facts) (Gate, error) {
	if c.Loads() {
		return Gate{Component: c.ID, Timeout: unitTimeout}, nil
	}
	if !c.StaticPod() {
		g := Gate{Component: c.ID, Timeout: unitTimeout, Probes: kubeletHealthz(f.Kubelet)}
		if f.Kubelet != nil {
			if planned := kubeletHealthz(f.Kubelet.planned(steps)); !slices.Equal(planned, g.Probes) {
				g.Probes, g.Prior = planned, g.Probes
			}
		}
		return g, nil
	}
	g := Gate{Component: c.ID, Timeout: staticPodTimeout}
	var pod corev1.Pod
	if err := yaml.Unmarshal(data, &pod); err != nil {
		return Gate{}, fmt.Errorf("reading the planned manifest of %s: %w", c.ID, err)
	}
	ct := ContainerOf(&pod, c.ID)
	if ct == nil {
		return Gate{}, fmt.Errorf("reading the planned manifest of %s: it has no container of that name", c.ID)
	}
	g.Args, g.Probes = slices.Concat(ct.Command, ct.Args), probesOf(ct)
	return g, nil
}

// nodeProbes are those of the node's static pods and its kubelet, which a packet filter has to leave as they are. What the same
// stage restarts is asked as its own gate asks.
func nodeProbes(f *Facts, gates []Gate) []Probe {
	var out []Probe
	for _, c := range Components {
		var probes []Probe
		facts := f.Component(c.ID)
		if i := slices.IndexFunc(gates, func(g Gate) bool { return g.Component == c.ID }); i >= 0 {
			probes = gates[i].Probes
		} else if c.ID == Kubelet {
			probes = kubeletHealthz(f.Kubelet)
		} else if facts != nil && facts.Pod != nil && len(headersOf(facts)) == 0 {
			if ct := ContainerOf(facts.Pod, c.ID); ct != nil {
				probes = probesOf(ct)
			}
		}
		for _, p := range probes {
			p.Name = string(c.ID) + " " + p.Name
			out = append(out, p)
		}
	}
	return out
}

// probesOf are a container's probes, by name.
func probesOf(ct *corev1.Container) []Probe {
	var out []Probe
	for name, p := range map[string]*corev1.Probe{"liveness": ct.LivenessProbe, "readiness": ct.ReadinessProbe, "startup": ct.StartupProbe} {
		if probe, ok := probeOf(name, p, ct); ok {
			out = append(out, probe)
		}
	}
	slices.SortFunc(out, func(a, b Probe) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ContainerOf finds the component's own container in its pod: by name, else the only one.
func ContainerOf(pod *corev1.Pod, id ComponentID) *corev1.Container {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == string(id) {
			return &pod.Spec.Containers[i]
		}
	}
	if len(pod.Spec.Containers) == 1 {
		return &pod.Spec.Containers[0]
	}
	return nil
}

func probeOf(name string, p *corev1.Probe, ct *corev1.Container) (Probe, bool) {
	if p == nil {
		return Probe{}, false
	}
	port := func(s string, n int) int {
		if s == "" {
			return n
		}
		for _, cp := range ct.Ports {
			if cp.Name == s {
				return int(cp.ContainerPort)
			}
		}
		return 0
	}
	switch {
	case p.HTTPGet != nil:
		scheme := string(p.HTTPGet.Scheme)
		if scheme == "" {
			scheme = "HTTP"
		}
		return Probe{Name: name, Scheme: scheme, Host: p.HTTPGet.Host, Path: p.HTTPGet.Path, Port: port(p.HTTPGet.Port.StrVal, p.HTTPGet.Port.IntValue())}, true
	case p.TCPSocket != nil:
		return Probe{Name: name, Scheme: "TCP", Host: p.TCPSocket.Host, Port: port(p.TCPSocket.Port.StrVal, p.TCPSocket.Port.IntValue())}, true
	}
	return Probe{}, false
}

// kubeletHealthz is how a kubelet's health is asked; nothing where its port is off.
func kubeletHealthz(k *KubeletFacts) []Probe {
	p := Probe{Name: "healthz", Scheme: "HTTP", Host: "127.0.0.1", Port: 10248, Path: "/healthz"}
	if k == nil {
		return []Probe{p}
	}
	if h := k.Field("healthzBindAddress"); h.Set {
		if s, ok := h.Value.(string); ok && s != "" {
			p.Host = s
		}
	}
	if n := k.Field("healthzPort"); n.Set {
		switch n := n.Value.(type) {
		case int:
			p.Port = n
		case int64:
			p.Port = int(n)
		case float64:
			p.Port = int(n)
		}
	}
	if p.Port <= 0 {
		return nil
	}
	return []Probe{p}
}

// planned is the kubelet with its health port as these steps leave it: the files that change, and the flags over them.
func (k *KubeletFacts) planned(steps []Step) *KubeletFacts {
	out := &KubeletFacts{Config: k.Config}
	for _, file := range append([]FileFact{k.Config}, k.DropIns...) {
		i := slices.IndexFunc(steps, func(s Step) bool { return s.Path == file.Path && s.Kind == StepFile })
		if i < 0 {
			out.Layers = append(out.Layers, k.layersOf(file.Path)...)
			continue
		}
		fields := map[string]any{}
		if yaml.Unmarshal(steps[i].After.Data, &fields) == nil {
			out.Layers = append(out.Layers, KubeletLayer{Source: file.Path, Fields: fields})
		}
	}
	for _, fl := range patches.ParseArgs(plannedKubeletArgs(Stage{Steps: steps}, k)) {
		fields := map[string]any{}
		switch fl.Name {
		case "healthz-bind-address":
			fields["healthzBindAddress"] = fl.Value
		case "healthz-port":
			if n, err := strconv.Atoi(fl.Value); err == nil {
				fields["healthzPort"] = n
			}
		}
		out.Layers = append(out.Layers, KubeletLayer{Source: "--" + fl.Name, Fields: fields})
	}
	return out
}

func (k *KubeletFacts) layersOf(path string) []KubeletLayer {
	return slices.DeleteFunc(slices.Clone(k.Layers), func(l KubeletLayer) bool { return l.Source != path })
}

// headersOf are the probes of a static pod that send headers, such as a token: nobody but the kubelet can ask those.
func headersOf(c *ComponentFacts) []string {
	if c.Pod == nil {
		return nil
	}
	ct := ContainerOf(c.Pod, c.ID)
	if ct == nil {
		return nil
	}
	var out []string
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{{"livenessProbe", ct.LivenessProbe}, {"readinessProbe", ct.ReadinessProbe}, {"startupProbe", ct.StartupProbe}} {
		if p.probe != nil && p.probe.HTTPGet != nil && len(p.probe.HTTPGet.HTTPHeaders) > 0 {
			out = append(out, p.name)
		}
	}
	return out
}

// componentChecks are what must hold of every component that the stage touches (promise 3).
func componentChecks(f *Facts, st Stage) []Check {
	var out []Check
	for _, e := range st.Effects {
		if e.Component == Kubelet && e.Kind == EffectUnit && f.Kubelet != nil && f.Kubelet.Process != nil {
			out = append(out, Check{Component: e.Component, Blocks: true, Precondition: kubeletRuns(f)})
		}
		c := f.Component(e.Component)
		if c == nil {
			continue
		}
		rivals := Precondition{ID: "one-manifest", Title: Msg("no other file defines this pod"), State: Met}
		switch settles, alone := takesRivals(st, c); {
		case settles && alone, len(c.Rivals) == 0:
		case settles:
			rivals.State = Unmet
			rivals.Message = Msg("this plan takes %s away, and the rest of it was judged by that file; plan the removal alone first", strings.Join(c.Rivals, ", "))
		default:
			rivals.State = Unmet
			rivals.Message = Msg("%s also defines it, and the kubelet obeys %s; move it out of the directory", strings.Join(c.Rivals, ", "), c.Effective)
			for _, r := range c.Rivals {
				rivals.Hints = append(rivals.Hints, Aside(f, r))
			}
		}
		out = append(out, Check{Component: e.Component, Blocks: true, Precondition: rivals})
		if pre := writtenOut(c); pre.State != Met {
			out = append(out, Check{Component: e.Component, Blocks: true, Precondition: pre})
		}
		if sending := headersOf(c); len(sending) > 0 {
			out = append(out, Check{Component: e.Component, Blocks: true, Precondition: Precondition{
				ID: "probes-without-headers", Title: Msg("its probes can be asked as the kubelet asks them"), State: Unmet,
				Message: Msg("the %s in %s sends headers, which may be a secret and are not sent from here, so its health could not be told; take httpHeaders out of the manifest",
					strings.Join(sending, " and the "), c.Manifest.Path),
			}})
		}
		if kept := imageStays(f, c.ID); kept.State != Met {
			out = append(out, Check{Component: e.Component, Blocks: true, Precondition: kept})
		}
		if c.Process == nil {
			continue
		}
		same := Precondition{ID: "file-is-running", Title: Msg("the live process runs what the manifest says"), State: Met}
		if c.Drifted() {
			same.State = Unmet
			same.Message = Msg("process %d has other arguments than %s", c.Process.PID, c.Manifest.Path)
		}
		out = append(out, Check{Component: e.Component, Blocks: true, Precondition: same})
	}
	return out
}

// takesRivals says that a stage takes every rival of a component's manifest away, and that it changes nothing else of the component.
func takesRivals(st Stage, c *ComponentFacts) (all, alone bool) {
	all, alone = len(c.Rivals) > 0, true
	for _, r := range c.Rivals {
		all = all && slices.ContainsFunc(st.Steps, func(s Step) bool { return s.Path == r && !s.After.Exists })
	}
	for _, s := range st.ForComponent(c.ID) {
		for _, a := range s.Asks {
			alone = alone && (a.Intent.Kind == IntentRemoveFile || a.Intent.Key == FilesAnnotation)
		}
	}
	return all, alone
}

func objectStage(steps []Step) Stage {
	g := Gate{Timeout: time.Minute}
	for _, s := range steps {
		g.Objects = append(g.Objects, *s.Object)
		if s.Object.Kind == "NetworkPolicy" && s.After.Exists && !slices.Contains(g.Traffic, s.Object.Namespace) {
			g.Traffic = append(g.Traffic, s.Object.Namespace)
		}
	}
	return Stage{Title: Msg("the cluster's objects"), Steps: steps, Effects: []Effect{}, Gates: []Gate{g}}
}

// ForComponent are the steps whose effect is the component's.
func (st Stage) ForComponent(id ComponentID) []Step {
	var out []Step
	for _, s := range st.Steps {
		if s.Component == id {
			out = append(out, s)
		}
	}
	return out
}

// Effect of a component in this stage, if it has one.
func (st Stage) Effect(id ComponentID) (Effect, bool) {
	for _, e := range st.Effects {
		if e.Component == id && e.Kind != EffectSysctl {
			return e, true
		}
	}
	return Effect{}, false
}

// Gate of a component in this stage; objects have the empty component's.
func (st Stage) Gate(id ComponentID) (Gate, bool) {
	for _, g := range st.Gates {
		if g.Component == id {
			return g, true
		}
	}
	return Gate{}, false
}
