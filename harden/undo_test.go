package harden_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const policyFile = "/etc/kubernetes/policies/audit-policy.yaml"

// rewriting makes a control that replaces a file that the API server reads at its start.
func rewriting(data string) []harden.Area {
	return []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("rewrite", harden.RiskNode, harden.WriteFile(policyFile, []byte(data), 0o600, harden.APIServer)),
	}}}
}

func rewrite(t *testing.T, n *hardentest.Node, data string) harden.Plan {
	t.Helper()
	plans, err := harden.Build(harden.BuildInput{
		Facts: n.Facts(t), Areas: rewriting(data), Choices: []harden.Choice{{Control: "rewrite"}}, Read: n.State,
	})
	if err != nil {
		t.Fatal(err)
	}
	return plans.Node
}

func ids(p harden.Plan) []string {
	var out []string
	for _, s := range p.Steps() {
		out = append(out, s.ID)
	}
	return out
}

func TestWhatAComponentReadsComesBackBeforeIt(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Apply(build(t, n, "policy"))
	p := rewrite(t, n, "rules: [{level: Metadata}]\n")
	n.Apply(p)
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(back), []string{policyFile, apiserverManifest}; !slices.Equal(got, want) {
		t.Errorf("steps back: %v, want %v", got, want)
	}
}

func TestAnUndoCanBeUndone(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "policy", "profiling")
	n.Apply(p)
	applied := maps.Clone(n.Files)
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(back); got[0] != apiserverManifest || got[len(got)-1] != "/etc/kubernetes/policies" {
		t.Errorf("what goes away must go last: %v", got)
	}
	n.Apply(back)
	again, err := undo(t, n, back, "")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ids(again), []string{"/etc/kubernetes/policies", policyFile, apiserverManifest}; !slices.Equal(got, want) {
		t.Errorf("steps forward again: %v, want %v", got, want)
	}
	n.Apply(again)
	if !maps.EqualFunc(n.Files, applied, harden.State.Equal) {
		t.Error("the undone undo is not what was applied")
	}
}

func TestTheSameFileRewrittenAgainRestartsItsReaderAgain(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Apply(build(t, n, "policy"))
	n.Apply(rewrite(t, n, "rules: [{level: Metadata}]\n"))
	n.Write(policyFile, "rules: []\n", 0o600)
	p := rewrite(t, n, "rules: [{level: Metadata}]\n")
	if got := ids(p); !slices.Contains(got, apiserverManifest) || len(p.Stages[0].Gates) != 1 {
		t.Errorf("nothing restarts: %v", got)
	}
}

func TestAMergeThatTearsADocumentApartIsRefused(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("suites", harden.RiskNode, harden.SetField(kubeletConfig, "tlsCipherSuites", []string{"TLS_A", "TLS_B"}, harden.Kubelet)),
	}}}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{{Control: "suites"}}, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	p := plans.Node
	n.Apply(p)
	n.Edit(t, kubeletConfig, "- TLS_B\n", "- TLS_B\n- TLS_OF_SOMEBODY\n")
	_, err = undo(t, n, p, "")
	var conflict *harden.UndoConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
}

func TestTheRestOfATransactionIsUndoneAfterItsParts(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	before := maps.Clone(n.Files)
	p := build(t, n, "profiling", "quota", "limits", "kubelet")
	n.Apply(p)
	var undone []string
	for _, control := range []string{"quota", "profiling", ""} {
		back, err := harden.Undo(harden.UndoInput{
			Done: harden.Done{ID: "tx1", Plan: p}, Controls: only(control), Undone: undone, Facts: n.Facts(t), Read: n.State,
		})
		if err != nil {
			t.Fatalf("%q: %v", control, err)
		}
		if back.Empty() {
			t.Errorf("%q: nothing to do", control)
		}
		n.Apply(back)
		undone = append(undone, control)
	}
	if !maps.EqualFunc(n.Files, before, harden.State.Equal) {
		t.Errorf("files are not as before:\n%s", n.Files[apiserverManifest].Data)
	}
}

// asKubeadmWrites takes flags out of a manifest and puts them behind the others, as `kubeadm upgrade` does with what it keeps.
func asKubeadmWrites(t *testing.T, data []byte, flags ...string) string {
	t.Helper()
	text := string(data)
	var moved []string
	for _, flag := range flags {
		at := strings.Index(text, "    - --"+flag+"=")
		if at < 0 {
			t.Fatalf("there is no --%s", flag)
		}
		end := at + strings.IndexByte(text[at:], '\n') + 1
		moved = append(moved, text[at:end])
		text = text[:at] + text[end:]
	}
	at := strings.Index(text, "    image: ")
	return text[:at] + strings.Join(moved, "") + text[at:]
}

func TestUndoAfterKubeadmHasWrittenTheManifestAnew(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "profiling", "policy")
	before := n.Files[apiserverManifest]
	n.Apply(p)
	ours := n.Files[apiserverManifest]
	n.Write(apiserverManifest, asKubeadmWrites(t, ours.Data, "profiling", "audit-policy-file"), ours.Mode)
	if n.Files[apiserverManifest].Equal(ours) {
		t.Fatal("nothing stands elsewhere")
	}
	back, err := undo(t, n, p, "profiling")
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if text := string(n.Files[apiserverManifest].Data); strings.Contains(text, "--profiling") || !strings.Contains(text, "--audit-policy-file") {
		t.Errorf("after undoing one control:\n%s", text)
	}
	n.Write(apiserverManifest, asKubeadmWrites(t, ours.Data, "profiling", "audit-policy-file"), ours.Mode)
	if back, err = undo(t, n, p, ""); err != nil {
		t.Fatal(err)
	}
	n.Apply(back)
	if got := n.Files[apiserverManifest]; !got.Equal(before) {
		t.Errorf("after undoing all:\n%s", got.Data)
	}
}

func TestAnUndoThatLeavesAMountWithoutItsVolumeIsBlocked(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	p := build(t, n, "policy")
	n.Apply(p)
	text := string(n.Files[apiserverManifest].Data)
	text = strings.Replace(text, "  containers:\n", "  containers:\n  - name: sidecar\n    image: x\n    volumeMounts:\n    - mountPath: /p\n      name: policies\n", 1)
	n.Write(apiserverManifest, text, 0o600)
	back, err := undo(t, n, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(back.Preflight, func(c harden.Check) bool {
		return c.Blocks && c.State == harden.Unmet && strings.Contains(c.Message.String(), "sidecar mounts volume policies, which is not there")
	}) {
		t.Errorf("nothing blocks it: %v", back.Preflight)
	}
}

func TestAFlagThatSomebodySetAnewIsNotSetTwiceByAnUndo(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, apiserverManifest, "    - --tls-cert-file", "    - --token-auth-file=/a.csv\n    - --tls-cert-file")
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("tokens", harden.RiskNode, harden.RemoveFlag(harden.APIServer, "token-auth-file"))}}}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{{Control: "tokens"}}, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(plans.Node)
	n.Edit(t, apiserverManifest, "    - --allow-privileged", "    - --token-auth-file=/b.csv\n    - --allow-privileged")
	_, err = undo(t, n, plans.Node, "")
	var conflict *harden.UndoConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("got %v", err)
	}
}

func TestAnUndoLeavesAKernelSettingThatSomebodyElseHasSet(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("kernel", harden.RiskNode,
		harden.Sysctl("/etc/sysctl.d/90-x.conf", "vm.overcommit_memory", "1"), harden.Sysctl("/etc/sysctl.d/90-x.conf", "kernel.panic", "10"))}}}
	f := n.Facts(t)
	f.Sysctls = map[string]string{"vm.overcommit_memory": "0", "kernel.panic": "0"}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: []harden.Choice{{Control: "kernel"}}, Read: n.State})
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(plans.Node)
	back := func(overcommit string) *harden.Effect {
		f := n.Facts(t)
		f.Sysctls = map[string]string{"vm.overcommit_memory": overcommit, "kernel.panic": "10"}
		p, err := harden.Undo(harden.UndoInput{Done: harden.Done{ID: "tx1", Plan: plans.Node}, Facts: f, Read: n.State})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(p.Stages[0].Effects, func(e harden.Effect) bool { return e.Kind == harden.EffectSysctl })
		return &p.Stages[0].Effects[i]
	}
	if e := back("1"); !maps.Equal(e.Sysctls, map[string]string{"vm.overcommit_memory": "0", "kernel.panic": "0"}) {
		t.Errorf("loads %v", e.Sysctls)
	}
	if e := back("2"); !maps.Equal(e.Sysctls, map[string]string{"kernel.panic": "0"}) || !maps.Equal(e.Prior, map[string]string{"kernel.panic": "10"}) {
		t.Errorf("loads %v over %v", e.Sysctls, e.Prior)
	}
}
