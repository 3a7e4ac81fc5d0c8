package harden

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Need names a group of facts that is read, or missing, as a whole.
type Need string

const (
	// Of a static pod: its manifest, decoded, its process where one runs, and the files that its flags name.
	NeedAPIServer         Need = "kube-apiserver"
	NeedControllerManager Need = "kube-controller-manager"
	NeedScheduler         Need = "kube-scheduler"
	NeedEtcd              Need = "etcd"
	// NeedStaticPods is all that lies in the kubelet's static pod directory.
	NeedStaticPods Need = "static-pods"

	NeedKubelet   Need = "kubelet"             // its configuration in all layers
	NeedSysctls   Need = "sysctls"             // kernel settings and the files that make them persistent
	NeedNodes     Need = "nodes"               // cluster: Node objects
	NeedWorkloads Need = "workloads"           // cluster: namespaces, pods, services, policies, webhooks
	NeedTokens    Need = "service-account-use" // cluster: API server metrics about stale tokens
	NeedKubeadm   Need = "kubeadm-config"      // cluster: what kubeadm renders nodes from, and what the members run
	NeedKubelets  Need = "kubelet-serving"     // cluster: the certificates that kubelets serve with
)

// Facts is what was observed of a node and its cluster: a plain value, JSON in and out. Controls only read it.
type Facts struct {
	Identity    Identity                        `json:"identity"`
	CollectedAt time.Time                       `json:"collectedAt"`
	Distro      Distro                          `json:"distribution"` // other than kubeadm: assess only
	Role        Role                            `json:"role,omitempty"`
	Components  map[ComponentID]*ComponentFacts `json:"components,omitempty"`
	Kubelet     *KubeletFacts                   `json:"kubelet,omitempty"`
	// KubeadmRuns are the processes of kubeadm, whatever they do.
	KubeadmRuns []ProcessFact `json:"kubeadmRuns,omitempty"`
	// KubeProxies are the processes of kube-proxy, those in containers that are nodes of other clusters too.
	KubeProxies []ProcessFact `json:"kubeProxies,omitempty"`
	// LookedFor are the marks by which nodes are recognised, until the first that was found.
	LookedFor []Evidence `json:"lookedFor,omitempty"`
	// StaticPods are the files of the static pod directory that the kubelet reads, by name.
	StaticPods []StaticPodFact `json:"staticPods,omitempty"`
	// Files that flags and fields refer to, by their path on the host.
	Files map[string]FileFact `json:"files,omitempty"`
	// NamedFiles are those that the API server's configurations name in turn.
	NamedFiles []NamedFile `json:"namedFiles,omitempty"`
	// Sysctls are live kernel settings ("vm.overcommit_memory").
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// SysctlFiles are the settings from sysctl.d in the order in which they are loaded, and those of SysctlConf after them; the last
	// one of a key wins.
	SysctlFiles []SysctlSetting `json:"sysctlFiles,omitempty"`
	// Machine is the running machine; nil of an offline root.
	Machine *MachineFact `json:"machine,omitempty"`
	// Disks by the path that was asked for.
	Disks map[string]DiskFact `json:"disks,omitempty"`
	// Stats are owners and modes of host files, by path; see Stat.
	Stats       map[string]StatFact `json:"stats,omitempty"`
	Kubeconfigs []KubeconfigFact    `json:"kubeconfigs,omitempty"`
	Listeners   []ListenerFact      `json:"listeners,omitempty"`
	Firewall    *FirewallFact       `json:"firewall,omitempty"`
	// Workloads are the containers that run on this node.
	Workloads []WorkloadFact `json:"workloads,omitempty"`
	// Runtime is how the container runtime is configured; nil where it was not asked or did not tell.
	Runtime    *RuntimeFact    `json:"runtime,omitempty"`
	Registries *RegistriesFact `json:"registries,omitempty"`
	Modules    *ModulesFact    `json:"modules,omitempty"` // nil of an offline root
	// Waivers are what operators have decided to live with.
	Waivers []Waiver `json:"waivers,omitempty"`
	// Applied are the transactions of this node that stand, oldest first.
	Applied      []AppliedFact     `json:"applied,omitempty"`
	Certificates []CertificateFact `json:"certificates,omitempty"`
	Cluster      *ClusterFacts     `json:"cluster,omitempty"`
	// Encryption is nil where the API server is given no encryption configuration.
	Encryption *EncryptionFact `json:"encryption,omitempty"`
	// UnusedEncryption is where an encryption configuration lies that no API server is given; "": there is none.
	UnusedEncryption string `json:"unusedEncryption,omitempty"`
	// IncomingEncryption is a copy of another control plane's encryption configuration, which the operator has put there to be taken over.
	IncomingEncryption *EncryptionFact `json:"incomingEncryption,omitempty"`
	// AuditWebhook is nil where the API server sends no audit events away.
	AuditWebhook *AuditWebhookFact `json:"auditWebhook,omitempty"`
	// AuditReceivers are the kubeconfigs in AuditWebhookDir, which the operator has put there to be used.
	AuditReceivers []AuditWebhookFact `json:"auditReceivers,omitempty"`
	// Missing says why a group of facts could not be read. A group that is not here is known.
	Missing map[Need]Message `json:"missing,omitempty"`
}

// EncryptionFact is the API server's encryption configuration, without its keys.
type EncryptionFact struct {
	Path   string           `json:"path"`
	Unread Message          `json:"unread,omitzero"`
	Rules  []EncryptionRule `json:"rules,omitempty"`
	SHA256 string           `json:"sha256,omitempty"` // of the whole file, to tell a copy of it by
	// Open: others than root can read it, or change it.
	Open bool `json:"open,omitempty"`
	// Ours is its shape, without its keys, where this program wrote it; nil: somebody else did.
	Ours *EncryptionConfig `json:"ours,omitempty"`
	// Secrets is how they lie in etcd; nil where that was not looked at.
	Secrets *StoredFact `json:"secrets,omitempty"`
}

// StoredFact is how objects of one kind lie in etcd.
type StoredFact struct {
	Looked int `json:"looked"`
	Plain  int `json:"plain"` // of those, in plain text
	// More: there are more than were looked at.
	More bool `json:"more,omitempty"`
	// Unread says why none was seen.
	Unread Message `json:"unread,omitzero"`
}

// Evidence is what was seen of them, which people call what: "Secrets".
func (s StoredFact) Evidence(what string) Evidence {
	e := Evidence{Source: "etcd, " + what}
	switch {
	case !s.Unread.IsZero():
		e.Value = "not looked at: " + s.Unread.String()
	case s.More:
		e.Value = fmt.Sprintf("%d of the first %d in plain text; the rest was not looked at", s.Plain, s.Looked)
	default:
		e.Value = fmt.Sprintf("%d of %d in plain text", s.Plain, s.Looked)
	}
	return e
}

// EncryptionRule says for some resources which kinds of providers are asked, in order; the first one writes.
type EncryptionRule struct {
	Resources []string `json:"resources"`
	Providers []string `json:"providers"`
}

// Identity is which node of which cluster was observed; a plan carries it and is refused elsewhere.
type Identity struct {
	Node              string `json:"node"`
	MachineID         string `json:"machineID"`
	CADigest          string `json:"caDigest"` // sha256 of the cluster CA certificate in the node's pki folder
	KubernetesVersion string `json:"kubernetesVersion"`
	Root              string `json:"root"`
	Offline           bool   `json:"offline"`
}

// FileFact is a file as it was read.
type FileFact struct {
	Path  string `json:"path"`
	State State  `json:"state"`
	// Unread says why the file could not be read, or refers to nothing that may be read.
	Unread Message `json:"unread,omitzero"`
}

// ComponentFacts are about one static pod.
type ComponentFacts struct {
	ID       ComponentID `json:"id"`
	Manifest FileFact    `json:"manifest"`
	// Pod is the manifest, decoded; Container is the component's own one in it.
	Pod       *corev1.Pod `json:"pod,omitempty"`
	Container string      `json:"container,omitempty"`
	// Args are command and args of the manifest's container, in order, as the kubelet expands them; Unknown are names in them whose
	// values are not in the manifest.
	Args    []string `json:"args,omitempty"`
	Unknown []string `json:"unknown,omitempty"`
	// Process is the live instance, nil where none was seen (or none can be: offline).
	Process *ProcessFact `json:"process,omitempty"`
	// Rivals are other files in the static pod directory that define the same pod; the last by name wins.
	Rivals []string `json:"rivals,omitempty"`
	// Effective is the path of the file that the kubelet obeys.
	Effective string  `json:"effective,omitempty"`
	Version   Version `json:"version"`
}

// StaticPodFact is a file of the static pod directory and the pod that it defines.
type StaticPodFact struct {
	Path      string `json:"path"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Component that the pod runs, if it is one.
	Component ComponentID `json:"component,omitempty"`
	// Broken says why it defines no pod.
	Broken Message `json:"broken,omitzero"`
}

// ProcessFact is a live process.
type ProcessFact struct {
	PID       int       `json:"pid"`
	Args      []string  `json:"args"`
	Started   time.Time `json:"started"`
	Container string    `json:"container,omitempty"`
	Resident  uint64    `json:"resident,omitempty"` // bytes of memory that it holds; 0: not known
}

// KubeletFacts are about the kubelet's configuration.
type KubeletFacts struct {
	Version Version `json:"version"`
	// Config is the file given by --config, with the drop-ins of --config-dir after it.
	Config  FileFact   `json:"config"`
	DropIns []FileFact `json:"dropIns,omitempty"`
	// Layers from the weakest to the strongest: file, drop-ins, flags. Values are as decoded from YAML.
	Layers []KubeletLayer `json:"layers,omitempty"`
	// Process is the live kubelet, nil where none was seen.
	Process *ProcessFact `json:"process,omitempty"`
	// Live is the configuration that the running kubelet has, by its /configz through the API server; nil where it was not asked.
	Live map[string]any `json:"live,omitempty"`
	// EnvFiles that the unit reads, in order, with the variable that holds flags.
	EnvFiles []EnvFileFact `json:"envFiles,omitempty"`
	// Args is the kubelet's command line as the unit and its environment files would start it.
	Args []string `json:"args,omitempty"`
	// Decode says what a strict decoder refuses in Config.
	Decode string `json:"decode,omitempty"`
	// PeakPids is the largest number of processes seen in one pod; -1 where it could not be read.
	PeakPids int `json:"peakPids"`
	// ServingKey is the kind of key of the serving certificate: "RSA", "ECDSA" or "".
	ServingKey    string `json:"servingKey,omitempty"`
	StaticPodPath string `json:"staticPodPath,omitempty"`
	// CgroupVersion of the running machine: 1, 2, or 0 where it was not looked at.
	CgroupVersion int `json:"cgroupVersion,omitempty"`
	// UnitFiles are the unit and its drop-ins, where the files below the root have any.
	UnitFiles []string `json:"unitFiles,omitempty"`
}

// KubeletLayer is one source of kubelet configuration.
type KubeletLayer struct {
	Source string         `json:"source"` // a path, or "flag --read-only-port in /etc/default/kubelet"
	Fields map[string]any `json:"fields"`
}

// EnvFileFact is an environment file of the kubelet's unit.
type EnvFileFact struct {
	File     FileFact `json:"file"`
	Variable string   `json:"variable"` // KUBELET_KUBEADM_ARGS, KUBELET_EXTRA_ARGS
}

// SysctlConf is what "sysctl --system" reads last and systemd does not read at boot, but through a link in a sysctl.d directory.
const SysctlConf = "/etc/sysctl.conf"

// SysctlSetting is a line of a sysctl file.
type SysctlSetting struct {
	Path  string `json:"path"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// MachineFact is what the running machine has for a rehearsal.
type MachineFact struct {
	MemAvailable uint64 `json:"memAvailable"` // bytes that can be had without swapping
	Systemd      bool   `json:"systemd"`      // it runs the machine
	// Images is where the container runtime keeps images, and ImagesUsed the percentage of that file system that the kubelet takes for
	// used. "" where it is not told.
	Images     string `json:"images,omitempty"`
	ImagesUsed int    `json:"imagesUsed,omitempty"`
}

// DiskFact is the space of a file system.
type DiskFact struct {
	Path string `json:"path"`
	Free uint64 `json:"free"` // bytes that root can still write
	// Logs are the bytes that audit logs take there.
	Logs uint64 `json:"logs,omitempty"`
}

// ClusterFacts are what the API showed, already proven to be this node's own cluster (promise 15).
type ClusterFacts struct {
	Version     Version          `json:"version"`
	Nodes       []NodeFact       `json:"nodes,omitempty"`
	Namespaces  []NamespaceFact  `json:"namespaces,omitempty"`
	Pods        []PodFact        `json:"pods,omitempty"`
	Templates   []TemplateFact   `json:"templates,omitempty"`
	Services    []ServiceFact    `json:"services,omitempty"`
	Policies    []PolicyFact     `json:"networkPolicies,omitempty"`
	Webhooks    []WebhookFact    `json:"webhooks,omitempty"`
	APIServices []APIServiceFact `json:"apiServices,omitempty"`
	DaemonSets  []DaemonSetFact  `json:"daemonSets,omitempty"`
	// Members are the control plane's static pods of all nodes, as their mirror pods show them.
	Members []MemberFact `json:"members,omitempty"`
	// StaleTokens is the API server's serviceaccount_stale_tokens_total since it started; nil when not read.
	StaleTokens *float64 `json:"staleTokens,omitempty"`
	// KubeletServing is how each node's kubelet proves itself to the API server.
	KubeletServing []KubeletServingFact `json:"kubeletServing,omitempty"`
	// Keys are what the API servers of several control planes encrypt with; empty where there is but one.
	Keys []KeyFact `json:"keys,omitempty"`
	// Kubeadm is nil where it was not read, or is not there.
	Kubeadm *KubeadmFact `json:"kubeadm,omitempty"`
	// KubeProxy is nil where it was not read, or is not there.
	KubeProxy *KubeProxyFact `json:"kubeProxy,omitempty"`
}

// MemberFact is a mirror pod of the control plane.
type MemberFact struct {
	Node      string      `json:"node"`
	Component ComponentID `json:"component"`
	Args      []string    `json:"args"` // command and args of the component's container
	Ready     bool        `json:"ready"`
}

// NodeFact is a Node object.
type NodeFact struct {
	Name           string   `json:"name"`
	MachineID      string   `json:"machineID"`
	KubeletVersion Version  `json:"kubeletVersion"`
	ControlPlane   bool     `json:"controlPlane"`
	Ready          bool     `json:"ready"`
	Addresses      []string `json:"addresses,omitempty"`
	PodCIDRs       []string `json:"podCIDRs,omitempty"` // given to the node for its pods; some network plugins go by others
}

// NodeAddress is an address of a Node with its type: "InternalIP", "Hostname".
type NodeAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// KubeletServingFact is the certificate that a node's kubelet serves with.
type KubeletServingFact struct {
	Node string `json:"node"`
	// NodeAddresses in the Node's order: the API server takes the first one of the type that it prefers.
	NodeAddresses []NodeAddress `json:"nodeAddresses,omitempty"`
	Address       string        `json:"address,omitempty"` // with the port, where it was asked
	// Unread says why its certificate could not be seen.
	Unread Message `json:"unread,omitzero"`
	// Problem says why it does not prove itself to a client that trusts the cluster's CA; names are not part of it.
	Problem Message `json:"problem,omitzero"`
	// DNSNames and Addresses are what the certificate is for.
	DNSNames  []string `json:"dnsNames,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
}

// NamespaceFact is a Namespace.
type NamespaceFact struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels,omitempty"`
	Terminating bool              `json:"terminating,omitempty"`
}

// PodFact is a Pod that is neither succeeded nor failed.
type PodFact struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	Owner       string            `json:"owner,omitempty"` // "Deployment/web", "StatefulSet/db"
	Labels      map[string]string `json:"labels,omitempty"`
	HostNetwork bool              `json:"hostNetwork,omitempty"`
	Node        string            `json:"node,omitempty"`
	Ports       []PortFact        `json:"ports,omitempty"`   // declared container ports
	Scraped     bool              `json:"scraped,omitempty"` // annotated prometheus.io/scrape=true
	PodSecurity PodSecurityFact   `json:"podSecurity,omitzero"`
	Images      []ImageFact       `json:"images,omitempty"`
	// RuntimeClass is by what name a pod asks for another runtime.
	RuntimeClass string `json:"runtimeClass,omitempty"`
}

// TemplateFact is what makes pods: a Deployment, StatefulSet, DaemonSet or CronJob, whether or not any runs now.
type TemplateFact struct {
	Namespace   string          `json:"namespace"`
	Owner       string          `json:"owner"` // "Deployment/web"
	PodSecurity PodSecurityFact `json:"podSecurity"`
	Images      []ImageFact     `json:"images,omitempty"`
}

// Levels of the Pod Security Standards.
const (
	PodSecurityPrivileged = "privileged"
	PodSecurityBaseline   = "baseline"
	PodSecurityRestricted = "restricted"
)

// PodSecurityFact is the strictest level of the Pod Security Standards that a pod keeps.
type PodSecurityFact struct {
	Level string   `json:"level,omitempty"` // "" where it was not judged
	Why   []string `json:"why,omitempty"`   // it does not keep the next one
}

// ImageFact is the image of a container, with its pull policy: "Always", "IfNotPresent", "Never" or "".
type ImageFact struct {
	Image      string `json:"image"`
	PullPolicy string `json:"pullPolicy,omitempty"`
}

// PortFact is a declared port.
type PortFact struct {
	Name     string          `json:"name,omitempty"`
	Port     int32           `json:"port"`
	Protocol corev1.Protocol `json:"protocol"`
	HostPort int32           `json:"hostPort,omitempty"`
}

// ServiceFact is a Service.
type ServiceFact struct {
	Namespace string             `json:"namespace"`
	Name      string             `json:"name"`
	Type      corev1.ServiceType `json:"type"`
	Selector  map[string]string  `json:"selector,omitempty"`
	Ports     []ServicePortFact  `json:"ports,omitempty"`
	// ExternalIPs are addresses from outside the cluster that the Service takes for itself.
	ExternalIPs []string `json:"externalIPs,omitempty"`
}

// ServicePortFact is a port of a Service.
type ServicePortFact struct {
	Name       string             `json:"name,omitempty"`
	Port       int32              `json:"port"`
	TargetPort intstr.IntOrString `json:"targetPort"`
	Protocol   corev1.Protocol    `json:"protocol"`
	NodePort   int32              `json:"nodePort,omitempty"`
}

// PolicyFact is a NetworkPolicy.
type PolicyFact struct {
	Namespace string                         `json:"namespace"`
	Name      string                         `json:"name"`
	Ours      bool                           `json:"ours,omitempty"` // labelled app.kubernetes.io/managed-by: kubectl-harden
	Spec      networkingv1.NetworkPolicySpec `json:"spec"`
}

// WebhookFact is a webhook or conversion endpoint that the API server calls.
type WebhookFact struct {
	Kind       string `json:"kind"` // ValidatingWebhookConfiguration, MutatingWebhookConfiguration, CustomResourceDefinition
	Name       string `json:"name"`
	Namespace  string `json:"namespace,omitempty"` // of the Service, empty for a URL
	Service    string `json:"service,omitempty"`
	Port       int32  `json:"port,omitempty"` // of the Service
	URL        string `json:"url,omitempty"`
	FailClosed bool   `json:"failClosed,omitempty"` // failurePolicy Fail
}

// APIServiceFact is an aggregated API served from a Service.
type APIServiceFact struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	Port      int32  `json:"port"`
}

// DaemonSetFact is what network plugins are recognised by.
type DaemonSetFact struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Images    []string `json:"images,omitempty"`
}
