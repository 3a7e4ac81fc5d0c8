package runtime_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/runtime"
)

func TestAreaIsWellFormed(t *testing.T) { hardentest.CheckArea(t, runtime.Area()) }

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{runtime.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

func TestContainers(t *testing.T) {
	confined := harden.WorkloadFact{Namespace: "shop", Pod: "web-1", Name: "web", Seccomp: true}
	with := func(change func(*harden.WorkloadFact)) harden.WorkloadFact {
		w := confined
		change(&w)
		return w
	}
	for _, tt := range []struct {
		name, control string
		workload      harden.WorkloadFact
		want          harden.Status
		evidence      string
	}{
		{"confined", "runtime-privileged", confined, harden.StatusPass, "1 looked at"},
		{"confined", "runtime-seccomp", confined, harden.StatusPass, "1 looked at"},
		{"confined", "runtime-host-namespaces", confined, harden.StatusPass, "1 looked at"},
		{"privileged", "runtime-privileged", with(func(w *harden.WorkloadFact) { w.Privileged = true }), harden.StatusManual, "privileged"},
		{"privileged in a system namespace", "runtime-privileged", with(func(w *harden.WorkloadFact) { w.Privileged, w.Namespace = true, "kube-system" }), harden.StatusPass, "1 of them in system namespaces"},
		{"unconfined", "runtime-seccomp", with(func(w *harden.WorkloadFact) { w.Seccomp = false }), harden.StatusManual, "no seccomp profile"},
		{"privileged has none", "runtime-seccomp", with(func(w *harden.WorkloadFact) { w.Seccomp, w.Privileged = false, true }), harden.StatusPass, ""},
		{"the node's network", "runtime-host-namespaces", with(func(w *harden.WorkloadFact) { w.HostNetwork, w.HostPID = true, true }), harden.StatusManual, "shares with the node: network, processes"},
		{"not told", "runtime-privileged", with(func(w *harden.WorkloadFact) { w.Unread = true }), harden.StatusManual, "did not tell"},
	} {
		f := hardentest.Fixture(t, "1.37").Facts(t)
		delete(f.Missing, harden.NeedRuntime)
		f.Workloads = []harden.WorkloadFact{tt.workload}
		if got := finding(t, f, tt.control); got.Status != tt.want || !strings.Contains(got.Evidence[0].Value, tt.evidence) {
			t.Errorf("%s %s: %s: %s %v", tt.control, tt.name, got.Status, got.Message, got.Evidence)
		}
	}
	if got := finding(t, hardentest.Fixture(t, "1.37").Facts(t), "runtime-privileged"); got.Status != harden.StatusUnknown {
		t.Errorf("offline: %s", got.Status)
	}
}

func TestSockets(t *testing.T) {
	const path = "/run/containerd/containerd.sock"
	for name, tt := range map[string]struct {
		stat harden.StatFact
		want harden.Status
	}{
		"root's":          {harden.StatFact{Path: path, Kind: harden.StatOther, Mode: 0o660}, harden.StatusPass},
		"for all":         {harden.StatFact{Path: path, Kind: harden.StatOther, Mode: 0o666}, harden.StatusFail},
		"a user's":        {harden.StatFact{Path: path, Kind: harden.StatOther, Mode: 0o600, UID: 1000}, harden.StatusFail},
		"for a group":     {harden.StatFact{Path: path, Kind: harden.StatOther, Mode: 0o660, GID: 999}, harden.StatusManual},
		"no socket there": {harden.StatFact{Path: path, Kind: harden.StatFile, Mode: 0o666}, harden.StatusNotApplicable},
	} {
		f := hardentest.Fixture(t, "1.37").Facts(t)
		f.Stats[path] = tt.stat
		if got := finding(t, f, "runtime-socket"); got.Status != tt.want {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
}
