package networkpolicy_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/networkpolicy"
)

// Every connection is tried before and after: what Services expose and what is inside the namespace stays, the rest of
// the closed namespaces ends, and everything else is as it was.
func TestReachability(t *testing.T) {
	before, after := town(), town()
	apply(t, after, nil)

	outside := client{address: netip.MustParseAddr("198.51.100.7")}
	node := client{address: netip.MustParseAddr("192.0.2.11")}
	clients := map[string]client{"outside": outside, "node": node}
	for i, p := range before.Cluster.Pods {
		clients[p.Namespace+"/"+p.Name] = client{pod: &before.Cluster.Pods[i]}
	}
	type target struct {
		pod  string
		port int32
		udp  bool
	}
	// What others than pods of the namespace reach afterwards; "pods" are those of all namespaces.
	want := map[target]string{
		{"web-0", 8080, false}:      "pods",
		{"web-next-0", 8090, false}: "pods",      // the same name, another number
		{"gate-0", 8443, false}:     "everybody", // a node port
		{"gate-0", 9000, false}:     "everybody", // a load balancer
		{"depot-0", 7000, false}:    "everybody", // an external IP
		{"dns-0", 53, true}:         "pods",
		{"policy-0", 9443, false}:   "everybody", // a webhook
		{"policy-0", 7443, false}:   "everybody", // an aggregated API
		{"policy-0", 8080, false}:   "pods",
	}
	tried := 0
	for _, dst := range before.Cluster.Pods {
		ports := append(slices.Clone(dst.Ports), tcp("", 31999))
		for _, port := range ports {
			for name, from := range clients {
				tried++
				was := reaches(before, from, dst, port.Port, port.Protocol)
				is := reaches(after, from, dst, port.Port, port.Protocol)
				expect := was
				closed := dst.Namespace == "shop" || dst.Namespace == "hooks"
				fromPod := from.pod != nil && !from.pod.HostNetwork
				if closed && !dst.HostNetwork && dst.Labels["app"] != "db" && !(fromPod && from.pod.Namespace == dst.Namespace) {
					switch want[target{dst.Name, port.Port, port.Protocol == corev1.ProtocolUDP}] {
					case "everybody":
						expect = true
					case "pods":
						expect = fromPod
					default:
						expect = false
					}
				}
				if is != expect {
					t.Errorf("%s to %s/%s %s %d: %v, want %v (before: %v)", name, dst.Namespace, dst.Name, port.Protocol, port.Port, is, expect, was)
				}
			}
		}
	}
	t.Logf("%d connections tried", tried)
}

func TestObjects(t *testing.T) {
	f := town()
	var names []string
	for _, i := range apply(t, f, nil) {
		names = append(names, i.Object.Namespace+"/"+i.Object.Name)
	}
	want := []string{
		"empty/allow-same-namespace", "empty/deny-all-ingress",
		"hooks/allow-same-namespace", "hooks/allow-policy", "hooks/deny-all-ingress",
		"shop/allow-same-namespace", "shop/allow-depot", "shop/allow-dns", "shop/allow-gate", "shop/allow-same-namespace-service", "shop/allow-web", "shop/deny-all-ingress",
	}
	if !slices.Equal(names, want) {
		t.Errorf("got  %v\nwant %v", names, want)
	}
}

func TestYAML(t *testing.T) {
	intents, err := control(t, denyControl).Remedies[0].Intents(town(), harden.Values{"namespaces": "hooks"})
	if err != nil {
		t.Fatal(err)
	}
	got := string(intents[1].Data) + "---\n" + string(intents[2].Data)
	const want = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  labels:
    app.kubernetes.io/managed-by: kubectl-harden
  name: allow-policy
  namespace: hooks
spec:
  ingress:
  - ports:
    - port: webhook
      protocol: TCP
    - port: api
      protocol: TCP
  - from:
    - namespaceSelector: {}
    ports:
    - port: health
      protocol: TCP
  podSelector:
    matchLabels:
      app: policy
  policyTypes:
  - Ingress
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  labels:
    app.kubernetes.io/managed-by: kubectl-harden
  name: deny-all-ingress
  namespace: hooks
spec:
  podSelector: {}
  policyTypes:
  - Ingress
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestVerdicts(t *testing.T) {
	allow := func(peers ...networkingv1.NetworkPolicyPeer) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: peers}
	}
	everywhere := metav1.LabelSelector{}
	egressOnly := theirs("shop", "egress", everywhere)
	egressOnly.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
	noTypes := theirs("shop", "deny", everywhere)
	noTypes.Spec.PolicyTypes = nil
	onlyShop := func(f *harden.Facts) {
		f.Cluster.Namespaces = []harden.NamespaceFact{{Name: "shop"}, {Name: "kube-system"}}
	}
	tests := []struct {
		name    string
		policy  *harden.PolicyFact
		want    harden.Status
		message string
	}{
		{"some pods selected", nil, harden.StatusFail, "1 of 1 namespaces accept everything by default: shop; 1 system"},
		{"a deny", ptr(theirs("shop", "deny", everywhere)), harden.StatusPass, "all 1 namespaces"},
		{"a deny without types", &noTypes, harden.StatusPass, ""},
		{"egress only", &egressOnly, harden.StatusFail, ""},
		{"all pods from one's own namespace", ptr(theirs("shop", "own", everywhere, allow(networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{}}))), harden.StatusPass, ""},
		{"all pods from everybody", ptr(theirs("shop", "open", everywhere, networkingv1.NetworkPolicyIngressRule{})), harden.StatusManual, "let everybody reach every pod of shop"},
		{"all pods from all namespaces", ptr(theirs("shop", "open", everywhere, allow(networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}}))), harden.StatusManual, ""},
		{"all pods from all addresses", ptr(theirs("shop", "open", everywhere, allow(networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}))), harden.StatusManual, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := town()
			onlyShop(f)
			if test.policy != nil {
				f.Cluster.Policies = append(f.Cluster.Policies, *test.policy)
			}
			got := finding(t, f, denyControl)
			if got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestEvidenceSaysWhatIsLeftOut(t *testing.T) {
	got := finding(t, town(), denyControl)
	if want := "3 of 3 namespaces accept everything by default: empty, hooks, shop; 5 system namespaces are left out"; got.Message.String() != want {
		t.Errorf("message %q", got.Message)
	}
	seen := map[string]string{}
	for _, e := range got.Evidence {
		seen[e.Source] = e.Value
	}
	for namespace, want := range map[string]string{
		"kube-system":  "left out: it is a system namespace",
		"cattle-fleet": "left out: it is a system namespace",
		"agents":       "left out: all its pods use the host's network, which policies do not reach",
		"network":      "left out: the network plugin runs in it",
		"going":        "left out: it is being deleted",
		"empty":        "no policy denies ingress by default; pods: 0, Services: 0, policies: 0",
		"shop":         "no policy denies ingress by default; pods: 9, Services: 8, policies: 1; on the host's network, out of reach of policies: Deployment/host-ingress",
	} {
		if seen["namespace "+namespace] != want {
			t.Errorf("%s: %q", namespace, seen["namespace "+namespace])
		}
	}
}

func TestApplyingAgainChangesNothing(t *testing.T) {
	f := town()
	apply(t, f, nil)
	if got := finding(t, f, denyControl); got.Status != harden.StatusPass {
		t.Fatalf("%s: %s", got.Status, got.Message)
	}
	again := town()
	first := apply(t, again, harden.Values{"namespaces": "shop"})
	second := apply(t, again, harden.Values{"namespaces": "shop"})
	for i := range first {
		if string(first[i].Data) != string(second[i].Data) {
			t.Errorf("%s changed", first[i].Object)
		}
	}
}

func TestNewServiceIsNoticed(t *testing.T) {
	f := town()
	apply(t, f, nil)
	f.Cluster.Services = append(f.Cluster.Services, service("shop", "debug", corev1.ServiceTypeClusterIP, kv{"app": "web"}, to(6060, "debug")))
	got := finding(t, f, denyControl)
	if got.Status != harden.StatusManual || !strings.Contains(got.Message.String(), "changed since their allows were written: shop") {
		t.Fatalf("%s: %s", got.Status, got.Message)
	}
	apply(t, f, nil)
	if got := finding(t, f, denyControl); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

func TestRefusals(t *testing.T) {
	tests := []struct {
		name, namespaces, want string
		change                 func(*harden.ClusterFacts)
	}{
		{"system", "shop,kube-system", "kube-system is left out: it is a system namespace", nil},
		{"unknown", "shopp", "there is no namespace shopp", nil},
		{"denies by its own policy", "shop", "our allows would open it wider", func(c *harden.ClusterFacts) {
			c.Policies = append(c.Policies, theirs("shop", "default-deny", metav1.LabelSelector{}))
		}},
		{"open", "shop", "changes nothing there", func(c *harden.ClusterFacts) {
			c.Policies = append(c.Policies, theirs("shop", "open", metav1.LabelSelector{}, networkingv1.NetworkPolicyIngressRule{}))
		}},
		{"selected by two labels", "", "shop: its policy two selects pods by several labels", func(c *harden.ClusterFacts) {
			c.Policies = append(c.Policies, theirs("shop", "two", metav1.LabelSelector{MatchLabels: kv{"app": "web", "track": "next"}}))
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := town()
			if test.change != nil {
				test.change(f.Cluster)
			}
			_, err := control(t, denyControl).Remedies[0].Intents(f, harden.Values{"namespaces": test.namespaces})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Whatever selects pods already, none of ours opens them wider.
func TestOthersPoliciesStayAsStrict(t *testing.T) {
	for name, selector := range map[string]metav1.LabelSelector{
		"label":          {MatchLabels: kv{"app": "web"}},
		"In":             {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"web", "gate"}}}},
		"NotIn":          {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"gate"}}}},
		"Exists":         {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "track", Operator: metav1.LabelSelectorOpExists}}},
		"does not exist": {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "track", Operator: metav1.LabelSelectorOpDoesNotExist}}},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := town(), town()
			for _, f := range []*harden.Facts{before, after} {
				f.Cluster.Policies = append(f.Cluster.Policies, theirs("shop", "theirs", selector))
			}
			apply(t, after, nil)
			for _, dst := range before.Cluster.Pods {
				if dst.Namespace != "shop" || !matches(&selector, dst.Labels) {
					continue
				}
				for i := range before.Cluster.Pods {
					from := client{pod: &before.Cluster.Pods[i]}
					for _, port := range dst.Ports {
						if !reaches(before, from, dst, port.Port, port.Protocol) && reaches(after, from, dst, port.Port, port.Protocol) {
							t.Errorf("%s reaches %s %d now", from.pod.Name, dst.Name, port.Port)
						}
					}
				}
			}
		})
	}
}

func TestCutOff(t *testing.T) {
	got := networkpolicy.CutOff(town(), []string{"shop", "hooks", "agents"})
	want := []networkpolicy.Cut{
		{Namespace: "shop", Workload: "Deployment/dns", Port: 53, Protocol: "TCP", Kind: networkpolicy.CutNoService},
		{Namespace: "shop", Workload: "Deployment/edge", Port: 8081, Protocol: "TCP", Kind: networkpolicy.CutNoService},
		{Namespace: "shop", Workload: "Deployment/edge", Port: 8081, Protocol: "TCP", HostPort: 8081, Kind: networkpolicy.CutHostPort},
		{Namespace: "shop", Workload: "Deployment/web", Port: 6060, Protocol: "TCP", Kind: networkpolicy.CutNoService},
		{Namespace: "shop", Workload: "Deployment/worker", Port: 9100, Protocol: "TCP", Kind: networkpolicy.CutScraped},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	if got := networkpolicy.CutOff(town(), nil); len(got) != 0 {
		t.Errorf("nothing chosen: %v", got)
	}
}

// CutOff tells the truth: by the rules of policies, each of its ports was reachable from another namespace, and is not
// any more; and no other declared port is lost to pods.
func TestCutOffIsWhatPoliciesDo(t *testing.T) {
	before, after := town(), town()
	apply(t, after, nil)
	cut := map[networkpolicy.Cut]bool{}
	for _, c := range networkpolicy.CutOff(before, []string{"shop", "hooks", "empty"}) {
		if c.Kind != networkpolicy.CutHostPort {
			c.Kind = ""
			cut[c] = true
		}
	}
	stranger := pod("empty", "stranger", nil)
	for _, dst := range before.Cluster.Pods {
		for _, p := range dst.Ports {
			lost := reaches(before, client{pod: &stranger}, dst, p.Port, p.Protocol) && !reaches(after, client{pod: &stranger}, dst, p.Port, p.Protocol)
			c := networkpolicy.Cut{Namespace: dst.Namespace, Workload: dst.Owner, Port: p.Port, Protocol: p.Protocol}
			if lost != cut[c] {
				t.Errorf("%v: lost %v, told %v", c, lost, cut[c])
			}
		}
	}
}
