package gates

import (
	"strconv"
	"strings"
)

// AllAlpha and AllBeta set every gate of their stage that is not set by its own name.
const (
	AllAlpha = "AllAlpha"
	AllBeta  = "AllBeta"
)

// WhyAlpha is why AllAlpha is to be off, on whichever component.
const WhyAlpha = "Alpha features are untested, may be removed at any release, and may have holes that nobody looked for. " +
	"AllAlpha turns on all of them, also those that a later release brings. One that is needed can be turned on by its own name."

// RotateKubeletServerCertificate lets kubelets ask for new serving certificates.
const RotateKubeletServerCertificate = "RotateKubeletServerCertificate"

// asked are the gates that controls ask for, by what sets all of their stage and whether they are on unless set: those that have been
// the same in every supported release.
var asked = map[string]struct {
	stage string
	on    bool
}{
	RotateKubeletServerCertificate: {AllBeta, true},
}

// Turned says whether one of the gates that controls ask for is on, and by which name that is set; by is "" where nothing sets it.
// Lookup tells what is set for a name.
func Turned(name string, lookup func(name string) (on, set bool)) (on bool, by string) {
	if on, set := lookup(name); set {
		return on, name
	}
	if on, set := lookup(asked[name].stage); set {
		return on, asked[name].stage
	}
	return asked[name].on, ""
}

// Entries looks gates up in the entries of --feature-gates, of which the last one for a name counts. Since 1.32 one may be for one
// component, kube:NAME. What is no truth value turns nothing on: the program does not start with it.
func Entries(entries []string) func(name string) (on, set bool) {
	return func(name string) (on, set bool) {
		for _, entry := range entries {
			if n, value := Entry(entry); n == name {
				on, _ = strconv.ParseBool(value)
				set = true
			}
		}
		return on, set
	}
}

// Entry splits an entry of --feature-gates.
func Entry(entry string) (name, value string) {
	name, value, _ = strings.Cut(entry, "=")
	if _, rest, one := strings.Cut(name, ":"); one {
		name = rest
	}
	return strings.TrimSpace(name), strings.TrimSpace(value)
}
