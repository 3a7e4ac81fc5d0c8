package staticpod

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
	"kubectl-harden.io/kubectl-harden/patches"
)

// removedFlags by component, with the last minor that knows them; 0: none of those that are supported.
var removedFlags = map[harden.ComponentID]map[string]int{
	harden.APIServer: {
		"cloud-provider": 32, "cloud-config": 32,
		"insecure-port": 0, "insecure-bind-address": 0, "address": 0, "port": 0, "basic-auth-file": 0, "kubelet-https": 0,
		"experimental-encryption-provider-config": 0, "repair-malformed-updates": 0, "enable-swagger-ui": 0,
		"service-account-api-audiences": 0, "master-service-namespace": 0, "ssh-user": 0, "ssh-keyfile": 0, "target-ram-mb": 0,
	},
	harden.ControllerManager: {
		"horizontal-pod-autoscaler-downscale-delay": 30, "horizontal-pod-autoscaler-upscale-delay": 30,
		"volume-host-cidr-denylist": 30, "volume-host-allow-local-loopback": 30,
		"port": 0, "address": 0, "pod-eviction-timeout": 0, "enable-taint-manager": 0, "experimental-cluster-signing-duration": 0,
		"register-retry-count": 0, "horizontal-pod-autoscaler-use-rest-clients": 0,
	},
	harden.Scheduler: {
		"port": 0, "address": 0, "policy-config-file": 0, "policy-configmap": 0, "policy-configmap-namespace": 0, "use-legacy-policy-config": 0,
		"algorithm-provider": 0, "hard-pod-affinity-symmetric-weight": 0, "scheduler-name": 0, "lock-object-name": 0, "lock-object-namespace": 0,
	},
}

// Removed are the controls of flags and feature gates that a newer release does not know: with one left behind, the component
// of that release does not start.
func (p Pod) Removed(flags, ofGates harden.Refs) []harden.Control {
	ofGates.Docs = append(ofGates.Docs, "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates-removed/")
	return []harden.Control{
		{
			ID:    p.id("removed-flags"),
			Title: p.title("No flag is left behind that newer releases of %s refuse"),
			Why: harden.Msg("A program of Kubernetes does not start with a flag that it does not know. "+
				"A flag that was removed upstream and is still in the manifest, or in kubeadm's configuration, makes the next upgrade fail on %s.", p.Name),
			Refs: flags, Severity: harden.Medium,
			Component: p.Component,
			Needs:     p.needs(), Applies: harden.RunsHere(p.Component),
			Assess: p.assessRemovedFlags,
			Remedies: []harden.Remedy{{
				ID: "remove", Title: harden.Msg("Remove the flags from the manifest"), Risk: harden.RiskWorkloads, Impact: p.Restarts(),
				Breaks: []harden.Message{
					harden.Msg("What a flag still does in this release stops. Releases say what takes its place: for --cloud-provider it is the cloud controller manager, which must run before."),
				},
				Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
					var node, kept []harden.Intent
					for _, l := range p.leftFlags(f) {
						i := harden.RemoveFlag(p.Component, l.name)
						if l.manifest {
							node = append(node, i)
						} else {
							kept = append(kept, inKubeadm(i))
						}
					}
					if len(node) > 0 {
						return node, nil // kubeadm's configuration follows the node
					}
					return kept, nil
				},
			}},
		},
		{
			ID:    p.id("removed-feature-gates"),
			Title: p.title("No feature gate is left behind that newer releases of %s refuse"),
			Why: harden.Msg("A feature gate is removed some releases after its feature became permanent, and a program of Kubernetes does not start with one that it does not know. "+
				"Guides still tell to set gates that have done nothing for years. The next upgrade then fails on %s.", p.Name),
			Refs: ofGates, Severity: harden.Medium,
			Component: p.Component, Flags: []string{gatesFlag},
			Needs: p.needs(), Applies: harden.RunsHere(p.Component),
			Assess: p.assessRemovedGates,
			Remedies: []harden.Remedy{{
				ID: "remove", Title: harden.Msg("Remove the gates that have no effect any more"), Risk: harden.RiskNode, Impact: p.Restarts(),
				Breaks:  []harden.Message{harden.Msg("Nothing: only gates are removed that say what this release does without them. Others keep the remedy from being applied, by name.")},
				Intents: p.dropGates,
			}},
		},
	}
}

const gatesFlag = "feature-gates"

// left is a flag that some supported release does not know.
type left struct {
	name     string
	last     harden.Version // zero: no supported release knows it
	seen     harden.Evidence
	manifest bool
}

func (p Pod) leftFlags(f *harden.Facts) []left {
	c := f.Component(p.Component)
	var out []left
	add := func(name string, seen harden.Evidence, manifest bool) {
		minor, removed := removedFlags[p.Component][name]
		if !removed || slices.ContainsFunc(out, func(l left) bool { return l.name == name }) {
			return
		}
		l := left{name: name, seen: seen, manifest: manifest}
		if minor > 0 {
			l.last = harden.Version{Major: 1, Minor: minor}
		}
		out = append(out, l)
	}
	for _, flag := range patches.ParseArgs(c.Args) {
		add(flag.Name, c.FileFlag(flag.Name).Evidence(flag.Name), true)
	}
	if f.Cluster != nil && f.Cluster.Kubeadm != nil {
		for _, arg := range f.Cluster.Kubeadm.ExtraArgs[p.Component] {
			kept, _ := f.Cluster.Kubeadm.Flag(p.Component, arg.Name)
			add(arg.Name, kept.Evidence(arg.Name), false)
		}
	}
	return out
}

func (p Pod) assessRemovedFlags(f *harden.Facts) harden.Verdict {
	c := f.Component(p.Component)
	found := p.leftFlags(f)
	if len(found) == 0 {
		return harden.Passed(harden.Msg("no flag is set that the releases up to %s have removed", short(harden.NewestSupported)),
			harden.Evidence{Source: c.Effective, Value: harden.Msg("%d flags", len(patches.ParseArgs(c.Args))).String()})
	}
	var evidence []harden.Evidence
	for _, l := range found {
		evidence = append(evidence, l.seen)
	}
	return harden.Failed(p.refused("--"+found[0].name, found[0].last, c.Version), evidence...)
}

// refused says which release does not start with something.
func (p Pod) refused(what string, last, here harden.Version) harden.Message {
	if last.IsZero() || !here.IsZero() && !last.AtLeast(here.Major, here.Minor) {
		return harden.Msg("%s is not known to %s any more: %s does not start with it", what, here, p.Name)
	}
	next := last
	next.Minor++
	return harden.Msg("%s is not known any more from %s on: %s does not start with it after that upgrade", what, short(next), p.Name)
}

func short(v harden.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// setGate is an entry of --feature-gates.
type setGate struct {
	entry string
	value bool
	gate  gates.Removed
}

// leftGates are the removed gates that are set.
func leftGates(flag harden.FlagFact) []setGate {
	var out []setGate
	for _, entry := range flag.List() {
		name, value, _ := strings.Cut(entry, "=")
		g, removed := gates.Find(name)
		if !removed {
			continue
		}
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			on = !g.Value // it does not start with that; it is not what counts without it either
		}
		out = append(out, setGate{entry, on, g})
	}
	return out
}

func (p Pod) assessRemovedGates(f *harden.Facts) harden.Verdict {
	c := f.Component(p.Component)
	flag := c.Flag(gatesFlag)
	seen := flag.Evidence(gatesFlag)
	for _, from := range []harden.FlagFact{flag, c.FileFlag(gatesFlag)} {
		if found := leftGates(from); len(found) > 0 {
			return harden.Failed(p.refused(found[0].gate.Name, found[0].gate.Last, c.Version), from.Evidence(gatesFlag))
		}
	}
	if f.Cluster != nil && f.Cluster.Kubeadm != nil {
		kept, _ := f.Cluster.Kubeadm.Flag(p.Component, gatesFlag)
		if found := leftGates(kept); len(found) > 0 {
			return harden.Failed(p.refused(found[0].gate.Name, found[0].gate.Last, c.Version), kept.Evidence(gatesFlag))
		}
	}
	if !flag.Set {
		return harden.Passed(harden.Msg("no feature gate is set"), seen)
	}
	return harden.Passed(harden.Msg("every gate that is set is known to the releases up to %s", short(harden.NewestSupported)), seen)
}

func (p Pod) dropGates(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
	c := f.Component(p.Component)
	from, where := c.FileFlag(gatesFlag), func(i harden.Intent) harden.Intent { return i }
	if len(leftGates(from)) == 0 && f.Cluster != nil && f.Cluster.Kubeadm != nil {
		from, _ = f.Cluster.Kubeadm.Flag(p.Component, gatesFlag)
		where = inKubeadm
	}
	found := leftGates(from)
	var drop []string
	for _, s := range found {
		effectless := s.value == s.gate.Value && !c.Version.IsZero() && c.Version.AtLeast(s.gate.Since.Major, s.gate.Since.Minor)
		if !effectless {
			return nil, fmt.Errorf("%s changes what %s does; decide by hand what shall be there without it", s.entry, c.Version)
		}
		drop = append(drop, s.entry)
	}
	if len(drop) == len(from.List()) {
		return []harden.Intent{where(harden.RemoveFlag(p.Component, gatesFlag))}, nil
	}
	return []harden.Intent{where(harden.MergeList(p.Component, gatesFlag, nil, drop))}, nil
}

// inKubeadm asks for the same in kubeadm's configuration alone.
func inKubeadm(i harden.Intent) harden.Intent {
	i.Object = &harden.KubeadmConfig
	return i
}
