// Package ports holds the controls of what listens on a node and who can reach it, as data: the ports of Kubernetes, where
// they should be bound, and what filters the way to them, with a table of nftables of our own where nobody else is in charge.
package ports

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Area is the ports of one node, control plane or worker.
func Area() harden.Area {
	controls := []harden.Control{readOnly, cadvisor, loopback, etcdAddresses, tlsOnly}
	for _, o := range open {
		controls = append(controls, o.control())
	}
	return harden.Area{
		ID:    "ports",
		Title: "Ports",
		About: harden.Msg("What listens on a node can be asked by whoever reaches it. Some ports are for the node alone, some for other nodes, " +
			"few for everybody; node ports and host ports of pods are rules rather than listeners, and no firewall of the host sees them as such."),
		Controls: append(controls, hostPorts, unexpected, firewall),
	}
}

const (
	docsPorts = "https://kubernetes.io/docs/reference/networking/ports-and-protocols/"
	docsSafe  = "https://kubernetes.io/docs/tasks/administer-cluster/securing-a-cluster/"
	seedPorts = "Ports"
	nsaNet    = "Network separation and hardening"
	nsaTLS    = "Use of TLS 1.2 or later"
)

// on are the listeners at a TCP port, of one of the programs; of any where none is named.
func on(f *harden.Facts, port int, programs ...string) []harden.ListenerFact {
	return some(f, func(l harden.ListenerFact) bool {
		return l.Protocol == "tcp" && l.Port == port && (len(programs) == 0 || slices.Contains(programs, l.Process))
	})
}

func some(f *harden.Facts, take func(harden.ListenerFact) bool) []harden.ListenerFact {
	return slices.DeleteFunc(slices.Clone(f.Listeners), func(l harden.ListenerFact) bool { return !take(l) })
}

func outside(list []harden.ListenerFact) []harden.ListenerFact {
	return slices.DeleteFunc(slices.Clone(list), harden.ListenerFact.Local)
}

func evidence(list []harden.ListenerFact) []harden.Evidence {
	var out []harden.Evidence
	for _, l := range list {
		out = append(out, l.Evidence())
	}
	return out
}

// nothing is the evidence for a port that nobody listens on.
func nothing(f *harden.Facts, port int) harden.Evidence {
	return harden.Evidence{Source: fmt.Sprintf("port %d", port), Value: fmt.Sprintf("none of %d listeners is there", len(f.Listeners))}
}

func list(ls []harden.ListenerFact) string {
	var out []string
	for _, l := range ls {
		who := l.Process
		if who == "" {
			who = "the kernel"
		}
		out = append(out, fmt.Sprintf("%s (%s)", l, who))
	}
	if len(out) > 5 {
		return strings.Join(out[:5], ", ") + fmt.Sprintf(" and %d more", len(out)-5)
	}
	return strings.Join(out, ", ")
}
