package kubelet_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

const kernelSettings = "vm.overcommit_memory=1\nvm.panic_on_oom=0\nkernel.panic=10\nkernel.panic_on_oops=1\nkernel.keys.root_maxkeys=1000000\nkernel.keys.root_maxbytes=25000000\n"

func keepKernelSettings(n *hardentest.Node, path string) { n.Write(path, kernelSettings, 0o644) }

func TestKernelDefaults(t *testing.T) {
	protect := field("protectKernelDefaults: true")
	// A kubelet that has run sets the kernel as it likes it: the live values say nothing.
	live := map[string]string{
		"vm.overcommit_memory": "1", "vm.panic_on_oom": "0", "kernel.panic": "10", "kernel.panic_on_oops": "1",
		"kernel.keys.root_maxkeys": "1000000", "kernel.keys.root_maxbytes": "25000000",
	}
	kept := func(path string) edit {
		return func(_ *testing.T, n *hardentest.Node) { keepKernelSettings(n, path) }
	}
	write := func(path, text string) edit {
		return func(_ *testing.T, n *hardentest.Node) { n.Write(path, text, 0o644) }
	}
	off := map[string]string{"kernel.panic": "0"}
	tests := []struct {
		name    string
		edit    edit
		live    map[string]string
		want    harden.Status
		message string
		later   harden.PreconditionState
	}{
		{"off", nil, live, harden.StatusFail, "changes kernel settings", harden.Met},
		{"off, though kept", kept(kubelet.SysctlFile), live, harden.StatusFail, "changes kernel settings", harden.Met},
		{"on, and kept by nothing", protect, live, harden.StatusFail,
			"no file keeps vm.overcommit_memory=1, kernel.panic=10, kernel.panic_on_oops=1: after the next boot the kubelet will not start", harden.Met},
		{"on and kept", all(protect, kept(kubelet.SysctlFile)), live, harden.StatusPass, "files keep them", harden.Met},
		{"kept by another file", all(protect, kept("/etc/sysctl.d/50-kubernetes.conf")), live, harden.StatusPass, "", harden.Met},
		{"keys with slashes", all(protect, write("/etc/sysctl.d/k.conf", strings.ReplaceAll(kernelSettings, ".", "/"))), live, harden.StatusPass, "", harden.Met},
		{"a later file", all(protect, kept(kubelet.SysctlFile), write("/etc/sysctl.d/99-tuning.conf", "kernel.panic = 0\n")), live,
			harden.StatusFail, "no file keeps kernel.panic=10", harden.Unmet},
		{"a later file in another directory", all(protect, kept(kubelet.SysctlFile), write("/usr/lib/sysctl.d/95-vendor.conf", "vm.overcommit_memory=2\n")), live,
			harden.StatusFail, "vm.overcommit_memory=1", harden.Unmet},
		{"sysctl.conf is last", all(protect, kept(kubelet.SysctlFile), write("/etc/sysctl.conf", "kernel.panic=0\n")), live, harden.StatusFail, "kernel.panic=10", harden.Unmet},
		{"sysctl.conf was taken for a file that is read at boot", all(protect, kept("/etc/sysctl.conf")), live, harden.StatusFail,
			"no file keeps vm.overcommit_memory=1, kernel.panic=10, kernel.panic_on_oops=1", harden.Met},
		{"sysctl.conf by a link of sysctl.d", all(protect, kept("/etc/sysctl.conf"), func(_ *testing.T, n *hardentest.Node) {
			n.Links["/etc/sysctl.d/99-sysctl.conf"] = "/etc/sysctl.conf"
		}), live, harden.StatusPass, "files keep them", harden.Met},
		{"sysctl.conf agrees", all(protect, kept(kubelet.SysctlFile), kept("/etc/sysctl.conf")), live, harden.StatusPass, "", harden.Met},
		{"an earlier file", all(protect, kept(kubelet.SysctlFile), write("/etc/sysctl.d/10-old.conf", "kernel.panic=0\n")), live, harden.StatusPass, "", harden.Met},
		{"a later file that agrees", all(protect, kept(kubelet.SysctlFile), write("/etc/sysctl.d/99-same.conf", "kernel.panic = 10\n")), live, harden.StatusPass, "", harden.Met},
		{"kept and not loaded", all(protect, kept(kubelet.SysctlFile)), off, harden.StatusFail, "kernel.panic=0: not as the kubelet wants", harden.Met},
		{"offline", all(protect, kept(kubelet.SysctlFile)), nil, harden.StatusPass, "", harden.Met},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.34")
			if test.edit != nil {
				test.edit(t, n)
			}
			f := n.Facts(t)
			f.Sysctls = test.live
			got := finding(t, f, "kubelet-protect-kernel-defaults")
			if got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
			later := precondition(t, f, "kubelet-protect-kernel-defaults", "no-later-sysctl-file", nil)
			if later.State != test.later || later.State == harden.Unmet && len(later.Evidence) != 1 {
				t.Errorf("%s: %s", later.State, later.Message)
			}
		})
	}
}

// The settings are in place before the kubelet that insists on them starts.
func TestKernelSettingsComeFirst(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Files["/etc/sysctl.d"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	p, err := n.Plan(t, kubelet.Area(), choice("kubelet-protect-kernel-defaults"))
	if err != nil || len(p.Steps()) != 2 {
		t.Fatalf("%d steps, %v", len(p.Steps()), err)
	}
	first, e := p.Steps()[0], p.Stages[0].Effects
	if first.Path != kubelet.SysctlFile || first.After.Mode != 0o644 || len(e) != 2 || e[0].Kind != harden.EffectSysctl || len(e[0].Sysctls) != 6 || e[1].Component != harden.Kubelet {
		t.Errorf("first %s, effects %v", first.Path, e)
	}
	if got := string(first.After.Data); strings.Count(got, "\n") != 6 || !strings.Contains(got, "kernel.panic_on_oops") {
		t.Errorf("it holds\n%s", got)
	}
}
