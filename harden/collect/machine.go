package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// marks are paths that only one way of setting a node up makes, those of other distributions first: some of them have parts of
// kubeadm's too. Each is in the distribution's own sources: in the files named here, as they were in August 2026.
var marks = []struct {
	path   string
	distro harden.Distro
	// says narrows a mark to a file that holds this text.
	says string
}{
	{path: "/etc/rancher/k3s", distro: harden.K3s},                          // k3s-io/k3s install.sh, which also takes it away
	{path: "/var/lib/rancher/k3s", distro: harden.K3s},                      // the same; --data-dir can move it
	{path: "/etc/systemd/system/k3s.service", distro: harden.K3s},           // the same
	{path: "/etc/systemd/system/k3s-agent.service", distro: harden.K3s},     // the same
	{path: "/etc/rancher/rke2", distro: harden.RKE2},                        // rancher/rke2 pkg/podtemplate/types.go, bundle/bin/rke2-uninstall.sh
	{path: "/var/lib/rancher/rke2", distro: harden.RKE2},                    // pkg/cli/cmds/server.go
	{path: "/var/snap/microk8s", distro: harden.MicroK8s},                   // canonical/microk8s snap/snapcraft.yaml: snapd's place for its data
	{path: "/etc/k0s", distro: harden.K0s},                                  // k0sproject/k0s pkg/constant/constant_unix.go
	{path: "/var/lib/k0s", distro: harden.K0s},                              // the same; --data-dir can move it
	{path: "/etc/systemd/system/k0scontroller.service", distro: harden.K0s}, // docs/k0s-multi-node.md
	{path: "/etc/systemd/system/k0sworker.service", distro: harden.K0s},     // the same
	{path: "/etc/kubernetes/kubeconfig-kubelet", distro: harden.Talos},      // siderolabs/talos pkg/machinery/constants/constants.go, KubeletKubeconfig
	{path: "/system/state/config.yaml", distro: harden.Talos},               // the same, StateMountPoint and ConfigFilename
	{path: "/etc/machine-config-daemon", distro: harden.OpenShift},          // openshift/machine-config-operator pkg/daemon/daemon.go
	{path: "/etc/eks", distro: harden.EKS},                                  // awslabs/amazon-eks-ami nodeadm/internal/kubelet/environment.go
	{path: "/home/kubernetes/bin/kubelet", distro: harden.GKE},              // kubernetes/kubernetes cluster/gce/gci/configure.sh, KUBE_BIN
	{path: "/opt/azure/containers", distro: harden.AKS},                     // Azure/AgentBaker parts/linux/cloud-init/artifacts/kubelet.service
	{path: "/var/lib/kubelet/kubeadm-flags.env", distro: harden.Kubeadm},    // kubeadm's app/constants, KubeletEnvFileName
	// Others call their manifest so too (poseidon/typhoon); kubeadm's has its annotation on it, by which it finds the address again.
	{path: apiServerManifest, distro: harden.Kubeadm, says: "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint"},
	{path: apiServerManifest, distro: harden.OtherDistro},
	{path: "/var/lib/kubelet/config.yaml", distro: harden.OtherDistro},
	{path: "/etc/kubernetes/kubelet.conf", distro: harden.OtherDistro},
}

const apiServerManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"

// openMarks are of kubeadm's nodes, and can be read by everybody: by them goes who may not look at the others.
var openMarks = []string{
	"/etc/kubernetes/pki/ca.crt", "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
}

// recognise says who set the node up, and what was looked for to say so.
func recognise(n Node, live Live, running processes, f *harden.Facts) error {
	var first error
	for _, m := range marks {
		s, err := n.State(m.path)
		if err != nil && first == nil {
			first = err
		}
		value := harden.LookedMissing
		if errors.Is(err, fs.ErrPermission) {
			value = harden.LookedDenied
		}
		if s.Exists && strings.Contains(string(s.Data), m.says) {
			f.Distro, f.LookedFor = m.distro, append(f.LookedFor, harden.Evidence{Source: m.path, Value: harden.LookedFound})
			return nil
		}
		if !s.Exists && m.says == "" {
			f.LookedFor = append(f.LookedFor, harden.Evidence{Source: m.path, Value: value})
		}
	}
	if errors.Is(first, fs.ErrPermission) {
		for _, p := range openMarks {
			if s, err := n.State(p); err == nil && s.Exists {
				f.Distro, f.LookedFor = harden.Kubeadm, append(f.LookedFor, harden.Evidence{Source: p, Value: harden.LookedFound})
				return nil
			}
		}
	}
	if first != nil {
		return fmt.Errorf("recognising the node: %w", first)
	}
	f.Distro = harden.NoKubernetes
	if live == nil {
		return nil
	}
	const source = "a process kubelet"
	if p := running.newest(harden.Kubelet); p != nil {
		f.Distro, f.LookedFor = harden.OtherDistro, append(f.LookedFor, harden.Evidence{Source: source, Value: harden.LookedFound})
		return nil
	}
	f.LookedFor = append(f.LookedFor, harden.Evidence{Source: source, Value: harden.LookedMissing})
	return nil
}

// noteStopped says of a node that runs no control plane and has the files of one that its static pods are not known: somebody has
// moved their manifests aside, which makes no worker of it.
func noteStopped(f *harden.Facts) {
	for _, p := range []string{"/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/etcd/server.crt"} {
		if _, there := f.Stat(p); !there || len(f.Components) > 0 {
			continue
		}
		for _, c := range harden.Components {
			if _, known := f.Missing[harden.Need(c.ID)]; c.StaticPod() && !known {
				f.Missing[harden.Need(c.ID)] = harden.Msg("no manifest defines it, and %s is a control plane's", p)
			}
		}
	}
}

// role of the node, by the static pods that it has.
func role(f *harden.Facts) harden.Role {
	for _, c := range harden.Components {
		if c.StaticPod() && f.Components[c.ID] != nil {
			return harden.RoleControlPlane
		}
	}
	_, unknown := f.Missing[harden.NeedStaticPods]
	for _, c := range harden.Components {
		_, missing := f.Missing[harden.Need(c.ID)]
		unknown = unknown || c.StaticPod() && missing
	}
	for _, p := range f.StaticPods {
		unknown = unknown || !p.Broken.IsZero()
	}
	if f.Distro != harden.Kubeadm || unknown {
		return ""
	}
	return harden.RoleWorker
}
