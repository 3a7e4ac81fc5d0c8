package networkpolicy_test

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/networkpolicy"
)

const denyControl = "networkpolicy-default-deny-ingress"

type kv = map[string]string

func pod(namespace, name string, l kv, ports ...harden.PortFact) harden.PodFact {
	return harden.PodFact{Namespace: namespace, Name: name + "-0", Owner: "Deployment/" + name, Labels: l, Ports: ports}
}

func tcp(name string, port int32) harden.PortFact {
	return harden.PortFact{Name: name, Port: port, Protocol: corev1.ProtocolTCP}
}

func service(namespace, name string, kind corev1.ServiceType, selector kv, ports ...harden.ServicePortFact) harden.ServiceFact {
	return harden.ServiceFact{Namespace: namespace, Name: name, Type: kind, Selector: selector, Ports: ports}
}

func to(port int32, target string) harden.ServicePortFact {
	return harden.ServicePortFact{Port: port, TargetPort: intstr.Parse(target), Protocol: corev1.ProtocolTCP}
}

func theirs(namespace, name string, selector metav1.LabelSelector, rules ...networkingv1.NetworkPolicyIngressRule) harden.PolicyFact {
	return harden.PolicyFact{Namespace: namespace, Name: name, Spec: networkingv1.NetworkPolicySpec{
		PodSelector: selector, Ingress: rules, PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
	}}
}

// town is a cluster with a little of everything.
func town() *harden.Facts {
	depot := service("shop", "depot", corev1.ServiceTypeClusterIP, kv{"app": "depot"}, to(7000, "7000"))
	depot.ExternalIPs = []string{"203.0.113.7"}
	metrics := pod("shop", "worker", kv{"app": "worker"}, tcp("metrics", 9100))
	metrics.Scraped = true
	edge := pod("shop", "edge", kv{"app": "edge"}, harden.PortFact{Port: 8081, Protocol: corev1.ProtocolTCP, HostPort: 8081})
	agent := pod("agents", "agent", kv{"app": "agent"}, tcp("", 4000))
	agent.HostNetwork = true
	hostIngress := pod("shop", "host-ingress", kv{"app": "host-ingress"}, tcp("", 80))
	hostIngress.HostNetwork = true
	next := pod("shop", "web", kv{"app": "web", "track": "next"}, tcp("http", 8090))
	next.Name, next.Owner = "web-next-0", "Deployment/web-next"
	c := &harden.ClusterFacts{
		Version: harden.Version{Major: 1, Minor: 37},
		Namespaces: []harden.NamespaceFact{
			{Name: "shop"}, {Name: "hooks"}, {Name: "empty"}, {Name: "kube-system"}, {Name: "agents"}, {Name: "cattle-fleet"}, {Name: "going", Terminating: true}, {Name: "network"},
		},
		Pods: []harden.PodFact{
			pod("shop", "web", kv{"app": "web"}, tcp("http", 8080), tcp("debug", 6060)), next,
			pod("shop", "db", kv{"app": "db"}, tcp("pg", 5432), tcp("", 9187)),
			pod("shop", "gate", kv{"app": "gate"}, tcp("", 8443), tcp("", 9000)),
			pod("shop", "depot", kv{"app": "depot"}, tcp("", 7000)),
			metrics, edge, hostIngress,
			pod("shop", "dns", kv{"app": "dns"}, tcp("tcp", 53), harden.PortFact{Name: "udp", Port: 53, Protocol: corev1.ProtocolUDP}),
			pod("hooks", "policy", kv{"app": "policy"}, tcp("webhook", 9443), tcp("health", 8080), tcp("api", 7443)),
			pod("kube-system", "coredns", kv{"k8s-app": "kube-dns"}, tcp("", 53)),
			agent,
		},
		Services: []harden.ServiceFact{
			service("shop", "web", corev1.ServiceTypeClusterIP, kv{"app": "web"}, to(80, "http")),
			service("shop", "db", corev1.ServiceTypeClusterIP, kv{"app": "db"}, to(5432, "pg")),
			service("shop", "gate", corev1.ServiceTypeNodePort, kv{"app": "gate"}, to(443, "8443")),
			service("shop", "dns", corev1.ServiceTypeClusterIP, kv{"app": "dns"}, harden.ServicePortFact{Port: 53, Protocol: corev1.ProtocolUDP}),
			service("shop", "same-namespace", corev1.ServiceTypeLoadBalancer, kv{"app": "gate"}, to(444, "9000")),
			depot,
			service("shop", "by-hand", corev1.ServiceTypeClusterIP, nil, to(80, "80")),
			service("shop", "elsewhere", corev1.ServiceTypeExternalName, kv{"app": "web"}, to(80, "6060")),
			service("hooks", "policy", corev1.ServiceTypeClusterIP, kv{"app": "policy"}, to(443, "webhook"), to(8080, "health"), to(7443, "api")),
		},
		Policies: []harden.PolicyFact{
			theirs("shop", "db-from-web", metav1.LabelSelector{MatchLabels: kv{"app": "db"}}, networkingv1.NetworkPolicyIngressRule{
				From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: kv{"app": "web"}}}},
			}),
		},
		Webhooks:    []harden.WebhookFact{{Kind: "ValidatingWebhookConfiguration", Name: "policy", Namespace: "hooks", Service: "policy", FailClosed: true}},
		APIServices: []harden.APIServiceFact{{Name: "v1.policy.example.com", Namespace: "hooks", Service: "policy", Port: 7443}},
		DaemonSets:  []harden.DaemonSetFact{{Namespace: "network", Name: "calico-node", Images: []string{"docker.io/calico/node:v3.31.0"}}},
	}
	return &harden.Facts{Distro: "kubeadm", Cluster: c}
}

// client opens a connection: a pod, or an address that is no pod's.
type client struct {
	pod     *harden.PodFact
	address netip.Addr
}

// reaches evaluates NetworkPolicies by the rules of their documentation.
func reaches(f *harden.Facts, from client, dst harden.PodFact, port int32, protocol corev1.Protocol) bool {
	if dst.HostNetwork {
		return true
	}
	isolated := false
	for _, p := range f.Cluster.Policies {
		isIngress := len(p.Spec.PolicyTypes) == 0 || slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress)
		if p.Namespace != dst.Namespace || !isIngress || !matches(&p.Spec.PodSelector, dst.Labels) {
			continue
		}
		isolated = true
		for _, rule := range p.Spec.Ingress {
			if allowsPort(rule, dst, port, protocol) && allowsPeer(rule, from, p.Namespace, f.Cluster) {
				return true
			}
		}
	}
	return !isolated
}

func matches(s *metav1.LabelSelector, l kv) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(l))
}

func allowsPort(rule networkingv1.NetworkPolicyIngressRule, dst harden.PodFact, port int32, protocol corev1.Protocol) bool {
	if len(rule.Ports) == 0 {
		return true
	}
	for _, p := range rule.Ports {
		if p.Protocol != nil && *p.Protocol != protocol || p.Protocol == nil && protocol != corev1.ProtocolTCP {
			continue
		}
		if p.Port == nil || p.Port.Type == intstr.Int && p.Port.IntVal == port {
			return true
		}
		for _, declared := range dst.Ports {
			if declared.Name == p.Port.StrVal && declared.Port == port && declared.Protocol == protocol && p.Port.Type == intstr.String {
				return true
			}
		}
	}
	return false
}

func allowsPeer(rule networkingv1.NetworkPolicyIngressRule, from client, namespace string, c *harden.ClusterFacts) bool {
	if len(rule.From) == 0 {
		return true
	}
	for _, peer := range rule.From {
		if peer.IPBlock != nil {
			if prefix, err := netip.ParsePrefix(peer.IPBlock.CIDR); err == nil && from.pod == nil && prefix.Contains(from.address) {
				return true
			}
			continue
		}
		if from.pod == nil || from.pod.HostNetwork {
			continue
		}
		inNamespace := from.pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			i := slices.IndexFunc(c.Namespaces, func(n harden.NamespaceFact) bool { return n.Name == from.pod.Namespace })
			inNamespace = i >= 0 && matches(peer.NamespaceSelector, c.Namespaces[i].Labels)
		}
		if inNamespace && (peer.PodSelector == nil || matches(peer.PodSelector, from.pod.Labels)) {
			return true
		}
	}
	return false
}

func control(t *testing.T, id string) harden.Control {
	t.Helper()
	_, c, ok := harden.FindControl([]harden.Area{networkpolicy.Area()}, id)
	if !ok {
		t.Fatalf("no control %s", id)
	}
	return c
}

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{networkpolicy.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

// apply puts what the remedy asks for into the facts, as an API server would.
func apply(t *testing.T, f *harden.Facts, v harden.Values) []harden.Intent {
	t.Helper()
	intents, err := control(t, denyControl).Remedies[0].Intents(f, v)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range intents {
		var np networkingv1.NetworkPolicy
		if err := yaml.UnmarshalStrict(i.Data, &np); err != nil {
			t.Fatalf("%s: %v", i.Object, err)
		}
		if np.Namespace != i.Object.Namespace || np.Name != i.Object.Name || np.Labels["app.kubernetes.io/managed-by"] != "kubectl-harden" {
			t.Errorf("%s: its metadata is %v", i.Object, np.ObjectMeta)
		}
		p := harden.PolicyFact{Namespace: np.Namespace, Name: np.Name, Ours: true, Spec: np.Spec}
		same := func(o harden.PolicyFact) bool { return o.Namespace == p.Namespace && o.Name == p.Name }
		f.Cluster.Policies = append(slices.DeleteFunc(f.Cluster.Policies, same), p)
	}
	return intents
}
