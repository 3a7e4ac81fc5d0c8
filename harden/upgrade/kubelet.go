package upgrade

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

var kubeletFields = harden.Control{
	ID: "upgrade-kubelet", Title: "An upgrade keeps the kubelet's configuration", Severity: harden.Medium,
	Why: harden.Msg("`kubeadm upgrade node` writes the kubelet's configuration anew from the ConfigMap kubelet-config. " +
		"A setting that stands in the file of this node alone is gone after it, and nodes that join later never have it."),
	Refs:  harden.Refs{Docs: []string{reconfigure}},
	Needs: []harden.Need{harden.NeedKubelet, harden.NeedKubeadm},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Kubelet != nil, harden.Msg("no kubelet is set up here")
	},
	Assess: assessKubelet,
	Remedies: []harden.Remedy{{
		ID: "persist", Title: harden.Msg("Write the settings of this node into kubelet-config"), Risk: harden.RiskWorkloads,
		Impact: harden.Msg("Nothing restarts. New nodes, and all of them at their next kubeadm upgrade, workers too, get these settings."),
		Breaks: []harden.Message{
			harden.Msg("A setting that is right for this node may be wrong for others: a limit, a path, kernel settings that only this node has. What each would do to a worker is for a person to judge; choose this only then."),
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			node, shared, _ := both(f)
			for _, d := range compare("", node, shared) {
				i := harden.SetField("", d.path, d.now, "")
				i.Object = &harden.KubeletConfig
				out = append(out, i)
			}
			return out, nil
		},
	}},
}

// protect is right for a node whose own files keep the kernel's settings, and so has no place in what all nodes share: an upgrade takes
// it back, and nothing here can keep it.
const protect = "protectKernelDefaults"

// ofThisNode are fields that kubeadm sets for each node by itself, or that one node's protection needs.
var ofThisNode = []string{"containerRuntimeEndpoint", "resolvConf", protect, "kind", "apiVersion"}

// difference is a field that one text has and another has not, or not so.
type difference struct {
	path      string
	now, then any
}

// both are the node's file and kubelet-config, without what is each node's own; nothing where one cannot be parsed. own says that an
// upgrade takes back what only this node has, and may have.
func both(f *harden.Facts) (node, shared map[string]any, own bool) {
	if yaml.Unmarshal(f.Kubelet.Config.State.Data, &node) != nil || yaml.Unmarshal([]byte(f.Cluster.Kubeadm.KubeletConfiguration), &shared) != nil {
		return nil, nil, false
	}
	own = node[protect] == true && shared[protect] != true
	for _, k := range ofThisNode {
		delete(node, k)
		delete(shared, k)
	}
	return node, shared, own
}

// brought are fields that kubelet-config has and the node's file has not.
func brought(node, shared map[string]any) []difference {
	return slices.DeleteFunc(compare("", shared, node), func(d difference) bool { return d.then != nil })
}

// compare gives the fields of a that b has not, or not so: of the node's file and kubelet-config, what an upgrade would take back.
func compare(prefix string, a, b map[string]any) []difference {
	var out []difference
	for _, k := range slices.Sorted(maps.Keys(a)) {
		path := k
		if prefix != "" {
			path = prefix + "." + k
		}
		n, isMap := a[k].(map[string]any)
		s, _ := b[k].(map[string]any)
		switch {
		case isMap && len(n) > 0:
			out = append(out, compare(path, n, s)...)
		case !isMap && !reflect.DeepEqual(a[k], b[k]):
			out = append(out, difference{path, a[k], b[k]})
		}
	}
	return out
}

func assessKubelet(f *harden.Facts) harden.Verdict {
	const source = harden.KubeletConfigSource
	if why := f.Kubelet.Config.Unread; !why.IsZero() || !f.Kubelet.Config.State.Exists {
		return harden.NeedsPerson(harden.Msg("the kubelet's configuration file is not there or cannot be read"), harden.Evidence{Source: f.Kubelet.Config.Path, Value: why.String()})
	}
	node, shared, own := both(f)
	diff, more := compare("", node, shared), brought(node, shared)
	if len(diff)+len(more) == 0 && own {
		return harden.NeedsPerson(harden.Msg("the next kubeadm upgrade takes back %s, which is for this node alone: set it here again after each upgrade, with kubelet-protect-kernel-defaults", protect),
			harden.Evidence{Source: f.Kubelet.Config.Path, Value: protect + ": true would be gone"})
	}
	if len(diff)+len(more) == 0 {
		return harden.Passed(harden.Msg("kubelet-config has what the file of this node has"), harden.Evidence{Source: source, Value: "has what " + f.Kubelet.Config.Path + " has"})
	}
	var evidence []harden.Evidence
	for _, d := range diff {
		then := "would be gone"
		if d.then != nil {
			then = "would be " + text(d.then)
		}
		evidence = append(evidence, harden.Evidence{Source: f.Kubelet.Config.Path, Value: d.path + ": " + text(d.now) + " " + then})
	}
	if own {
		evidence = append(evidence, harden.Evidence{Source: f.Kubelet.Config.Path, Value: protect + ": true would be gone, whatever is kept: it is for this node alone"})
	}
	for _, d := range more {
		evidence = append(evidence, harden.Evidence{Source: source, Value: d.path + ": " + text(d.now) + " would come, which the file of this node does not have"})
	}
	switch {
	case len(diff) == 0:
		return harden.NeedsPerson(harden.Msg("the next kubeadm upgrade brings %d settings that the file of this node does not have: set them here too, or take them out of kubelet-config", len(more)), evidence...)
	case len(more) > 0:
		return harden.Failed(harden.Msg("the next kubeadm upgrade takes back %d settings, and brings %d that the file of this node does not have", len(diff), len(more)), evidence...)
	}
	return harden.Failed(harden.Msg("the next kubeadm upgrade takes back %d settings", len(diff)), evidence...)
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return string(data)
}
