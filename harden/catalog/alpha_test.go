package catalog

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/controllermanager"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/scheduler"
)

// TestAlphaFeatures: AllAlpha was looked at on the API server alone.
func TestAlphaFeatures(t *testing.T) {
	for _, c := range []struct {
		id       string
		table    hardentest.Table
		manifest string
	}{
		{"controllermanager-alpha-features", hardentest.Table{Area: controllermanager.Area(), Component: harden.ControllerManager}, "kube-controller-manager.yaml: "},
		{"scheduler-alpha-features", hardentest.Table{Area: scheduler.Area(), Component: harden.Scheduler}, "kube-scheduler.yaml: "},
	} {
		t.Run(c.id, func(t *testing.T) {
			c.table.Verdicts(t, c.id, []hardentest.Verdict{
				{Name: "kubeadm's", Want: harden.StatusPass},
				{Name: "all", Edits: []hardentest.Edit{hardentest.Flag("feature-gates", "A=true,kube:AllAlpha=1")}, Want: harden.StatusFail, Says: "AllAlpha=1 turns on"},
				{Name: "none", Edits: []hardentest.Edit{hardentest.Flag("feature-gates", "AllAlpha=false")}, Want: harden.StatusPass},
				{Name: "all of beta", Edits: []hardentest.Edit{hardentest.Flag("feature-gates", "AllBeta=true")}, Want: harden.StatusPass},
			}, "1.37")
			choice := harden.Choice{Control: c.id, Named: true}
			c.table.Changes(t, []hardentest.Change{
				{Name: "the only one", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Flag("feature-gates", "AllAlpha=true")}, Choice: choice,
					Want: []string{c.manifest + "- - --feature-gates=AllAlpha=true"}},
				{Name: "one of two", Minor: "1.30", Edits: []hardentest.Edit{hardentest.Flag("feature-gates", "A=true,AllAlpha=true")}, Choice: choice,
					Want: []string{c.manifest + "- - --feature-gates=A=true,AllAlpha=true", c.manifest + "+ - --feature-gates=A=true"}},
			})
		})
	}
}
