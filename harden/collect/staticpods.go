package collect

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// podFile is a file of the static pod directory that decodes as a pod.
type podFile struct {
	path  string
	state harden.State
	pod   corev1.Pod
}

// collectStaticPods reads the static pod directory as the kubelet does: every file that is not a dot-file, whatever its
// extension, sorted by name, the last one of a pod's name wins (pkg/kubelet/config/file.go).
func collectStaticPods(n Node, running processes, f *harden.Facts) error {
	dir := harden.StaticPodDir
	if f.Kubelet != nil && f.Kubelet.StaticPodPath != "" {
		dir = f.Kubelet.StaticPodPath
	}
	names, err := n.List(dir)
	if err != nil {
		return fmt.Errorf("reading static pods: %w", err)
	}
	var pods []podFile
	broken := map[string]error{}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		p := path.Join(dir, name)
		s, err := n.State(p)
		if err != nil {
			broken[name] = err
			continue
		}
		if s.Dir {
			continue
		}
		if !s.Exists {
			broken[name] = fmt.Errorf("%s: it is a link to nothing", p)
			continue
		}
		var pod corev1.Pod
		if err := harden.ReadYAML(s.Data, &pod); err != nil {
			broken[name] = fmt.Errorf("%s: not a pod: %w", p, err)
			continue
		}
		if pod.Kind != "Pod" || pod.Name == "" || len(pod.Spec.Containers) == 0 {
			broken[name] = fmt.Errorf("%s: it defines no pod with a name and containers", p)
			continue
		}
		pods = append(pods, podFile{p, s, pod})
	}
	f.StaticPods = staticPods(dir, names, pods, broken)
	for _, c := range harden.Components {
		if !c.StaticPod() {
			continue
		}
		facts := componentFacts(c, dir, pods)
		if facts == nil {
			if err := broken[c.Manifest]; err != nil {
				f.Missing[harden.Need(c.ID)] = harden.Msg("%s", err.Error())
			}
			continue
		}
		facts.Process = running.newest(c.ID)
		if facts.Process == nil && len(facts.Unknown) > 0 {
			f.Missing[harden.Need(c.ID)] = harden.Msg("%s takes $(%s) from elsewhere, and no process shows what it is", facts.Effective, facts.Unknown[0])
		}
		if why := settingsElsewhere(facts); !why.IsZero() {
			f.Missing[harden.Need(c.ID)] = why
		}
		f.Components[c.ID] = facts
	}
	return nil
}

// settingsElsewhere says why a component's flags are not what it goes by, if so: OpenShift gives it a configuration of its own, and
// some manifests start it through a script. That a flag is not set says nothing there.
func settingsElsewhere(c *harden.ComponentFacts) harden.Message {
	if own := c.Flag(openShiftFlag); own.Set {
		return harden.Msg("%s goes by OpenShift's own configuration, %s, which is not read", c.ID, own.Last())
	}
	if c.Process != nil || len(c.Args) == 0 || strings.HasPrefix(c.Args[0], "-") { // the image's own program takes them
		return harden.Message{}
	}
	for _, arg := range c.Args {
		if strings.HasPrefix(arg, "-") {
			break
		}
		if path.Base(arg) == string(c.ID) {
			return harden.Message{}
		}
	}
	return harden.Msg("%s starts %s through %s, and no process shows its flags", c.Effective, c.ID, c.Args[0])
}

// openShiftFlag is in the manifests of openshift/cluster-kube-apiserver-operator and cluster-kube-controller-manager-operator.
const openShiftFlag = "openshift-config"

// staticPods tells of every file that the kubelet reads what pod it defines, or why none.
func staticPods(dir string, names []string, pods []podFile, broken map[string]error) []harden.StaticPodFact {
	var out []harden.StaticPodFact
	for _, name := range names {
		fact := harden.StaticPodFact{Path: path.Join(dir, name)}
		i := slices.IndexFunc(pods, func(p podFile) bool { return p.path == fact.Path })
		switch {
		case broken[name] != nil:
			fact.Broken = harden.Msg("%s", strings.TrimPrefix(broken[name].Error(), fact.Path+": "))
		case i < 0:
			continue // a directory, or a dot-file: the kubelet does not read it
		default:
			pod := &pods[i].pod
			fact.Name, fact.Namespace = pod.Name, pod.Namespace
			if fact.Namespace == "" {
				fact.Namespace = "default" // as the kubelet takes it
			}
			for _, c := range harden.Components {
				if c.StaticPod() && runs(pod, c.ID) {
					fact.Component = c.ID
				}
			}
		}
		out = append(out, fact)
	}
	return out
}

func componentFacts(c harden.Component, dir string, pods []podFile) *harden.ComponentFacts {
	var same []podFile
	for _, p := range pods {
		if runs(&p.pod, c.ID) {
			same = append(same, p)
		}
	}
	if len(same) == 0 {
		return nil
	}
	obeyed := same[len(same)-1]
	own := slices.IndexFunc(same, func(p podFile) bool { return p.path == path.Join(dir, c.Manifest) })
	if own < 0 {
		own = len(same) - 1
	}
	out := &harden.ComponentFacts{
		ID:        c.ID,
		Manifest:  harden.FileFact{Path: same[own].path, State: same[own].state},
		Pod:       &obeyed.pod,
		Effective: obeyed.path,
	}
	for i, p := range same {
		if i != own {
			out.Rivals = append(out.Rivals, p.path)
		}
	}
	if ct := harden.ContainerOf(&obeyed.pod, c.ID); ct != nil {
		out.Container = ct.Name
		out.Args, out.Unknown = harden.ArgsOf(ct)
		out.Version = imageVersion(ct.Image)
	}
	return out
}

// runs says whether the pod is the component's: kubeadm's name and namespace, and a container that is named so or runs
// a program of that name.
func runs(pod *corev1.Pod, id harden.ComponentID) bool {
	// The kubelet keys pods by namespace and name: this is the same pod to it, whatever its containers are called.
	if pod.Name == string(id) && pod.Namespace == "kube-system" {
		return true
	}
	ct := harden.ContainerOf(pod, id)
	if ct == nil {
		return false
	}
	if ct.Name == string(id) {
		return true
	}
	argv := slices.Concat(ct.Command, ct.Args)
	return len(argv) > 0 && path.Base(argv[0]) == string(id)
}

// imageVersion reads the tag: "registry.k8s.io/kube-apiserver:v1.37.2@sha256:..." is 1.37.2.
func imageVersion(image string) harden.Version {
	image, _, _ = strings.Cut(image, "@")
	i := strings.LastIndex(image, ":")
	if i < 0 || strings.Contains(image[i:], "/") {
		return harden.Version{}
	}
	v, err := harden.ParseVersion(image[i+1:])
	if err != nil {
		return harden.Version{}
	}
	return v
}

// processes are the ones that facts are about, by the name of their program, as they were found in one look.
type processes map[string][]harden.ProcessFact

// lookAt gives no processes where they cannot be listed, and the reason.
func lookAt(live Live) (processes, error) {
	if live == nil {
		return nil, nil
	}
	names := []string{harden.KubeadmProgram, harden.KubeProxyProgram, harden.Containerd}
	for _, c := range harden.Components {
		names = append(names, string(c.ID))
	}
	return live.Processes(names...)
}

func (p processes) newest(id harden.ComponentID) *harden.ProcessFact {
	ps := p[string(id)]
	if len(ps) == 0 {
		return nil
	}
	newest := ps[0]
	for _, p := range ps[1:] {
		if p.Started.After(newest.Started) {
			newest = p
		}
	}
	return &newest
}

var errNoKubelet = errors.New("reading the kubelet's configuration: there is no kubelet configuration on this node")
