package networkpolicy

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// systemNamespaces are those of the cluster's own machinery: a policy that closes one of them can stop name lookup,
// volumes, load balancers, the mesh or the network itself.
var systemNamespaces = []string{
	"kube-system", "kube-public", "kube-node-lease",
	"calico-system", "calico-apiserver", "tigera-operator", "kube-flannel", "cilium", "cilium-secrets", "antrea-system", "ovn-kubernetes",
	"rook-ceph", "longhorn-system", "openebs", "local-path-storage",
	"metallb-system", "gpu-operator", "velero", "falco", "trivy-system",
	"istio-system", "istio-cni", "linkerd", "linkerd-cni", "linkerd-viz",
}

// systemPrefixes are of products that spread over several namespaces.
var systemPrefixes = []string{"cattle-", "openshift-"}

// standing is where a namespace is with respect to a default deny of ingress.
type standing int

const (
	lacking standing = iota // pods that no policy selects accept everything
	denying
	outdated // ours deny, and what its Services expose has changed since
	open     // a policy lets everybody in: a deny adds nothing
	leftOut
)

// namespace is a namespace with everything in it that policies are about.
type namespace struct {
	name     string
	pods     []harden.PodFact
	services []harden.ServiceFact
	policies []harden.PolicyFact
	standing standing
	why      harden.Message // of what is left out or open
}

// namespaces sorts the cluster's objects by namespace and name, and judges each namespace.
func namespaces(c *harden.ClusterFacts) []*namespace {
	byName := map[string]*namespace{}
	var out []*namespace
	for _, n := range c.Namespaces {
		ns := &namespace{name: n.Name}
		if n.Terminating {
			ns.standing, ns.why = leftOut, harden.Msg("it is being deleted")
		}
		byName[n.Name] = ns
		out = append(out, ns)
	}
	for _, p := range c.Pods {
		if ns := byName[p.Namespace]; ns != nil {
			ns.pods = append(ns.pods, p)
		}
	}
	for _, s := range c.Services {
		if ns := byName[s.Namespace]; ns != nil {
			ns.services = append(ns.services, s)
		}
	}
	for _, p := range c.Policies {
		if ns := byName[p.Namespace]; ns != nil {
			ns.policies = append(ns.policies, p)
		}
	}
	slices.SortFunc(out, func(a, b *namespace) int { return strings.Compare(a.name, b.name) })
	for _, ns := range out {
		slices.SortFunc(ns.services, func(a, b harden.ServiceFact) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(ns.policies, func(a, b harden.PolicyFact) int { return strings.Compare(a.Name, b.Name) })
		if ns.standing != leftOut {
			ns.judge(c)
		}
	}
	return out
}

func (n *namespace) judge(c *harden.ClusterFacts) {
	if why, ok := n.isSystem(c); ok {
		n.standing, n.why = leftOut, why
		return
	}
	denies, ours := false, false
	for _, p := range n.policies {
		if opens(p.Spec) {
			n.standing, n.why = open, harden.Msg("its policy %s lets everybody reach every pod", p.Name)
			return
		}
		denies = denies || isolatesAll(p.Spec)
		ours = ours || p.Ours && p.Name == denyName && isolatesAll(p.Spec)
	}
	switch {
	case ours && n.changed(c):
		n.standing = outdated
	case denies:
		n.standing = denying
	}
}

// isSystem goes by name, by where the network plugin runs, and by what policies can reach at all.
func (n *namespace) isSystem(c *harden.ClusterFacts) (harden.Message, bool) {
	if slices.Contains(systemNamespaces, n.name) ||
		slices.ContainsFunc(systemPrefixes, func(p string) bool { return strings.HasPrefix(n.name, p) }) {
		return harden.Msg("it is a system namespace"), true
	}
	for _, d := range c.DaemonSets {
		if d.Namespace == n.name && slices.ContainsFunc(plugins, func(p plugin) bool { return p.is(d) }) {
			return harden.Msg("the network plugin runs in it"), true
		}
	}
	if len(n.pods) > 0 && !slices.ContainsFunc(n.pods, func(p harden.PodFact) bool { return !p.HostNetwork }) {
		return harden.Msg("all its pods use the host's network, which policies do not reach"), true
	}
	return harden.Message{}, false
}

// opens: the policy lets everything in to every pod, or everything from all namespaces or all addresses.
func opens(s networkingv1.NetworkPolicySpec) bool {
	return isolatesAll(s) && slices.ContainsFunc(s.Ingress, func(r networkingv1.NetworkPolicyIngressRule) bool {
		return len(r.Ports) == 0 && (len(r.From) == 0 || slices.ContainsFunc(r.From, isEverybody))
	})
}

func isEverybody(p networkingv1.NetworkPolicyPeer) bool {
	if p.IPBlock != nil {
		return len(p.IPBlock.Except) == 0 && strings.HasSuffix(p.IPBlock.CIDR, "/0")
	}
	return p.NamespaceSelector != nil && isEmpty(*p.NamespaceSelector) && (p.PodSelector == nil || isEmpty(*p.PodSelector))
}

// isolatesAll: every pod accepts only what some policy allows. That is a default deny, whether or not the policy allows
// something itself.
func isolatesAll(s networkingv1.NetworkPolicySpec) bool {
	return isIngress(s) && isEmpty(s.PodSelector)
}

func isEmpty(s metav1.LabelSelector) bool {
	return len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}

// isIngress: a policy without types is one of ingress.
func isIngress(s networkingv1.NetworkPolicySpec) bool {
	return len(s.PolicyTypes) == 0 || slices.Contains(s.PolicyTypes, networkingv1.PolicyTypeIngress)
}
