package cli

import (
	"bytes"
	"io"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/host/sandbox"
)

// smallNode has no memory for a second API server.
type smallNode struct{ *sandbox.Node }

func (smallNode) Machine() (harden.MachineFact, error) {
	return harden.MachineFact{MemAvailable: 100 << 20, Systemd: true}, nil
}

// TestUnrehearsedIsAcceptedByName: what has no room to be rehearsed is refused, and done when its component is accepted.
func TestUnrehearsedIsAcceptedByName(t *testing.T) {
	var told bytes.Buffer
	a := &app{areas: catalog.Areas(), Streams: Streams{Out: io.Discard, Err: &told}, where: whereFlags{root: "/", stateDir: defaultStateDir}}
	e, node, _ := demoEngine(t, a)
	e.m.node, e.m.live = smallNode{node}, smallNode{node}
	manifest := func() string {
		data, err := node.Files().ReadFile(harden.StaticPodDir + "/kube-apiserver.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	before := manifest()
	for _, tt := range []struct {
		accept []string
		exit   int
	}{
		{nil, exitRefused},
		{[]string{"apiserver-profiling"}, exitRefused}, // the control's preconditions are something else
		{[]string{"kube-scheduler"}, exitRefused},
		{[]string{"kube-apiserver"}, exitDone},
	} {
		told.Reset()
		a.sel = selectFlags{controls: []string{"apiserver-profiling"}, accept: tt.accept, yes: true}
		plans, err := a.plans(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.confirmAndApply(t.Context(), e, plans, "apply")
		a.complain(err)
		if code := exitCode(err); code != tt.exit {
			t.Fatalf("--accept %q: exit code %d, want %d: %v", tt.accept, code, tt.exit, err)
		}
		if tt.exit == exitRefused {
			inOrder(t, told.String(), "error: ", "accept it with --accept kube-apiserver\n")
			if manifest() != before {
				t.Fatalf("--accept %q: the manifest has changed", tt.accept)
			}
		}
	}
	if manifest() == before {
		t.Error("nothing was done")
	}
}
