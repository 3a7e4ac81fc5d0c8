package cli

import (
	"context"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/collect"
)

// machine is where commands act: the live node, an offline root, or the demo's sandbox.
type machine struct {
	root    string // as the operator gave it
	offline bool
	sandbox bool

	files files
	node  apply.Node
	live  collect.Live // nil for an offline root
	// kubeadm is nil where it cannot be run.
	kubeadm collect.Kubeadm
	// connect reaches the cluster's API; nil with --no-cluster and where there is none.
	connect func(context.Context) (api, error)
	// context names the cluster for people.
	context string

	// guards act in our place; nil where there is nothing that could.
	guards guards
	// flags are how another process of this program finds the same node and cluster.
	flags []string

	// start lets an applier run outside of this process, which follows it; nil: what is applied is applied here.
	start starter
	desks string // where errands are handed over

	stateDir, lockPath string
	// cannotWrite says why nothing can be applied here by this user; nil when it can.
	cannotWrite error
}

// files are the root's files, for collecting facts and for transactions.
type files interface {
	backups.FS
	collect.Node
	apply.Files
}

// api is the cluster as facts, plans and transactions need it.
type api interface {
	collect.Cluster
	apply.Cluster
	apply.Members
	// Preview is the server's dry run.
	Preview(ctx context.Context, ref harden.ObjectRef, yaml []byte) (harden.ObjectPreview, error)
	// Edited is the server's dry run of replacing an object by what edit makes of it.
	Edited(ctx context.Context, ref harden.ObjectRef, edit func(harden.State) (harden.State, error)) (harden.ObjectPreview, error)
}
