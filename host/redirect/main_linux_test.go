package redirect

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// ownNet says that this process has a network of its own.
const ownNet = "KUBECTL_HARDEN_TEST_NET"

// TestMain runs the tests in a network of their own, so that nothing is led anywhere on this machine.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(ownNet) != "":
		os.Exit(m.Run())
	case os.Geteuid() != 0:
		fmt.Println("host/redirect: NOT TESTED: rules of nftables need root")
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownNet+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Println("host/redirect:", err)
		os.Exit(1)
	}
}

// lan gives this network an address as a node has one.
func lan(t testing.TB, cidr string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan1"}))
	peer, err := netlink.LinkByName("lan1")
	must(t, err)
	must(t, netlink.LinkSetUp(peer))
	link, err := netlink.LinkByName("lan0")
	must(t, err)
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = 0x02 // IFA_F_NODAD
	}
	must(t, netlink.AddrAdd(link, a))
	must(t, netlink.LinkSetUp(link))
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	proxy(t)
	everywhere := &net.IPNet{IP: make(net.IP, len(a.IP.To16())), Mask: net.CIDRMask(0, 128)}
	if a.IP.To4() != nil {
		everywhere = &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	}
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: everywhere}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// proxy is what kube-proxy has in a node's tables, as far as it matters here.
func proxy(t testing.TB) {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := c.AddTable(&nftables.Table{Name: "kube-proxy", Family: family})
		for name, hook := range map[string]*nftables.ChainHook{"nat-prerouting": nftables.ChainHookPrerouting, "nat-output": nftables.ChainHookOutput} {
			chain := c.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: nftables.ChainPriorityNATDest})
			// A rule that asks for connections makes the kernel follow them.
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}}})
		}
		t.Cleanup(func() { c.DelTable(table); must(t, c.Flush()) })
	}
	must(t, c.Flush())
}
