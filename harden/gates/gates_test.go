package gates

import (
	"regexp"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestTableOfRemovedGates(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z][A-Za-z0-9]+ 1\.\d\d (true|false) 1\.\d\d$`)
	before := ""
	for line := range strings.Lines(table) {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, " ")
		if !form.MatchString(line) || name <= before {
			t.Errorf("%q follows %q", line, before)
		}
		before = name
		g, ok := Find(name)
		if !ok || g.Last.AtLeast(harden.NewestSupported.Major, harden.NewestSupported.Minor) || !g.Last.AtLeast(harden.OldestSupported.Major, harden.OldestSupported.Minor) && g.Value {
			t.Errorf("%s: %+v", name, g)
		}
	}
	for _, name := range []string{"RotateKubeletServerCertificate", "", "AllAlpha"} {
		if _, ok := Find(name); ok {
			t.Errorf("%s is not removed", name)
		}
	}
}
