// Package etcd holds the controls of the etcd that kubeadm runs beside the API server, as data. Their remedies are plans of
// their own: etcd is changed alone.
package etcd

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/staticpod"
)

// Area is etcd's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "etcd",
		Title: "etcd",
		About: harden.Msg("Etcd holds everything that the cluster knows, Secrets included: whoever reaches it needs no permission of the API. These controls look at who may connect and how. A change restarts etcd on this node, in a transaction of its own and after a snapshot of it was saved; the API of the whole cluster waits where it is the only member."),
		Controls: slices.Concat(
			pod.Manifest(),
			certificateControls,
			[]harden.Control{uniqueCA, metricsAddress, tlsMinVersion, cipherSuites, removedFlags},
		),
	}
}

var pod = staticpod.Pod{Component: harden.Etcd, Area: "etcd", Name: "etcd"}

const (
	securityPage  = "https://etcd.io/docs/v3.6/op-guide/security/"
	configPage    = "https://etcd.io/docs/v3.6/op-guide/configuration/"
	nsaEtcd       = "Control plane hardening: etcd"
	certFlag      = "cert-file"
	keyFlag       = "key-file"
	caFlag        = "trusted-ca-file"
	authFlag      = "client-cert-auth"
	autoFlag      = "auto-tls"
	peerCertFlag  = "peer-cert-file"
	peerKeyFlag   = "peer-key-file"
	peerCAFlag    = "peer-trusted-ca-file"
	peerAuthFlag  = "peer-client-cert-auth"
	peerAutoFlag  = "peer-auto-tls"
	metricsFlag   = "listen-metrics-urls"
	minFlag       = "tls-min-version"
	maxFlag       = "tls-max-version"
	suitesFlag    = "cipher-suites"
	clusterFlag   = "initial-cluster"
	clientURLFlag = "listen-client-urls"
	peerURLFlag   = "listen-peer-urls"
)

var (
	needs   = []harden.Need{harden.NeedEtcd}
	applies = harden.RunsHere(harden.Etcd)
	restart = harden.Msg("A snapshot of etcd is saved, then etcd of this node restarts once, alone. With one member the API answers nothing that it has to look up until etcd is back, for one to two minutes: the kubelet first waits for an API server that hangs. With three or more members the others go on.")
)

// preconditions are what every remedy here wants, and others after that.
func preconditions(more ...func(*harden.Facts, harden.Values) harden.Precondition) func(*harden.Facts, harden.Values) []harden.Precondition {
	return func(f *harden.Facts, v harden.Values) []harden.Precondition {
		out := []harden.Precondition{quorum(f), snapshot(f)}
		for _, m := range more {
			out = append(out, m(f, v))
		}
		return out
	}
}

// quorum: a member that is away must leave the others enough.
func quorum(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID: "quorum", Title: harden.Msg("the other members go on while this one restarts, or there are none"), State: harden.PreconditionUnknown,
		Message: harden.Msg("how many members there are now is not known: the cluster's nodes were not read"),
	}
	members := f.EtcdSetting(clusterFlag)
	pre.Evidence = []harden.Evidence{members.Seen}
	if _, missing := f.Missing[harden.NeedNodes]; f.Cluster == nil || missing {
		return pre
	}
	planes := 0
	for _, n := range f.Cluster.Nodes {
		if n.ControlPlane {
			planes++
		}
	}
	if planes == 1 && len(members.List()) <= 1 {
		pre.State, pre.Message = harden.Met, harden.Msg("this is the only member: the API waits while it restarts, and nothing else is at stake")
		return pre
	}
	pre.Message = harden.Msg("the cluster has %d control-plane nodes; each member of etcd is asked before this one restarts and after it, and nothing is begun where the others have no quorum without it, as with two; for a look now: etcdctl endpoint health --cluster", planes)
	return pre
}

// snapshot: one is a part of the plan, unless nothing runs that could give it.
func snapshot(f *harden.Facts) harden.Precondition {
	pre := harden.Precondition{
		ID: "snapshot", Title: harden.Msg("a fresh snapshot of etcd is kept"), State: harden.Met,
		Message: harden.Msg("the plan takes one before etcd restarts, and keeps it with the transaction; a copy on another machine outlives this one"),
	}
	if f.Identity.Offline {
		dir := f.EtcdSetting("data-dir").Value
		pre.State = harden.PreconditionUnknown
		pre.Message = harden.Msg("nothing runs from this root that could give one; copy what lies in %s below it, for root only", dir)
	}
	return pre
}
