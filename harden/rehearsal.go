package harden

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Rehearsal is how a component's change is tried before the live one is touched (promise 7).
type Rehearsal struct {
	Component ComponentID `json:"component"`
	// Flags: the component's own program checks the planned command line.
	Flags bool `json:"flags"`
	// Files are decoded strictly, and checked by rules that the component has for them.
	Files []string `json:"files"`
	// Canary: a second instance runs as planned beside the live one, and proves itself.
	Canary bool `json:"canary"`
	// Apart: the rules are loaded in a network of their own, in which there is nothing else.
	Apart bool `json:"apart,omitempty"`
	// Unrehearsed says what of it cannot be had, and why; it blocks until it is accepted by the component's name.
	Unrehearsed Message `json:"unrehearsed,omitzero"`
	// GateOnly says what only the gate will tell.
	GateOnly Message `json:"gateOnly"`
}

// Means are the ways by which it is rehearsed.
func (r Rehearsal) Means() []Message {
	var out []Message
	if r.Flags {
		out = append(out, Msg("its own program checks the planned flags"))
	}
	if len(r.Files) > 0 {
		out = append(out, Msg("its files are decoded strictly"))
	}
	if r.Apart {
		out = append(out, Msg("its rules are loaded in a network of their own, and taken away again"))
	}
	if r.Canary {
		out = append(out, Msg("a second one runs as planned beside it, on a port of its own, and is taken away again"))
	}
	return out
}

// Rehearsals of a stage's components, in the order in which they are changed, as far as a node with these facts has room for
// them. An offline root has none, as nothing runs from it; an undo goes back to what has run, and has no canary.
func Rehearsals(st Stage, f *Facts, undo bool) []Rehearsal {
	out := []Rehearsal{}
	if f.Identity.Offline {
		return out
	}
	for _, c := range Components {
		if _, restarts := st.Effect(c.ID); !restarts {
			continue
		}
		r := Rehearsal{Component: c.ID, Flags: true, Files: filesOf(st, c), GateOnly: c.GateOnly}
		if c.Loads() {
			// Taking it away needs no rehearsal.
			if r.Flags, r.Files, r.Apart = false, []string{}, len(st.TableRules()) > 0; r.Apart {
				out = append(out, r)
			}
			continue
		}
		if c.Canary && !undo {
			why := canaryObstacle(st, f, c)
			if r.Canary = why.IsZero(); !r.Canary {
				r.Unrehearsed = Msg("no second instance can run beside the live one: %s", why)
				r.GateOnly = Msg("whether it starts and serves with the planned files and flags")
			}
		}
		out = append(out, r)
	}
	return out
}

// TableRules are the rules of our packet filter that a stage writes; nothing where it writes none.
func (st Stage) TableRules() []byte {
	for _, s := range st.Steps {
		if s.Component == PacketFilter && s.Path == FilterRules && s.After.Exists {
			return s.After.Data
		}
	}
	return nil
}

// checkRehearsed is the id of the check that what cannot be rehearsed is accepted.
const checkRehearsed = "rehearsed"

// rehearsalChecks block while what cannot be rehearsed is not accepted.
func rehearsalChecks(st Stage) []Check {
	var out []Check
	for _, r := range st.Rehearsals {
		if r.Unrehearsed.IsZero() {
			continue
		}
		out = append(out, Check{
			Component: r.Component, Blocks: true,
			Precondition: Precondition{
				ID: checkRehearsed, Title: Msg("%s is rehearsed before it is touched", r.Component), State: PreconditionUnknown,
				Message: Msg("%s; accept it with --accept %s", r.Unrehearsed, r.Component),
			},
		})
	}
	return out
}

// Accepts says that what cannot be rehearsed of a component was accepted by its name.
func (p Plan) Accepts(id ComponentID) bool { return slices.Contains(p.Accepted, id) }

// Unrehearsed are the components that cannot be rehearsed as they should be, and were not accepted.
func (p Plan) Unrehearsed() []ComponentID {
	var out []ComponentID
	for _, c := range p.Preflight {
		if c.ID == checkRehearsed && c.Component != "" && c.Blocks {
			out = append(out, c.Component)
		}
	}
	return out
}

// Accept is the plan with these components accepted, although not all of them can be rehearsed.
func (p Plan) Accept(ids ...ComponentID) Plan {
	p.Accepted, p.Preflight = slices.Clone(p.Accepted), slices.Clone(p.Preflight)
	for i, c := range p.Preflight {
		if c.ID == checkRehearsed && slices.Contains(ids, c.Component) {
			p.Preflight[i].Blocks = false
		}
	}
	for _, id := range ids {
		if !p.Accepts(id) {
			p.Accepted = append(p.Accepted, id)
		}
	}
	return p
}

// PlannedArgs is a component's command line as a stage would have it; empty where the stage leaves it as it is and it is not
// known.
func PlannedArgs(st Stage, f *Facts, c Component) []string {
	if c.StaticPod() {
		g, _ := st.Gate(c.ID)
		return g.Args
	}
	if c.ID != Kubelet || f.Kubelet == nil {
		return nil
	}
	return plannedKubeletArgs(st, f.Kubelet)
}

// plannedKubeletArgs takes the flags of environment files that change out of what the unit would start, and puts the new ones in.
func plannedKubeletArgs(st Stage, k *KubeletFacts) []string {
	args := slices.Clone(k.Args)
	for _, e := range k.EnvFiles {
		i := slices.IndexFunc(st.Steps, func(s Step) bool { return s.Path == e.File.Path })
		if i < 0 {
			continue
		}
		for _, old := range envArgs(st.Steps[i].Before.Data, e.Variable) {
			if at := slices.Index(args, old); at > 0 {
				args = slices.Delete(args, at, at+1)
			}
		}
		args = append(args, envArgs(st.Steps[i].After.Data, e.Variable)...)
	}
	return args
}

// KubeletReadsFlags says whether the kubelet's unit takes flags from that file.
func KubeletReadsFlags(k *KubeletFacts, path string) bool {
	return slices.ContainsFunc(k.EnvFiles, func(e EnvFileFact) bool { return e.File.Path == path })
}

func envArgs(data []byte, variable string) []string {
	flags, err := patches.EnvFlags(data, variable)
	if err != nil {
		return nil
	}
	var out []string
	for _, fl := range flags {
		arg := "--" + fl.Name
		if fl.HasValue {
			arg += "=" + fl.Value
		}
		out = append(out, arg)
	}
	return out
}

// filesOf are the files of a stage that the component reads: its own, those that its flags refer to, and those that were said
// to restart it.
func filesOf(st Stage, c Component) []string {
	out := []string{}
	referred := map[string]bool{}
	if pod, ct := plannedPod(st, c); pod != nil {
		for _, fl := range patches.ParseArgs(slices.Concat(ct.Command, ct.Args)) {
			if host, ok := hostPath(pod, ct, fl.Value); ok {
				referred[host] = true
			}
		}
	}
	for _, s := range st.Steps {
		if s.Kind == StepFile && s.After.Exists && (s.Component == c.ID || s.restarts() == c.ID || referred[s.Path]) {
			out = append(out, s.Path)
		}
	}
	return out
}

// plannedPod is a static pod as the stage would have it, nil where the stage leaves it as it is.
func plannedPod(st Stage, c Component) (*corev1.Pod, *corev1.Container) {
	return podOf(obeyed(st.Steps, c).After.Data, c)
}

func podOf(manifest []byte, c Component) (*corev1.Pod, *corev1.Container) {
	var pod corev1.Pod
	if yaml.Unmarshal(manifest, &pod) != nil {
		return nil, nil
	}
	ct := ContainerOf(&pod, c.ID)
	if ct == nil {
		return nil, nil
	}
	return &pod, ct
}

// hostPath follows a path inside a container to the host, through the longest mount that covers it.
func hostPath(pod *corev1.Pod, ct *corev1.Container, inContainer string) (string, bool) {
	if !path.IsAbs(inContainer) {
		return "", false
	}
	best, host := -1, ""
	for _, m := range ct.VolumeMounts {
		at := strings.TrimSuffix(m.MountPath, "/")
		if inContainer != at && !strings.HasPrefix(inContainer, at+"/") || len(at) <= best {
			continue
		}
		best, host = len(at), ""
		for _, v := range pod.Spec.Volumes {
			if v.Name == m.Name && v.HostPath != nil {
				host = path.Join(v.HostPath.Path, m.SubPath, inContainer[len(at):])
			}
		}
	}
	return host, host != ""
}

// secondWriter are flags of the API server by which a second one would act on the cluster itself, or judge it otherwise: what
// is served and stored, whom it trusts, and where it keeps it.
var secondWriter = []string{
	"runtime-config", "feature-gates", "emulated-version", "emulation-forward-compatible", "runtime-config-emulation-forward-compatible",
	"min-compatibility-version", "encryption-provider-config", "encryption-provider-config-automatic-reload", "client-ca-file",
	"requestheader-client-ca-file", "requestheader-allowed-names", "requestheader-extra-headers-prefix", "requestheader-group-headers",
	"requestheader-username-headers", "requestheader-uid-headers", "service-cluster-ip-range", "service-node-port-range",
	"storage-backend", "storage-media-type", "storage-config",
}

// ownCredentials are those of secondWriter that say who it is to etcd: what lies in their files changes nothing that it does there.
var ownCredentials = []string{"etcd-certfile", "etcd-keyfile"}

func actsOnCluster(flag string) bool {
	return slices.Contains(secondWriter, flag) || strings.HasPrefix(flag, "etcd-")
}

// canaryObstacle says why no canary may or can run, nothing where one can.
func canaryObstacle(st Stage, f *Facts, c Component) Message {
	pod, ct := plannedPod(st, c)
	if pod == nil {
		return Msg("its planned manifest cannot be read")
	}
	facts := f.Component(c.ID)
	switch flag := changedWriter(st, c); {
	case flag != "":
		return Msg("--%s changes, and by it the second one would change the cluster's objects", flag)
	case len(pod.Spec.Containers) > 1 || len(pod.Spec.InitContainers) > 0:
		return Msg("its pod has other containers, which would run twice too")
	case !pod.Spec.HostNetwork:
		return Msg("its pod is not on the network of the host")
	case len(ct.Command)+len(ct.Args) == 0 || path.Base(slices.Concat(ct.Command, ct.Args)[0]) != string(c.ID):
		return Msg("its container does not start %s itself", c.ID)
	case f.Machine == nil || facts == nil || facts.Process == nil || facts.Process.Resident == 0:
		return Msg("how much memory it would need is not known")
	case !f.Machine.Systemd:
		return Msg("without systemd nothing would take it away if this program died")
	case f.Machine.MemAvailable < CanaryNeeds(facts.Process.Resident):
		return Msg("it needs %s of memory, one and a half times what the live one holds, and %s are available",
			mebibytes(CanaryNeeds(facts.Process.Resident)), mebibytes(f.Machine.MemAvailable))
	}
	return Message{}
}

// changedWriter names a flag of secondWriter that changes, or refers to a file that changes.
func changedWriter(st Stage, c Component) string {
	for _, s := range st.Steps {
		if s.Component != c.ID || s.Kind != StepFile {
			continue
		}
		_, before := podOf(s.Before.Data, c)
		pod, after := podOf(s.After.Data, c)
		if before == nil || after == nil {
			return ""
		}
		was, is := flagLists(before), flagLists(after)
		for _, m := range []map[string][]string{was, is} {
			for name := range m {
				if actsOnCluster(name) && !slices.Equal(was[name], is[name]) {
					return name
				}
			}
		}
		for name, values := range is {
			for _, v := range values {
				host, ok := hostPath(pod, after, v)
				if ok && actsOnCluster(name) && !slices.Contains(ownCredentials, name) && slices.ContainsFunc(st.Steps, func(o Step) bool { return o.Path == host }) {
					return name
				}
			}
		}
	}
	return ""
}

func flagLists(ct *corev1.Container) map[string][]string {
	out := map[string][]string{}
	for _, fl := range patches.ParseArgs(slices.Concat(ct.Command, ct.Args)) {
		out[fl.Name] = append(out[fl.Name], fl.Value)
	}
	return out
}

// CanaryNeeds is how much memory has to be available beside an API server that holds so much.
func CanaryNeeds(resident uint64) uint64 { return resident + resident/2 }

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }
