package redirect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/host/apart"
)

const (
	// trialWait is how long a connection of the trial may take: it goes from this node to itself.
	trialWait = 4 * time.Second
	// trialDial is how long one attempt takes: a packet that gets lost is sent again after a second only.
	trialDial = 300 * time.Millisecond
	trialMark = 0x6b6861
	trialLink = "kharden-trial0"
)

// ObstacleError says why connections would not arrive.
type ObstacleError struct{ Why string }

func (e *ObstacleError) Error() string { return e.Why }

func obstacle(format string, args ...any) error { return &ObstacleError{fmt.Sprintf(format, args...)} }

// Try leads connections of its own, and nobody else's, to a listener of its own at the port that the redirect names, by every
// way on which clients reach the API server, and gives an [ObstacleError] where one does not arrive. For that moment there are a
// table, a listener, and a network namespace with a cable to this node's; whatever becomes of this process, the kernel takes the
// table and the namespace away with it.
func Try(ctx context.Context, r Redirect) error {
	if err := r.check(); err != nil {
		return obstacle("%s", err)
	}
	bad, err := refusals()
	switch {
	case err != nil:
		return obstacle("which packets this node refuses cannot be read: %s", err)
	case len(bad) > 0:
		return obstacle("packets for another port of this node may be refused, by %s", strings.Join(bad, "; "))
	}
	known, err := proxied(tableFamily(r.Address))
	switch {
	case err != nil:
		return obstacle("how Services are led to their endpoints here cannot be read: %s", err)
	case !known:
		return obstacle("how Services are led to their endpoints here is not known: there are no rules of kube-proxy in nftables")
	}
	t, err := Open(TrialName)
	if errors.Is(err, ErrKernel) {
		return obstacle("%s", ErrKernel)
	}
	if err != nil {
		return obstacle("nftables cannot be used: %s", err)
	}
	return errors.Join(tryWith(ctx, t, r), t.Close())
}

func tryWith(ctx context.Context, t *Table, r Redirect) error {
	ends := cable(r.Address)
	out, err := outside(ends)
	if err != nil {
		return obstacle("a network namespace to try from cannot be made: %s", err)
	}
	defer out.close()
	word := []byte(rand.Text())
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.Address, uint16(r.To))))
	if err != nil {
		return obstacle("nobody can listen at %s: %s", netip.AddrPortFrom(r.Address, uint16(r.To)), err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write(word)
			c.Close()
		}
	}()
	if err := t.lead(r, only{from: ends[1].Addr(), mark: trialMark}); err != nil {
		return obstacle("nftables cannot be used: %s", err)
	}
	node := netip.AddrPortFrom(r.Address, uint16(r.Secure))
	ways := []struct {
		name string
		to   netip.AddrPort
		dial func(context.Context, netip.AddrPort, []byte) error
	}{
		{"the node's address from elsewhere", node, out.ask},
		{"the ClusterIP from elsewhere", r.Service, out.ask},
		{"the node's address from this node", node, askMarked},
		{"the ClusterIP from this node", r.Service, askMarked},
	}
	errs := make([]error, len(ways))
	var wg sync.WaitGroup
	for i, way := range ways {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, trialWait)
			defer cancel()
			if err := way.dial(ctx, way.to, word); err != nil {
				errs[i] = obstacle("a connection to %s (%s) does not arrive at port %d: %s", way.name, way.to, r.To, err)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ask wants the listener's own word at an address.
func ask(ctx context.Context, d net.Dialer, to netip.AddrPort, word []byte) error {
	d.Timeout = trialDial
	c, err := d.DialContext(ctx, "tcp", to.String())
	for err != nil { // the cable was plugged in only now
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
		c, err = d.DialContext(ctx, "tcp", to.String())
	}
	defer c.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(end)
	}
	got := make([]byte, len(word))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(word) {
		return errors.New("somebody else answers")
	}
	return nil
}

func askMarked(ctx context.Context, to netip.AddrPort, word []byte) error {
	return ask(ctx, net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, trialMark) }), err)
	}}, to, word)
}

// cable gives the addresses of both ends of the trial's cable, this node's first: of a range that is for a single link.
func cable(like netip.Addr) [2]netip.Prefix {
	if like.Is4() {
		return [2]netip.Prefix{netip.MustParsePrefix("169.254.213.33/30"), netip.MustParsePrefix("169.254.213.34/30")}
	}
	return [2]netip.Prefix{netip.MustParsePrefix("fdc2:6b68:6172::1/126"), netip.MustParsePrefix("fdc2:6b68:6172::2/126")}
}

// namespace is a network of its own with a cable to this node's.
type namespace struct{ ns netns.NsHandle }

// outside makes it.
func outside(ends [2]netip.Prefix) (namespace, error) {
	ns, err := newNamespace()
	if err != nil {
		return namespace{}, err
	}
	n := namespace{ns}
	if err := n.connect(ends); err != nil {
		n.close()
		return namespace{}, err
	}
	return n, nil
}

// newNamespace makes one that has no name, and goes with the last who uses it.
func newNamespace() (netns.NsHandle, error) {
	ns := netns.None()
	err := apart.Do(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("making a network namespace: %w", err)
		}
		ns, err = netns.Get()
		return err
	})
	return ns, err
}

func (n namespace) connect(ends [2]netip.Prefix) error {
	host, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer host.Close()
	inside, err := netlink.NewHandleAt(n.ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	// One that a process has left which was killed at this very moment goes with its namespace, a little later.
	if old, err := host.LinkByName(trialLink); err == nil {
		_ = host.LinkDel(old)
	}
	const peer = "eth0"
	attrs := netlink.NewLinkAttrs()
	attrs.Name = trialLink
	if err := host.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(n.ns)}); err != nil {
		return fmt.Errorf("making a cable: %w", err)
	}
	for _, end := range []struct {
		at   *netlink.Handle
		link string
		own  netip.Prefix
	}{{host, trialLink, ends[0]}, {inside, peer, ends[1]}} {
		if err := plug(end.at, end.link, end.own); err != nil {
			return err
		}
	}
	return inside.RouteAdd(&netlink.Route{Gw: ends[0].Addr().AsSlice()})
}

func plug(h *netlink.Handle, name string, own netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", name, err)
	}
	net := &net.IPNet{IP: own.Addr().AsSlice(), Mask: net.CIDRMask(own.Bits(), own.Addr().BitLen())}
	address := &netlink.Addr{IPNet: net}
	if !own.Addr().Is4() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrAdd(link, address); err != nil {
		return fmt.Errorf("giving %s an address: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing %s up: %w", name, err)
	}
	return nil
}

// ask asks from inside.
func (n namespace) ask(ctx context.Context, to netip.AddrPort, word []byte) error {
	return n.inside(func() error { return ask(ctx, net.Dialer{}, to, word) })
}

// inside does something on a thread that is in the namespace.
func (n namespace) inside(do func() error) error {
	return apart.Do(func() error {
		if err := netns.Set(n.ns); err != nil {
			return err
		}
		return do()
	})
}

// close takes away this node's end of the cable, and the other one with it.
func (n namespace) close() {
	if link, err := netlink.LinkByName(trialLink); err == nil {
		_ = netlink.LinkDel(link)
	}
	_ = n.ns.Close()
}
