package staticpod

import (
	"kubectl-harden.io/kubectl-harden/harden"
)

const bindFlag = "bind-address"

// Bind is the control of the address that a component listens on which nobody but the kubelet's probes has to reach. Its own
// default is every address; kubeadm sets the loopback address.
func (p Pod) Bind(port int32, refs harden.Refs) harden.Control {
	return harden.Control{
		ID:    p.id("bind-address"),
		Title: p.title("%s listens on the loopback address only"),
		Why: harden.Msg("%s serves metrics and health on port %d, and nobody but the kubelet's probes on this node has to ask for them. "+
			"On every address the port is one more way in, and what it tells helps an attacker. "+
			"Without the flag it listens on every address; kubeadm sets the loopback address.", p.first(), port),
		Refs: refs, Severity: harden.Medium,
		Component: p.Component, Flags: []string{bindFlag},
		Needs: p.needs(), Applies: harden.RunsHere(p.Component),
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(p.Component).Flag(bindFlag)
			seen := flag.Evidence(bindFlag)
			switch flag.Last() {
			case "127.0.0.1", "::1":
				return harden.Passed(harden.Msg("it listens on %s", flag.Last()), seen)
			case "":
				return harden.Failed(harden.Msg("the flag is not set, which means every address"), seen)
			}
			return harden.Failed(harden.Msg("it listens on %s", flag.Last()), seen)
		},
		Remedies: []harden.Remedy{{
			ID: "loopback", Title: harden.Msg("Listen on 127.0.0.1, and let the probes ask there"), Risk: harden.RiskWorkloads, Impact: p.Restarts(),
			Breaks: []harden.Message{
				harden.Msg("Monitoring that reads the metrics over the network loses its target: Prometheus shows it as down, and alerts on missing metrics fire. An agent on the node, in the host's network, can still read them."),
			},
			Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
				return []harden.Precondition{p.notScraped(f, port)}
			},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(p.Component, bindFlag, "127.0.0.1"), harden.ProbeHost(p.Component, "127.0.0.1")}, nil
			},
		}},
	}
}

// notScraped looks for Services that lead to the port: monitoring finds its targets by them.
func (p Pod) notScraped(f *harden.Facts, port int32) harden.Precondition {
	pre := harden.Precondition{
		ID:      "not-scraped",
		Title:   harden.Msg("nobody reads the metrics of %s over the network", p.Name),
		State:   harden.PreconditionUnknown,
		Message: harden.Msg("the cluster's Services were not read"),
	}
	if _, missing := f.Missing[harden.NeedWorkloads]; f.Cluster == nil || missing {
		return pre
	}
	for _, s := range f.Cluster.Services {
		for _, sp := range s.Ports {
			if sp.TargetPort.IntVal == port || sp.Port == port {
				pre.Evidence = append(pre.Evidence, harden.Evidence{
					Source: "Service " + s.Namespace + "/" + s.Name, Value: harden.Msg("port %d leads to %s", sp.Port, sp.TargetPort.String()).String(),
				})
			}
		}
	}
	if len(pre.Evidence) > 0 {
		pre.State = harden.Unmet
		pre.Message = harden.Msg("a Service leads to port %d: its readers lose it; remove the Service, or let an agent on the node read the port, first", port)
		return pre
	}
	pre.Message = harden.Msg("no Service leads to port %d; who asks the node's own address cannot be seen from here", port)
	return pre
}
