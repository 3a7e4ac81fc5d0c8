// Package networkpolicy holds the controls of network separation, as data: whether NetworkPolicies are enforced, and
// which namespaces let everything in; and the policies that close them while what they serve stays reachable.
package networkpolicy

import "kubectl-harden.io/kubectl-harden/harden"

const (
	docsPolicies = "https://kubernetes.io/docs/concepts/services-networking/network-policies/"
	docsPlugins  = "https://kubernetes.io/docs/concepts/cluster-administration/addons/"
	nsaNetwork   = "Network separation and hardening"
	seedNetwork  = "Network policy"
)

// Area is the whole cluster's network policies.
func Area() harden.Area {
	return harden.Area{
		ID:    "networkpolicy",
		Title: "Network policies",
		About: harden.Msg("Pods of all namespaces may talk to each other until a NetworkPolicy says otherwise. " +
			"Policies are allow-lists that add up: a pod that one of them selects accepts only what some policy allows. " +
			"The network plugin enforces them, if it does."),
		Controls: []harden.Control{enforced, defaultDenyIngress},
	}
}

func applies(f *harden.Facts) (bool, harden.Message) {
	if f.Cluster == nil {
		return false, harden.Msg("no cluster was looked at")
	}
	return true, harden.Message{}
}
