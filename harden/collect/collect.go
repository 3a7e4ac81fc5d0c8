// Package collect reads the facts of a node and its cluster, through interfaces that it declares.
package collect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Node is what is asked of the node's file system and, where it is live, of its processes.
type Node interface {
	// State reads a path; one that does not exist is a State that does not exist, not an error. Links are followed
	// inside the root.
	State(path string) (harden.State, error)
	// List names the entries of a directory, sorted; a missing directory has none.
	List(dir string) ([]string, error)
	// FreeBytes is the space that root can still write at path or its nearest existing parent.
	FreeBytes(path string) (uint64, error)
}

// Live is asked only on a live node.
type Live interface {
	// Processes are components' own, or those of other programs of root's such as kubeadm, by name. A look goes through all
	// that run, however many names it is for.
	Processes(names ...string) (map[string][]harden.ProcessFact, error)
	Sysctl(key string) (string, error)
	Hostname() (string, error)
	// KubeletVersion asks the program of the running kubelet, which takes a while.
	KubeletVersion(ctx context.Context) (harden.Version, error)
	// Machine is what a rehearsal needs.
	Machine() (harden.MachineFact, error)
}

// Kubeadm is the node's own.
type Kubeadm interface {
	// Renew has it renew certificates, by its names for them, in copies of the node's files, which stay as they are.
	Renew(ctx context.Context, names []string) (harden.Renewed, error)
}

// Cluster is what is asked of the API.
type Cluster interface {
	// CheckIdentity refuses when the API is not the node's own (promise 15).
	CheckIdentity(ctx context.Context, node harden.Identity) error
	// Facts gives what could be read, and for each need that could not, the reason.
	Facts(ctx context.Context, needs []harden.Need) (*harden.ClusterFacts, map[harden.Need]harden.Message)
}

// Configz is a Cluster that can ask a node's kubelet for the configuration that it has.
type Configz interface {
	Configz(ctx context.Context, node string) (map[string]any, error)
}

// liveConfig is nil where the kubelet does not answer soon: it adds to evidence only.
func liveConfig(ctx context.Context, z Configz, node string) map[string]any {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	live, err := z.Configz(ctx, node)
	if err != nil {
		return nil
	}
	return live
}

// clusterNeeds are the groups that come from the API.
var clusterNeeds = []harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens, harden.NeedKubeadm, harden.NeedKubelets, harden.NeedKeys, harden.NeedKubeProxy}

// Options say what the root is.
type Options struct {
	Root    string // for the identity, as the operator gave it
	Offline bool
	// Disks are the paths whose space is wanted.
	Disks []string
	Now   time.Time
}

// FromNode reads everything but the cluster. live is nil for an offline root. Facts that cannot be read are named in
// Missing; the error is for a root that cannot be read at all.
func FromNode(n Node, live Live, o Options) (*harden.Facts, error) {
	f := &harden.Facts{
		CollectedAt: o.Now,
		Components:  map[harden.ComponentID]*harden.ComponentFacts{},
		Files:       map[string]harden.FileFact{},
		Sysctls:     map[string]string{},
		Disks:       map[string]harden.DiskFact{},
		Missing:     map[harden.Need]harden.Message{},
	}
	f.Identity.Root, f.Identity.Offline = o.Root, o.Offline
	running, unlisted := lookAt(live)
	if err := recognise(n, live, running, f); err != nil {
		return nil, err
	}
	if harden.NotANode(f) {
		identify(n, live, f)
		return f, nil
	}
	if err := collectKubelet(n, live, running, f); err != nil {
		f.Missing[harden.NeedKubelet] = harden.Msg("%s", err.Error())
	}
	if live == nil && f.Kubelet != nil {
		f.Kubelet.Version = packagedVersion(n, "kubelet")
	}
	if err := collectStaticPods(n, running, f); err != nil {
		f.Missing[harden.NeedStaticPods] = harden.Msg("%s", err.Error())
		for _, c := range harden.Components {
			if c.StaticPod() {
				f.Missing[harden.Need(c.ID)] = harden.Msg("%s", err.Error())
			}
		}
	}
	if unlisted != nil {
		f.Missing[harden.NeedKubeadmRuns] = harden.Msg("%s", unlisted.Error())
	}
	f.KubeadmRuns, f.KubeProxies = running[harden.KubeadmProgram], running[harden.KubeProxyProgram]
	collectReferenced(n, f)
	collectEncryption(n, f)
	collectAuditWebhook(n, f)
	collectAuditReceivers(n, f)
	collectNamed(n, f)
	if err := collectSysctls(n, live, f); err != nil {
		f.Missing[harden.NeedSysctls] = harden.Msg("%s", err.Error())
	}
	if live != nil {
		// Where it cannot be read, what needs it says so.
		if m, err := live.Machine(); err == nil {
			f.Machine = &m
		}
	}
	for _, p := range o.Disks {
		if _, known := f.Disks[p]; known {
			continue
		}
		if free, err := n.FreeBytes(p); err == nil {
			f.Disks[p] = harden.DiskFact{Path: p, Free: free}
		}
	}
	collectFiles(n, f)
	collectNetwork(n, live, f)
	collectWorkloads(live, f)
	collectRuntime(n, live, running, f)
	identify(n, live, f)
	noteStopped(f)
	f.Role = role(f)
	for _, need := range clusterNeeds {
		f.Missing[need] = harden.Msg("the cluster's API was not asked")
	}
	return f, nil
}

// AddCluster asks the API and gives facts with what it answered; f stays as it is.
func AddCluster(ctx context.Context, f *harden.Facts, c Cluster) *harden.Facts {
	if err := c.CheckIdentity(ctx, f.Identity); err != nil {
		return WithoutCluster(f, err)
	}
	facts, missing := c.Facts(ctx, clusterNeeds)
	if facts == nil {
		return WithoutCluster(f, errors.New("the cluster's API gave nothing"))
	}
	out := *f
	out.Missing = maps.Clone(f.Missing)
	out.Cluster = facts
	for _, need := range clusterNeeds {
		delete(out.Missing, need)
		if why, ok := missing[need]; ok {
			out.Missing[need] = why
		}
	}
	if z, ok := c.(Configz); ok && out.Kubelet != nil && out.Kubelet.Process != nil {
		k := *out.Kubelet
		k.Live = liveConfig(ctx, z, f.Identity.Node)
		out.Kubelet = &k
	}
	for _, node := range facts.Nodes {
		if node.Name == f.Identity.Node && f.Kubelet != nil {
			k := *out.Kubelet
			k.Version = node.KubeletVersion
			out.Kubelet = &k
		}
	}
	return &out
}

func identify(n Node, live Live, f *harden.Facts) {
	read := func(p string) string {
		s, err := n.State(p)
		if err != nil || !s.Exists || s.Dir {
			return ""
		}
		return strings.TrimSpace(string(s.Data))
	}
	id := &f.Identity
	id.MachineID = read("/etc/machine-id")
	if block, _ := pem.Decode([]byte(read("/etc/kubernetes/pki/ca.crt"))); block != nil {
		sum := sha256.Sum256(block.Bytes)
		id.CADigest = hex.EncodeToString(sum[:])
	}
	id.Node = read("/etc/hostname")
	if live != nil {
		if h, err := live.Hostname(); err == nil {
			id.Node = h
		}
	}
	if f.Kubelet != nil {
		if o := f.Kubelet.Flag("hostname-override"); o.Set {
			id.Node = o.Last()
		}
	}
	id.Node = strings.ToLower(id.Node)
	if c := f.Component(harden.APIServer); c != nil && !c.Version.IsZero() {
		id.KubernetesVersion = c.Version.String()
	}
}

// WithoutCluster gives facts that say why the API could not be asked; f stays as it is.
func WithoutCluster(f *harden.Facts, why error) *harden.Facts {
	out := *f
	out.Missing = maps.Clone(f.Missing)
	for _, need := range clusterNeeds {
		out.Missing[need] = harden.Msg("%s", why.Error())
	}
	return &out
}
