package collect_test

import (
	"errors"
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
	return all, errors.Join(err, u.unlisted)
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
