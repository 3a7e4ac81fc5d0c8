package kubelet_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

// live is a node whose kubelet runs with the flags of its unit.
func live(t *testing.T, n *hardentest.Node, started time.Time) *harden.Facts {
	t.Helper()
	f := n.Facts(t)
	f.Identity.Offline = false
	f.Kubelet.UnitFiles = []string{"/usr/lib/systemd/system/kubelet.service"}
	f.Kubelet.Process = &harden.ProcessFact{PID: 7, Args: append([]string{"/usr/bin/kubelet"}, f.Kubelet.Args[1:]...), Started: started}
	return f
}

func TestWhatRunsIsComparedWithWhatIsWritten(t *testing.T) {
	const id = "kubelet-running-configuration"
	n := hardentest.Fixture(t, "1.37")
	n.Modified[configPath] = hardentest.Now
	for name, test := range map[string]struct {
		started time.Time
		change  func(*harden.Facts)
		want    harden.Status
		message string
	}{
		"the same":        {hardentest.Now.Add(time.Hour), nil, harden.StatusPass, "process 7 started after"},
		"changed since":   {hardentest.Now.Add(-time.Hour), nil, harden.StatusFail, configPath + " was changed after the kubelet started"},
		"within a second": {hardentest.Now.Add(-time.Second), nil, harden.StatusPass, ""},
		"another flag":    {hardentest.Now, func(f *harden.Facts) { f.Kubelet.Process.Args = append(f.Kubelet.Process.Args, "--v=9") }, harden.StatusFail, "other flags"},
		"the same in another order": {hardentest.Now, func(f *harden.Facts) {
			slices.Reverse(f.Kubelet.Process.Args[1:])
		}, harden.StatusPass, ""},
		"a unit that is not known": {hardentest.Now, func(f *harden.Facts) {
			f.Kubelet.UnitFiles, f.Kubelet.Process.Args = nil, append(f.Kubelet.Process.Args, "--v=9")
		}, harden.StatusPass, ""},
		"no process": {hardentest.Now, func(f *harden.Facts) { f.Kubelet.Process = nil }, harden.StatusManual, "no live kubelet"},
	} {
		f := live(t, n, test.started)
		if test.change != nil {
			test.change(f)
		}
		if got := finding(t, f, id); got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
			t.Errorf("%s: %s: %s %v", name, got.Status, got.Message, got.Evidence)
		}
	}
	// A verdict on a file says that the process has not read it, and is no pass.
	got := finding(t, live(t, n, hardentest.Now.Add(-time.Hour)), "kubelet-anonymous-auth")
	if got.Status != harden.StatusManual || !strings.Contains(got.Message.String(), "once the kubelet reads it") {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
	if last := got.Evidence[len(got.Evidence)-1]; last.Source != "process 7 (kubelet)" || !strings.Contains(last.Value, "has not read this") {
		t.Errorf("evidence %v", got.Evidence)
	}
}

// TestARestartThatPutsMoreIntoForce: what somebody else wrote since the kubelet started would come into force unseen with our
// restart.
func TestARestartThatPutsMoreIntoForce(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Modified[configPath] = hardentest.Now
	for name, test := range map[string]struct {
		started time.Time
		flag    string
		blocks  string
	}{
		"nothing":      {hardentest.Now.Add(time.Hour), "", ""},
		"a newer file": {hardentest.Now.Add(-time.Hour), "", configPath + " was changed after process 7 started"},
		"another flag": {hardentest.Now.Add(time.Hour), "--v=9", "process 7 has other flags"},
	} {
		f := live(t, n, test.started)
		if test.flag != "" {
			f.Kubelet.Process.Args = append(f.Kubelet.Process.Args, test.flag)
		}
		plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{kubelet.Area()}, Choices: []harden.Choice{{Control: "kubelet-streaming-connection-idle-timeout"}}, Read: n.State, Tool: "test"})
		if err != nil {
			t.Fatal(err)
		}
		var blocking []string
		for _, c := range plans.Node.Blocking() {
			blocking = append(blocking, c.ID+": "+c.Message.String())
		}
		if got := strings.Join(blocking, "\n"); test.blocks == "" && got != "" || !strings.Contains(got, test.blocks) {
			t.Errorf("%s: blocked by %q, want %q", name, got, test.blocks)
		}
	}
}

// TestACAThatIsNotThere: a kubelet that is given one does not start; it was called a pass, and written unasked.
func TestACAThatIsNotThere(t *testing.T) {
	const id = "kubelet-client-ca-file"
	n := hardentest.Fixture(t, "1.37")
	n.Edit(t, configPath, "clientCAFile: /etc/kubernetes/pki/ca.crt", "clientCAFile: /nope/ca.crt")
	if got := finding(t, n.Facts(t), id); got.Status != harden.StatusFail || !strings.Contains(got.Message.String(), "/nope/ca.crt does not exist") {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
	unread := n.Facts(t)
	unread.Stats = nil
	if got := finding(t, unread, id); got.Status != harden.StatusManual {
		t.Errorf("not read: %s: %s", got.Status, got.Message)
	}
	for _, accepted := range []bool{false, true} {
		choice := harden.Choice{Control: id, Options: harden.Values{"path": "/nowhere/ca.crt"}, Accept: accepted, Named: true}
		plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: []harden.Area{kubelet.Area()}, Choices: []harden.Choice{choice}, Read: n.State, Tool: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if plans.Node.Empty() == accepted {
			t.Errorf("accepted %t: planned %t", accepted, !plans.Node.Empty())
		}
	}
}
