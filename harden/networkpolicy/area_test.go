package networkpolicy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/networkpolicy"
)

func TestAreaIsWellFormed(t *testing.T) {
	id := regexp.MustCompile(`^networkpolicy-[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, c := range networkpolicy.Area().Controls {
		if !id.MatchString(c.ID) || c.Title == "" || c.Severity == "" || len(c.Refs.CIS) != 1 || len(c.Refs.Seed) != 1 {
			t.Errorf("%s: something is missing", c.ID)
		}
		if n := strings.Count(c.Why.String(), ". ") + 1; n < 2 || n > 4 {
			t.Errorf("%s: why has %d sentences", c.ID, n)
		}
		for _, r := range c.Remedies {
			if r.Title.IsZero() || r.Impact.IsZero() || len(r.Breaks) == 0 || r.Risk != harden.RiskWorkloads {
				t.Errorf("%s: remedy %s: something is missing", c.ID, r.ID)
			}
		}
	}
	if got := finding(t, &harden.Facts{}, denyControl); got.Status != harden.StatusNotApplicable {
		t.Errorf("without a cluster: %s", got.Status)
	}
}

func TestEnforced(t *testing.T) {
	ds := func(names ...string) []harden.DaemonSetFact {
		var out []harden.DaemonSetFact
		for _, n := range names {
			name, image, _ := strings.Cut(n, "=")
			out = append(out, harden.DaemonSetFact{Namespace: "net", Name: name, Images: []string{image}})
		}
		return out
	}
	tests := []struct {
		name    string
		sets    []harden.DaemonSetFact
		verdict harden.Status
		before  harden.PreconditionState
	}{
		{"Calico", ds("kube-proxy", "calico-node"), harden.StatusPass, harden.Met},
		{"Cilium", ds("cilium"), harden.StatusPass, harden.Met},
		{"flannel", ds("kube-flannel-ds=docker.io/flannel/flannel:v0.27.0"), harden.StatusFail, harden.Unmet},
		{"flannel with its policy agent", ds("kube-flannel-ds=registry.k8s.io/networking/kube-network-policies:v1.0.0"), harden.StatusPass, harden.Met},
		{"flannel with Calico's policies", ds("kube-flannel-ds", "calico-node"), harden.StatusPass, harden.Met},
		{"kindnet", ds("kindnet"), harden.StatusManual, harden.PreconditionUnknown},
		{"nothing known", ds("kube-proxy"), harden.StatusManual, harden.PreconditionUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := town()
			f.Cluster.DaemonSets = test.sets
			if got := finding(t, f, "networkpolicy-enforced"); got.Status != test.verdict {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
			if got := precondition(t, f, nil, "plugin-enforces"); got.State != test.before {
				t.Errorf("precondition %s: %s", got.State, got.Message)
			}
		})
	}
}

func precondition(t *testing.T, f *harden.Facts, v harden.Values, id string) harden.Precondition {
	t.Helper()
	for _, p := range control(t, denyControl).Remedies[0].Preconditions(f, v) {
		if p.ID == id {
			return p
		}
	}
	t.Fatalf("no precondition %s", id)
	return harden.Precondition{}
}

func TestPreconditions(t *testing.T) {
	tests := []struct {
		id, namespaces string
		change         func(*harden.ClusterFacts)
		want           harden.PreconditionState
		evidence       int
	}{
		{"names-free", "", nil, harden.Met, 0},
		{"names-free", "", func(c *harden.ClusterFacts) {
			c.Policies = append(c.Policies, theirs("shop", "allow-web", metav1.LabelSelector{MatchLabels: kv{"track": "next"}}))
		}, harden.Unmet, 1},
		{"webhooks-reachable", "", nil, harden.Met, 2},
		{"webhooks-reachable", "shop", nil, harden.Met, 0},
		{"webhooks-reachable", "", func(c *harden.ClusterFacts) { c.Services = c.Services[:1] }, harden.Unmet, 2},
		{"webhooks-reachable", "", func(c *harden.ClusterFacts) {
			c.Services, c.APIServices, c.Webhooks[0].FailClosed = nil, nil, false
		}, harden.PreconditionUnknown, 1},
		{"declared-ports", "hooks", nil, harden.Met, 0},
		{"declared-ports", "", nil, harden.PreconditionUnknown, 3},
		{"monitoring", "", nil, harden.PreconditionUnknown, 1},
		{"host-ports", "", nil, harden.PreconditionUnknown, 1},
		{"host-network-clients", "", nil, harden.PreconditionUnknown, 2},
		{"host-network-clients", "empty", nil, harden.Met, 0},
	}
	for _, test := range tests {
		t.Run(test.id, func(t *testing.T) {
			f := town()
			if test.change != nil {
				test.change(f.Cluster)
			}
			got := precondition(t, f, harden.Values{"namespaces": test.namespaces}, test.id)
			if got.State != test.want || len(got.Evidence) != test.evidence || got.Title.IsZero() || got.State != harden.Met && got.Message.IsZero() {
				t.Errorf("%s: %s (%v)", got.State, got.Message, got.Evidence)
			}
		})
	}
}

// TestAnIngressControllerInASystemNamespaceWasNoClient: there it loses its backends as anywhere else. What runs the node and its
// network is none.
func TestAnIngressControllerInASystemNamespaceWasNoClient(t *testing.T) {
	f := town()
	f.Cluster.DaemonSets = append(f.Cluster.DaemonSets, harden.DaemonSetFact{Namespace: "kube-system", Name: "calico-node"})
	before := len(precondition(t, f, nil, "host-network-clients").Evidence)
	onHost(f.Cluster, "Node/cp1", "DaemonSet/kube-proxy", "DaemonSet/calico-node", "Deployment/calico-typha")
	if got := precondition(t, f, nil, "host-network-clients"); len(got.Evidence) != before {
		t.Errorf("the node's own: %v", got.Evidence)
	}
	onHost(f.Cluster, "DaemonSet/ingress-nginx-controller")
	got := precondition(t, f, nil, "host-network-clients")
	if got.State != harden.PreconditionUnknown || len(got.Evidence) != before+1 {
		t.Errorf("%s: %v", got.State, got.Evidence)
	}
}

// onHost adds pods of kube-system that are on the host's network.
func onHost(c *harden.ClusterFacts, owners ...string) {
	for _, owner := range owners {
		p := pod("kube-system", "p", nil)
		p.Name, p.Owner, p.HostNetwork = strings.ReplaceAll(owner, "/", "-"), owner, true
		c.Pods = append(c.Pods, p)
	}
}

func TestNamespaceOption(t *testing.T) {
	o := control(t, denyControl).Remedies[0].Options[0]
	for value, ok := range map[string]bool{"": true, "shop": true, "shop, hooks": true, "Shop": false, "a/b": false} {
		if err := o.Accepts(value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// The plan is of the cluster, is never taken by --all, waits for the operator's word, and is empty once it was applied.
func TestPlan(t *testing.T) {
	f := town()
	areas := []harden.Area{networkpolicy.Area()}
	choices, skipped, err := harden.Select(f, areas, harden.Selection{All: true})
	if err != nil || len(choices) != 0 || len(skipped) != 1 {
		t.Fatalf("--all: %v, %v, %v", choices, skipped, err)
	}
	build := func(c harden.Choice) harden.Plan {
		t.Helper()
		plans, err := harden.Build(harden.BuildInput{
			Facts: f, Areas: areas, Choices: []harden.Choice{c}, Now: time.Unix(0, 0), Tool: "test",
			Preview: func(_ harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error) {
				return harden.ObjectPreview{After: harden.State{Exists: true, Data: yaml}}, nil
			},
		})
		if err != nil || !plans.Node.Empty() {
			t.Fatalf("node plan %v, %v", plans.Node, err)
		}
		cluster := plans.Cluster
		if len(cluster.Skipped) == 0 {
			cluster.Skipped = plans.Node.Skipped
		}
		return cluster
	}
	if p := build(harden.Choice{Control: denyControl, Named: true}); !p.Empty() || len(p.Skipped) != 1 {
		t.Errorf("without the operator's word: %v", p)
	}
	p := build(harden.Choice{Control: denyControl, Named: true, Accept: true})
	if g, ok := p.Stages[0].Gate(""); !ok || !slices.Contains(g.Traffic, p.Steps()[1].Object.Namespace) {
		t.Errorf("nobody asks what works with the policies in force: %+v", g)
	}
	if steps := p.Steps(); len(steps) != 12 || steps[0].Object.Name != "allow-same-namespace" || steps[1].Object.Name != "deny-all-ingress" {
		t.Errorf("%d steps", len(p.Steps()))
	}
	apply(t, f, nil)
	if p := build(harden.Choice{Control: denyControl, Named: true, Accept: true}); !p.Empty() {
		t.Error("applied, and still something to do")
	}
}
