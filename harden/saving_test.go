package harden_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestWhatRestartsEtcdSavesItFirst: once, before the restart, and in the forward plan of a live node alone. A plan that leaves it out, or
// says it twice, is not ours.
func TestWhatRestartsEtcdSavesItFirst(t *testing.T) {
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{
		failing("suites", harden.RiskNode, harden.SetFlag(harden.Etcd, "cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")),
		failing("mode", harden.RiskNode, harden.SetMode("/etc/kubernetes/manifests/etcd.yaml", 0o400)),
		failing("profiling", harden.RiskNode, harden.SetFlag(harden.APIServer, "profiling", "false")),
	}}}
	build := func(control string, offline bool) (harden.Plan, *harden.Facts) {
		t.Helper()
		n := hardentest.Fixture(t, "1.37")
		f := n.Facts(t)
		f.Identity.Offline = offline
		plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: []harden.Choice{{Control: control}}, Read: n.State, Now: time.Unix(0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range plans.InOrder() {
			if !p.Empty() {
				return p, f
			}
		}
		t.Fatalf("%s: nothing is planned: %v", control, plans.Node.Skipped)
		return harden.Plan{}, nil
	}
	kinds := func(st harden.Stage) string {
		var out []string
		for _, e := range st.Effects {
			out = append(out, string(e.Kind))
		}
		return strings.Join(out, ", ")
	}
	for _, row := range []struct {
		control string
		offline bool
		want    string
	}{
		{"suites", false, "a snapshot of etcd is saved, static pod restarts"},
		{"suites", true, "static pod restarts"},
		{"mode", false, ""},
		{"profiling", false, "static pod restarts"},
	} {
		p, f := build(row.control, row.offline)
		if got := kinds(p.Stages[0]); got != row.want {
			t.Errorf("%s, offline %v: %s", row.control, row.offline, got)
		}
		if err := harden.CheckPlan(p, f); err != nil {
			t.Error(err)
		}
	}
	for name, forge := range map[string]func(*harden.Stage){
		"without":           func(st *harden.Stage) { st.Effects = st.Effects[1:] },
		"twice":             func(st *harden.Stage) { st.Effects = append(st.Effects[:1:1], st.Effects...) },
		"after the restart": func(st *harden.Stage) { slices.Reverse(st.Effects) },
	} {
		p, f := build("suites", false)
		forge(&p.Stages[0])
		if err := harden.CheckPlan(p, f); err == nil || !strings.Contains(err.Error(), "are not those that it says") {
			t.Errorf("%s a snapshot: %v", name, err)
		}
	}
}
