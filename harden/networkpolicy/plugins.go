package networkpolicy

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// enforcement is whether a network plugin does what NetworkPolicies say.
type enforcement int

const (
	unrecognised enforcement = iota
	never
	depends // on its version or configuration
	always
)

// plugin is how a network plugin is recognised: by the name of its DaemonSet, or by an image beside it.
type plugin struct {
	title      string
	daemonSets []string
	image      string // part of the name of an image, where the DaemonSet's name alone does not tell
	// beside are its other workloads that run on the host's network and are no ingress controllers.
	beside   []string
	enforces enforcement
}

// plugins, surest first: of several that run, such as flannel with Calico's policies (Canal), the first counts.
var plugins = []plugin{
	{title: "Calico", daemonSets: []string{"calico-node"}, beside: []string{"Deployment/calico-typha", "Deployment/tigera-operator"}, enforces: always},
	{title: "Canal", daemonSets: []string{"canal", "rke2-canal"}, enforces: always},
	{title: "Cilium", daemonSets: []string{"cilium", "anetd"}, beside: []string{"Deployment/cilium-operator"}, enforces: always},
	{title: "Antrea", daemonSets: []string{"antrea-agent"}, beside: []string{"Deployment/antrea-controller"}, enforces: always},
	{title: "kube-router", daemonSets: []string{"kube-router"}, enforces: always},
	{title: "Weave Net", daemonSets: []string{"weave-net"}, enforces: always},
	{title: "OVN-Kubernetes", daemonSets: []string{"ovnkube-node"}, enforces: always},
	{
		title: "Kube-OVN", daemonSets: []string{"kube-ovn-cni"}, enforces: always,
		beside: []string{"Deployment/kube-ovn-controller", "Deployment/ovn-central", "DaemonSet/ovs-ovn"},
	},
	{title: "kube-network-policies", daemonSets: []string{"kube-network-policies"}, enforces: always},
	{title: "flannel with its policy agent", daemonSets: []string{"kube-flannel-ds", "kube-flannel"}, image: "kube-network-policies", enforces: always},
	{title: "kindnet", daemonSets: []string{"kindnet"}, enforces: depends},
	{title: "Amazon VPC CNI", daemonSets: []string{"aws-node"}, enforces: depends},
	{title: "flannel", daemonSets: []string{"kube-flannel-ds", "kube-flannel"}, enforces: never},
}

func (p plugin) is(d harden.DaemonSetFact) bool {
	return slices.Contains(p.daemonSets, d.Name) &&
		(p.image == "" || slices.ContainsFunc(d.Images, func(i string) bool { return strings.Contains(i, p.image) }))
}

// networkPlugin is the plugin that counts, with where it was seen.
func networkPlugin(c *harden.ClusterFacts) (plugin, harden.Evidence) {
	for _, p := range plugins {
		for _, d := range c.DaemonSets {
			if p.is(d) {
				return p, harden.Evidence{Source: "DaemonSet " + d.Namespace + "/" + d.Name, Value: strings.Join(d.Images, ", ")}
			}
		}
	}
	return plugin{}, harden.Evidence{Source: "DaemonSets", Value: "none of a network plugin that is known"}
}

var enforced = harden.Control{
	ID: "networkpolicy-enforced", Title: "A network plugin enforces NetworkPolicies", Severity: harden.High,
	Why: harden.Msg("The API server stores NetworkPolicies whether or not anything obeys them. With a plugin that does not enforce them, " +
		"kubectl shows policies and every connection still works: worse than none, because people rely on them."),
	Refs:    harden.Refs{CIS: []string{"5.3.1"}, NSA: []string{nsaNetwork}, Seed: []string{seedNetwork}, Docs: []string{docsPolicies, docsPlugins}},
	Needs:   []harden.Need{harden.NeedWorkloads},
	Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		p, seen := networkPlugin(f.Cluster)
		switch p.enforces {
		case always:
			return harden.Passed(harden.Msg("%s is known to enforce policies", p.title), seen)
		case never:
			return harden.Failed(harden.Msg("policies would be stored, but %s enforces none: add a plugin that does (Calico's policy-only mode, Cilium, flannel's own policy agent)", p.title), seen)
		case depends:
			return harden.NeedsPerson(harden.Msg("%s enforces policies only in newer versions or when told to: try it with a policy that denies", p.title), seen)
		}
		return harden.NeedsPerson(harden.Msg("no network plugin was recognised: policies may be stored with nothing to enforce them; try it with a policy that denies"), seen)
	},
}

// pluginEnforces is the precondition of writing policies. A plugin that enforces none makes them false safety.
func pluginEnforces(c *harden.ClusterFacts) harden.Precondition {
	p, seen := networkPlugin(c)
	out := harden.Precondition{
		ID: "plugin-enforces", Title: harden.Msg("a network plugin enforces policies"), State: harden.Met, Evidence: []harden.Evidence{seen},
	}
	switch p.enforces {
	case never:
		out.State, out.Message = harden.Unmet, harden.Msg("%s stores policies and enforces none: they would be false safety", p.title)
	case depends:
		out.State, out.Message = harden.PreconditionUnknown, harden.Msg("%s enforces policies only in newer versions or when told to", p.title)
	case unrecognised:
		out.State, out.Message = harden.PreconditionUnknown, harden.Msg("no network plugin was recognised")
	}
	return out
}
