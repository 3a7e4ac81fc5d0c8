package filter

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// ownNet says that this process has a network of its own.
const ownNet = "KUBECTL_HARDEN_TEST_NET"

const (
	nft  = "/usr/sbin/nft"
	name = "kubectl_harden"
)

// TestMain runs the tests in a network of their own, so that no packet of this machine is dropped.
func TestMain(m *testing.M) {
	_, err := os.Stat(nft)
	switch {
	case os.Getenv(ownNet) != "":
		os.Exit(m.Run())
	case os.Geteuid() != 0 || err != nil:
		fmt.Println("host/filter: NOT TESTED: it needs root and", nft)
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownNet+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Println("host/filter:", err)
		os.Exit(1)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rules let one host of each family, and a network, reach port 10250, as the ports area writes them.
const rules = `add table inet kubectl_harden
delete table inet kubectl_harden
table inet kubectl_harden {
	set kubelet4 {
		type ipv4_addr
		flags interval
		elements = { 10.99.0.2, 10.244.0.0/16 }
	}
	set kubelet6 {
		type ipv6_addr
		flags interval
		elements = { fd99::2 }
	}
	chain input {
		type filter hook input priority -10; policy accept;
		ct state established,related accept
		iifname "lo" accept
		ip saddr @kubelet4 tcp dport 10250 accept
		ip6 saddr @kubelet6 tcp dport 10250 accept
		tcp dport 10250 tcp flags & (syn | ack) == syn counter drop
	}
}
`

func load(t testing.TB, text string) {
	t.Helper()
	cmd := exec.Command(nft, "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func current(t testing.TB) Table {
	t.Helper()
	table, err := Read(name)
	must(t, err)
	return table
}

// lan gives this network addresses 1 and another one, which plays the rest of the world, 2 and 3.
func lan(t testing.TB) netns.NsHandle {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "lan0"
	var other netns.NsHandle
	got := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for ever: the thread's network is another one
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			other, err = netns.Get()
		}
		got <- err
	}()
	must(t, <-got)
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lan1", PeerNamespace: netlink.NsFd(other)}))
	here, err := netlink.NewHandle()
	must(t, err)
	there, err := netlink.NewHandleAt(other)
	must(t, err)
	for _, end := range []struct {
		at        *netlink.Handle
		link      string
		addresses []string
	}{{here, "lan0", []string{"10.99.0.1/24", "fd99::1/64"}}, {there, "lan1", []string{"10.99.0.2/24", "10.99.0.3/24", "fd99::2/64", "fd99::3/64"}}, {here, "lo", nil}} {
		link, err := end.at.LinkByName(end.link)
		must(t, err)
		for _, text := range end.addresses {
			a, err := netlink.ParseAddr(text)
			must(t, err)
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD
			}
			must(t, end.at.AddrAdd(link, a))
		}
		must(t, end.at.LinkSetUp(link))
	}
	t.Cleanup(func() {
		link, err := here.LinkByName("lan0")
		must(t, err)
		must(t, here.LinkDel(link))
		other.Close()
		must(t, Drop(name))
	})
	return other
}

// serve answers at a port of all addresses.
func serve(t testing.TB, port int) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("[::]:%d", port))
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				one := make([]byte, 1)
				for {
					if _, err := c.Read(one); err != nil {
						return
					}
					if _, err := c.Write(one); err != nil {
						return
					}
				}
			}()
		}
	}()
}

// dial connects from the other network, with one of its addresses.
func dial(other netns.NsHandle, from, to string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // for ever, as above
		if err := netns.Set(other); err != nil {
			done <- result{nil, err}
			return
		}
		d := net.Dialer{Timeout: 1500 * time.Millisecond, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		c, err := d.Dial("tcp", to)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

func answers(c net.Conn) bool {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, err := c.Write([]byte{'?'})
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	return err == nil
}

// TestOnlyThoseNamedReachTheGuardedPort is of both families; other ports, the node itself and connections from before are left alone.
func TestOnlyThoseNamedReachTheGuardedPort(t *testing.T) {
	other := lan(t)
	serve(t, 10250)
	serve(t, 22)
	for _, to := range []struct{ node, named, stranger string }{{"10.99.0.1", "10.99.0.2", "10.99.0.3"}, {"[fd99::1]", "fd99::2", "fd99::3"}} {
		t.Run(to.node, func(t *testing.T) {
			must(t, Drop(name))
			before, err := dial(other, to.stranger, to.node+":10250")
			must(t, err) // without the table everybody does
			defer before.Close()
			if !answers(before) {
				t.Fatal("nobody answers")
			}
			load(t, rules)
			for _, row := range []struct {
				from, at string
				reaches  bool
			}{{to.named, ":10250", true}, {to.stranger, ":10250", false}, {to.stranger, ":22", true}} {
				c, err := dial(other, row.from, to.node+row.at)
				if (err == nil) != row.reaches {
					t.Errorf("from %s to %s: %v", row.from, row.at, err)
				}
				if c != nil {
					c.Close()
				}
			}
			if !answers(before) {
				t.Error("a connection from before is cut")
			}
			for _, own := range []string{to.node, "127.0.0.1"} {
				c, err := net.DialTimeout("tcp", own+":10250", time.Second)
				if err != nil {
					t.Fatalf("the node itself, at %s: %v", own, err)
				}
				c.Close()
			}
			must(t, Drop(name))
			c, err := dial(other, to.stranger, to.node+":10250")
			if err != nil {
				t.Fatalf("without the table again: %v", err)
			}
			c.Close()
		})
	}
}

// others is a table of somebody else.
func others(t testing.TB) {
	t.Helper()
	load(t, "table ip kube-proxy {\n\tchain input {\n\t\ttype filter hook input priority 0; policy accept;\n\t\ttcp dport 1 drop\n\t}\n}\n")
	t.Cleanup(func() { load(t, "delete table ip kube-proxy\n") })
}

func everything(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(nft, "list", "ruleset").CombinedOutput()
	must(t, err)
	return string(out)
}

// TestOtherTablesAreLeftAlone by trying, loading, loading again and dropping.
func TestOtherTablesAreLeftAlone(t *testing.T) {
	others(t)
	before := everything(t)
	if _, err := Try(context.Background(), nft, []byte(rules), name); err != nil {
		t.Fatal(err)
	}
	if got := everything(t); got != before {
		t.Errorf("trying leaves something: %s", got)
	}
	load(t, rules)
	load(t, rules)
	if got := everything(t); !strings.HasPrefix(got, before) || strings.Count(got, "tcp dport 10250 tcp flags") != 1 {
		t.Errorf("loaded twice: %s", got)
	}
	must(t, Drop(name))
	must(t, Drop(name))
	if got := everything(t); got != before {
		t.Errorf("afterwards: %s", got)
	}
}

// TestATableIsReadBack as the one that its rules make, and any change of it is noticed.
func TestATableIsReadBack(t *testing.T) {
	want, err := Try(context.Background(), nft, []byte(rules), name)
	must(t, err)
	if got := Differs(name, want, current(t)); got != "table inet kubectl_harden is not there" {
		t.Errorf("without it: %q", got)
	}
	if got := Differs(name, nil, current(t)); got != "" {
		t.Errorf("none wanted and none there: %q", got)
	}
	t.Cleanup(func() { must(t, Drop(name)) })
	for change, says := range map[string]string{
		"": "",
		"add element inet kubectl_harden kubelet4 { 198.51.100.0/24 }":                                "set kubelet4 of table inet kubectl_harden is not as it was written",
		"delete element inet kubectl_harden kubelet6 { fd99::2 }":                                     "set kubelet6 of table inet kubectl_harden is not as it was written",
		"insert rule inet kubectl_harden input tcp dport 10250 accept":                                "chain input of table inet kubectl_harden is not as it was written",
		"flush chain inet kubectl_harden input":                                                       "chain input of table inet kubectl_harden is not as it was written",
		"add chain inet kubectl_harden forward { type filter hook forward priority 0; policy drop; }": "table inet kubectl_harden has a chain forward that was not written",
		"add set inet kubectl_harden more { type ipv4_addr; }":                                        "table inet kubectl_harden has a set more that was not written",
		"add chain inet kubectl_harden input { type filter hook input priority -10; policy drop; }":   "chain input of table inet kubectl_harden is not as it was written",
		"flush table inet kubectl_harden\ndelete chain inet kubectl_harden input":                     "table inet kubectl_harden has no chain input",
		"flush ruleset": "table inet kubectl_harden is not there",
	} {
		load(t, rules)
		load(t, change)
		if got := Differs(name, want, current(t)); got != says {
			t.Errorf("%q: %q, want %q", change, got, says)
		}
	}
	load(t, rules)
	if got := Differs(name, nil, current(t)); got != "table inet kubectl_harden is there" {
		t.Errorf("there, and none wanted: %q", got)
	}
}

// TestPacketsThatAreCountedChangeNothing: a counter is no difference.
func TestPacketsThatAreCountedChangeNothing(t *testing.T) {
	other := lan(t)
	want, err := Try(context.Background(), nft, []byte(rules), name)
	must(t, err)
	load(t, rules)
	if c, err := dial(other, "10.99.0.3", "10.99.0.1:10250"); err == nil {
		c.Close()
		t.Error("it is not dropped")
	}
	conn, err := nftables.New()
	must(t, err)
	table, err := find(conn, name)
	must(t, err)
	list, err := conn.GetRules(table, &nftables.Chain{Name: "input", Table: table})
	must(t, err)
	var packets uint64
	for _, r := range list {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				packets += c.Packets
			}
		}
	}
	if packets == 0 {
		t.Error("nothing was counted")
	}
	if got := Differs(name, want, current(t)); got != "" {
		t.Errorf("%s", got)
	}
}

func TestRulesThatAreNoneOfOurs(t *testing.T) {
	for text, says := range map[string]string{
		"table inet kubectl_harden { chain input { type filter hook input priority -10; policy accept; tcp dport frog drop } }": "trying the rules: ",
		"table inet kubectl_harden { set a { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 10.1.0.0/16 } } }":        "trying the rules: ",
		rules + "table ip nat {\n}\n": "trying the rules: they make a table \"nat\", which is not ours",
		"# nothing\n":                 "trying the rules: they make no table",
	} {
		if _, err := Try(context.Background(), nft, []byte(text), name); err == nil || !strings.HasPrefix(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Try(context.Background(), "/nowhere/nft", []byte(rules), name); err == nil {
		t.Error("without the program it is tried")
	}
}
