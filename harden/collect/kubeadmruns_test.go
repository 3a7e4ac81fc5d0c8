package collect_test

import (
	"errors"
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// upgrading is a live node on which kubeadm runs, or where that cannot be told.
type upgrading struct {
	running
	unlisted error
}

func (u upgrading) Processes(...string) (map[string][]harden.ProcessFact, error) {
	all, err := u.running.Processes()
	all[harden.KubeadmProgram] = []harden.ProcessFact{{PID: 4711, Args: []string{"kubeadm", "upgrade", "apply"}}}
	all[harden.KubeProxyProgram] = []harden.ProcessFact{{PID: 4712, Args: []string{"kube-proxy"}, Container: "c"}}
	return all, errors.Join(err, u.unlisted)
}

func TestKubeProxyThatRunsIsAFact(t *testing.T) {
	asked := &names{}
	f, err := collect.FromNode(hardentest.Fixture(t, "1.37"), asked, collect.Options{Root: "/"})
	if err != nil || len(f.KubeProxies) != 1 || f.KubeProxies[0].PID != 4712 || f.KubeProxies[0].Container != "c" {
		t.Errorf("%v %v", f.KubeProxies, err)
	}
	if !slices.Contains(asked.names, harden.KubeProxyProgram) {
		t.Errorf("asked for %v", asked.names)
	}
	if why := f.Missing[harden.NeedKubeProxy]; why.IsZero() {
		t.Error("its configuration is known without the cluster")
	}
}

// names is a live node that keeps what it was asked for.
type names struct {
	upgrading
	names []string
}

func (n *names) Processes(names ...string) (map[string][]harden.ProcessFact, error) {
	n.names = append(n.names, names...)
	return n.upgrading.Processes(names...)
}

func TestKubeadmThatRunsIsAFact(t *testing.T) {
	f, err := collect.FromNode(hardentest.Fixture(t, "1.37"), upgrading{}, collect.Options{Root: "/"})
	if err != nil || len(f.KubeadmRuns) != 1 || f.KubeadmRuns[0].PID != 4711 {
		t.Errorf("%v %v", f.KubeadmRuns, err)
	}
	f, err = collect.FromNode(hardentest.Fixture(t, "1.37"), upgrading{unlisted: errors.New("listing processes: no /proc")}, collect.Options{Root: "/"})
	if why := f.Missing[harden.NeedKubeadmRuns]; err != nil || why.String() != "listing processes: no /proc" {
		t.Errorf("missing %v %v", why, err)
	}
}
