package staticpod

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestGatesForOneComponent(t *testing.T) {
	got := leftGates(harden.FlagFact{Set: true, Values: []string{"AllBeta=false,kube:KMSv2=true", "SidecarContainers=maybe"}})
	if len(got) != 2 || got[0].entry != "kube:KMSv2=true" || !got[0].value || got[1].value {
		t.Errorf("%+v", got)
	}
}
