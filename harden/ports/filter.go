package ports

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// hookFile has the kubelet's unit want ours, so that nothing of Kubernetes listens before the table is there.
const (
	hookFile = "/etc/systemd/system/kubelet.service.d/50-kubectl-harden-firewall.conf"
	unitFile = "/etc/systemd/system/" + harden.FilterUnit
)

const unitText = `# Made by kubectl-harden (ports-firewall); a rollback takes it away.
[Unit]
Description=Who reaches the ports of Kubernetes on this node (kubectl-harden)
ConditionPathExists=%[1]s
Before=kubelet.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=%[2]s -f %[1]s
ExecReload=%[2]s -f %[1]s
ExecStop=-%[2]s delete table inet %[3]s
`

const hookText = `# Made by kubectl-harden (ports-firewall); a rollback takes it away.
[Unit]
Wants=%[1]s
After=%[1]s
`

var ownTable = harden.Remedy{
	ID:     "own-table",
	Title:  harden.Msg("Let only those reach the kubelet and etcd who need them, by a table of nftables that does nothing else"),
	Impact: harden.Msg("New connections to the guarded ports are dropped unless they come from an address that is let through. Nothing restarts, and open connections stay."),
	Breaks: []harden.Message{
		harden.Msg("The addresses of nodes are those of now: a node that is added is refused until the remedy is applied again, before it joins in the case of a control plane (option joining). It shows as logs and exec that time out, or as a join that hangs."),
		harden.Msg("Monitoring from outside the cluster that asks the kubelet, and backups that ask etcd from elsewhere, are refused unless their addresses are said: they time out."),
		harden.Msg("Node ports and host ports of pods are led elsewhere before any rule at the input hook sees them: this guards none of them. Services have loadBalancerSourceRanges, kube-proxy has nodePortAddresses, and pods have NetworkPolicies."),
		harden.Msg("What flushes the whole ruleset (nft flush ruleset, a restart of nftables.service) takes the table away until the unit is restarted; the finding of this control says so then."),
		harden.Msg("The API server's port is guarded only where the option api-server asks for it: whoever runs kubectl from an address that is not said is cut off then."),
	},
	Risk: harden.RiskLockOut, NodeOnly: true,
	Options: []harden.Option{
		{Name: optNodes, Title: harden.Msg("addresses of all nodes; unset, those that the cluster has now"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks,
			Found: foundNodes(optNodes, func(harden.NodeFact) bool { return true })},
		{Name: optControlPlanes, Title: harden.Msg("addresses of the control planes; unset, those that the cluster has now"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks,
			Found: foundNodes(optControlPlanes, func(n harden.NodeFact) bool { return n.ControlPlane })},
		{Name: optPods, Title: harden.Msg("networks of pods; unset, those that the cluster gives them from"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks, Found: foundPods},
		{Name: optJoining, Title: harden.Msg("networks that nodes will join from, control planes among them; kept until set anew"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks, Found: keptOption(optJoining, "")},
		{Name: optAdmins, Title: harden.Msg("networks of administrators and of monitoring outside the cluster; kept until set anew"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks, Found: keptOption(optAdmins, "")},
		{Name: optBalancers, Title: harden.Msg("networks of load balancers; with them kube-proxy's health port is guarded too; kept until set anew"), Kind: harden.OptionList, Keeps: true, Check: checkNetworks, Found: keptOption(optBalancers, "")},
		{Name: optAPIServer, Title: harden.Msg("guard the API server's port too; kept until set anew"), Kind: harden.OptionSwitch, Default: "false", Keeps: true, Found: keptOption(optAPIServer, "false")},
	},
	Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
		return []harden.Precondition{nobodyElses(f), canLoad(f), addressesKnown(f, v), podsKnown(v), peersLetThrough(f, v), wayIn(f, v)}
	},
	Intents: tableIntents,
}

func tableIntents(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
	if v[optAPIServer] == "true" && v[optAdmins] == "" {
		return nil, fmt.Errorf("with the API server's port guarded, nobody could run kubectl from elsewhere: say from where with --set ports-firewall.%s=NETWORKS", optAdmins)
	}
	if f.Firewall == nil || f.Firewall.NFT == "" {
		return nil, fmt.Errorf("the program nft is not there")
	}
	rules, err := TableRules(f, v)
	if err != nil {
		return nil, err
	}
	if t := f.Firewall.Table; t != nil && !t.Differs.IsZero() && string(t.Rules.State.Data) == string(rules) {
		return nil, fmt.Errorf("its files are right, and only not in force: run \"systemctl restart %s\", and find out what has taken it away", harden.FilterUnit)
	}
	return []harden.Intent{
		harden.WriteFile(harden.FilterRules, rules, 0o600, harden.PacketFilter),
		harden.WriteFile(unitFile, fmt.Appendf(nil, unitText, harden.FilterRules, f.Firewall.NFT, harden.FilterTable), 0o600, harden.PacketFilter),
		harden.WriteFile(hookFile, fmt.Appendf(nil, hookText, harden.FilterUnit), 0o600, harden.PacketFilter),
	}, nil
}

// instead is what to use where somebody else manages the packet filter.
var instead = map[string]string{
	"firewalld":        "let it do this: a zone whose sources are the nodes and pods, with the kubelet's and etcd's ports in it and in no other one",
	"ufw":              "let it do this: ufw allow from NETWORK to any port 10250 proto tcp for each network, then ufw deny 10250/tcp",
	"nftables.service": "its ruleset is loaded in place of everything that is there: put such a table into /etc/nftables.conf, below its flush",
}

func nobodyElses(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "packet-filter-is-nobodys", Title: harden.Msg("nobody else manages the packet filter, and packets come by it"), State: harden.PreconditionUnknown}
	fw := f.Firewall
	switch {
	case fw == nil:
		p.Message = harden.Msg("what filters packets was not looked at")
		return p
	case len(fw.EBPF) > 0:
		p.State = harden.Unmet
		p.Message = harden.Msg("%s handles packets before the packet filter: use its host policies (CiliumClusterwideNetworkPolicy with a nodeSelector, Calico GlobalNetworkPolicy for HostEndpoints)", strings.Join(fw.EBPF, ", "))
	case len(fw.Managers) > 0:
		p.State, p.Message = harden.Unmet, harden.Msg("%s is in charge of it; %s", fw.Managers[0], instead[fw.Managers[0]])
	case !fw.Unread.IsZero():
		p.Message = harden.Msg("the chains of this host could not be listed: %s", fw.Unread)
	default:
		p.State = harden.Met
	}
	p.Evidence = firewallEvidence(f)
	return p
}

func canLoad(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "table-can-be-loaded", Title: harden.Msg("the program nft is there, and systemd loads the table at boot"), State: harden.PreconditionUnknown}
	switch {
	case f.Firewall == nil || f.Machine == nil:
		p.Message = harden.Msg("the running machine was not looked at")
	case f.Firewall.NFT == "":
		p.State, p.Message = harden.Unmet, harden.Msg("install the package nftables, and leave its nftables.service disabled: that flushes the rules of pods when it starts")
	case !f.Machine.Systemd:
		p.State, p.Message = harden.Unmet, harden.Msg("systemd does not run this machine, and nothing would load the table at boot")
	default:
		p.State, p.Evidence = harden.Met, []harden.Evidence{{Source: "program", Value: f.Firewall.NFT}}
	}
	return p
}

// addressesKnown wants all nodes let through: one that is not can neither be asked for logs nor, as a control plane, find its peers.
func addressesKnown(f *harden.Facts, v harden.Values) harden.Precondition {
	p := harden.Precondition{ID: "nodes-are-known", Title: harden.Msg("the addresses of all nodes are let through"), State: harden.Met}
	for _, option := range []string{optNodes, optControlPlanes} {
		p.Evidence = append(p.Evidence, harden.Evidence{Source: option, Value: v[option]})
		if v[option] == "" {
			p.State = harden.Unmet
			p.Message = harden.Msg("the cluster could not be asked for them: say them with --set ports-firewall.%s=ADDRESSES", option)
		}
	}
	if p.State == harden.Unmet {
		return p
	}
	for _, check := range []struct {
		option string
		all    string
	}{
		{optNodes, foundNodes(optNodes, func(harden.NodeFact) bool { return true })(f, v)},
		{optControlPlanes, foundNodes(optControlPlanes, func(n harden.NodeFact) bool { return n.ControlPlane })(f, v)},
	} {
		has, _ := networks(v[check.option] + "," + v[optJoining])
		for _, a := range lacking(has, check.all) {
			p.State = harden.PreconditionUnknown
			p.Message = harden.Msg("%s is a node's address, and not among %s", a, check.option)
		}
	}
	return p
}

// lacking are the networks of a list that those there do not hold.
func lacking(there []netip.Prefix, list string) []string {
	all, err := networks(list)
	if err != nil {
		return nil
	}
	var out []string
	for _, p := range all {
		if !slices.ContainsFunc(there, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) }) {
			out = append(out, word(p))
		}
	}
	return out
}

func podsKnown(v harden.Values) harden.Precondition {
	p := harden.Precondition{ID: "pods-are-known", Title: harden.Msg("pods are let through to the kubelet"), State: harden.Met}
	p.Evidence = []harden.Evidence{{Source: optPods, Value: v[optPods]}}
	if v[optPods] == "" {
		p.State = harden.PreconditionUnknown
		p.Message = harden.Msg("which networks pods have their addresses from is not known, and those that ask the kubelet (metrics-server, monitoring) would be refused: say them with --set ports-firewall.%s=NETWORKS", optPods)
	}
	return p
}

// peersLetThrough looks at who uses the guarded ports now: they would be refused when they come again.
func peersLetThrough(f *harden.Facts, v harden.Values) harden.Precondition {
	p := harden.Precondition{ID: "peers-are-let-through", Title: harden.Msg("all who are connected to the guarded ports now are let through"), State: harden.PreconditionUnknown}
	switch {
	case f.Firewall == nil:
		p.Message = harden.Msg("who is connected was not looked at")
		return p
	case !f.Firewall.PeersUnread.IsZero():
		p.Message = harden.Msg("who is connected could not be seen: %s", f.Firewall.PeersUnread)
		return p
	}
	p.State = harden.Met
	active, ports := guarded(f, v)
	for i, g := range active {
		let, _ := g.let(v)
		for _, peer := range f.Firewall.Peers {
			if !slices.Contains(ports[i], peer.Port) {
				continue
			}
			seen := harden.Evidence{Source: fmt.Sprintf("port %d", peer.Port), Value: peer.Address.String() + " is connected"}
			if !slices.ContainsFunc(let, func(n netip.Prefix) bool { return n.Contains(peer.Address) }) {
				p.State = harden.PreconditionUnknown
				p.Message = harden.Msg("%s is connected to port %d, and would be refused the next time: find out who that is; if it is to go on, let it through with --set ports-firewall.%s=NETWORKS", peer.Address, peer.Port, optAdmins)
				seen.Value += ", and would be refused"
			}
			p.Evidence = append(p.Evidence, seen)
		}
	}
	return p
}

// login says that people log in at a socket: an SSH server's, or systemd's that starts one.
func login(l harden.ListenerFact) bool {
	return l.Protocol == "tcp" && (l.Process == "sshd" || strings.HasPrefix(l.Process, "sshd-") || l.Process == "dropbear" || l.Process == "systemd" && l.Port == 22)
}

// wayIn wants the operator's own way onto the node to stay: SSH is not guarded, and kubectl works from where the operator comes.
func wayIn(f *harden.Facts, v harden.Values) harden.Precondition {
	p := harden.Precondition{ID: "way-in-stays", Title: harden.Msg("your own way to this node stays open"), State: harden.Met}
	logins := some(f, login)
	active, ports := guarded(f, v)
	for _, l := range logins {
		p.Evidence = append(p.Evidence, harden.Evidence{Source: l.String(), Value: l.Process + ": not guarded"})
		for _, at := range ports {
			if slices.Contains(at, l.Port) {
				p.State, p.Message = harden.Unmet, harden.Msg("%s listens on port %d, which would be guarded", l.Process, l.Port)
				return p
			}
		}
	}
	if f.Firewall == nil || !slices.ContainsFunc(active, func(g guard) bool { return g.set == "api_server" }) {
		return p
	}
	admins, _ := networks(v[optAdmins])
	for _, peer := range f.Firewall.Peers {
		if !slices.ContainsFunc(logins, func(l harden.ListenerFact) bool { return l.Port == peer.Port }) {
			continue
		}
		p.Evidence = append(p.Evidence, harden.Evidence{Source: fmt.Sprintf("SSH at port %d", peer.Port), Value: peer.Address.String()})
		if !slices.ContainsFunc(admins, func(n netip.Prefix) bool { return n.Contains(peer.Address) }) {
			p.State = harden.PreconditionUnknown
			p.Message = harden.Msg("somebody is logged in from %s, which is not among the administrators' networks: kubectl from there would be refused", peer.Address)
		}
	}
	return p
}

// tableGuards says that our table is in force and lets only those it names reach sockets.
func tableGuards(f *harden.Facts, ls []harden.ListenerFact) bool {
	if f.Firewall == nil || f.Firewall.Table == nil || !f.Firewall.Table.Differs.IsZero() {
		return false
	}
	return len(but(ls, portsIn(f.Firewall.Table.Rules.State.Data))) == 0
}

// assessTable judges our own table.
func assessTable(f *harden.Facts, seen []harden.Evidence) harden.Verdict {
	t := f.Firewall.Table
	rules := t.Rules.State.Data
	v := optionsIn(rules)
	for _, option := range tableOptions {
		if v[option] != "" {
			seen = append(seen, harden.Evidence{Source: harden.FilterRules, Value: option + ": " + v[option]})
		}
	}
	switch {
	case !t.Rules.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("the rules of the table could not be read: %s", t.Rules.Unread), seen...)
	case !t.Rules.State.Exists:
		return harden.Failed(harden.Msg("table inet %s is in force and its rules are gone from %s: after the next boot it is not there", harden.FilterTable, harden.FilterRules), seen...)
	case !t.Differs.IsZero():
		return harden.Failed(harden.Msg("%s: run \"systemctl restart %s\", and find out what has changed it", t.Differs, harden.FilterUnit), seen...)
	}
	for _, known := range []struct {
		option string
		now    string
	}{
		{optNodes, foundNodes(optNodes, func(harden.NodeFact) bool { return true })(f, v)},
		{optControlPlanes, foundNodes(optControlPlanes, func(n harden.NodeFact) bool { return n.ControlPlane })(f, v)},
		{optPods, foundPods(f, v)},
	} {
		has, err := networks(v[known.option] + "," + v[optJoining])
		if err != nil {
			return harden.Failed(harden.Msg("the rules in %s are not as this program writes them: %s", harden.FilterRules, err.Error()), seen...)
		}
		if more := lacking(has, known.now); len(more) > 0 {
			return harden.Failed(harden.Msg("%s of the cluster have changed, and %s is refused: apply it again", known.option, strings.Join(more, ", ")), seen...)
		}
		now, _ := networks(known.now)
		if gone := lacking(now, v[known.option]); len(gone) > 0 && f.Cluster != nil && known.option != optPods {
			return harden.NeedsPerson(harden.Msg("%s are let through as %s and are not the cluster's any more, or were said by hand", strings.Join(gone, ", "), known.option), seen...)
		}
	}
	var ports []string
	for _, p := range portsIn(rules) {
		ports = append(ports, fmt.Sprint(p))
	}
	return harden.Passed(harden.Msg("only those whom it names reach ports %s; node ports and host ports of pods do not come by it, and its addresses are to be renewed when nodes come or go", strings.Join(ports, ", ")), seen...)
}
