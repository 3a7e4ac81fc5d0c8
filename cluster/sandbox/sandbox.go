// Package sandbox is a cluster in memory for the demo and for tests: a kubeadm control-plane node, a network plugin that
// enforces policies, and a few teams' workloads. It has the methods of cluster.Client, keeps UIDs and resource versions as
// an API server does, and takes NetworkPolicies only when they would be taken there.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Fixture is what a sandbox cluster is made of. Everything but Identity may be left out. Its functions are called without any
// lock held, so they may call the cluster.
type Fixture struct {
	Identity harden.Identity // of its only node: node name, machine id, cluster CA and version
	// Kubelet is its version; left out: the API server's.
	Kubelet harden.Version
	Address string // of the node; left out: 192.0.2.11
	Now     func() time.Time
	// Config is the kubelet's live configuration; without it Configz fails.
	Config func() map[string]any
	// Ready is the kubelet's latest report; why is for when it is not ready. Left out: ready as of now.
	Ready func() (ready bool, heartbeat time.Time, why string)
	// ClusterConfiguration and KubeletConfiguration are the texts in kubeadm's ConfigMaps. Left out: of a kubeadm init without
	// extra arguments, and an empty one.
	ClusterConfiguration, KubeletConfiguration string
	// ProxyConfiguration is the text in kube-proxy's ConfigMap; left out: there is none.
	ProxyConfiguration string
	// Members are the control plane's static pods as they run now; left out: none is known.
	Members func() []harden.MemberFact
	// Answer is the API server's status for a path asked as the administrator. Left out: 200 for health, version, metrics and
	// APIs, else 404.
	Answer func(path, userAgent string) int
}

// Cluster is a cluster in memory. It is safe for concurrent use.
type Cluster struct {
	fixture Fixture

	mu      sync.Mutex
	down    bool
	version int // the newest resource version
	records map[harden.ObjectRef]record
	serving *harden.ServingRequest // the kubelet's, once it has asked
}

// record is an object and the fields of it that our field manager holds.
type record struct {
	Object objects.Object `json:"object"`
	Ours   []string       `json:"ours,omitempty"`
}

// New makes a cluster with its workloads.
func New(f Fixture) *Cluster {
	if f.Address == "" {
		f.Address = "192.0.2.11"
	}
	if f.Now == nil {
		f.Now = time.Now
	}
	if f.Ready == nil {
		f.Ready = func() (bool, time.Time, string) { return true, f.Now(), "" }
	}
	if f.Answer == nil {
		f.Answer = answer
	}
	version, err := harden.ParseVersion(f.Identity.KubernetesVersion)
	if err == nil && f.Kubelet.IsZero() {
		f.Kubelet = version
	}
	c := &Cluster{fixture: f, version: 1000, records: map[harden.ObjectRef]record{}}
	for _, o := range inventory(f) {
		c.store(o, nil)
	}
	return c
}

func answer(path, _ string) int {
	for _, known := range []string{"/healthz", "/livez", "/readyz", "/version", "/api", "/metrics"} {
		if path == known || strings.HasPrefix(path, known+"/") || strings.HasPrefix(path, known+"?") || strings.HasPrefix(path, known+"s/") {
			return 200
		}
	}
	return 404
}

// Down makes the API unreachable, as it is while the API server restarts, or reachable again.
func (c *Cluster) Down(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

const server = "https://sandbox:6443"

// enter takes the lock; what is done after it, is done at once. It fails when the API is down or nobody waits any more.
func (c *Cluster) enter(ctx context.Context, doing string) error {
	if err := ctx.Err(); err != nil {
		return &objects.Error{Doing: doing, Subject: server, Reason: objects.Failed, Cause: err}
	}
	c.mu.Lock()
	if c.down {
		c.mu.Unlock()
		return &objects.Error{Doing: doing, Subject: server, Reason: objects.Unreachable, Cause: errors.New("connection refused")}
	}
	return nil
}

// Identity is the cluster CA's digest and the API server's version.
func (c *Cluster) Identity(ctx context.Context) (caDigest string, version harden.Version, err error) {
	if err := c.enter(ctx, "asking for the cluster's version"); err != nil {
		return "", harden.Version{}, err
	}
	defer c.mu.Unlock()
	version, err = harden.ParseVersion(c.fixture.Identity.KubernetesVersion)
	return c.fixture.Identity.CADigest, version, err
}

// CheckIdentity refuses another cluster's node.
func (c *Cluster) CheckIdentity(ctx context.Context, node harden.Identity) error {
	const doing = "checking that this is the node's cluster"
	if err := c.enter(ctx, doing); err != nil {
		return err
	}
	defer c.mu.Unlock()
	refuse := func(format string, args ...any) error {
		return &objects.Error{Doing: doing, Subject: server, Reason: objects.Elsewhere, Cause: fmt.Errorf(format, args...)}
	}
	own := c.fixture.Identity
	switch {
	case node.CADigest != own.CADigest:
		return refuse("it is another cluster: its CA differs from the node's")
	case node.Node != own.Node:
		return refuse("it has no node %q", node.Node)
	case node.MachineID != own.MachineID:
		return refuse("its node %q is another machine", node.Node)
	}
	return nil
}

// NodeReady says whether the kubelet has reported the node ready since a time; where not, the reason.
func (c *Cluster) NodeReady(ctx context.Context, node string, since time.Time) (ready bool, reason string, err error) {
	const doing = "asking whether the node is ready"
	report := c.report()
	if err := c.enter(ctx, doing); err != nil {
		return false, "", err
	}
	defer c.mu.Unlock()
	r, ok := c.records[nodeRef(node)]
	if !ok {
		return false, "", notFound(doing, nodeRef(node))
	}
	n, err := as[objects.Node](r.Object)
	if err != nil {
		return false, "", err
	}
	n.Status.Conditions = []corev1.NodeCondition{report}
	ready, reason = n.ReadySince(since)
	return ready, reason, nil
}

// report is what the kubelet says of itself now. It is asked without the lock, as everything of the fixture: what is behind
// it may be taking the API down.
func (c *Cluster) report() corev1.NodeCondition {
	ready, heartbeat, why := c.fixture.Ready()
	out := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: why, LastHeartbeatTime: metav1.NewTime(heartbeat),
	}
	if !ready {
		out.Status, out.Reason = corev1.ConditionFalse, "KubeletNotReady"
	}
	return out
}

// Configz is the kubelet's live configuration.
func (c *Cluster) Configz(ctx context.Context, node string) (map[string]any, error) {
	const doing = "asking the kubelet for its configuration"
	if err := c.enter(ctx, doing); err != nil {
		return nil, err
	}
	_, ok := c.records[nodeRef(node)]
	c.mu.Unlock()
	if !ok || c.fixture.Config == nil {
		return nil, notFound(doing, nodeRef(node))
	}
	return c.fixture.Config(), nil
}

// AdminGet gives the API server's status for a path.
func (c *Cluster) AdminGet(ctx context.Context, path, userAgent string) (status int, err error) {
	if err := c.enter(ctx, "asking for "+path); err != nil {
		return 0, err
	}
	c.mu.Unlock()
	return c.fixture.Answer(path, userAgent), nil
}

// Readyz says that the API server is ready: a sandbox that answers is.
func (c *Cluster) Readyz(ctx context.Context) (ready bool, failing []string, err error) {
	if err := c.enter(ctx, "asking whether the API server is ready"); err != nil {
		return false, nil, err
	}
	defer c.mu.Unlock()
	return true, nil, nil
}

// ControlPlanes is its only node.
func (c *Cluster) ControlPlanes(ctx context.Context) ([]harden.ControlPlane, error) {
	if err := c.enter(ctx, "listing control planes"); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	return []harden.ControlPlane{{Node: c.fixture.Identity.Node, Address: c.fixture.Address + ":6443"}}, nil
}

// Encryption: nothing is stored in the sandbox, with a key or without.
func (c *Cluster) Encryption(ctx context.Context, _ harden.ControlPlane) (string, error) {
	if err := c.enter(ctx, "asking which encryption configuration the API server has read"); err != nil {
		return "", err
	}
	defer c.mu.Unlock()
	return "", nil
}

// AskAt knows the address of its only node.
func (c *Cluster) AskAt(ctx context.Context, address, path string) error {
	doing := "asking for " + path
	if err := c.enter(ctx, doing); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if address != c.fixture.Address+":6443" {
		return &objects.Error{Doing: doing, Subject: address, Reason: objects.Unreachable, Cause: errors.New("no route to host")}
	}
	return nil
}

// Working says that pods can be made in the namespaces and that the aggregated APIs answer: no policy is enforced here.
func (c *Cluster) Working(ctx context.Context, namespaces []string) (map[string]string, error) {
	if err := c.enter(ctx, "asking what works"); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	out := map[string]string{}
	for _, ns := range append([]string{"kube-system"}, namespaces...) {
		out["pods can be made in "+ns] = ""
	}
	each(c, "APIService", func(a objects.APIService) {
		if _, aggregated := a.Fact(); aggregated {
			out["the aggregated API "+a.Meta.Name+" answers"] = ""
		}
	})
	return out, nil
}

// Endpoints is the address of its only node.
func (c *Cluster) Endpoints(ctx context.Context) ([]string, error) {
	if err := c.enter(ctx, "listing endpoints of the API"); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	return []string{c.fixture.Address + ":6443"}, nil
}

// Leases of the components are renewed all the time, by its only node.
func (c *Cluster) Leases(ctx context.Context) (map[string]harden.Lease, error) {
	if err := c.enter(ctx, "listing leases"); err != nil {
		return nil, err
	}
	c.mu.Unlock()
	out := map[string]harden.Lease{}
	for _, component := range harden.Components {
		for _, lease := range component.Leases {
			out[lease] = harden.Lease{Holder: c.fixture.Identity.Node + "_sandbox", Renewed: c.fixture.Now()}
		}
	}
	return out, nil
}

// Facts reads what the needs call for; needs that are not the cluster's are passed over.
func (c *Cluster) Facts(ctx context.Context, needs []harden.Need) (*harden.ClusterFacts, map[harden.Need]harden.Message) {
	facts, missing := &harden.ClusterFacts{}, map[harden.Need]harden.Message{}
	report, asks := c.report(), c.bootstraps()
	fail := func(need harden.Need, err error) {
		missing[need] = harden.Msg("the API server does not answer: %s", err.Error())
	}
	if err := c.enter(ctx, "listing objects"); err != nil {
		for _, need := range needs {
			if slices.Contains([]harden.Need{harden.NeedNodes, harden.NeedWorkloads, harden.NeedTokens, harden.NeedKubeadm, harden.NeedKubelets, harden.NeedKeys, harden.NeedKubeProxy}, need) {
				fail(need, err)
			}
		}
		return facts, missing
	}
	defer c.mu.Unlock()
	facts.Version, _ = harden.ParseVersion(c.fixture.Identity.KubernetesVersion)
	for _, need := range needs {
		var err error
		switch need {
		case harden.NeedNodes:
			err = c.readNodes(facts, report)
		case harden.NeedWorkloads:
			err = c.readWorkloads(facts)
		case harden.NeedTokens:
			facts.StaleTokens = new(float64)
		case harden.NeedKubeadm:
			err = c.readKubeadm(facts)
		case harden.NeedKubelets:
			err = c.readKubelets(facts, asks)
		case harden.NeedKubeProxy:
			err = c.readKubeProxy(facts)
		}
		if err != nil {
			fail(need, err)
		}
	}
	return facts, missing
}

func notFound(doing string, ref harden.ObjectRef) error {
	return &objects.Error{Doing: doing, Subject: ref.String(), Reason: objects.NotFound, Cause: errors.New("there is none")}
}

func nodeRef(name string) harden.ObjectRef {
	return harden.ObjectRef{APIVersion: "v1", Kind: "Node", Name: name}
}
