package networkpolicy

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Names of the policies that every closed namespace gets; those of Services are "allow-" and the Service's name.
const (
	denyName = "deny-all-ingress"
	sameName = "allow-same-namespace"
)

// ManagedBy is the value of the label app.kubernetes.io/managed-by that our objects have.
const ManagedBy = "kubectl-harden"

// policy is a NetworkPolicy as it is written.
type policy struct {
	namespace, name string
	spec            networkingv1.NetworkPolicySpec
}

func (p policy) ref() harden.ObjectRef {
	return harden.ObjectRef{APIVersion: networkingv1.SchemeGroupVersion.String(), Kind: "NetworkPolicy", Namespace: p.namespace, Name: p.name}
}

// yaml has sorted keys, so that equal policies are equal texts.
func (p policy) yaml() ([]byte, error) {
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": networkingv1.SchemeGroupVersion.String(),
		"kind":       "NetworkPolicy",
		"metadata": map[string]any{
			"name":      p.name,
			"namespace": p.namespace,
			"labels":    map[string]any{"app.kubernetes.io/managed-by": ManagedBy},
		},
		"spec": p.spec,
	})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", p.ref(), err)
	}
	return out, nil
}

// desired are the policies that close the namespace while what it serves stays reachable, the deny last: allows alone
// cut nobody off. Pods that others' policies select already are left to those: an allow of ours would open them wider.
func (n *namespace) desired(c *harden.ClusterFacts) ([]policy, error) {
	deny := policy{n.name, denyName, ingress(metav1.LabelSelector{})}
	if slices.ContainsFunc(n.foreign(), func(p harden.PolicyFact) bool { return isolatesAll(p.Spec) }) {
		return []policy{deny}, nil
	}
	others, err := n.exclusions()
	if err != nil {
		return nil, err
	}
	out := []policy{{n.name, sameName, ingress(
		metav1.LabelSelector{MatchExpressions: others},
		networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
	)}}
	for _, s := range n.services {
		rules := openings(c, s)
		if len(rules) == 0 || contradicts(s.Selector, others) {
			continue
		}
		out = append(out, policy{n.name, n.nameFor(s), ingress(metav1.LabelSelector{MatchLabels: s.Selector, MatchExpressions: others}, rules...)})
	}
	return append(out, deny), nil
}

// nameFor keeps a Service that is called same-namespace from taking the name of our other policy.
func (n *namespace) nameFor(s harden.ServiceFact) string {
	name := "allow-" + s.Name
	for name == sameName || slices.ContainsFunc(n.services, func(o harden.ServiceFact) bool { return o.Name != s.Name && "allow-"+o.Name == name }) {
		name += "-service"
	}
	return name
}

func ingress(pods metav1.LabelSelector, rules ...networkingv1.NetworkPolicyIngressRule) networkingv1.NetworkPolicySpec {
	return networkingv1.NetworkPolicySpec{PodSelector: pods, Ingress: rules, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}}
}

// openings are what a Service exposes: to everybody where clients are not pods (node ports, load balancers, external IPs,
// the API server with its node's address), else to the pods of all namespaces.
func openings(c *harden.ClusterFacts, s harden.ServiceFact) []networkingv1.NetworkPolicyIngressRule {
	if len(s.Selector) == 0 || s.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var everybody, cluster []networkingv1.NetworkPolicyPort
	for _, p := range s.Ports {
		if fromAnywhere(c, s, p) {
			everybody = addPort(everybody, p)
		}
	}
	for _, p := range s.Ports {
		if !slices.ContainsFunc(everybody, func(o networkingv1.NetworkPolicyPort) bool { return samePort(o, policyPort(p)) }) {
			cluster = addPort(cluster, p)
		}
	}
	var out []networkingv1.NetworkPolicyIngressRule
	if len(everybody) > 0 {
		out = append(out, networkingv1.NetworkPolicyIngressRule{Ports: everybody})
	}
	if len(cluster) > 0 {
		out = append(out, networkingv1.NetworkPolicyIngressRule{
			Ports: cluster, From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
		})
	}
	return out
}

func fromAnywhere(c *harden.ClusterFacts, s harden.ServiceFact, p harden.ServicePortFact) bool {
	if s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer || len(s.ExternalIPs) > 0 {
		return true
	}
	return slices.ContainsFunc(apiServerCalls(c), func(e call) bool {
		return e.namespace == s.Namespace && e.service == s.Name && e.port == p.Port
	})
}

// call is a Service port that the API server connects to.
type call struct {
	what               string // "ValidatingWebhookConfiguration/policy"
	namespace, service string
	port               int32
	failClosed         bool
}

func apiServerCalls(c *harden.ClusterFacts) []call {
	var out []call
	for _, w := range c.Webhooks {
		if w.Service != "" {
			out = append(out, call{w.Kind + "/" + w.Name, w.Namespace, w.Service, orHTTPS(w.Port), w.FailClosed})
		}
	}
	for _, a := range c.APIServices {
		if a.Service != "" {
			out = append(out, call{"APIService/" + a.Name, a.Namespace, a.Service, orHTTPS(a.Port), true})
		}
	}
	return out
}

// orHTTPS is the port that such references mean when they name none.
func orHTTPS(port int32) int32 {
	if port == 0 {
		return 443
	}
	return port
}

func addPort(ports []networkingv1.NetworkPolicyPort, p harden.ServicePortFact) []networkingv1.NetworkPolicyPort {
	n := policyPort(p)
	if slices.ContainsFunc(ports, func(o networkingv1.NetworkPolicyPort) bool { return samePort(o, n) }) {
		return ports
	}
	return append(ports, n)
}

// policyPort is the port of the pods behind a Service's port. A name stays a name: both resolve it for each pod.
func policyPort(p harden.ServicePortFact) networkingv1.NetworkPolicyPort {
	target, protocol := targetOf(p), protocolOf(p.Protocol)
	return networkingv1.NetworkPolicyPort{Port: &target, Protocol: &protocol}
}

func targetOf(p harden.ServicePortFact) intstr.IntOrString {
	if p.TargetPort == (intstr.IntOrString{}) {
		return intstr.FromInt32(p.Port)
	}
	return p.TargetPort
}

func protocolOf(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

func samePort(a, b networkingv1.NetworkPolicyPort) bool {
	return *a.Port == *b.Port && *a.Protocol == *b.Protocol
}

func (n *namespace) foreign() []harden.PolicyFact {
	return slices.DeleteFunc(slices.Clone(n.policies), func(p harden.PolicyFact) bool { return p.Ours || !isIngress(p.Spec) })
}

// exclusions are requirements that no pod meets which another's policy selects.
func (n *namespace) exclusions() ([]metav1.LabelSelectorRequirement, error) {
	var out []metav1.LabelSelectorRequirement
	for _, p := range n.foreign() {
		s := p.Spec.PodSelector
		if len(s.MatchLabels)+len(s.MatchExpressions) != 1 {
			return nil, fmt.Errorf("%s: its policy %s selects pods by several labels at once, and no allow can leave those out: write %s there by hand, or leave the namespace out",
				n.name, p.Name, denyName)
		}
		r := metav1.LabelSelectorRequirement{Operator: metav1.LabelSelectorOpNotIn}
		for key, value := range s.MatchLabels {
			r.Key, r.Values = key, []string{value}
		}
		for _, e := range s.MatchExpressions {
			r = metav1.LabelSelectorRequirement{Key: e.Key, Operator: opposite[e.Operator], Values: e.Values}
		}
		if !slices.ContainsFunc(out, func(o metav1.LabelSelectorRequirement) bool { return apiequality.Semantic.DeepEqual(o, r) }) {
			out = append(out, r)
		}
	}
	return out, nil
}

var opposite = map[metav1.LabelSelectorOperator]metav1.LabelSelectorOperator{
	metav1.LabelSelectorOpIn:           metav1.LabelSelectorOpNotIn,
	metav1.LabelSelectorOpNotIn:        metav1.LabelSelectorOpIn,
	metav1.LabelSelectorOpExists:       metav1.LabelSelectorOpDoesNotExist,
	metav1.LabelSelectorOpDoesNotExist: metav1.LabelSelectorOpExists,
}

// contradicts: no pod with these labels meets the requirements.
func contradicts(labels map[string]string, rs []metav1.LabelSelectorRequirement) bool {
	return slices.ContainsFunc(rs, func(r metav1.LabelSelectorRequirement) bool {
		v, has := labels[r.Key]
		if !has {
			return false
		}
		switch r.Operator {
		case metav1.LabelSelectorOpNotIn:
			return slices.Contains(r.Values, v)
		case metav1.LabelSelectorOpIn:
			return !slices.Contains(r.Values, v)
		}
		return r.Operator == metav1.LabelSelectorOpDoesNotExist
	})
}

// changed says that our policies are not the ones that would be written now.
func (n *namespace) changed(c *harden.ClusterFacts) bool {
	want, err := n.desired(c)
	return err != nil || slices.ContainsFunc(want, func(w policy) bool {
		return !slices.ContainsFunc(n.policies, func(p harden.PolicyFact) bool {
			return p.Ours && p.Name == w.name && apiequality.Semantic.DeepEqual(p.Spec, w.spec)
		})
	})
}
