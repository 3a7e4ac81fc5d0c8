package runtime

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// Sockets are where container runtimes listen for those who may do everything.
var Sockets = []string{"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock", "/run/docker.sock"}

// socket has no remedy: the runtime makes its socket anew at each start, as its own configuration says.
var socket = harden.Control{
	ID: "runtime-socket", Title: "Only root talks to the container runtime", Severity: harden.Critical,
	Why: harden.Msg("Whoever may open the runtime's socket starts containers as root with the whole file system of the node in them. " +
		"No admission plugin, audit log or RBAC rule sees it. A group on the socket, such as docker, is a group of roots."),
	Refs:  harden.Refs{NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsRuntimes}},
	Needs: []harden.Need{harden.NeedFiles},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return len(sockets(f)) > 0, harden.Msg("no socket of a container runtime was found")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		var open, grouped []string
		for _, s := range sockets(f) {
			seen = append(seen, s.Evidence())
			switch {
			case s.Mode&0o002 != 0 || s.UID != 0:
				open = append(open, s.Path)
			case s.Mode&0o020 != 0 && s.GID != 0:
				grouped = append(grouped, s.Path)
			}
		}
		switch {
		case len(open) > 0:
			return harden.Failed(harden.Msg("others than root can use %s: find out what changed it, and restart the runtime", strings.Join(open, ", ")), seen...)
		case len(grouped) > 0:
			return harden.NeedsPerson(harden.Msg("the members of a group can use %s, and are root by that: take out who need not be", strings.Join(grouped, ", ")), seen...)
		}
		return harden.Passed(harden.Msg("root alone can use it"), seen...)
	},
}

func sockets(f *harden.Facts) []harden.StatFact {
	var out []harden.StatFact
	for _, p := range Sockets {
		if s, ok := f.Stat(p); ok && s.Kind == harden.StatOther {
			out = append(out, s)
		}
	}
	return out
}
