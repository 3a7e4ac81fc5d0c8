package gates

import (
	"strings"
	"testing"
)

// TestAGateIsTurnedByAllOfItsStage: AllBeta=false turns off each gate that is beta and not set by its own name.
func TestAGateIsTurnedByAllOfItsStage(t *testing.T) {
	for entries, want := range map[string]struct {
		on bool
		by string
	}{
		"":                                     {true, ""},
		"A=false":                              {true, ""},
		"AllBeta=false":                        {false, AllBeta},
		"AllBeta=true":                         {true, AllBeta},
		"kube:AllBeta=false":                   {false, AllBeta},
		"AllAlpha=false":                       {true, ""},
		"RotateKubeletServerCertificate=false": {false, RotateKubeletServerCertificate},
		"AllBeta=false,RotateKubeletServerCertificate=true":                               {true, RotateKubeletServerCertificate},
		"RotateKubeletServerCertificate=true,AllBeta=false":                               {true, RotateKubeletServerCertificate},
		"RotateKubeletServerCertificate=false,kube:RotateKubeletServerCertificate = true": {true, RotateKubeletServerCertificate},
		"RotateKubeletServerCertificate=x":                                                {false, RotateKubeletServerCertificate},
	} {
		if on, by := Turned(RotateKubeletServerCertificate, Entries(strings.Split(entries, ","))); on != want.on || by != want.by {
			t.Errorf("%s: %t by %q", entries, on, by)
		}
	}
}
