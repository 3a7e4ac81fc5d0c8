//go:build lab && linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestLifeOfACluster starts a cluster beside any other, uses everything a test can do with a node, and looks afterwards for
// what was left behind.
func TestLifeOfACluster(t *testing.T) {
	version := os.Getenv("LAB_KUBERNETES")
	cfg := Config{Name: "selftest", Kubernetes: version, Log: t.Output()}
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute)
	defer cancel()
	if err := Down(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(ctx), cfg); err != nil {
			t.Error(err)
		}
		checkNothingLeft(t, "khlab-selftest")
	})
	c, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Nodes()[0]

	t.Run("serves", func(t *testing.T) {
		checkServing(t, c)
		out := run(t, n, "kubectl", "get", "--raw=/version")
		if !strings.Contains(out, c.Version()) {
			t.Errorf("version %s, want %s", out, c.Version())
		}
		out = run(t, n, "kubectl", "run", "lookup", "--image="+NetcheckImage, "--restart=Never", "--attach", "--rm", "--quiet",
			"--command", "--", "/netcheck", "lookup", "kubernetes.default.svc.cluster.local")
		if strings.TrimSpace(out) != "10.96.0.1" {
			t.Errorf("looked up in a pod: %q, want 10.96.0.1", out)
		}
	})
	t.Run("looks as the packages and kubeadm leave it", func(t *testing.T) {
		out := run(t, n, "systemctl", "cat", "kubelet.service")
		for _, want := range []string{"# /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "KUBELET_EXTRA_ARGS"} {
			if !strings.Contains(out, want) {
				t.Errorf("kubelet.service lacks %q:\n%s", want, out)
			}
		}
		for path, want := range map[string]string{
			"/etc/kubernetes/manifests/kube-apiserver.yaml": "600 root root",
			"/etc/kubernetes/admin.conf":                    "600 root root",
			"/var/lib/kubelet/config.yaml":                  "644 root root",
			"/var/lib/etcd":                                 "700 root root",
		} {
			if got := strings.TrimSpace(run(t, n, "stat", "-c", "%a %U %G", path)); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
	})
	t.Run("copies", func(t *testing.T) {
		src := filepath.Join(t.TempDir(), "tool")
		if err := os.WriteFile(src, []byte("#!/bin/sh\necho copied\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, dst := range []string{"/usr/local/bin", "/opt/new/", "/opt/other/name"} {
			if err := n.CopyIn(ctx, src, dst); err != nil {
				t.Fatal(err)
			}
		}
		for _, path := range []string{"/usr/local/bin/tool", "/opt/new/tool", "/opt/other/name"} {
			if out := run(t, n, path); out != "copied\n" {
				t.Errorf("%s printed %q", path, out)
			}
		}
		back := filepath.Join(t.TempDir(), "back")
		if err := n.CopyOut(ctx, "/opt/other/name", back); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(back); err != nil || !bytes.Contains(data, []byte("copied")) {
			t.Errorf("copied out: %q, %v", data, err)
		}
	})
	t.Run("survives a power cut", func(t *testing.T) {
		run(t, n, "kubectl", "create", "configmap", "kept")
		if err := n.Kill(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Run(ctx, "true"); !errors.Is(err, ErrNotRunning) {
			t.Fatalf("a command in a killed node: %v, want ErrNotRunning", err)
		}
		if err := n.Boot(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		run(t, n, "kubectl", "get", "configmap", "kept")
	})
	t.Run("survives a reboot from inside", func(t *testing.T) {
		before, err := n.machine()
		if err != nil {
			t.Fatal(err)
		}
		n.Run(ctx, "systemctl", "reboot") // its own connection ends with the node
		waitFor(t, func() bool {
			m, err := n.machine()
			return err == nil && m.Init.alive() && m.Init != before.Init
		})
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("tells what happened", func(t *testing.T) {
		journal, err := n.Journal(ctx, "kubelet.service")
		if err != nil || !bytes.Contains(journal, []byte("Started kubelet.service")) {
			t.Errorf("journal: %d bytes, %v", len(journal), err)
		}
		logs, err := n.PodLogs(ctx)
		if err != nil || !bytes.Contains(logs, []byte("kube-apiserver")) {
			t.Errorf("pod logs: %d bytes, %v", len(logs), err)
		}
	})
	t.Run("resets", func(t *testing.T) {
		run(t, n, "sh", "-c", "rm -r /etc/kubernetes/manifests; chattr +i /etc/hosts; touch /etc/new")
		start := time.Now()
		if err := c.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("reset in %.1fs", time.Since(start).Seconds())
		checkServing(t, c)
		for _, script := range []string{"! test -e /etc/new", "! kubectl get configmap kept", "lsattr /etc/hosts | grep -qv i",
			"! test -e /usr/local/bin/tool"} {
			run(t, n, "sh", "-c", script)
		}
	})
}

// TestMembers starts several members, and looks at what is between them.
func TestMembers(t *testing.T) {
	cfg := Config{Name: "selftest", Kubernetes: os.Getenv("LAB_KUBERNETES"), Nodes: []string{"cp1", "cp2", "cp3", "w1"}, Log: t.Output()}
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Minute)
	defer cancel()
	if err := Down(ctx, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(ctx), cfg); err != nil {
			t.Error(err)
		}
		checkNothingLeft(t, "khlab-selftest")
	})
	c, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	first := c.Nodes()[0]
	check := func(t *testing.T) {
		for _, n := range c.controlPlane() {
			if out := run(t, n, "kubectl", "get", "--raw=/readyz"); out != "ok" {
				t.Errorf("/readyz from %s: %q", n.Name(), out)
			}
		}
		if nodes := strings.Fields(run(t, first, "kubectl", "get", "nodes", "-o", "name")); len(nodes) != 4 {
			t.Errorf("nodes %q, want 4", nodes)
		}
		if ends := run(t, first, "kubectl", "get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[0].addresses[*].ip}"); len(strings.Fields(ends)) != 3 {
			t.Errorf("API servers %q, want 3", ends)
		}
	}
	t.Run("all serve", check)
	t.Run("pods reach each other, until policies are enforced", func(t *testing.T) {
		for _, n := range c.Nodes() {
			run(t, first, "kubectl", "run", "on-"+n.Name(), "--image="+NetcheckImage, "--image-pull-policy=Never", "--command",
				"--overrides={\"spec\":{\"nodeName\":\""+n.Name()+"\"}}", "--", "/netcheck", "serve", ":8080")
		}
		run(t, first, "kubectl", "wait", "pod", "--all", "--for=condition=Ready", "--timeout=60s")
		to := run(t, first, "kubectl", "get", "pod", "on-w1", "-o", "jsonpath={.status.podIP}") + ":8080"
		reaches := func() bool {
			_, err := first.Run(ctx, "kubectl", "exec", "on-cp2", "--", "/netcheck", "get", to)
			return err == nil
		}
		if !reaches() {
			t.Error("a pod of cp2 does not reach one of w1")
		}
		deny := `{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}, "spec": {"podSelector": {}}}`
		if _, err := first.RunInput(ctx, strings.NewReader(deny), "kubectl", "create", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		if !reaches() {
			t.Error("a policy is enforced, and nothing was asked to do so")
		}
		if err := c.EnforcePolicies(ctx, true); err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return !reaches() })
		if err := c.EnforcePolicies(ctx, false); err != nil {
			t.Fatal(err)
		}
		waitFor(t, reaches)
	})
	t.Run("a member is lost and comes back", func(t *testing.T) {
		n := c.Nodes()[1]
		if err := n.Kill(ctx); err != nil {
			t.Fatal(err)
		}
		run(t, first, "kubectl", "create", "configmap", "made-by-two-of-three")
		if err := n.Boot(ctx); err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("resets", func(t *testing.T) {
		start := time.Now()
		if err := c.Reset(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("reset in %.1fs", time.Since(start).Seconds())
		check(t)
		run(t, first, "sh", "-c", "! kubectl get configmap made-by-two-of-three")
	})
}

func checkServing(t *testing.T, c *Cluster) {
	t.Helper()
	for _, n := range c.Nodes() {
		if out := run(t, n, "kubectl", "get", "--raw=/readyz"); out != "ok" {
			t.Errorf("/readyz from %s: %q", n.Name(), out)
		}
		out, err := c.CommandOutside(t.Context(), "nsenter", "--version").CombinedOutput()
		if err != nil {
			t.Errorf("a command beside the node: %v: %s", err, out)
		}
	}
}

func run(t *testing.T, n *Node, name string, args ...string) string {
	t.Helper()
	out, err := n.Run(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for !cond() {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

// checkNothingLeft looks for processes, mounts, namespaces and cgroups with the cluster's name.
func checkNothingLeft(t *testing.T, name string) {
	t.Helper()
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range cmdlines {
		if data, err := os.ReadFile(f); err == nil && bytes.Contains(data, []byte(name)) {
			t.Errorf("left behind: process %s: %q", f, data)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) || strings.Contains(line, "clusters/selftest") {
			t.Errorf("left behind: mount %s", line)
		}
	}
	for _, root := range []string{"/run/netns", "/sys/fs/cgroup", "/run/systemd/nspawn"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && strings.Contains(d.Name(), name) {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
