package apiserver

import (
	"net/netip"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	bindFlag   = "bind-address"
	portFlag   = "secure-port"
	goawayFlag = "goaway-chance"
)

// mostGoaway is the largest chance that the API server starts with.
const mostGoaway = 0.02

// listenControls are about where the API server is reached, and how its clients spread.
var listenControls = []harden.Control{
	{
		ID:    "apiserver-bind-address",
		Title: "The API server is reached where its clients look for it",
		Why: harden.Msg("The API server listens on every address of the node unless told otherwise, and that is what kubeadm, load balancers and the node's own clients count on. " +
			"On one address only, clients at 127.0.0.1 and at a virtual address of the same node get no connection, and probes that ask elsewhere make the kubelet kill it. " +
			"Who may reach the port is better said by a firewall."),
		Refs:     harden.Refs{STIG: []string{"V-242389"}, Docs: []string{flagsPage}},
		Severity: harden.Medium, Component: harden.APIServer, Flags: []string{bindFlag, portFlag},
		Needs: needs, Applies: applies, Assess: assessListen,
	},
	{
		ID:    "apiserver-goaway-chance",
		Title: "Clients spread over all API servers again",
		Why: harden.Msg("A client keeps its connection to one API server for as long as it lasts. After a restart of one of several, all clients stay with the others, " +
			"and whoever wants to exhaust one keeps at it. " +
			"With a small chance the API server asks a client at a request to connect anew, which the load balancer then sends elsewhere. It is off by default."),
		Refs:     harden.Refs{Docs: []string{flagsPage}},
		Severity: harden.Low, Component: harden.APIServer, Flags: []string{goawayFlag},
		Needs: needs, Applies: applies, Assess: assessGoaway,
		Remedies: []harden.Remedy{{
			ID: "spread", Title: harden.Msg("Ask a client to connect anew at one request of a thousand"), Risk: harden.RiskNode, Impact: restart,
			Breaks: []harden.Message{
				harden.Msg("Nothing for clients of HTTP/2, which finish what they have begun. Behind no load balancer they come back to the same API server, at the cost of a handshake."),
			},
			Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
				pre := harden.Precondition{
					ID: "several-api-servers", Title: harden.Msg("several API servers stand behind a load balancer"), State: harden.PreconditionUnknown,
					Message: harden.Msg("the cluster's nodes were not read"),
				}
				if n, known := apiServers(f); known {
					pre.State, pre.Message = harden.Met, harden.Msg("there are %d", n)
					if n < 2 {
						pre.State, pre.Message = harden.Unmet, harden.Msg("this is the only one, and its clients would come back to it")
					}
				}
				return []harden.Precondition{pre}
			},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(harden.APIServer, goawayFlag, "0.001")}, nil
			},
		}},
	},
}

func assessListen(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	bind, port := c.Flag(bindFlag), c.Flag(portFlag)
	seen := []harden.Evidence{bind.Evidence(bindFlag), port.Evidence(portFlag)}
	if n, err := strconv.Atoi(port.Last()); port.Set && (err != nil || n < 1 || n > 65535) {
		return harden.Failed(harden.Msg("%q is no port; the API server does not start with it", port.Last()), seen...)
	}
	at, err := netip.ParseAddr(bind.Last())
	switch {
	case bind.Last() == "" || err == nil && at.IsUnspecified():
		return harden.Passed(harden.Msg("it listens on every address"), seen...)
	case err != nil:
		return harden.Failed(harden.Msg("%q is no address; the API server does not start with it", bind.Last()), seen...)
	case at.IsLoopback():
		return harden.Failed(harden.Msg("it listens on %s: no other node reaches it", at), seen...)
	}
	return harden.NeedsPerson(harden.Msg("it listens on %s alone; decide whether nobody asks at another address of this node, 127.0.0.1 and a virtual one included", at), seen...)
}

// apiServers is how many control-plane nodes the cluster has.
func apiServers(f *harden.Facts) (n int, known bool) {
	if _, missing := f.Missing[harden.NeedNodes]; f.Cluster == nil || missing {
		return 0, false
	}
	for _, node := range f.Cluster.Nodes {
		if node.ControlPlane {
			n++
		}
	}
	return n, n > 0
}

func assessGoaway(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.APIServer).Flag(goawayFlag)
	seen := flag.Evidence(goawayFlag)
	chance, err := strconv.ParseFloat(flag.Last(), 64)
	n, known := apiServers(f)
	switch {
	case flag.Set && (err != nil || chance < 0 || chance > mostGoaway):
		return harden.Failed(harden.Msg("%q is no chance between 0 and %g; the API server does not start with it", flag.Last(), mostGoaway), seen)
	case flag.Set && chance > 0:
		return harden.Passed(harden.Msg("clients are asked to connect anew at one request of %.0f", 1/chance), seen)
	case known && n < 2:
		return harden.NotFor(harden.Msg("this is the only API server, and its clients would come back to it"), seen)
	}
	return harden.NeedsPerson(harden.Msg("clients stay with one API server for ever; decide whether a load balancer spreads them over several"), seen)
}
