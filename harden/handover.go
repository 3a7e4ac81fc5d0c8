package harden

import (
	"net/netip"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/patches"
)

// Handover is of a plan whose API server is to hand its connections over to the canary while it restarts.
type Handover struct {
	// Obstacle says why it restarts the plain way all the same; nothing: it hands over.
	Obstacle Message `json:"obstacle,omitzero"`
}

// Review says which way will be taken, and why.
func (h Handover) Review() Message {
	if h.Obstacle.IsZero() {
		return Msg("%s hands over: the second one listens at the address of this node from its rehearsal on, and new connections go there while the live one restarts; requests under way on older ones are cut", APIServer)
	}
	return Msg("%s does not hand over, and restarts the plain way: %s", APIServer, h.Obstacle)
}

// Redirect is which connections are led to a canary, and where.
type Redirect struct {
	Address string // the API server's own
	Secure  int    // its port
	To      int    // the canary's port, at the same address
	Service string // of default/kubernetes: "10.96.0.1:443"
	// Servers are what this node's own clients take for the API server: names or addresses.
	Servers []string
}

// RestartsAPIServer finds the stage in which the API server restarts.
func (p Plan) RestartsAPIServer() (stage int, ok bool) {
	for i, st := range p.Stages {
		if _, ok := st.Effect(APIServer); ok {
			return i, true
		}
	}
	return 0, false
}

// HandoverTo is what would be led where while a plan's API server restarts, but for the Service and the canary's port; or what
// speaks against it, as far as plan and facts tell.
func HandoverTo(p Plan, f *Facts) (Redirect, Message) {
	i, restarts := p.RestartsAPIServer()
	c, _ := ComponentByID(APIServer)
	switch {
	case f.Identity.Offline:
		return Redirect{}, Msg("nothing runs from this root")
	case p.Undoes != "":
		return Redirect{}, Msg("an undo goes back to what has run, and has no second one to hand over to")
	case !restarts:
		return Redirect{}, Msg("it does not restart")
	}
	st := p.Stages[i]
	if why := canaryObstacle(st, f, c); !why.IsZero() {
		return Redirect{}, Msg("no second one can run beside it: %s", why)
	}
	_, ct := plannedPod(st, c)
	r, why := redirectOf(f.Component(APIServer).Args, slices.Concat(ct.Command, ct.Args))
	if !why.IsZero() {
		return Redirect{}, why
	}
	if why := filtered(f.Firewall); !why.IsZero() {
		return Redirect{}, why
	}
	r.Servers = ownClients(f.Kubeconfigs)
	for _, s := range r.Servers {
		if a, err := netip.ParseAddr(s); s == "localhost" || err == nil && a.IsLoopback() {
			return Redirect{}, Msg("programs of this node reach it by its loopback address, which cannot be led elsewhere")
		}
	}
	return r, Message{}
}

// redirectOf wants an API server that is found before and after the change by the same address and port, and that can be asked
// by the loopback address while its own leads to another one.
func redirectOf(before, after []string) (Redirect, Message) {
	for _, name := range []string{"advertise-address", "bind-address", securePort} {
		if was, is := flagFrom(before, name, "").Last(), flagFrom(after, name, "").Last(); was != is {
			return Redirect{}, Msg("--%s changes, and with it where it is found", name)
		}
	}
	address, err := netip.ParseAddr(flagFrom(before, "advertise-address", "").Last())
	bound := flagFrom(before, "bind-address", "").Last()
	at, _ := netip.ParseAddr(bound)
	switch {
	case err != nil || address.IsUnspecified() || address.IsLoopback():
		return Redirect{}, Msg("its own address is not known: it has no --advertise-address")
	case bound != "" && !at.IsUnspecified():
		return Redirect{}, Msg("it listens at %s only, and could not be asked while that leads to another one", bound)
	case BatchesAudit(before):
		return Redirect{}, Msg("it sends audit events in batches, and would lose those that it has not sent yet")
	}
	return Redirect{Address: address.String(), Secure: livePort(before)}, Message{}
}

// BatchesAudit says that an API server with these arguments keeps audit events back for a while.
func BatchesAudit(args []string) bool {
	return slices.ContainsFunc(patches.ParseArgs(args), func(f patches.Flag) bool {
		return f.Name == "audit-webhook-config-file" || f.Name == "audit-log-mode" && f.Value == "batch"
	})
}

// filtered says why connections to another port of this node may not arrive, as far as that is known without trying.
func filtered(fw *FirewallFact) Message {
	switch {
	case fw == nil:
		return Msg("what filters packets for this node is not known")
	case !fw.Unread.IsZero():
		return Msg("what filters packets for this node is not known: %s", fw.Unread)
	case len(fw.EBPF) > 0:
		return Msg("%s sees connections before they can be led elsewhere", strings.Join(fw.EBPF, ", "))
	case len(fw.Managers) > 0:
		return Msg("%s filters packets for this node, and may refuse them at another port", strings.Join(fw.Managers, ", "))
	case slices.Contains(fw.Legacy, "filter") || slices.Contains(fw.Legacy, "nat"):
		return Msg("the older iptables filters packets for this node, and its rules are not read")
	}
	for _, h := range fw.Hooks {
		if h.Drops {
			return Msg("packets for this node are dropped unless a rule takes them: chain %s of table %s %s", h.Chain, h.Family, h.Table)
		}
	}
	return Message{}
}

// ownClients are the servers that the kubeconfigs of this node name.
func ownClients(kubeconfigs []KubeconfigFact) []string {
	var out []string
	for _, k := range kubeconfigs {
		out = append(out, k.Servers...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
