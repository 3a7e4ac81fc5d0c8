// Package redirect leads new connections for a node's API server to another port of the node while the server is replaced. The
// rules are in an nftables table of its own, which the kernel takes away with the process that holds it, however that ends.
//
// That process is the fence: a small one apart from the applier, which tells it what to do and that it lives. When the applier
// dies the fence ends at once; when it falls silent, in seconds; and a fence that hangs is ended by whoever started it
// ([Watchdog]).
package redirect

import (
	"fmt"
	"net/netip"
	"time"
)

const (
	// Name of the table.
	Name = "kubectl-harden"
	// TrialName is that of the table that [Try] makes for a moment.
	TrialName = Name + "-trial"
	// Socket is where the fence is told what to do.
	Socket = "/run/kubectl-harden-handover.sock"
	// Silence is how long the fence hears nothing before it gives up.
	Silence = 5 * time.Second
	// Watchdog is how long the fence may say nothing to whoever watches it.
	Watchdog = 10 * time.Second
	// Longest is how long the fence lasts at most, whatever it is told.
	Longest = 10 * time.Minute
)

// Redirect is what is led where.
type Redirect struct {
	Address netip.Addr     `json:"address"` // the API server's own
	Secure  int            `json:"secure"`  // its port
	To      int            `json:"to"`      // the port to which connections are led, at Address
	Service netip.AddrPort `json:"service"` // of default/kubernetes, in the address's family
}

func (r Redirect) check() error {
	switch {
	case !r.Address.IsValid() || r.Address.IsUnspecified() || r.Address.IsLoopback() || r.Address.Zone() != "":
		return fmt.Errorf("not an address that connections can be led to: %s", r.Address)
	case !port(r.Secure) || !port(r.To) || r.Secure == r.To:
		return fmt.Errorf("not two ports: %d and %d", r.Secure, r.To)
	case !r.Service.IsValid() || r.Service.Port() == 0 || r.Service.Addr().Is4() != r.Address.Is4():
		return fmt.Errorf("not a Service in the family of %s: %s", r.Address, r.Service)
	}
	return nil
}

func port(n int) bool { return n > 0 && n < 1<<16 }

// only limits the rules to connections of one's own: from an address that comes in, and with a mark that go out.
type only struct {
	from netip.Addr
	mark uint32
}
