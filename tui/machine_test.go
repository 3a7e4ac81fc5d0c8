package tui

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestNoNode: a machine that is no node is told so first; there are no verdicts, and nothing that could be chosen.
func TestNoNode(t *testing.T) {
	e := newFake(t)
	e.distro = harden.NoKubernetes
	w := begun(t, e, Options{})
	w.want("This machine is no Kubernetes node", "Nothing of Kubernetes was found", "/var/lib/kubelet/kubeadm-flags.env", "kubectl-harden demo").wantNot("API server", "fail")
	golden(t, "no-node.80x24", w.frame())
	w.keys("enter", "j", "*", "p", "f", "/", "space").want("This machine is no Kubernetes node")
	if len(w.m.choices) > 0 || len(w.m.stack) > 1 {
		t.Error("there is something to choose")
	}
	if sum := w.m.summary.String(); !strings.HasPrefix(sum, "This machine is no Kubernetes node.\nNothing was changed.\n") {
		t.Errorf("summary:\n%s", sum)
	}
	e.distro = harden.Kubeadm
	w.keys("r").want("API server")
}

// TestOtherDistribution: the walk says at once that nothing is changed here.
func TestOtherDistribution(t *testing.T) {
	e := newFake(t)
	e.distro = harden.K3s
	w := begun(t, e, Options{})
	w.want("k3s has set this node up", "never changed")
	w.keys("enter", "j", "j", "j", "space").want("there is no remedy")
}
