package harden

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// KubeadmFact is what kubeadm renders nodes from: the ClusterConfiguration in the ConfigMap kubeadm-config, and the kubelet's
// configuration in kubelet-config.
type KubeadmFact struct {
	APIVersion      string `json:"apiVersion"` // "kubeadm.k8s.io/v1beta4"
	CertificatesDir string `json:"certificatesDir,omitempty"`
	ExternalEtcd    bool   `json:"externalEtcd,omitempty"`
	// FeatureGates are kubeadm's own.
	FeatureGates map[string]bool `json:"featureGates,omitempty"`
	// ExtraArgs by component, in their order; a flag may be there twice.
	ExtraArgs    map[ComponentID][]KubeadmArg    `json:"extraArgs,omitempty"`
	ExtraVolumes map[ComponentID][]KubeadmVolume `json:"extraVolumes,omitempty"`
	// The texts as they are.
	ClusterConfiguration string `json:"clusterConfiguration,omitempty"`
	KubeletConfiguration string `json:"kubeletConfiguration,omitempty"`
	// KubeletFields is the second of them, decoded; nil where it cannot be.
	KubeletFields map[string]any `json:"kubeletFields,omitempty"`
}

// KubeadmVolume is an entry of extraVolumes. Etcd has none.
type KubeadmVolume struct {
	Name      string `json:"name"`
	HostPath  string `json:"hostPath"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	PathType  string `json:"pathType,omitempty"`
}

// KubeadmArg is an entry of extraArgs.
type KubeadmArg struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// MergeMethod joins the value to kubeadm's own: "append" or "prepend" (kubeadm.k8s.io/v1). Empty: it replaces that.
	MergeMethod string `json:"mergeMethod,omitempty"`
}

// KubeadmConfigSource names the ConfigMap in evidence.
const KubeadmConfigSource = "ConfigMap kube-system/kubeadm-config"

// kubeadmDefaults are flags that kubeadm writes with the same value on every node; a path is below its certificates folder
// (cmd/kubeadm/app/phases/controlplane/manifests.go, phases/etcd/local.go; 1.29 to 1.37).
var kubeadmDefaults = map[ComponentID]map[string]string{
	APIServer: {
		"authorization-mode": "Node,RBAC", "enable-admission-plugins": "NodeRestriction", "allow-privileged": "true",
		"enable-bootstrap-token-auth": "true", "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
		"client-ca-file": "./ca.crt", "tls-cert-file": "./apiserver.crt", "tls-private-key-file": "./apiserver.key",
		"kubelet-client-certificate": "./apiserver-kubelet-client.crt", "kubelet-client-key": "./apiserver-kubelet-client.key",
		"service-account-key-file": "./sa.pub", "service-account-signing-key-file": "./sa.key",
		"etcd-cafile": "./etcd/ca.crt", "etcd-certfile": "./apiserver-etcd-client.crt", "etcd-keyfile": "./apiserver-etcd-client.key",
		"requestheader-allowed-names": "front-proxy-client", "requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers": "X-Remote-Group", "requestheader-username-headers": "X-Remote-User",
		"requestheader-client-ca-file": "./front-proxy-ca.crt", "proxy-client-cert-file": "./front-proxy-client.crt",
		"proxy-client-key-file": "./front-proxy-client.key",
	},
	ControllerManager: {
		"allocate-node-cidrs": "true", "bind-address": "127.0.0.1", "controllers": "*,bootstrapsigner,tokencleaner", "leader-elect": "true",
		"use-service-account-credentials": "true", "client-ca-file": "./ca.crt", "requestheader-client-ca-file": "./front-proxy-ca.crt",
		"root-ca-file": "./ca.crt", "service-account-private-key-file": "./sa.key",
	},
	Scheduler: {"bind-address": "127.0.0.1", "leader-elect": "true"},
	Etcd: {
		"cert-file": "./etcd/server.crt", "key-file": "./etcd/server.key", "trusted-ca-file": "./etcd/ca.crt", "client-cert-auth": "true",
		"peer-cert-file": "./etcd/peer.crt", "peer-key-file": "./etcd/peer.key", "peer-trusted-ca-file": "./etcd/ca.crt",
		"peer-client-cert-auth": "true", "snapshot-count": "10000", "watch-progress-notify-interval": "5s",
		"experimental-initial-corrupt-check": "true", "experimental-watch-progress-notify-interval": "5s",
	},
}

// kubeadmOwn are flags whose value kubeadm makes for each node or takes from elsewhere, so that they cannot be compared.
var kubeadmOwn = map[ComponentID][]string{
	APIServer: {"advertise-address", "etcd-servers", "secure-port", "service-account-issuer", "service-cluster-ip-range"},
	ControllerManager: {
		"authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig", "cluster-cidr", "cluster-name", "service-cluster-ip-range",
		"cluster-signing-cert-file", "cluster-signing-key-file",
	},
	Scheduler: {"authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig"},
	Etcd: {
		"listen-metrics-urls", "feature-gates", "listen-client-urls", "listen-peer-urls", "initial-cluster", "initial-cluster-state",
		"advertise-client-urls", "initial-advertise-peer-urls", "data-dir", "name",
	},
}

// Flag is what kubeadm would write for the component. ok is false where that is made for each node.
func (k *KubeadmFact) Flag(c ComponentID, name string) (f FlagFact, ok bool) {
	f.Source = KubeadmConfigSource
	before, after := "", ""
	for _, a := range k.ExtraArgs[c] {
		switch {
		case a.Name != name:
		case a.MergeMethod == "prepend":
			before = a.Value + before
		case a.MergeMethod == "append":
			after += a.Value
		default:
			f.Set = true
			f.Values = append(f.Values, a.Value)
		}
	}
	if f.Set {
		return f, true
	}
	if slices.Contains(kubeadmOwn[c], name) || k.ExternalEtcd && strings.HasPrefix(name, "etcd-") {
		return f, false
	}
	if name == "authorization-mode" && slices.ContainsFunc(k.ExtraArgs[c], func(a KubeadmArg) bool { return a.Name == "authorization-config" }) {
		return f, true
	}
	if v, has := kubeadmDefaults[c][name]; has {
		if rest, below := strings.CutPrefix(v, "./"); below {
			v = path.Join(k.CertificatesDir, rest)
		}
		f.Set, f.Values = true, []string{before + v + after}
	}
	return f, true
}

// disagreements are evidence that the running process, the manifest and kubeadm's configuration say different things about
// a flag of the control. What is in the evidence already is not said twice.
func disagreements(f *Facts, control Control, said []Evidence) []Evidence {
	c := f.Component(control.Component)
	var out []Evidence
	add := func(e Evidence) {
		if !slices.Contains(said, e) && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	for _, name := range control.Flags {
		live, file := c.Flag(name), c.FileFlag(name)
		if c.Process != nil && !sameFlag(live, file) {
			add(live.Evidence(name))
			add(file.Evidence(name))
		}
		if f.Cluster == nil || f.Cluster.Kubeadm == nil {
			continue
		}
		kept, comparable := f.Cluster.Kubeadm.Flag(control.Component, name)
		if comparable && !sameFlag(kept, file) {
			add(file.Evidence(name))
			add(Evidence{kept.Source, fmt.Sprintf("%s, and kubeadm upgrade writes the manifest from here", kept.Evidence(name).Value)})
		}
	}
	return out
}

// sameFlag compares what two places say of a flag; repeats of a list are one list.
func sameFlag(a, b FlagFact) bool {
	return a.Set == b.Set && strings.Join(a.Values, ",") == strings.Join(b.Values, ",")
}
