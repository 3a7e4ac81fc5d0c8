//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

var firewallScenarios = []scenario{
	{
		name:   "15-firewall",
		proves: "only those who need it reach the kubelet and etcd; kept over a new connection only, still there after a reboot, and undone wholly",
		nodes:  []string{"cp1", "w1"},
		run:    firewall,
	},
	{
		name:   "15-firewall-script",
		proves: "restore.sh takes the table away without the program",
		nodes:  []string{"cp1", "w1"},
		run:    firewallByHand,
	},
}

// reaches says whether a connection to a port of the first node can be made, by a script that runs somewhere else.
func (t *T) reaches(port int) string {
	return fmt.Sprintf("timeout 3 bash -c 'exec 3<>/dev/tcp/%s/%d'", t.node.Address(), port)
}

func (t *T) outsiderReaches(port int) bool {
	return t.cluster.CommandOutside(t.ctx, "sh", "-c", t.reaches(port)).Run() == nil
}

func (t *T) nodeReaches(n *lab.Node, port int) bool {
	return strings.TrimSpace(t.shellIn(n, t.reaches(port)+" 2>/dev/null && echo yes || echo no")) == "yes"
}

// guarded compares who reaches what with what the table is to let through.
func (t *T) guarded(on bool, when string) {
	w := t.cluster.Nodes()[1]
	for _, row := range []struct {
		port            int
		outsider, other bool
	}{{10250, !on, true}, {2379, !on, !on}, {2380, !on, !on}, {6443, true, true}, {10256, true, true}, {22, true, true}} {
		if got := t.outsiderReaches(row.port); got != row.outsider {
			t.errorf("%s: somebody else reaches port %d: %v", when, row.port, got)
		}
		if got := t.nodeReaches(w, row.port); got != row.other {
			t.errorf("%s: the worker reaches port %d: %v", when, row.port, got)
		}
		if !t.nodeReaches(t.node, row.port) {
			t.errorf("%s: the node itself does not reach its port %d", when, row.port)
		}
	}
	table := strings.Contains(t.shell("nft list tables"), "table inet kubectl_harden\n")
	if table != on {
		t.errorf("%s: the table is there: %v", when, table)
	}
	if files := t.shell("ls -d /etc/kubectl-harden /etc/systemd/system/*firewall* /etc/systemd/system/kubelet.service.d/*firewall* 2>/dev/null || true"); (files != "") != on {
		t.errorf("%s: its files: %q", when, files)
	}
	if t.shell("nft list tables | grep -c -e kube-proxy -e nat -e mangle || true") == "0\n" {
		t.errorf("%s: the rules of kube-proxy are gone", when)
	}
}

// serveLogins lets the node be logged in to at port 22, by a program that goes by the name of an SSH server: a process of its own holds
// each connection, and has a shell for a child.
func (t *T) serveLogins() {
	t.shell(`cp /usr/bin/socat /usr/local/sbin/sshd
systemd-run --quiet --collect --unit=logins /usr/local/sbin/sshd TCP-LISTEN:22,reuseaddr,fork EXEC:/bin/sh`)
	t.within(20*time.Second, "logins", func() (bool, string) { return t.outsiderReaches(22), "nobody listens at port 22" })
}

// login is a connection from outside with a shell at its other end.
type login struct {
	t   *T
	in  io.WriteCloser
	out *bufio.Reader
}

func (t *T) login() *login {
	cmd := t.cluster.CommandOutside(t.ctx, "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/%s/22; cat <&3 & cat >&3", t.node.Address()))
	in, err := cmd.StdinPipe()
	t.need(err)
	out, err := cmd.StdoutPipe()
	t.need(err)
	t.need(cmd.Start())
	t.cleanup(func() { _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return &login{t, in, bufio.NewReader(out)}
}

// run gives what a command says there, and how it ends.
func (l *login) run(command string) (code string, said string) {
	const mark = "the command has ended with "
	_, err := fmt.Fprintf(l.in, "%s 2>&1; echo \"%s$?\"\n", command, mark)
	l.t.need(err)
	for {
		line, err := l.out.ReadString('\n')
		if err != nil {
			l.t.fatalf("%s: %v: %s", command, err, said)
		}
		if code, ok := strings.CutPrefix(line, mark); ok {
			l.t.detail("logged in: %s: %s%s", command, said, line)
			return strings.TrimSpace(code), said
		}
		said += line
	}
}

var tableOf = []string{"apply", "--control", "ports-firewall", "--yes", "--soak", "5s", "--confirm-within"}

func firewall(t *T) {
	t.serveLogins()
	t.guarded(false, "before")
	before := t.picture(t.node)
	old := t.login()
	if code, said := old.run("true"); code != "0" {
		t.fatalf("logging in: %s %s", code, said)
	}

	applied := t.must(9, append(tableOf, "10m")...)
	t.figure("apply", "%s", seconds(applied.took))
	t.guarded(true, "applied")
	t.healthy("applied")

	t.step("confirmed over the connection from before")
	tx := t.newest()
	if code, said := old.run(productPath + " confirm " + tx); code != "8" || !strings.Contains(said, "open before the table was loaded") {
		t.errorf("exit code %s: %s", code, said)
	}
	if s := t.harden("status"); !strings.Contains(s.stdout+s.stderr, "unless it is confirmed") {
		t.errorf("it is not awaited any more: %s", s)
	}
	t.step("confirmed over a new one")
	if code, said := t.login().run(productPath + " confirm " + tx); code != "0" {
		t.errorf("exit code %s: %s", code, said)
	}
	for _, l := range t.leftovers(t.node) {
		if !strings.HasSuffix(l, "table inet kubectl_harden") && !strings.Contains(l, "kubectl-harden-firewall.") {
			t.errorf("after confirm: left behind: %s", l)
		}
	}
	if again := t.must(0, "plan", "--control", "ports-firewall"); strings.Contains(again.stdout, "+++") {
		t.errorf("a second plan is not empty: %s", again)
	}

	t.step("a reboot keeps it")
	t.need(t.node.Kill(t.ctx))
	t.need(t.node.Boot(t.ctx))
	t.healthy("after the reboot")
	t.serveLogins()
	t.guarded(true, "after the reboot")
	order := t.shell("systemctl show -p ActiveEnterTimestampMonotonic --value kubectl-harden-firewall.service; systemctl show -p ExecMainStartTimestampMonotonic --value kubelet.service")
	var loaded, started int64
	if _, err := fmt.Sscan(order, &loaded, &started); err != nil || loaded == 0 || loaded > started {
		t.errorf("the table was loaded at %d and the kubelet started at %d microseconds: %v", loaded, started, err)
	}

	t.step("rolled back")
	t.must(0, "rollback", "--yes")
	t.guarded(false, "after the rollback")
	t.same(before, "after the rollback")
	t.healthy("after the rollback")

	t.step("nobody confirms")
	t.must(9, append(tableOf, "1m")...)
	t.guarded(true, "applied again")
	t.figure("undone after", "%s, of which a minute to confirm", seconds(t.undoneByItself(before, 4*time.Minute, "nobody confirms", "")))
	t.guarded(false, "nobody confirmed")

	t.step("a reboot before anybody confirms")
	t.must(9, append(tableOf, "1h")...)
	t.need(t.node.Kill(t.ctx))
	t.need(t.node.Boot(t.ctx))
	t.undoneByItself(before, 4*time.Minute, "after a reboot", "")
	t.serveLogins()
	t.guarded(false, "after a reboot that nobody confirmed")
}

func firewallByHand(t *T) {
	t.serveLogins()
	before := t.picture(t.node)
	t.must(9, append(tableOf, "1h")...)
	t.guarded(true, "applied")
	t.shell("sh " + t.newestScript())
	t.guarded(false, "after restore.sh")
	t.must(0, "recover")
	t.clean("after recover")
	t.same(before, "after recover")
}
