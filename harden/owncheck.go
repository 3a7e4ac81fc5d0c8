package harden

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// OwnCheck lets a component's own program judge a planned command line and stop before it does anything.
type OwnCheck struct {
	Args []string
	// Config is the flag behind which the content of a planned configuration file is given in place of that file.
	Config string
	// Stops is what the program says when it has found nothing wrong and gives up where it was meant to; empty: it exits with 0.
	Stops string
}

// VersionCheck is every component's: unknown flags, values that cannot be parsed and unknown feature gates are errors, and
// nothing else happens.
func VersionCheck(args []string) OwnCheck {
	return OwnCheck{Args: append(slices.Clone(args), "--version")}
}

// nowhere is a path that no program finds anything at.
const nowhere = "/kubectl-harden/rehearsal"

// ValuesCheck goes further, where the version's source is known: with one thing asked for that cannot be had, the program
// checks values and what goes together, and then gives up before it reads credentials, listens or writes.
func ValuesCheck(c ComponentID, v Version, args, live []string) (OwnCheck, bool) {
	if !(VersionRange{Min: OldestSupported, Max: NewestSupported}).Contains(v) {
		return OwnCheck{}, false
	}
	switch c {
	case APIServer:
		// These are read on the way, and the live container may not see the planned ones.
		for _, name := range []string{"authorization-config", "client-ca-file", "requestheader-client-ca-file", "service-account-key-file",
			"service-account-signing-key-file", "tls-cert-file", "tls-private-key-file"} {
			if !slices.Equal(flagFrom(args, name, "").Values, flagFrom(live, name, "").Values) {
				return OwnCheck{}, false
			}
		}
		return OwnCheck{Args: patches.WithFlag(args, "goaway-chance", "1"), Stops: "--goaway-chance can not be less than 0 or greater than 0.02"}, true
	case ControllerManager, Scheduler:
		// A scheduler's configuration file names other credentials.
		if flagFrom(args, "config", "").Set {
			return OwnCheck{}, false
		}
		return OwnCheck{Args: patches.WithFlag(args, "kubeconfig", nowhere), Stops: "stat " + nowhere + ": no such file or directory"}, true
	case Kubelet:
		if !flagFrom(args, "config", "").Set {
			return OwnCheck{}, false
		}
		args = patches.WithFlag(patches.WithoutFlag(args, "lock-file"), "exit-on-lock-contention", "true")
		return OwnCheck{Args: args, Config: "config", Stops: "cannot exit on lock file contention: no lock file specified"}, true
	}
	return OwnCheck{}, false
}

// Judge says what the program has found wrong, in its own words; "" for nothing.
func (o OwnCheck) Judge(output string, code int) string {
	said := lastWords(output)
	if said == "" {
		said = fmt.Sprintf("it ended with code %d and said nothing", code)
	}
	if o.Stops == "" {
		if code == 0 {
			return ""
		}
		return said
	}
	if strings.HasSuffix(said, o.Stops) {
		return ""
	}
	// Programs join what they find wrong to "[this, that]".
	rest, joined := strings.CutPrefix(strings.ReplaceAll(said, o.Stops, ""), "[")
	if joined && strings.Contains(said, o.Stops) && strings.HasSuffix(rest, "]") {
		return strings.Trim(strings.ReplaceAll(strings.TrimSuffix(rest, "]"), ", , ", ", "), ", ")
	}
	return said
}

var quotedError = regexp.MustCompile(`\berr="((?:[^"\\]|\\.)*)"`)

// lastWords is the error of a component's last log line, or that line. Usage texts come before it.
func lastWords(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	for _, l := range slices.Backward(lines) {
		if m := quotedError.FindStringSubmatch(l); m != nil {
			if text, err := strconv.Unquote(`"` + m[1] + `"`); err == nil {
				return text
			}
		}
	}
	for _, l := range lines {
		if strings.HasPrefix(l, "Error: ") || strings.HasPrefix(l, "flag provided but not defined") {
			return strings.TrimSpace(l)
		}
	}
	return strings.TrimSpace(lines[len(lines)-1])
}

var programVersion = regexp.MustCompile(`(?m)^(?:Kubernetes|etcd Version:) v?(\d+\.\d+\.\d+)`)

// ProgramVersion reads what a component answers to --version.
func ProgramVersion(output string) Version {
	m := programVersion.FindStringSubmatch(output)
	if m == nil {
		return Version{}
	}
	v, err := ParseVersion(m[1])
	if err != nil {
		return Version{}
	}
	return v
}
