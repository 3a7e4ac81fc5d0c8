package staticpod

import (
	"regexp"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestTableOfRemovedGates(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z][A-Za-z0-9]+ 1\.\d\d (true|false) 1\.\d\d$`)
	before := ""
	for line := range strings.Lines(removedGates) {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, " ")
		if !form.MatchString(line) || name <= before {
			t.Errorf("%q follows %q", line, before)
		}
		before = name
		g, ok := gateByName(name)
		if !ok || g.last.AtLeast(harden.NewestSupported.Major, harden.NewestSupported.Minor) || !g.last.AtLeast(harden.OldestSupported.Major, harden.OldestSupported.Minor) && g.value {
			t.Errorf("%s: %+v", name, g)
		}
	}
	for _, name := range []string{"RotateKubeletServerCertificate", "", "AllAlpha"} {
		if _, ok := gateByName(name); ok {
			t.Errorf("%s is not removed", name)
		}
	}
}

func TestGatesForOneComponent(t *testing.T) {
	got := leftGates(harden.FlagFact{Set: true, Values: []string{"AllBeta=false,kube:KMSv2=true", "SidecarContainers=maybe"}})
	if len(got) != 2 || got[0].entry != "kube:KMSv2=true" || !got[0].value || got[1].value {
		t.Errorf("%+v", got)
	}
}
