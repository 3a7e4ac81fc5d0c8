package kubelet

import (
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
)

const gatesField = "featureGates"

// leftGate is a feature gate that a newer kubelet refuses.
type leftGate struct {
	name string
	last harden.Version // that knows it
	seen harden.Evidence
}

// leftGates are those of the file, of drop-ins and flags, and of what kubeadm writes the file from. One that a later drop-in takes out
// counts too: the file alone would bring it back.
func leftGates(f *harden.Facts) []leftGate {
	var out []leftGate
	add := func(fields map[string]any, source func(field string) string) {
		set, _ := fields[gatesField].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(set)) {
			gate, removed := gates.Find(name)
			if !removed || set[name] == nil {
				continue
			}
			field := gatesField + "." + name
			out = append(out, leftGate{name, gate.Last, harden.Evidence{Source: source(field), Value: field + ": " + show(set[name])}})
		}
	}
	for _, l := range f.Kubelet.Layers {
		add(l.Fields, func(field string) string {
			if place, flag := flagSource(l.Source); flag {
				return place
			}
			return at(f.Kubelet, l.Source, field)
		})
	}
	var kept map[string]any
	if f.Cluster != nil && f.Cluster.Kubeadm != nil && yaml.Unmarshal([]byte(f.Cluster.Kubeadm.KubeletConfiguration), &kept) == nil {
		add(kept, func(string) string { return harden.KubeletConfigSource })
	}
	return out
}

var removedGates = harden.Control{
	ID: "kubelet-removed-feature-gates", Title: "No feature gate is left behind that newer kubelets refuse", Severity: harden.Medium,
	Why: harden.Msg("A feature gate is removed some releases after its feature became permanent, and a kubelet ends at once with one that it does not know, in its configuration as on its command line. " +
		"`kubeadm upgrade` takes such gates over from kubelet-config, so that node after node stays away in the middle of an upgrade."),
	Refs: harden.Refs{
		STIG: []string{"V-242399"}, Docs: []string{"https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates-removed/"},
	},
	Needs: []harden.Need{harden.NeedKubelet}, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		found := leftGates(f)
		if len(found) == 0 {
			return harden.Passed(harden.Msg("no feature gate is in the way of an upgrade up to %s", harden.NewestSupported),
				harden.Evidence{Source: source(f.Kubelet), Value: "feature gates of the file, its drop-ins and flags looked at"})
		}
		first := found[0]
		var seen []harden.Evidence
		for _, g := range found {
			seen = append(seen, g.seen)
			if g.last.Minor < first.last.Minor {
				first = g
			}
		}
		return harden.Failed(harden.Msg("kubelet 1.%d and newer will not start with the feature gate %s: take it out of %s, once what it does is there without it, or not wanted any more",
			first.last.Minor+1, first.name, first.seen.Source), seen...)
	},
}
