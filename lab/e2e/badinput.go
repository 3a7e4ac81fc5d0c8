//go:build linux

package main

import (
	"slices"
	"strings"
	"time"
)

var badInputScenarios = []scenario{{
	name:   "13-bad-input",
	proves: "no root, no systemd, no runtime socket, an unknown runtime, no free port, a firewall that drops, a full /var: each is said, and the rest works",
	run:    badInput,
}}

// without runs the product where some paths of the node are hidden from it.
func (t *T) without(paths []string, args ...string) said {
	return t.hidden(paths, productPath, args...)
}

// hidden runs a program where some paths of the node are hidden from it, by empty file systems of its own.
func (t *T) hidden(paths []string, program string, args ...string) said {
	script := "set -e\n"
	for _, p := range paths {
		script += "mount -t tmpfs none " + p + "\n"
	}
	return t.command(t.node, "unshare", append([]string{"-m", "sh", "-c", script + `exec "$@"`, "sh", program}, args...)...)
}

// systemd is where a program finds it.
var systemd = []string{"/run/systemd", "/run/dbus"}

// expect wants an exit code and words of what was said.
func (t *T) expect(what string, out said, code int, words ...string) {
	t.expectOneOf(what, out, []int{code}, words...)
}

func (t *T) expectOneOf(what string, out said, codes []int, words ...string) {
	t.step("%s: exit code %d", what, out.code)
	if !slices.Contains(codes, out.code) {
		t.errorf("%s: wanted exit code %v: %s", what, codes, out)
		return
	}
	for _, w := range words {
		if !strings.Contains(out.stdout+out.stderr, w) {
			t.errorf("%s: wanted %q to be said: %s", what, w, out)
		}
	}
}

func badInput(t *T) {
	before := t.picture(t.node)
	change := []string{"apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s"}
	undo := []string{"rollback", "--yes"}

	nobody := func(args ...string) said {
		return t.command(t.node, "setpriv", append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", productPath}, args...)...)
	}
	// Nothing can be said of a node whose kubelet's files cannot be read; how to read them is.
	t.expectOneOf("no root: assess", nobody("assess"), []int{0, 1, 8}, "sudo")
	t.expect("no root: apply", nobody(change...), 8, "sudo", "admin.conf: permission denied")
	t.same(before, "no root")

	t.expect("no systemd: assess", t.without(systemd, "assess"), 0)
	t.expect("no systemd: a change of the kubelet", t.without(systemd, "apply", "--control", "kubelet-tls-cipher-suites", "--yes", "--soak", "0s"),
		8, "systemd")
	t.same(before, "no systemd")

	socket := []string{"/run/containerd"}
	t.expect("no runtime socket: assess", t.without(socket, "assess"), 0)
	t.expect("no runtime socket: apply", t.without(socket, change...), 8, "no container runtime listens", "--accept kube-apiserver")
	t.same(before, "no runtime socket: apply")
	t.expect("no runtime socket: apply, accepted", t.without(socket, append(change, "--accept", apiServer)...), 0)
	t.healthy("no runtime socket")
	t.expect("no runtime socket: rollback", t.without(socket, undo...), 0)
	t.healthy("no runtime socket")
	t.same(before, "no runtime socket")

	// Something listens where the kubelet's files say that its runtime does, and does not speak as one.
	t.shell(`systemd-run --quiet --unit=no-runtime socat UNIX-LISTEN:/run/other.sock,fork EXEC:/bin/cat
mv /etc/default/kubelet /root/default-kubelet
echo KUBELET_EXTRA_ARGS=--container-runtime-endpoint=unix:///run/other.sock >/etc/default/kubelet`)
	t.expect("an unknown runtime: assess", t.harden("assess"), 0)
	t.expect("an unknown runtime: apply", t.harden(change...), 8, "/run/other.sock")
	t.shell("systemctl stop no-runtime; mv /root/default-kubelet /etc/default/kubelet")
	t.same(before, "an unknown runtime")

	const span = "/proc/sys/net/ipv4/ip_local_port_range"
	ports := strings.TrimSpace(t.shell("cat " + span))
	t.shell("echo 1024 65535 >" + span)
	t.expect("no free port for a canary", t.harden(change...), 8, "no port", "--accept kube-apiserver")
	t.expect("no free port for a canary, accepted", t.harden(append(change, "--accept", apiServer)...), 0)
	t.healthy("no free port for a canary")
	t.expect("no free port for a canary: rollback", t.harden(undo...), 0)
	t.shell("echo " + ports + " >" + span)
	t.healthy("no free port for a canary")
	t.same(before, "no free port for a canary")

	const kubeletConfig = "/var/lib/kubelet/config.yaml"
	t.shell("cp -a " + kubeletConfig + " /root/config.yaml; sed -i 's/^imageGCHighThresholdPercent: 100$/imageGCHighThresholdPercent: 1/' " + kubeletConfig)
	t.expect("a disk on which the kubelet removes images", t.harden(change...), 8, "the kubelet removes images that no container uses")
	t.shell("cp -a /root/config.yaml " + kubeletConfig + "; rm /root/config.yaml")
	t.same(before, "a disk on which the kubelet removes images")

	t.shell(`nft -f - <<'.'
table inet firewall {
 chain input {
  type filter hook input priority filter; policy drop;
  iifname "lo" accept
  iifname "cni0" accept
  ct state established,related accept
  ip protocol icmp accept
  tcp dport 6443 accept
 }
}
.`)
	t.expect("a firewall that drops: apply", t.harden(change...), 0)
	t.healthy("a firewall that drops")
	t.expect("a firewall that drops: rollback", t.harden(undo...), 0)
	t.healthy("a firewall that drops")
	// It would refuse the canary's port.
	t.expect("a firewall that drops: apply --handover", t.harden(handOver...), 0, "restarts the plain way", "inet firewall")
	t.healthy("a firewall that drops")
	t.expect("a firewall that drops: rollback", t.harden(undo...), 0)
	t.shell("nft delete table inet firewall")
	t.healthy("a firewall that drops")
	t.same(before, "a firewall that drops")

	t.shell("mount -t tmpfs -o size=1m none " + stateDir + " && head -c 2M /dev/zero >" + stateDir + "/full || true")
	full := t.harden("apply", "--all", "--yes", "--soak", "0s")
	t.shell("umount " + stateDir)
	t.expect("a full state directory", full, 8, "space")
	t.same(before, "a full state directory")

	t.within(time.Minute, "the node is Ready", func() (bool, string) {
		ready, at := t.nodeReady()
		return ready, at.String()
	})
	t.clean("at the end")
}
