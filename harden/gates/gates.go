// Package gates knows the feature gates of Kubernetes that are removed. All programs of a release share their gates.
package gates

import (
	_ "embed"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// table has the feature gates that some release since 1.29 knew and the newest supported one does not: the name, the last release
// that knows it, its value there, and the first one since which that value is the default all along.
//
//go:embed removed.txt
var table string

// Removed is a feature gate that newer releases do not know.
type Removed struct {
	Name  string
	Last  harden.Version // that knows it
	Value bool           // which it had in the end
	Since harden.Version // when that became its default
}

// Find gives a removed gate by its name, as it may stand in a flag: since 1.32 one may be set for one component, kube:NAME. ok is false
// for one that the newest supported release knows too, or that none since 1.29 has known.
func Find(name string) (g Removed, ok bool) {
	if _, rest, one := strings.Cut(name, ":"); one {
		name = rest
	}
	name = strings.TrimSpace(name)
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] != name {
			continue
		}
		last, err := harden.ParseVersion(f[1])
		since, err2 := harden.ParseVersion(f[3])
		return Removed{Name: name, Last: last, Value: f[2] == "true", Since: since}, err == nil && err2 == nil
	}
	return Removed{}, false
}
