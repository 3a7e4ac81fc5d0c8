package harden

import "slices"

// Distro is who set a node up.
type Distro string

const (
	Kubeadm      Distro = "kubeadm"
	K3s          Distro = "k3s"
	RKE2         Distro = "RKE2"
	MicroK8s     Distro = "MicroK8s"
	K0s          Distro = "k0s"
	Talos        Distro = "Talos"
	OpenShift    Distro = "OpenShift"
	EKS          Distro = "EKS"
	GKE          Distro = "GKE"
	AKS          Distro = "AKS"
	OtherDistro  Distro = "other" // a kubelet, and nothing that says who set it up
	NoKubernetes Distro = "none"  // nothing of Kubernetes
)

// instead is where other distributions want such settings: their own tools write the files, and would write them again.
var instead = map[Distro]Message{
	K3s:       Msg("set kube-apiserver-arg, kubelet-arg, protect-kernel-defaults and secrets-encryption in /etc/rancher/k3s/config.yaml"),
	RKE2:      Msg("set \"profile: cis\" and the flags in /etc/rancher/rke2/config.yaml, and restart rke2-server or rke2-agent"),
	MicroK8s:  Msg("run \"microk8s enable cis-hardening\", or edit the files in /var/snap/microk8s/current/args"),
	K0s:       Msg("set extraArgs of spec.api, spec.controllerManager and spec.scheduler, and spec.workerProfiles, in /etc/k0s/k0s.yaml, and restart k0s"),
	Talos:     Msg("change cluster.apiServer and machine.kubelet with \"talosctl patch machineconfig\""),
	OpenShift: Msg("use KubeletConfig, APIServer and MachineConfig objects, or the compliance operator"),
	EKS:       Msg("change the launch template's user data; the control plane is Amazon's"),
	GKE:       Msg("use the node pool's system configuration; the control plane is Google's"),
	AKS:       Msg("use the node pool's custom kubelet configuration; the control plane is Microsoft's"),
}

// Role is what a node is in its cluster; empty where that is not known.
type Role string

const (
	RoleControlPlane Role = "control plane"
	RoleWorker       Role = "worker"
)

// NotANode says that nothing of Kubernetes was found on the machine; LookedFor has what was looked for.
func NotANode(f *Facts) bool { return f.Distro == NoKubernetes }

var noNode = Msg("this machine is no Kubernetes node")

// AssessOnly says why nothing may be changed on this node, if so (promise 14).
func AssessOnly(f *Facts) (Message, bool) {
	switch f.Distro {
	case Kubeadm:
	case NoKubernetes:
		return noNode, true
	case OtherDistro:
		return Msg("nothing says that kubeadm has set this node up; it is assessed only, and never changed"), true
	default:
		why := Msg("%s has set this node up (%s); it is assessed only, as far as its places are known, and never changed", string(f.Distro), foundBy(f))
		if how, ok := instead[f.Distro]; ok {
			why = Msg("%s; %s", why, how)
		}
		return why, true
	}
	for _, c := range f.Components {
		if c != nil && !c.Version.IsZero() && !c.Version.AtLeast(OldestSupported.Major, OldestSupported.Minor) {
			return Msg("%s %s is older than %s; it is assessed only", c.ID, c.Version, OldestSupported), true
		}
	}
	if k := f.Kubelet; k != nil && !k.Version.IsZero() && !k.Version.AtLeast(OldestSupported.Major, OldestSupported.Minor) {
		return Msg("kubelet %s is older than %s; it is assessed only", k.Version, OldestSupported), true
	}
	return Message{}, false
}

// foundBy is the path by which the distribution was recognised.
func foundBy(f *Facts) string {
	if i := slices.IndexFunc(f.LookedFor, func(e Evidence) bool { return e.Value == LookedFound }); i >= 0 {
		return f.LookedFor[i].Source
	}
	return "its marks were found"
}

// Values of the evidence in Facts.LookedFor.
const (
	LookedFound   = "found"
	LookedMissing = "not there"
	LookedDenied  = "may not be looked at"
)

// elsewhere is the verdict where a control finds nothing of its own: on a node of kubeadm's that is an answer, on others it only
// says that the usual places are empty.
func elsewhere(f *Facts, v Verdict) Verdict {
	if v.Status != StatusNotApplicable || f.Distro == Kubeadm || f.Distro == "" {
		return v
	}
	who := string(f.Distro)
	if f.Distro == OtherDistro {
		who = "whoever has set this node up"
	}
	return Verdict{Status: StatusUnknown, Message: Msg("nothing of it is where kubeadm keeps it, and %s has places of its own, which are not read", who)}
}

// absent says that a control is about a static pod that a node of kubeadm's does not run, as workers run none.
func absent(f *Facts, c Control) (Message, bool) {
	if f.Distro != Kubeadm || f.Role != RoleWorker {
		return Message{}, false
	}
	for _, known := range Components {
		if known.StaticPod() && slices.Contains(c.Needs, Need(known.ID)) && f.Component(known.ID) == nil {
			return Msg("this node runs no %s", known.ID), true
		}
	}
	return Message{}, false
}
