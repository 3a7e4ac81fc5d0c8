package networkpolicy

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

func preconditions(f *harden.Facts, v harden.Values) []harden.Precondition {
	targets, err := chosen(f.Cluster, v)
	if err != nil {
		return nil // the remedy's intents say it
	}
	var names []string
	for _, n := range targets {
		names = append(names, n.name)
	}
	cuts := CutOff(f, names)
	return []harden.Precondition{
		pluginEnforces(f.Cluster),
		namesFree(f.Cluster, targets),
		webhooksCovered(f.Cluster, targets),
		nobodyCutOff(cuts, "declared-ports", harden.Msg("nobody in other namespaces uses declared ports that no Service exposes"),
			harden.Msg("these ports will be closed to other namespaces; whether somebody there uses them is not known"), CutNoService),
		nobodyCutOff(cuts, "monitoring", harden.Msg("monitoring reaches the pods that are annotated for scraping"),
			harden.Msg("these pods are scraped on ports that no Service exposes; add a policy that allows the monitoring namespace"), CutScraped),
		nobodyCutOff(cuts, "host-ports", harden.Msg("nobody uses host ports of the pods"),
			harden.Msg("these host ports will be closed; whether somebody uses them is not known"), CutHostPort),
		hostNetworkClients(f.Cluster, targets),
	}
}

func nobodyCutOff(cuts []Cut, id string, title, unknown harden.Message, kind CutKind) harden.Precondition {
	p := harden.Precondition{ID: id, Title: title, State: harden.Met}
	for _, c := range cuts {
		if c.Kind == kind {
			p.State, p.Message = harden.PreconditionUnknown, unknown
			p.Evidence = append(p.Evidence, c.evidence())
		}
	}
	return p
}

// namesFree: no policy of somebody else's has a name that ours need.
func namesFree(c *harden.ClusterFacts, targets []*namespace) harden.Precondition {
	p := harden.Precondition{ID: "names-free", Title: harden.Msg("no policy of others has the name of one of ours"), State: harden.Met}
	for _, n := range targets {
		want, err := n.desired(c)
		if err != nil {
			continue // the remedy's intents say it
		}
		for _, w := range want {
			if slices.ContainsFunc(n.policies, func(o harden.PolicyFact) bool { return !o.Ours && o.Name == w.name }) {
				p.State = harden.Unmet
				p.Message = harden.Msg("%s exists and is not ours: rename it, or leave the namespace out", w.ref())
				p.Evidence = append(p.Evidence, harden.Evidence{Source: w.ref().String(), Value: "not labelled app.kubernetes.io/managed-by: " + ManagedBy})
			}
		}
	}
	return p
}

// webhooksCovered: what the API server calls stays open. A webhook that fails closed and cannot be reached freezes every
// write that it is asked about, in the whole cluster.
func webhooksCovered(c *harden.ClusterFacts, targets []*namespace) harden.Precondition {
	p := harden.Precondition{ID: "webhooks-reachable", Title: harden.Msg("the API server still reaches webhooks and aggregated APIs"), State: harden.Met}
	for _, e := range apiServerCalls(c) {
		i := slices.IndexFunc(targets, func(n *namespace) bool { return n.name == e.namespace })
		if i < 0 {
			continue
		}
		to := fmt.Sprintf("Service %s/%s port %d", e.namespace, e.service, e.port)
		covered := targets[i].covers(c, e)
		seen := harden.Evidence{Source: e.what, Value: to + " stays open"}
		if !covered {
			seen.Value = to + " is not known, or leads to no pods by labels"
			p.State, p.Message = worse(p, e, to)
		}
		p.Evidence = append(p.Evidence, seen)
	}
	return p
}

func worse(p harden.Precondition, e call, to string) (harden.PreconditionState, harden.Message) {
	if e.failClosed {
		return harden.Unmet, harden.Msg("%s fails closed and calls %s, for which no allow can be made: leave the namespace out", e.what, to)
	}
	if p.State == harden.Unmet {
		return p.State, p.Message
	}
	return harden.PreconditionUnknown, harden.Msg("%s calls %s, for which no allow can be made", e.what, to)
}

// covers: the port that the API server calls is open, by our allow or because the pods are left to others' policies.
func (n *namespace) covers(c *harden.ClusterFacts, e call) bool {
	return slices.ContainsFunc(n.services, func(s harden.ServiceFact) bool {
		return s.Name == e.service && len(s.Selector) > 0 && s.Type != corev1.ServiceTypeExternalName &&
			slices.ContainsFunc(s.Ports, func(p harden.ServicePortFact) bool { return p.Port == e.port && fromAnywhere(c, s, p) })
	})
}

// hostNetworkClients: pods of the host's network have their node's address, which an allow for pods does not cover. It is also of
// system namespaces: ingress controllers are installed there too.
func hostNetworkClients(c *harden.ClusterFacts, targets []*namespace) harden.Precondition {
	p := harden.Precondition{ID: "host-network-clients", Title: harden.Msg("no pod of the host's network is a client of a ClusterIP Service"), State: harden.Met}
	if !slices.ContainsFunc(targets, func(n *namespace) bool { return len(n.services) > 0 }) {
		return p
	}
	for _, n := range namespaces(c) {
		for _, w := range hostWorkloads(n.pods) {
			if carriesTraffic(c, n.name, w) {
				continue
			}
			p.State = harden.PreconditionUnknown
			p.Message = harden.Msg("these connect with their node's address, which is not allowed to ClusterIP Services; ingress controllers of this kind lose their backends")
			p.Evidence = append(p.Evidence, harden.Evidence{Source: n.name + " " + w, Value: "on the host's network"})
		}
	}
	return p
}

// carriesTraffic: what runs the node or its network is no client of workloads' Services: static pods, which their node owns,
// kube-proxy, and network plugins that are known.
func carriesTraffic(c *harden.ClusterFacts, namespace, workload string) bool {
	if strings.HasPrefix(workload, "Node/") || namespace == "kube-system" && workload == "DaemonSet/kube-proxy" {
		return true
	}
	return slices.ContainsFunc(c.DaemonSets, func(d harden.DaemonSetFact) bool {
		return slices.ContainsFunc(plugins, func(p plugin) bool {
			return p.is(d) && (d.Namespace == namespace && workload == "DaemonSet/"+d.Name || slices.Contains(p.beside, workload))
		})
	})
}
