package ports

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// openPort is a port that has to be open to some: a row from which a control is made. Whether a firewall of others lets
// only those through is a person's to say: its rules are not read.
type openPort struct {
	id, title string
	why       harden.Message
	severity  harden.Severity
	seed      []string
	former    []string // ids that only older benchmarks have
	program   string
	sockets   func(*harden.Facts) []harden.ListenerFact // the program's own for this
	who       string                                    // needs it
}

var open = []openPort{
	{
		id: "ports-api-server", title: "The API server's port is open to those who need it", severity: harden.High,
		why: harden.Msg("Who reaches the API server can try credentials, and uses any hole in it before anybody is asked for some. " +
			"Nodes, pods, administrators and load balancers need it; the rest of the network does not."),
		seed: []string{seedPorts}, program: "kube-apiserver", sockets: whole("kube-apiserver"),
		who: "nodes, pods, administrators and load balancers",
	},
	{
		id: "ports-kubelet", title: "The kubelet's port is open to those who need it", severity: harden.High,
		why: harden.Msg("Port 10250, or the one that it is set to, runs commands in containers for those whom the kubelet lets in. " +
			"API servers and monitoring need it; nobody else has to reach it at all."),
		seed: []string{seedPorts}, program: "kubelet", sockets: kubeletServes,
		former: []string{"4.2.15"},
		who:    "API servers, metrics-server and monitoring",
	},
	{
		id: "ports-kube-proxy-health", title: "The health port of kube-proxy is open to those who need it", severity: harden.Low,
		why: harden.Msg("On port 10256 kube-proxy says over plain HTTP whether it works. Load balancers in front of the nodes ask it, for Services with externalTrafficPolicy Local too, " +
			"so that it must not be bound to the loopback address. Nobody else needs it."),
		seed: []string{seedPorts}, program: "kube-proxy", sockets: proxyHealth,
		who: "load balancers in front of the nodes",
	},
}

func securePort(f *harden.Facts) int {
	port := 6443
	if c := f.Component(harden.APIServer); c != nil {
		_, _ = fmt.Sscan(c.Flag("secure-port").Last(), &port)
	}
	return port
}

func (o openPort) control() harden.Control {
	return harden.Control{
		ID: o.id, Title: o.title, Why: o.why, Severity: o.severity,
		Refs:  harden.Refs{STIG: []string{"V-242410", "V-242411", "V-242412", "V-242413"}, NSA: []string{nsaNet}, Seed: o.seed, Docs: []string{docsPorts}, FormerCIS: o.former},
		Needs: []harden.Need{harden.NeedListeners},
		Assess: func(f *harden.Facts) harden.Verdict {
			found := o.sockets(f)
			far := outside(found)
			switch {
			case len(found) == 0:
				return harden.NotFor(harden.Msg("%s has no such port on this node", o.program))
			case len(far) == 0:
				return harden.Passed(harden.Msg("%s answers this node only", list(found)), evidence(found)...)
			case tableGuards(f, far):
				return harden.Passed(harden.Msg("table inet %s lets only those through whom it names", harden.FilterTable), append(evidence(found), firewallEvidence(f)...)...)
			}
			return harden.NeedsPerson(harden.Msg("%s is needed by %s; see that %s lets nobody else through", list(far), o.who, filter(f, far)), append(evidence(found), firewallEvidence(f)...)...)
		},
	}
}

// filter is who would have to keep others from sockets of this host.
func filter(f *harden.Facts, ls []harden.ListenerFact) string {
	fw := f.Firewall
	switch {
	case fw == nil:
		return "the network in front of this node"
	case len(fw.EBPF) > 0:
		return "a host policy of " + strings.Join(fw.EBPF, " or ")
	case len(fw.Managers) > 0:
		return strings.Join(fw.Managers, " or ")
	case len(dropping(f)) > 0 && len(openFamilies(f, ls)) == 0:
		return chains(dropping(f))
	case len(dropping(f)) > 0:
		return fmt.Sprintf("%s, and for %s the network in front of this node,", chains(dropping(f)), called(openFamilies(f, ls)))
	}
	return "the network in front of this node, as nothing on it filters,"
}

// dropping are the chains that drop what no rule of theirs lets through.
func dropping(f *harden.Facts) []harden.HookFact {
	if f.Firewall == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(f.Firewall.Hooks), func(h harden.HookFact) bool { return !h.Drops })
}

func firewallEvidence(f *harden.Facts) []harden.Evidence {
	fw := f.Firewall
	if fw == nil {
		return nil
	}
	var out []harden.Evidence
	for _, m := range fw.Managers {
		out = append(out, harden.Evidence{Source: m, Value: "manages the packet filter"})
	}
	for _, e := range fw.EBPF {
		out = append(out, harden.Evidence{Source: e, Value: "its programs in the kernel see packets before any packet filter"})
	}
	for _, h := range fw.Hooks {
		policy := "accept"
		if h.Drops {
			policy = "drop"
		}
		out = append(out, harden.Evidence{Source: fmt.Sprintf("nftables table %s %s", h.Family, h.Table), Value: fmt.Sprintf("chain %s at the input hook, priority %d, policy %s", h.Chain, h.Priority, policy)})
	}
	for _, l := range fw.Legacy {
		out = append(out, harden.Evidence{Source: "iptables (legacy)", Value: "table " + l})
	}
	if !fw.Unread.IsZero() {
		out = append(out, harden.Evidence{Source: "nftables", Value: fw.Unread.String()})
	}
	if len(out) == 0 {
		out = append(out, harden.Evidence{Source: "packet filter", Value: "no chain at the input hook"})
	}
	return out
}

// firewall has one remedy, where nobody else is in charge of the packet filter.
var firewall = harden.Control{
	ID: "ports-firewall", Title: "One packet filter guards the node, and it is known which", Severity: harden.Medium,
	Why: harden.Msg("What the node does not need to offer should be out of reach even when it is bound by mistake. " +
		"Two managers of one packet filter undo each other's work, and a reload of either can throw away the rules that pods live by. " +
		"Rules at the input hook never see node ports or host ports of pods, nor anything on an eBPF datapath."),
	Refs:  harden.Refs{NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsSafe}},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		fw, seen := f.Firewall, firewallEvidence(f)
		switch {
		case fw == nil:
			return harden.NeedsPerson(harden.Msg("which packet filter guards this node could not be seen"), harden.Evidence{Source: "packet filter", Value: "not looked at"})
		case len(fw.EBPF) > 0:
			return harden.NeedsPerson(harden.Msg("%s sees packets before any packet filter of the host: limit its ports with host policies of its own (CiliumClusterwideNetworkPolicy, Calico HostEndpoint)", strings.Join(fw.EBPF, ", ")), seen...)
		case len(fw.Managers) > 1:
			return harden.Failed(harden.Msg("%s manage one packet filter: keep one of them, and do not reload or flush while pods run", strings.Join(fw.Managers, " and ")), seen...)
		case !fw.Unread.IsZero():
			return harden.NeedsPerson(harden.Msg("the chains of this host could not be listed: %s", fw.Unread), seen...)
		case fw.Table != nil:
			return assessTable(f, seen)
		case len(dropping(f)) > 0 && len(openFamilies(f, f.Listeners)) == 0:
			return harden.Passed(harden.Msg("what no rule lets through is dropped, by %s", chains(dropping(f))), seen...)
		case len(dropping(f)) > 0:
			return harden.NeedsPerson(harden.Msg("over %s this node listens for others, and no chain drops by its policy what comes that way: only %s does, and not for that; give both families the same rules",
				called(openFamilies(f, f.Listeners)), chains(dropping(f))), seen...)
		case len(fw.Managers) == 1:
			return harden.NeedsPerson(harden.Msg("%s manages the packet filter, and no chain drops by its policy: look at its rules for the ports above", fw.Managers[0]), seen...)
		case slices.Contains(fw.Legacy, "filter"):
			return harden.NeedsPerson(harden.Msg("the older iptables has a filter table, whose rules are not read here: look at \"iptables-legacy -S INPUT\""), seen...)
		}
		return harden.NeedsPerson(harden.Msg("nothing on this host filters what comes in: let the network in front of it do so, or take the remedy, a table that drops only what it names; never flush the ruleset, which holds the rules of pods"), seen...)
	},
	Remedies: []harden.Remedy{ownTable},
}

var hostPorts = harden.Control{
	ID: "ports-host-ports", Title: "Pods of users take no privileged ports of the node", Severity: harden.Medium,
	Why: harden.Msg("A pod with a host port below 1024 stands where a service of the machine would, for everybody who reaches the node. " +
		"Ingress controllers do so on purpose. For others a Service is the better way."),
	Refs:  harden.Refs{CIS: []string{"5.2.12"}, STIG: []string{"V-242414"}, NSA: []string{nsaNet}, Docs: []string{docsPorts}},
	Needs: []harden.Need{harden.NeedWorkloads},
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		looked := 0
		for _, p := range f.Cluster.Pods {
			if p.Node != f.Identity.Node || p.Namespace == "kube-system" {
				continue
			}
			looked++
			for _, port := range p.Ports {
				if port.HostPort > 0 && port.HostPort < 1024 {
					seen = append(seen, harden.Evidence{Source: "Pod " + p.Namespace + "/" + p.Name, Value: fmt.Sprintf("host port %d", port.HostPort)})
				}
			}
		}
		if len(seen) > 0 {
			return harden.NeedsPerson(harden.Msg("%d privileged ports of this node are pods' of users: see that each one is meant to be", len(seen)), seen...)
		}
		return harden.Passed(harden.Msg("none of %d pods outside of kube-system takes one", looked), harden.Evidence{Source: "pods on " + f.Identity.Node, Value: fmt.Sprintf("%d looked at", looked)})
	},
}

// expected are programs of a node that listen for others, and ports by which the kernel's own are known. systemd listens for
// others' programs, whatever they are: of it, only the way in is expected.
var (
	expected = []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "cloud-controller-manager", "etcd", "kubelet", "kube-proxy",
		"containerd", "crio", "dockerd", "sshd", "chronyd", "ntpd", "systemd-timesyncd", "systemd-networkd", "dhclient", "dhcpcd", "NetworkManager",
		// Network plugins.
		"calico-node", "bird", "bird6", "confd", "typha", "calico-typha", "cilium-agent", "cilium-health-responder", "cilium-operator", "cilium-operator-generic", "flanneld", "kube-router", "antrea-agent", "antrea-controller", "ovs-vswitchd", "weaver",
	}
	// VXLAN, Geneve, WireGuard.
	tunnels = []int{4789, 8472, 6081, 51820, 51821, 51871}
)

var unexpected = harden.Control{
	ID: "ports-unexpected", Title: "Nothing listens that the node does not need", Severity: harden.Medium,
	Why: harden.Msg("Each program that listens is one more that has to be right. On a node of Kubernetes few are needed besides its own: " +
		"what a distribution's packages or a past experiment left behind is best taken away."),
	Refs: harden.Refs{
		STIG: []string{"V-242410", "V-242411", "V-242412", "V-242413"}, NSA: []string{nsaNet}, Seed: []string{seedPorts}, Docs: []string{docsPorts},
	},
	Needs: []harden.Need{harden.NeedListeners},
	Assess: func(f *harden.Facts) harden.Verdict {
		far := outside(f.Listeners)
		others := slices.DeleteFunc(slices.Clone(far), func(l harden.ListenerFact) bool {
			if l.PID == 0 {
				return l.Protocol == "udp" && slices.Contains(tunnels, l.Port)
			}
			return login(l) || slices.Contains(expected, path.Base(l.Process))
		})
		if len(others) > 0 {
			return harden.NeedsPerson(harden.Msg("open to others, and not Kubernetes' own: %s; stop what is not needed, and bind the rest to 127.0.0.1", list(others)), evidence(others)...)
		}
		return harden.Passed(harden.Msg("%d ports are open to others, all of programs that a node needs", len(far)), evidence(far)...)
	},
}
