package audit

import (
	"slices"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestADefaultThatIsAskedForIsNotTakenForNothing: what is in force is kept where nothing is asked, not where the default is.
func TestADefaultThatIsAskedForIsNotTakenForNothing(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	apply := func(want []string, choices ...harden.Choice) {
		t.Helper()
		p, err := n.Plan(t, Area(), choices...)
		if err != nil {
			t.Fatal(err)
		}
		if got := hardentest.Changes(t, p); want != nil && !slices.Equal(got, want) {
			t.Errorf("%v changes %v, want %v", choices, got, want)
		}
		n.Apply(p)
	}
	log := harden.Choice{Control: "audit-log-path", Options: harden.Values{"maxage": "90", "path": "/data/audit/kube.log"}}
	apply(nil, log, harden.Choice{Control: "audit-log-maxage"})
	apply([]string{}, harden.Choice{Control: "audit-log-maxage"}, harden.Choice{Control: "audit-log-path", Options: harden.Values{"maxsize": "100"}})
	apply([]string{"kube-apiserver.yaml: - - --audit-log-maxage=90", "kube-apiserver.yaml: + - --audit-log-maxage=30"},
		harden.Choice{Control: "audit-log-maxage", Options: harden.Values{"maxage": "30"}})
	p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-log-path", Options: harden.Values{"path": LogFile}})
	if err != nil || !slices.Contains(hardentest.Changes(t, p), "kube-apiserver.yaml: + - --audit-log-path="+LogFile) {
		t.Errorf("the default path changes %v, %v", hardentest.Changes(t, p), err)
	}
}
