package collect

import (
	"errors"
	"fmt"
	"io/fs"

	"kubectl-harden.io/kubectl-harden/harden"
)

// marks are paths that only one way of setting a node up makes, those of other distributions first: some of them have parts of
// kubeadm's too.
var marks = []struct {
	path   string
	distro harden.Distro
}{
	{"/etc/rancher/k3s", harden.K3s},
	{"/var/lib/rancher/k3s", harden.K3s},
	{"/etc/rancher/rke2", harden.RKE2},
	{"/var/lib/rancher/rke2", harden.RKE2},
	{"/var/snap/microk8s", harden.MicroK8s},
	{"/etc/k0s", harden.K0s},
	{"/var/lib/k0s", harden.K0s},
	{"/etc/talos", harden.Talos},
	{"/system/state/config.yaml", harden.Talos},
	{"/etc/machine-config-daemon", harden.OpenShift},
	{"/etc/eks", harden.EKS},
	{"/home/kubernetes/bin/kubelet", harden.GKE},
	{"/opt/azure/containers", harden.AKS},
	{"/var/lib/kubelet/kubeadm-flags.env", harden.Kubeadm},
	{"/etc/kubernetes/manifests/kube-apiserver.yaml", harden.Kubeadm},
	{"/var/lib/kubelet/config.yaml", harden.OtherDistro},
	{"/etc/kubernetes/kubelet.conf", harden.OtherDistro},
}

// openMarks are of kubeadm's nodes, and can be read by everybody: by them goes who may not look at the others.
var openMarks = []string{
	"/etc/kubernetes/pki/ca.crt", "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
}

// recognise says who set the node up, and what was looked for to say so.
func recognise(n Node, live Live, f *harden.Facts) error {
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
		if s.Exists {
			f.Distro, f.LookedFor = m.distro, append(f.LookedFor, harden.Evidence{Source: m.path, Value: harden.LookedFound})
			return nil
		}
		f.LookedFor = append(f.LookedFor, harden.Evidence{Source: m.path, Value: value})
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
	if p := newestProcess(live, harden.Kubelet); p != nil {
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
