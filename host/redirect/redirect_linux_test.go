package redirect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

var (
	v4 = Redirect{Address: netip.MustParseAddr("10.77.0.11"), Secure: 6443, To: 16443, Service: netip.MustParseAddrPort("10.96.0.1:443")}
	v6 = Redirect{Address: netip.MustParseAddr("fd77::11"), Secure: 6443, To: 16443, Service: netip.MustParseAddrPort("[fd96::1]:443")}
)

// serving answers with a word at an address and port until the test is over.
func serving(t *testing.T, at netip.AddrPort, word string) {
	t.Helper()
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
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
					fmt.Fprintln(c, word)
				}
			}()
		}
	}()
}

// line asks on a connection.
func line(c net.Conn) string {
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte{'?'}); err != nil {
		return "none"
	}
	var word []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(c, one); err != nil {
			return "none"
		}
		if one[0] == '\n' {
			return string(word)
		}
		word = append(word, one[0])
	}
}

func from(t *testing.T, to netip.AddrPort) string {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		c, err := net.DialTimeout("tcp", to.String(), 300*time.Millisecond)
		if err != nil {
			continue // what was plugged in only now may lose packets
		}
		defer c.Close()
		return line(c)
	}
	return "none"
}

// TestTableLeadsNewConnectionsOnly is of both families, by the node's address and by the ClusterIP, from here and from elsewhere.
func TestTableLeadsNewConnectionsOnly(t *testing.T) {
	for _, r := range []Redirect{v4, v6} {
		t.Run(r.Address.String(), func(t *testing.T) {
			lan(t, fmt.Sprintf("%s/%d", r.Address, r.Address.BitLen()-8))
			node, other := netip.AddrPortFrom(r.Address, 6443), netip.AddrPortFrom(r.Address, 16443)
			loopback := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 6443)
			if r.Address.Is6() {
				loopback = netip.AddrPortFrom(netip.IPv6Loopback(), 6443)
			}
			serving(t, node, "live")
			serving(t, loopback, "live")
			serving(t, other, "canary")
			before, err := net.Dial("tcp", node.String())
			for end := time.Now().Add(3 * time.Second); err != nil && time.Now().Before(end); {
				before, err = net.Dial("tcp", node.String()) // an address of IPv6 is there a little later
			}
			must(t, err)
			defer before.Close()
			out, err := outside(cable(r.Address))
			must(t, err)
			defer out.close()

			table, err := Open(Name)
			must(t, err)
			if got := from(t, node); got != "live" {
				t.Errorf("with chains without rules: %s", got)
			}
			must(t, table.Lead(r))
			elsewhere := func(to netip.AddrPort) string {
				got := ""
				done := make(chan error, 1)
				go func() {
					done <- out.inside(func() error { got = from(t, to); return nil })
				}()
				must(t, <-done)
				return got
			}
			for what, got := range map[string]string{
				"the node's address": from(t, node), "the ClusterIP": from(t, r.Service),
				"the node's address from elsewhere": elsewhere(node), "the ClusterIP from elsewhere": elsewhere(r.Service),
			} {
				if got != "canary" {
					t.Errorf("%s leads to %s", what, got)
				}
			}
			if got := line(before); got != "live" {
				t.Errorf("a connection from before leads to %s", got)
			}
			if got := from(t, loopback); got != "live" {
				t.Errorf("the loopback address leads to %s", got)
			}
			during, err := net.Dial("tcp", node.String())
			must(t, err)
			defer during.Close()
			must(t, table.Release())
			if a, b := from(t, node), line(during); a != "live" || b != "canary" {
				t.Errorf("released: a new one leads to %s, one that was led to %s", a, b)
			}
			must(t, table.Close())
			if left, err := Left(Name); left || err != nil {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

// TestTrialIsOfItsOwnConnections finds that connections arrive, and leaves everybody else's alone.
func TestTrialIsOfItsOwnConnections(t *testing.T) {
	for _, r := range []Redirect{v4, v6} {
		t.Run(r.Address.String(), func(t *testing.T) {
			lan(t, fmt.Sprintf("%s/%d", r.Address, r.Address.BitLen()-8))
			serving(t, netip.AddrPortFrom(r.Address, 6443), "live")
			if err := Try(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			if got := from(t, netip.AddrPortFrom(r.Address, 6443)); got != "live" {
				t.Errorf("after the trial: %s", got)
			}
			if left, err := Left(TrialName); left || err != nil {
				t.Errorf("left: %v %v", left, err)
			}
			if _, err := net.InterfaceByName(trialLink); err == nil {
				t.Error("the trial's cable is left")
			}
		})
	}
}

func TestTrialObstacles(t *testing.T) {
	accept := nftables.ChainPolicyAccept
	drop := nftables.ChainPolicyDrop
	for _, row := range []struct {
		name, says string
		redirect   func(r *Redirect)
		policy     *nftables.ChainPolicy
		rule       []expr.Any
		listens    bool
		unproxied  bool
	}{
		{name: "another machine's address", redirect: func(r *Redirect) { r.Address = netip.MustParseAddr("10.77.0.12") }, says: "nobody can listen at 10.77.0.12:16443"},
		{name: "a port that is taken", listens: true, says: "nobody can listen at 10.77.0.11:16443"},
		{name: "the loopback address", redirect: func(r *Redirect) { r.Address = netip.MustParseAddr("127.0.0.1") }, says: "not an address that connections can be led to"},
		{name: "a Service of the other family", redirect: func(r *Redirect) { r.Service = v6.Service }, says: "not a Service in the family of 10.77.0.11"},
		{name: "one port", redirect: func(r *Redirect) { r.To = 6443 }, says: "not two ports"},
		{name: "an input hook that drops", policy: &drop, says: "may be refused, by table fw, chain in"},
		{name: "an input hook with a drop", policy: &accept, says: "may be refused, by table fw, chain in",
			rule: append(toPort(22), &expr.Verdict{Kind: expr.VerdictDrop})},
		{name: "an input hook with a reject", policy: &accept, says: "may be refused, by table fw, chain in", rule: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}},
		{name: "no kube-proxy", unproxied: true, says: "there are no rules of kube-proxy in nftables"},
		{name: "an input hook that counts", policy: &accept, rule: []expr.Any{&expr.Counter{}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			lan(t, "10.77.0.11/24")
			r := v4
			if row.redirect != nil {
				row.redirect(&r)
			}
			if row.listens {
				serving(t, netip.AddrPortFrom(r.Address, 16443), "somebody")
			}
			if row.unproxied {
				c, err := nftables.New()
				must(t, err)
				c.DelTable(&nftables.Table{Name: "kube-proxy", Family: nftables.TableFamilyIPv4})
				must(t, c.Flush())
				t.Cleanup(func() {
					c.AddTable(&nftables.Table{Name: "kube-proxy", Family: nftables.TableFamilyIPv4})
					must(t, c.Flush())
				})
			}
			if row.policy != nil {
				firewall(t, *row.policy, row.rule)
			}
			err := Try(context.Background(), r)
			var found *ObstacleError
			switch {
			case row.says == "" && err != nil, row.says != "" && (!errors.As(err, &found) || !strings.Contains(found.Why, row.says)):
				t.Errorf("%v", err)
			}
			if left, err := Left(TrialName); left || err != nil {
				t.Errorf("left: %v %v", left, err)
			}
		})
	}
}

func firewall(t *testing.T, policy nftables.ChainPolicy, rule []expr.Any) {
	t.Helper()
	c, err := nftables.New()
	must(t, err)
	table := c.AddTable(&nftables.Table{Name: "fw", Family: nftables.TableFamilyINet})
	in := c.AddChain(&nftables.Chain{
		Name: "in", Table: table, Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter, Policy: &policy,
	})
	if rule != nil {
		c.AddRule(&nftables.Rule{Table: table, Chain: in, Exprs: rule})
	}
	must(t, c.Flush())
	t.Cleanup(func() { c.DelTable(table); must(t, c.Flush()) })
}

// fence starts one in a process of its own.
func fence(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "fence.sock")
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeAsFence$")
	cmd.Env = append(os.Environ(), "FENCE="+socket)
	ready, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := io.ReadFull(ready, make([]byte, 1)); err != nil {
		t.Fatal("the fence did not come up: ", err)
	}
	return cmd, socket
}

// TestServeAsFence is that process.
func TestServeAsFence(t *testing.T) {
	socket := os.Getenv("FENCE")
	if socket == "" {
		t.Skip("it is a helper of other tests")
	}
	err := Fence{
		Socket: socket, Silence: time.Second, Longest: time.Minute,
		Ready: func() { fmt.Print("r") }, Alive: func() {},
	}.Serve()
	if err != nil {
		t.Log(err)
	}
}

func gone(t *testing.T, within time.Duration) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		left, err := Left(Name)
		must(t, err)
		if took := time.Since(began); !left || took > within {
			if left {
				t.Errorf("the table is there after %s", took)
			}
			return took
		}
	}
}

func TestTableGoesWithItsHolder(t *testing.T) {
	for name, end := range map[string]func(*exec.Cmd, *Holder){
		"the applier says so":    func(_ *exec.Cmd, h *Holder) { must(t, h.End()) },
		"it is said twice":       func(_ *exec.Cmd, h *Holder) { must(t, h.End()); must(t, h.End()) }, // it closed a channel twice
		"the applier dies":       func(_ *exec.Cmd, h *Holder) { h.conn.Close() },
		"the applier is silent":  func(_ *exec.Cmd, h *Holder) { close(h.stop) },
		"the fence is killed":    func(f *exec.Cmd, _ *Holder) { must(t, f.Process.Kill()) },
		"the fence is told lies": func(_ *exec.Cmd, h *Holder) { _, _ = h.conn.Write([]byte("}")) },
	} {
		t.Run(name, func(t *testing.T) {
			lan(t, "10.77.0.11/24")
			f, socket := fence(t)
			h, err := Dial(socket)
			must(t, err)
			serving(t, netip.MustParseAddrPort("10.77.0.11:6443"), "live")
			serving(t, netip.MustParseAddrPort("10.77.0.11:16443"), "canary")
			must(t, h.Lead(v4))
			if got := from(t, netip.MustParseAddrPort("10.77.0.11:6443")); got != "canary" {
				t.Errorf("led to %s", got)
			}
			if err := h.Lead(Redirect{}); err == nil || h.Lost() != nil {
				t.Errorf("leading nowhere: %v, lost: %v", err, h.Lost())
			}
			end(f, h)
			gone(t, 3*time.Second)
			if got := from(t, netip.MustParseAddrPort("10.77.0.11:6443")); got != "live" {
				t.Errorf("afterwards led to %s", got)
			}
			if err := h.Release(); err == nil {
				t.Error("that the fence has gone is not noticed")
			}
		})
	}
}

func TestTableIsHeldOnce(t *testing.T) {
	first, err := Open(Name)
	must(t, err)
	if _, err := Open(Name); err == nil {
		t.Error("a second one was made")
	}
	must(t, first.Close())
}
