// Package runtime holds the controls of the container runtime and of what runs in it on this node, as data. They look only:
// how a workload is confined is its owner's to change.
package runtime

import (
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Area is the container runtime of one node.
func Area() harden.Area {
	return harden.Area{
		ID:    "runtime",
		Title: "Container runtime",
		About: harden.Msg("What a container may do is decided when it is made, and the runtime knows how each one that runs was. " +
			"Admission keeps new ones out; these controls show what is here already, on this node, and how the runtime itself is configured."),
		Controls: []harden.Control{privileged.control(), unconfined.control(), namespaces.control(), socket, seccomp, modules, streams, registries, cgroups},
	}
}

const (
	docsStandards = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
	docsSeccomp   = "https://kubernetes.io/docs/tutorials/security/seccomp/"
	docsAppArmor  = "https://kubernetes.io/docs/tutorials/security/apparmor/"
	docsRuntimes  = "https://kubernetes.io/docs/setup/production-environment/container-runtimes/"
	seedRuntime   = "Nodes: container runtime"
	nsaPods       = "Kubernetes Pod security"
)

// question is asked of every running container: a row from which a control is made.
type question struct {
	id, title string
	why       harden.Message
	refs      harden.Refs
	severity  harden.Severity
	wrong     func(harden.WorkloadFact) string // what is wrong with it, or nothing
	advice    harden.Message
}

var privileged = question{
	id: "runtime-privileged", title: "No container of users is privileged", severity: harden.High,
	why: harden.Msg("A privileged container has all capabilities and all devices of the node: whoever is root in it is root on the node. " +
		"Network and storage plugins need that, which is why system namespaces are left out; applications hardly ever do."),
	refs: harden.Refs{CIS: []string{"5.2.2"}, NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsStandards}},
	wrong: func(w harden.WorkloadFact) string {
		if w.Privileged {
			return "privileged"
		}
		return ""
	},
	advice: harden.Msg("give them the capabilities that they need instead, and label their namespaces for the baseline level of Pod Security"),
}

var unconfined = question{
	id: "runtime-seccomp", title: "A seccomp profile limits every container of users", severity: harden.Medium,
	why: harden.Msg("Without a profile a container may make every system call, and holes in the kernel are found in the rare ones. " +
		"Containers that were made before the kubelet's seccompDefault was turned on stay without until they are made anew."),
	refs: harden.Refs{CIS: []string{"5.6.2"}, NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsSeccomp}},
	wrong: func(w harden.WorkloadFact) string {
		if !w.Seccomp && !w.Privileged {
			return "no seccomp profile"
		}
		return ""
	},
	advice: harden.Msg("turn seccompDefault on (control kubelet-seccomp-default) and let their pods be made anew"),
}

var namespaces = question{
	id: "runtime-host-namespaces", title: "No container of users shares the node's processes, memory or network", severity: harden.Medium,
	why: harden.Msg("A container in the node's process namespace sees and can signal every process, in its IPC namespace it reads shared memory, " +
		"and in its network it reaches what is bound to the loopback address. NetworkPolicies do not hold for it either."),
	refs: harden.Refs{CIS: []string{"5.2.3", "5.2.4", "5.2.5"}, NSA: []string{nsaPods}, Seed: []string{seedRuntime}, Docs: []string{docsStandards}},
	wrong: func(w harden.WorkloadFact) string {
		var shares []string
		for what, yes := range map[string]bool{"processes": w.HostPID, "IPC": w.HostIPC, "network": w.HostNetwork} {
			if yes {
				shares = append(shares, what)
			}
		}
		if len(shares) == 0 {
			return ""
		}
		return "shares with the node: " + strings.Join(sorted(shares), ", ")
	},
	advice: harden.Msg("take hostPID, hostIPC and hostNetwork out of their pods where they are not what the pods are for"),
}

// system are the namespaces of what the node itself needs.
func system(namespace string) bool {
	switch namespace {
	case "kube-system", "calico-system", "tigera-operator", "kube-flannel", "cilium", "metallb-system", "longhorn-system", "rook-ceph":
		return true
	}
	return false
}

func (q question) control() harden.Control {
	return harden.Control{
		ID: q.id, Title: q.title, Why: q.why, Refs: q.refs, Severity: q.severity, Needs: []harden.Need{harden.NeedRuntime},
		Assess: func(f *harden.Facts) harden.Verdict {
			var seen []harden.Evidence
			looked, unread := 0, 0
			for _, w := range f.Workloads {
				if system(w.Namespace) {
					continue
				}
				looked++
				at := harden.Evidence{Source: fmt.Sprintf("container %s of Pod %s/%s", w.Name, w.Namespace, w.Pod)}
				if w.Unread {
					unread++
					at.Value = "the runtime did not tell how it is confined"
					seen = append(seen, at)
				} else if at.Value = q.wrong(w); at.Value != "" {
					seen = append(seen, at)
				}
			}
			switch {
			case len(seen) > unread:
				return harden.NeedsPerson(harden.Msg("%d of %d containers outside of system namespaces: %s", len(seen)-unread, looked, q.advice), seen...)
			case unread > 0:
				return harden.NeedsPerson(harden.Msg("of %d containers the runtime did not tell how they are confined", unread), seen...)
			}
			return harden.Passed(harden.Msg("none of %d containers outside of system namespaces", looked),
				harden.Evidence{Source: "running containers", Value: fmt.Sprintf("%d looked at, %d of them in system namespaces", len(f.Workloads), len(f.Workloads)-looked)})
		},
	}
}
