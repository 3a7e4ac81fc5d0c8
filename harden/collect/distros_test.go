package collect_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// nodesOfOthers are what nodes have that others than kubeadm have set up, as their sources write it.
var nodesOfOthers = []struct {
	name  string
	files []string
	want  harden.Distro
	uses  string // what the operator is sent to
}{
	{"k3s server", []string{
		"/etc/rancher/k3s/k3s.yaml", "/etc/rancher/node/password", "/etc/systemd/system/k3s.service", "/etc/systemd/system/k3s.service.env",
		"/var/lib/rancher/k3s/server/tls/server-ca.crt", "/var/lib/rancher/k3s/agent/kubelet.kubeconfig", "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf",
	}, harden.K3s, "/etc/rancher/k3s/config.yaml"},
	{"k3s agent with its data elsewhere", []string{
		"/etc/rancher/node/password", "/etc/systemd/system/k3s-agent.service", "/etc/systemd/system/k3s-agent.service.env", "/srv/k3s/agent/kubelet.kubeconfig",
	}, harden.K3s, "kubelet-arg"},
	{"RKE2 server", []string{
		"/etc/rancher/rke2/config.yaml", "/etc/rancher/rke2/rke2.yaml", "/etc/rancher/node/password", "/var/lib/rancher/rke2/server/tls/server-ca.crt",
		"/var/lib/rancher/rke2/agent/pod-manifests/kube-apiserver.yaml",
	}, harden.RKE2, "profile: cis"},
	{"RKE2 agent", []string{"/etc/rancher/rke2/config.yaml", "/etc/rancher/node/password", "/var/lib/rancher/rke2/agent/kubelet.kubeconfig"}, harden.RKE2, "rke2-agent"},
	{"MicroK8s", []string{
		"/var/snap/microk8s/current/args/kubelite", "/var/snap/microk8s/current/args/kube-apiserver", "/var/snap/microk8s/current/args/kubelet",
		"/var/snap/microk8s/current/certs/ca.crt", "/etc/systemd/system/snap.microk8s.daemon-kubelite.service",
	}, harden.MicroK8s, "cis-hardening"},
	{"k0s controller", []string{"/etc/k0s/k0s.yaml", "/etc/systemd/system/k0scontroller.service", "/var/lib/k0s/pki/ca.crt", "/run/k0s/status.sock"}, harden.K0s, "/etc/k0s/k0s.yaml"},
	{"k0s worker with its data elsewhere", []string{"/etc/systemd/system/k0sworker.service", "/srv/k0s/kubelet.conf"}, harden.K0s, "workerProfiles"},
	{"Talos worker", []string{
		"/etc/os-release", "/etc/kubernetes/kubeconfig-kubelet", "/etc/kubernetes/bootstrap-kubeconfig", "/etc/kubernetes/kubelet.yaml", "/etc/kubernetes/pki/ca.crt",
	}, harden.Talos, "talosctl patch machineconfig"},
	{"Talos by its state", []string{"/system/state/config.yaml"}, harden.Talos, "machine.kubelet"},
	{"OpenShift", []string{
		"/etc/machine-config-daemon/currentconfig", "/etc/machine-config-daemon/node-annotations.json", "/etc/kubernetes/kubelet.conf", "/etc/kubernetes/kubeconfig",
		"/etc/kubernetes/manifests/kube-apiserver-pod.yaml",
	}, harden.OpenShift, "KubeletConfig"},
	{"EKS", []string{
		"/etc/eks/kubelet/environment", "/etc/eks/kubelet-version.txt", "/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/pki/ca.crt", "/var/lib/kubelet/kubeconfig",
	}, harden.EKS, "Amazon"},
	{"GKE", []string{"/home/kubernetes/bin/kubelet", "/home/kubernetes/kubelet-config.yaml", "/home/kubernetes/kube-env", "/var/lib/kubelet/kubeconfig"}, harden.GKE, "Google"},
	{"AKS", []string{"/opt/azure/containers/kubelet.sh", "/etc/default/kubelet", "/etc/default/kubeletconfig.json", "/etc/kubernetes/certs/ca.crt", "/var/lib/kubelet/kubeconfig"}, harden.AKS, "Microsoft"},
	{"a worker of kubespray's or Cluster API's is kubeadm's", []string{"/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf"}, harden.Kubeadm, ""},
}

func TestNodesOfOthersAreRecognised(t *testing.T) {
	for _, row := range nodesOfOthers {
		f := with(t, withParents(row.files)...).Facts(t)
		if f.Distro != row.want {
			t.Errorf("%s: %q, want %q", row.name, f.Distro, row.want)
		}
		why, only := harden.AssessOnly(f)
		if only != (row.want != harden.Kubeadm) || !strings.Contains(why.String(), row.uses) {
			t.Errorf("%s: assess only is %v: %s", row.name, only, why)
		}
	}
}

// withParents adds the directories above files, as a path with a slash at its end.
func withParents(files []string) []string {
	var out []string
	for _, f := range files {
		for i := 1; i < len(f); i++ {
			if f[i] == '/' {
				out = append(out, f[:i+1])
			}
		}
		out = append(out, f)
	}
	return out
}

// TestManifestOfTheSameNameIsNotKubeadms: Typhoon keeps its API server's manifest where kubeadm does. Without kubeadm's annotation
// nothing says that kubeadm would find it again, and it is left alone.
func TestManifestOfTheSameNameIsNotKubeadms(t *testing.T) {
	const p = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	kubeadms := hardentest.Fixture(t, "1.37")
	delete(kubeadms.Files, "/var/lib/kubelet/kubeadm-flags.env")
	if f := kubeadms.Facts(t); f.Distro != harden.Kubeadm {
		t.Errorf("kubeadm's manifest: %q", f.Distro)
	}
	kubeadms.Edit(t, p, "    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 192.0.2.11:6443\n", "    typhoon.psdn.io/v: \"1\"\n")
	f := kubeadms.Facts(t)
	if f.Distro != harden.OtherDistro {
		t.Errorf("somebody's manifest: %q", f.Distro)
	}
	if last := f.LookedFor[len(f.LookedFor)-1]; last.Source != p || last.Value != harden.LookedFound {
		t.Errorf("looked for %v", f.LookedFor)
	}
	if why, only := harden.AssessOnly(f); !only {
		t.Error("it would be changed")
	} else if f.Component(harden.APIServer) == nil {
		t.Errorf("its flags are not assessed: %s", why)
	}
}

const rke2APIServer = `apiVersion: v1
kind: Pod
metadata:
  labels: {component: kube-apiserver, tier: control-plane}
  name: kube-apiserver
  namespace: kube-system
spec:
  containers:
  - name: kube-apiserver
    image: index.docker.io/rancher/hardened-kubernetes:v1.33.1-rke2r1-build20250515
    command: [kube-apiserver]
    args:
    - --admission-control-config-file=/etc/rancher/rke2/rke2-pss.yaml
    - --audit-log-maxage=30
    - --authorization-mode=Node,RBAC
    - --enable-admission-plugins=NodeRestriction
    - --profiling=false
    - --tls-cert-file=/var/lib/rancher/rke2/server/tls/serving-kube-apiserver.crt
  hostNetwork: true
`

const rke2Etcd = `apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec:
  containers:
  - name: etcd
    image: index.docker.io/rancher/hardened-etcd:v3.5.21-k3s1-build20250411
    command: [etcd]
    args: [--config-file=/var/lib/rancher/rke2/server/db/etcd/config]
    volumeMounts: [{name: dir0, mountPath: /var/lib/rancher/rke2/server/db/etcd}]
  volumes:
  - name: dir0
    hostPath: {path: /var/lib/rancher/rke2/server/db/etcd, type: DirectoryOrCreate}
`

// TestRKE2IsAssessedWhereItsKubeletLooks: its static pods lie in a directory of its own, which the kubelet's drop-ins name; verdicts
// are by what is there, and nothing is offered.
func TestRKE2IsAssessedWhereItsKubeletLooks(t *testing.T) {
	n := with(t, "/etc/rancher/rke2/", "/var/lib/rancher/rke2/agent/pod-manifests/", "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/")
	n.Write("/var/lib/rancher/rke2/agent/pod-manifests/kube-apiserver.yaml", rke2APIServer, 0o600)
	n.Write("/var/lib/rancher/rke2/agent/pod-manifests/etcd.yaml", rke2Etcd, 0o600)
	n.Write("/var/lib/rancher/rke2/server/db/etcd/config", "client-transport-security: {client-cert-auth: true, cert-file: /x.crt, key-file: /x.key, trusted-ca-file: /ca.crt}\npeer-transport-security: {client-cert-auth: true}\n", 0o600)
	n.Write("/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf", `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}}
authorization: {mode: Webhook}
staticPodPath: /var/lib/rancher/rke2/agent/pod-manifests
`, 0o600)
	f, err := collect.FromNode(n, kubeletOnly{[]string{
		"kubelet", "--config-dir=/var/lib/rancher/rke2/agent/etc/kubelet.conf.d", "--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig", "--read-only-port=0",
	}}, collect.Options{Root: "/", Now: hardentest.Now})
	if err != nil {
		t.Fatal(err)
	}
	if f.Distro != harden.RKE2 || f.Identity.KubernetesVersion != "v1.33.1" {
		t.Errorf("%q of %s", f.Distro, f.Identity.KubernetesVersion)
	}
	expect(t, f, map[string]harden.Status{
		"apiserver-profiling": harden.StatusPass, "apiserver-authorization-mode": harden.StatusPass, "audit-log-path": harden.StatusFail,
		"kubelet-anonymous-auth": harden.StatusPass, "kubelet-read-only-port": harden.StatusPass, "etcd-client-cert-auth": harden.StatusPass,
		"scheduler-profiling": harden.StatusUnknown, "files-pki-modes": harden.StatusUnknown,
	})
}

// TestFlagsThatOpenShiftDoesNotGoBy: its API server reads a configuration of its own, and its pods start through a script: that a flag
// is not set is no verdict. The kubelet's configuration bears the name of kubeadm's credentials, and is none.
func TestFlagsThatOpenShiftDoesNotGoBy(t *testing.T) {
	n := with(t, "/etc/machine-config-daemon/", "/etc/kubernetes/", "/etc/kubernetes/manifests/")
	n.Write("/etc/kubernetes/kubelet.conf", "kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1beta1\nauthentication: {anonymous: {enabled: false}}\nstaticPodPath: /etc/kubernetes/manifests\n", 0o644)
	n.Write("/etc/kubernetes/manifests/kube-apiserver-pod.yaml", `apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, namespace: openshift-kube-apiserver}
spec:
  containers:
  - name: kube-apiserver
    image: quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:0000000000000000000000000000000000000000000000000000000000000000
    command: ["/bin/bash", "-ec"]
    args:
    - exec watch-termination -- hyperkube kube-apiserver --openshift-config=/etc/kubernetes/static-pod-resources/configmaps/config/config.yaml
`, 0o600)
	kubelet := kubeletOnly{[]string{"kubelet", "--config=/etc/kubernetes/kubelet.conf", "--kubeconfig=/var/lib/kubelet/kubeconfig"}}
	f, err := collect.FromNode(n, kubelet, collect.Options{Root: "/", Now: hardentest.Now})
	if err != nil {
		t.Fatal(err)
	}
	if why := f.Missing[harden.NeedAPIServer].String(); !strings.Contains(why, "through /bin/bash") {
		t.Errorf("the API server is missing because of %q", why)
	}
	want := map[string]harden.Status{
		"apiserver-profiling": harden.StatusUnknown, "audit-log-path": harden.StatusUnknown, "kubelet-anonymous-auth": harden.StatusPass,
		"files-kubelet-conf-modes": harden.StatusUnknown,
	}
	expect(t, f, want)
	f, err = collect.FromNode(n, alsoAPIServer{kubelet, []string{"kube-apiserver", "--openshift-config=/etc/kubernetes/config.yaml", "--permit-address-sharing"}},
		collect.Options{Root: "/", Now: hardentest.Now})
	if err != nil {
		t.Fatal(err)
	}
	if why := f.Missing[harden.NeedAPIServer].String(); !strings.Contains(why, "OpenShift's own configuration") {
		t.Errorf("the live API server is missing because of %q", why)
	}
	expect(t, f, want)
}

// alsoAPIServer is a live node with an API server besides.
type alsoAPIServer struct {
	kubeletOnly
	apiserver []string
}

func (a alsoAPIServer) Processes(...string) (map[string][]harden.ProcessFact, error) {
	all, err := a.kubeletOnly.Processes()
	all[string(harden.APIServer)] = []harden.ProcessFact{{PID: 8, Args: a.apiserver}}
	return all, err
}

func expect(t *testing.T, f *harden.Facts, want map[string]harden.Status) {
	t.Helper()
	found := map[string]harden.Finding{}
	for _, x := range harden.Assess(f, catalog.Areas()) {
		found[x.Control] = x
		if len(x.Remedies) > 0 {
			t.Errorf("%s: remedies %v", x.Control, x.Remedies)
		}
	}
	for control, w := range want {
		if got := found[control]; got.Status != w {
			t.Errorf("%s: %s, want %s: %s", control, got.Status, w, got.Message)
		}
	}
}
