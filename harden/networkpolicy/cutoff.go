package networkpolicy

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"kubectl-harden.io/kubectl-harden/harden"
)

// CutKind says whom a Cut cuts off.
type CutKind string

const (
	CutNoService CutKind = "no service" // clients in other namespaces, of a port that no Service exposes
	CutScraped   CutKind = "scraped"    // monitoring in another namespace
	CutHostPort  CutKind = "host port"  // clients of the node's address
)

// Cut is a port of a workload that some clients can no longer reach once its namespace denies ingress.
type Cut struct {
	Namespace string          `json:"namespace"`
	Workload  string          `json:"workload"`       // "Deployment/web"
	Port      int32           `json:"port,omitempty"` // of the pods; 0: they declare none
	Protocol  corev1.Protocol `json:"protocol,omitempty"`
	HostPort  int32           `json:"hostPort,omitempty"`
	Kind      CutKind         `json:"kind"`
}

func (c Cut) evidence() harden.Evidence {
	e := harden.Evidence{Source: c.Namespace + " " + c.Workload, Value: fmt.Sprintf("%s %d", c.Protocol, c.Port)}
	switch {
	case c.Port == 0:
		e.Value = "no declared port"
	case c.HostPort != 0:
		e.Value += fmt.Sprintf(" (host port %d)", c.HostPort)
	}
	return e
}

// CutOff lists what declared ports, host ports and scraping lose in the namespaces. Ports that pods use without declaring
// them cannot be known. Pods that others' policies select, and pods of the host's network, lose nothing.
func CutOff(f *harden.Facts, names []string) []Cut {
	if f.Cluster == nil {
		return nil
	}
	var out []Cut
	for _, n := range namespaces(f.Cluster) {
		if !slices.Contains(names, n.name) {
			continue
		}
		for _, p := range n.pods {
			if !p.HostNetwork && !n.isolated(p) {
				out = append(out, n.cuts(f.Cluster, p)...)
			}
		}
	}
	slices.SortFunc(out, func(a, b Cut) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Port, b.Port),
			cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Kind, b.Kind))
	})
	return slices.Compact(out)
}

func (n *namespace) cuts(c *harden.ClusterFacts, p harden.PodFact) []Cut {
	var out []Cut
	workload := workloadOf(p)
	for _, port := range p.Ports {
		cut := Cut{Namespace: n.name, Workload: workload, Port: port.Port, Protocol: protocolOf(port.Protocol), Kind: CutNoService}
		exposed, anywhere := n.exposes(c, p, port)
		if p.Scraped {
			cut.Kind = CutScraped
		}
		if !exposed {
			out = append(out, cut)
		}
		if port.HostPort != 0 && !anywhere {
			cut.HostPort, cut.Kind = port.HostPort, CutHostPort
			out = append(out, cut)
		}
	}
	if p.Scraped && len(p.Ports) == 0 {
		out = append(out, Cut{Namespace: n.name, Workload: workload, Kind: CutScraped})
	}
	return out
}

// exposes says whether a Service leads to the port of the pod, and whether any client may use it.
func (n *namespace) exposes(c *harden.ClusterFacts, p harden.PodFact, port harden.PortFact) (exposed, anywhere bool) {
	for _, s := range n.services {
		if len(s.Selector) == 0 || !labels.SelectorFromSet(s.Selector).Matches(labels.Set(p.Labels)) {
			continue
		}
		for _, rule := range openings(c, s) {
			for _, open := range rule.Ports {
				if leadsTo(open, port) {
					exposed = true
					anywhere = anywhere || len(rule.From) == 0
				}
			}
		}
	}
	return exposed, anywhere
}

func leadsTo(open networkingv1.NetworkPolicyPort, port harden.PortFact) bool {
	if *open.Protocol != protocolOf(port.Protocol) {
		return false
	}
	if open.Port.Type == intstr.String {
		return open.Port.StrVal == port.Name
	}
	return open.Port.IntVal == port.Port
}

// isolated: another's policy selects the pod, so that its ingress is an allow-list already.
func (n *namespace) isolated(p harden.PodFact) bool {
	return slices.ContainsFunc(n.foreign(), func(o harden.PolicyFact) bool {
		s, err := metav1.LabelSelectorAsSelector(&o.Spec.PodSelector)
		return err == nil && s.Matches(labels.Set(p.Labels))
	})
}

func workloadOf(p harden.PodFact) string {
	if p.Owner != "" {
		return p.Owner
	}
	return "Pod/" + p.Name
}
