package harden

import "time"

// ComponentID names a component as its process is named.
type ComponentID string

const (
	APIServer         ComponentID = "kube-apiserver"
	ControllerManager ComponentID = "kube-controller-manager"
	Scheduler         ComponentID = "kube-scheduler"
	Etcd              ComponentID = "etcd"
	Kubelet           ComponentID = "kubelet"
	// PacketFilter is no program: it is our own table of nftables, which a unit loads from a file.
	PacketFilter ComponentID = "packet-filter"
)

// What there is of the packet filter on a node.
const (
	FilterTable = "kubectl_harden" // of the family inet; nothing of any other table is ever touched
	FilterRules = "/etc/kubectl-harden/firewall.nft"
	FilterUnit  = "kubectl-harden-firewall.service"
)

// Component is what the engine knows of a component: data, so that another one is a row.
type Component struct {
	ID       ComponentID `json:"id"`
	Title    string      `json:"title"`
	Manifest string      `json:"manifest,omitempty"` // static pod file below the static pod directory
	Unit     string      `json:"unit,omitempty"`     // systemd unit
	Leases   []string    `json:"leases,omitempty"`   // in kube-system, renewed while it works
	// Order in which components are changed within a stage: of those that run the kubelet is last.
	Order int `json:"-"`
	// Canary: a second instance may run beside the live one to rehearse a change. Never of one that works by a lease.
	Canary bool `json:"-"`
	// GateOnly says what its usual rehearsal leaves to the gate.
	GateOnly Message `json:"-"`
}

// StaticPod says that the kubelet runs the component from a manifest.
func (c Component) StaticPod() bool { return c.Manifest != "" }

// Loads says that the component is a table of the packet filter, which is loaded and has no process.
func (c Component) Loads() bool { return c.ID == PacketFilter }

// effect is how a change of its files takes effect.
func (c Component) effect() EffectKind {
	switch {
	case c.StaticPod():
		return EffectStaticPod
	case c.Loads():
		return EffectTable
	}
	return EffectUnit
}

// Lease is a lease of leader election as it was read.
type Lease struct {
	Holder   string    `json:"holder"`
	Acquired time.Time `json:"acquired,omitzero"`
	Renewed  time.Time `json:"renewed,omitzero"`
}

// Same says that nothing has happened to a lease since.
func (l Lease) Same(o Lease) bool {
	return l.Holder == o.Holder && l.Acquired.Equal(o.Acquired) && l.Renewed.Equal(o.Renewed)
}

// CourtesyDuration is how long the lease holds, by which runs on several control planes wait for each other, after it was
// renewed last.
const CourtesyDuration = time.Minute

// ControlPlane is the API server of one control-plane node.
type ControlPlane struct {
	Node    string `json:"node"`
	Address string `json:"address"` // its own, with the port: 192.0.2.11:6443
	// Encrypts: its manifest names an encryption configuration.
	Encrypts bool `json:"encrypts,omitempty"`
}

// Components by the order in which they are changed.
var Components = []Component{
	{
		ID: APIServer, Title: "API server", Manifest: "kube-apiserver.yaml", Order: 1, Canary: true,
		GateOnly: Msg("whether it takes over the live one's address, port and audit log, and its clients come back"),
	},
	{
		ID: ControllerManager, Title: "controller manager", Manifest: "kube-controller-manager.yaml", Leases: []string{"kube-controller-manager"}, Order: 2,
		GateOnly: Msg("whether it starts with these flags and takes its lease; it cannot run twice"),
	},
	{
		ID: Scheduler, Title: "scheduler", Manifest: "kube-scheduler.yaml", Leases: []string{"kube-scheduler"}, Order: 3,
		GateOnly: Msg("whether it starts with these flags and takes its lease; it cannot run twice"),
	},
	{
		ID: Etcd, Title: "etcd", Manifest: "etcd.yaml", Order: 4,
		GateOnly: Msg("whether it starts with these flags and opens its data; it cannot run twice"),
	},
	{
		ID: Kubelet, Title: "kubelet", Unit: "kubelet.service", Order: 5,
		GateOnly: Msg("what it makes of values that are well-formed, and whether the node stays Ready; it cannot run twice"),
	},
	{
		ID: PacketFilter, Title: "packet filter", Unit: FilterUnit, Order: 6,
		GateOnly: Msg("whether what worked goes on; whether all who need this node are let through shows when they ask"),
	},
}

// ComponentByID finds a component.
func ComponentByID(id ComponentID) (Component, bool) {
	for _, c := range Components {
		if c.ID == id {
			return c, true
		}
	}
	return Component{}, false
}

// StaticPodDir is where kubeadm lets the kubelet look for static pods.
const StaticPodDir = "/etc/kubernetes/manifests"
