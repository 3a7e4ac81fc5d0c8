package collect_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// with is a node of these files and nothing else; a path that ends in a slash is a directory.
func with(t *testing.T, paths ...string) *hardentest.Node {
	n := hardentest.Fixture(t, "1.37")
	n.Files = map[string]harden.State{"/": {Exists: true, Dir: true, Mode: 0o755}, "/etc": {Exists: true, Dir: true, Mode: 0o755}}
	for _, p := range paths {
		if dir, ok := strings.CutSuffix(p, "/"); ok {
			n.Files[dir] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		} else {
			n.Write(p, "\n", 0o600)
		}
	}
	return n
}

func TestMachinesAreRecognised(t *testing.T) {
	for path, want := range map[string]harden.Distro{
		"/etc/rancher/k3s/":                  harden.K3s,
		"/var/lib/rancher/k3s/":              harden.K3s,
		"/etc/rancher/rke2/":                 harden.RKE2,
		"/var/snap/microk8s/":                harden.MicroK8s,
		"/etc/k0s/":                          harden.K0s,
		"/var/lib/k0s/":                      harden.K0s,
		"/system/state/config.yaml":          harden.Talos,
		"/etc/machine-config-daemon/":        harden.OpenShift,
		"/etc/eks/":                          harden.EKS,
		"/home/kubernetes/bin/kubelet":       harden.GKE,
		"/opt/azure/containers/":             harden.AKS,
		"/var/lib/kubelet/kubeadm-flags.env": harden.Kubeadm,
		"/var/lib/kubelet/config.yaml":       harden.OtherDistro,
		"/etc/kubernetes/kubelet.conf":       harden.OtherDistro,
		"/etc/hostname":                      harden.NoKubernetes,
	} {
		f := with(t, path).Facts(t)
		if f.Distro != want {
			t.Errorf("%s: %q, want %q", path, f.Distro, want)
		}
		last := f.LookedFor[len(f.LookedFor)-1]
		if found := last.Value == harden.LookedFound; found != (want != harden.NoKubernetes) {
			t.Errorf("%s: looked for %v", path, f.LookedFor)
		}
		why, only := harden.AssessOnly(f)
		if only != (want != harden.Kubeadm) {
			t.Errorf("%s: assess only is %v", path, only)
		}
		named := only && want != harden.OtherDistro && want != harden.NoKubernetes
		if says := strings.Contains(why.String(), "never changed; "); says != named {
			t.Errorf("%s: what to use instead: %s", path, why)
		}
	}
}

// TestNoVerdictsFromNothing: a machine that is no node has nothing that verdicts could be about; on a node that kubeadm has not
// set up, an empty place of kubeadm's is no answer; and nothing is offered to be changed on either.
func TestNoVerdictsFromNothing(t *testing.T) {
	for path, want := range map[string]harden.Status{
		"/etc/hostname":     harden.StatusNotApplicable,
		"/etc/rancher/k3s/": harden.StatusUnknown,
		"/etc/k0s/":         harden.StatusUnknown,
	} {
		for _, x := range harden.Assess(with(t, path).Facts(t), catalog.Areas()) {
			if x.Status != want || len(x.Remedies) > 0 {
				t.Errorf("%s: %s: %s: %s, remedies %v", path, x.Control, x.Status, x.Message, x.Remedies)
			}
		}
	}
}

// kubeletOnly is a live node on which a kubelet runs that others than kubeadm have started.
type kubeletOnly struct{ args []string }

func (k kubeletOnly) Processes(...string) (map[string][]harden.ProcessFact, error) {
	if k.args == nil {
		return nil, nil
	}
	return map[string][]harden.ProcessFact{string(harden.Kubelet): {{PID: 7, Args: k.args}}}, nil
}

func (kubeletOnly) KubeletVersion(context.Context) (harden.Version, error) {
	return harden.Version{}, errors.New("it does not say")
}
func (kubeletOnly) Machine() (harden.MachineFact, error) {
	return harden.MachineFact{}, errors.New("none")
}
func (kubeletOnly) Sysctl(string) (string, error) { return "1", nil }
func (kubeletOnly) Hostname() (string, error)     { return "w1", nil }

// TestKubeletOfAnotherDistribution: where its process shows how it was started, its settings are assessed; kubeadm's unit and
// file are not assumed.
func TestKubeletOfAnotherDistribution(t *testing.T) {
	n := with(t, "/etc/rancher/rke2/", "/var/lib/kubelet/config.yaml")
	n.Write("/var/lib/kubelet/config.yaml", "authentication: {anonymous: {enabled: true}}\n", 0o600)
	f, err := collect.FromNode(n, kubeletOnly{[]string{"kubelet", "--anonymous-auth=false", "--read-only-port=10255"}}, collect.Options{Root: "/", Now: hardentest.Now})
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]harden.Status{}
	for _, x := range harden.Assess(f, catalog.Areas()) {
		verdicts[x.Control] = x.Status
		if len(x.Remedies) > 0 {
			t.Errorf("%s: remedies %v", x.Control, x.Remedies)
		}
	}
	for control, want := range map[string]harden.Status{
		"kubelet-anonymous-auth": harden.StatusPass, "kubelet-read-only-port": harden.StatusFail, "apiserver-profiling": harden.StatusUnknown,
	} {
		if verdicts[control] != want {
			t.Errorf("%s: %s, want %s", control, verdicts[control], want)
		}
	}
	f, err = collect.FromNode(n, kubeletOnly{}, collect.Options{Root: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if why := f.Missing[harden.NeedKubelet].String(); !strings.Contains(why, "no process kubelet was found") {
		t.Errorf("the kubelet is missing because of %q", why)
	}
	f, err = collect.FromNode(with(t), kubeletOnly{[]string{"kubelet"}}, collect.Options{Root: "/"})
	if err != nil || f.Distro != harden.OtherDistro {
		t.Errorf("a kubelet without any file: %q, %v", f.Distro, err)
	}
}

// TestWorker: what only control planes have does not concern it, also where the cluster could not be asked.
func TestWorker(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	for p := range n.Files {
		if strings.HasPrefix(p, "/etc/kubernetes/manifests/") {
			delete(n.Files, p)
		}
	}
	if f := hardentest.Fixture(t, "1.37").Facts(t); f.Role != harden.RoleControlPlane {
		t.Errorf("a control plane is %q", f.Role)
	}
	// With a control plane's certificates they were moved aside, and nothing is said of what they would define.
	f := n.Facts(t)
	if f.Role != "" || f.Missing[harden.NeedAPIServer].IsZero() {
		t.Errorf("a control plane that is stopped is %q", f.Role)
	}
	n.AsWorker()
	f = n.Facts(t)
	if f.Role != harden.RoleWorker {
		t.Errorf("a worker is %q", f.Role)
	}
	for _, x := range harden.Assess(f, catalog.Areas()) {
		ofControlPlane := x.Area == "apiserver" || x.Area == "audit" || x.Control == "upgrade-static-pods"
		if ofControlPlane && x.Status != harden.StatusNotApplicable {
			t.Errorf("%s: %s: %s", x.Control, x.Status, x.Message)
		}
	}
	n.Write("/etc/kubernetes/manifests/broken.yaml", "a: [", 0o600)
	if f := n.Facts(t); f.Role != "" {
		t.Errorf("with a manifest that cannot be read it is %q", f.Role)
	}
}
