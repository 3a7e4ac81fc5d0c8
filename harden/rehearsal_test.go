package harden_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

// liveFacts are those of a running control plane with room for a canary.
func liveFacts(t *testing.T, n *hardentest.Node) *harden.Facts {
	t.Helper()
	f := n.Facts(t)
	hardentest.Run(f, time.Unix(0, 0))
	f.Components[harden.APIServer].Process.Resident = 300 << 20
	f.Machine = &harden.MachineFact{MemAvailable: 450 << 20, Systemd: true}
	return f
}

// rehearsed is the API server's rehearsal of a plan with these intents.
func rehearsed(t *testing.T, n *hardentest.Node, f *harden.Facts, undo bool, intents ...harden.Intent) harden.Rehearsal {
	t.Helper()
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("this", harden.RiskNode, intents...)}}}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: []harden.Choice{{Control: "this"}}, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if len(plans.Node.Stages) == 0 {
		t.Fatal("the plan is empty")
	}
	all := harden.Rehearsals(plans.Node.Stages[0], f, undo)
	if len(all) == 0 {
		return harden.Rehearsal{}
	}
	return all[0]
}

func TestWhatIsRehearsed(t *testing.T) {
	set := func(flag, value string) harden.Intent { return harden.SetFlag(harden.APIServer, flag, value) }
	profiling := set("profiling", "false")
	edit := func(old, new string) func(*testing.T, *hardentest.Node, *harden.Facts) {
		return func(t *testing.T, n *hardentest.Node, f *harden.Facts) { n.Edit(t, apiserverManifest, old, new) }
	}
	for _, tt := range []struct {
		name    string
		arrange func(*testing.T, *hardentest.Node, *harden.Facts)
		facts   func(*harden.Facts)
		intents []harden.Intent
		undo    bool
		says    string // why there is no canary; "" for one
	}{
		{name: "a flag", intents: []harden.Intent{profiling}},
		{name: "just enough memory is missing", intents: []harden.Intent{profiling}, says: "it needs 450 MiB of memory",
			facts: func(f *harden.Facts) { f.Machine.MemAvailable-- }},
		{name: "no systemd", intents: []harden.Intent{profiling}, says: "without systemd", facts: func(f *harden.Facts) { f.Machine.Systemd = false }},
		{name: "no process", intents: []harden.Intent{profiling}, says: "is not known", facts: func(f *harden.Facts) { f.Components[harden.APIServer].Process.Resident = 0 }},
		{name: "no machine", intents: []harden.Intent{profiling}, says: "is not known", facts: func(f *harden.Facts) { f.Machine = nil }},
		{name: "served APIs", intents: []harden.Intent{set("runtime-config", "api/alpha=true")}, says: "--runtime-config changes"},
		{name: "feature gates", intents: []harden.Intent{set("feature-gates", "A=true")}, says: "--feature-gates changes"},
		{name: "encryption", intents: []harden.Intent{set("encryption-provider-config", "/etc/kubernetes/pki/enc.yaml")}, says: "--encryption-provider-config changes"},
		{name: "client CA", intents: []harden.Intent{set("client-ca-file", "/etc/kubernetes/pki/other.crt")}, says: "--client-ca-file changes"},
		{name: "request header CA", intents: []harden.Intent{set("requestheader-client-ca-file", "/etc/kubernetes/pki/other.crt")}, says: "--requestheader-client-ca-file changes"},
		{name: "etcd", intents: []harden.Intent{set("etcd-servers", "https://192.0.2.12:2379")}, says: "--etcd-servers changes"},
		{name: "a flag of etcd that goes", intents: []harden.Intent{harden.RemoveFlag(harden.APIServer, "etcd-cafile")}, says: "--etcd-cafile changes"},
		{name: "addresses of Services", intents: []harden.Intent{set("service-cluster-ip-range", "10.0.0.0/16")}, says: "--service-cluster-ip-range changes"},
		{name: "the content of a CA", says: "--client-ca-file changes", intents: []harden.Intent{
			profiling, harden.WriteFile("/etc/kubernetes/pki/ca.crt", []byte("new"), 0o600, harden.APIServer),
		}},
		{name: "a container beside it", intents: []harden.Intent{profiling}, says: "other containers",
			arrange: edit("  hostNetwork: true", "  - {name: kms, image: kms}\n  hostNetwork: true")},
		{name: "not on the host's network", intents: []harden.Intent{profiling}, says: "not on the network of the host",
			arrange: edit("  hostNetwork: true", "  hostNetwork: false")},
		{name: "an undo", intents: []harden.Intent{profiling}, undo: true, says: "-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := hardentest.APIServer(t, "1.37")
			if tt.arrange != nil {
				tt.arrange(t, n, nil)
			}
			f := liveFacts(t, n)
			if tt.facts != nil {
				tt.facts(f)
			}
			r := rehearsed(t, n, f, tt.undo, tt.intents...)
			if r.Component != harden.APIServer || !r.Flags || r.GateOnly.IsZero() {
				t.Errorf("%+v", r)
			}
			switch {
			case tt.undo:
				if r.Canary || !r.Unrehearsed.IsZero() {
					t.Errorf("an undo goes back to what has run: %+v", r)
				}
			case r.Canary != (tt.says == "") || !strings.Contains(r.Unrehearsed.String(), tt.says):
				t.Errorf("canary %t, unrehearsed %q; want %q", r.Canary, r.Unrehearsed, tt.says)
			}
		})
	}
}

func TestFilesThatAreDecoded(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	f := liveFacts(t, n)
	r := rehearsed(t, n, f, false,
		harden.MakeDir("/etc/kubernetes/policies", 0o755),
		harden.WriteFile("/etc/kubernetes/policies/p.yaml", []byte("a: b\n"), 0o600, ""), // read because a flag refers to it
		harden.WriteFile("/etc/kubernetes/other", []byte("a: b\n"), 0o600, ""),
		harden.MountPath(harden.APIServer, patches.Mount{Name: "p", HostPath: "/etc/kubernetes/policies", MountPath: "/p", Type: "Directory"}),
		harden.SetFlag(harden.APIServer, "audit-policy-file", "/p/p.yaml"))
	if !slices.Equal(r.Files, []string{"/etc/kubernetes/policies/p.yaml", apiserverManifest}) {
		t.Errorf("files %q", r.Files)
	}
}

func TestOfflineNothingIsRehearsed(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	if p := build(t, n, "profiling"); len(p.Stages[0].Rehearsals) > 0 {
		t.Errorf("%+v", p.Stages[0].Rehearsals)
	}
}

// TestUnrehearsedBlocksUntilAccepted: by the component's name, and by no other.
func TestUnrehearsedBlocksUntilAccepted(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	f := liveFacts(t, n)
	f.Machine.MemAvailable = 0
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: testAreas(), Choices: []harden.Choice{{Control: "profiling"}}, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	p := plans.Node
	if len(p.Blocking()) != 1 || !slices.Equal(p.Unrehearsed(), []harden.ComponentID{harden.APIServer}) {
		t.Fatalf("blocking: %+v", p.Blocking())
	}
	if other := p.Accept(harden.Kubelet); len(other.Blocking()) != 1 {
		t.Error("another component's name accepts it")
	}
	accepted := p.Accept(harden.APIServer)
	if len(accepted.Blocking()) != 0 || len(accepted.Unrehearsed()) != 0 || !accepted.Accepts(harden.APIServer) {
		t.Errorf("blocking: %+v", accepted.Blocking())
	}
	if len(p.Blocking()) != 1 || p.Accepts(harden.APIServer) {
		t.Error("accepting has changed the plan that was given")
	}
}

func TestPlannedKubeletFlags(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--read-only-port=10255 --v=2\n", 0o644)
	f := n.Facts(t)
	f.Identity.Offline = false
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("this", harden.RiskNode,
		harden.RemoveEnvFlag("/etc/default/kubelet", "KUBELET_EXTRA_ARGS", "read-only-port", harden.Kubelet))}}}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: []harden.Choice{{Control: "this"}}, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	kubelet, _ := harden.ComponentByID(harden.Kubelet)
	args := harden.PlannedArgs(plans.Node.Stages[0], f, kubelet)
	if slices.Contains(args, "--read-only-port=10255") || !slices.Contains(args, "--v=2") || len(args) != len(f.Kubelet.Args)-1 {
		t.Errorf("planned %q, of %q", args, f.Kubelet.Args)
	}
}
