package runtime_test

import (
	"net/netip"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// running are the facts of a node whose runtime has told its configuration.
func running(t *testing.T, r harden.RuntimeFact) *harden.Facts {
	t.Helper()
	f := hardentest.Fixture(t, "1.37").Facts(t)
	for _, need := range []harden.Need{harden.NeedRuntime, harden.NeedRuntimeConfig, harden.NeedRegistries, harden.NeedListeners} {
		delete(f.Missing, need)
	}
	if r.Name == "" {
		r.Name, r.Version = harden.Containerd, "v1.7.27"
	}
	f.Runtime, f.Modules, f.Registries = &r, &harden.ModulesFact{}, &harden.RegistriesFact{}
	return f
}

func listens(address, process string) harden.ListenerFact {
	return harden.ListenerFact{Protocol: "tcp", Address: netip.MustParseAddr(address), Port: 35571, PID: 612, Process: process}
}

func TestRuntimeConfiguration(t *testing.T) {
	crio := harden.RuntimeFact{Name: harden.CRIO, Version: "1.35.0", AppArmor: true, SELinux: true}
	open := harden.StreamsFact{Address: "0.0.0.0", Port: "0"}
	for _, tt := range []struct {
		name, control string
		runtime       harden.RuntimeFact
		change        func(*harden.Facts)
		want          harden.Status
		says          string // in the message or the evidence
	}{
		{"the kubelet's default is off", "runtime-seccomp-default", harden.RuntimeFact{}, nil, harden.StatusFail, "asks the runtime for no confinement"},
		{"containerd's own for what is unset", "runtime-seccomp-default", harden.RuntimeFact{UnsetSeccomp: "runtime/default"}, nil, harden.StatusFail, "confines no pod"},
		{"the kubelet's default is on", "runtime-seccomp-default", harden.RuntimeFact{}, seccompOn, harden.StatusPass, `unset_seccomp_profile = ""`},
		{"on by flag", "runtime-seccomp-default", harden.RuntimeFact{}, func(f *harden.Facts) { f.Kubelet.Args = append(f.Kubelet.Args, "--seccomp-default") }, harden.StatusPass, "--seccomp-default=true"},
		{"on by a flag that says 1", "runtime-seccomp-default", harden.RuntimeFact{}, func(f *harden.Facts) { f.Kubelet.Args = append(f.Kubelet.Args, "--seccomp-default=1") }, harden.StatusPass, "--seccomp-default=1"},
		{"off by a flag that says F", "runtime-seccomp-default", harden.RuntimeFact{}, func(f *harden.Facts) {
			seccompOn(f)
			f.Kubelet.Args = append(f.Kubelet.Args, "--seccomp-default=F")
		}, harden.StatusFail, "--seccomp-default=F"},
		{"off by flag", "runtime-seccomp-default", harden.RuntimeFact{}, func(f *harden.Facts) {
			seccompOn(f)
			f.Kubelet.Args = append(f.Kubelet.Args, "--seccomp-default=false")
		}, harden.StatusFail, "--seccomp-default=false"},
		{"CRI-O's own", "runtime-seccomp-default", crio, seccompOn, harden.StatusPass, `seccomp_profile = ""`},
		{"a file of CRI-O's", "runtime-seccomp-default", harden.RuntimeFact{Name: harden.CRIO, SeccompFile: "/etc/crio/all.json"}, seccompOn, harden.StatusManual, "/etc/crio/all.json"},

		{"no module", "runtime-apparmor-selinux", harden.RuntimeFact{}, nil, harden.StatusNotApplicable, "neither"},
		{"AppArmor", "runtime-apparmor-selinux", harden.RuntimeFact{AppArmor: true}, apparmor(true), harden.StatusPass, "disable_apparmor = false"},
		{"AppArmor off", "runtime-apparmor-selinux", harden.RuntimeFact{}, apparmor(true), harden.StatusFail, "disable_apparmor = true"},
		{"no parser", "runtime-apparmor-selinux", harden.RuntimeFact{AppArmor: true}, apparmor(false), harden.StatusFail, "/sbin/apparmor_parser"},
		{"CRI-O finds its parser elsewhere", "runtime-apparmor-selinux", crio, apparmor(false), harden.StatusPass, ""},
		{"CRI-O, unconfined", "runtime-apparmor-selinux", harden.RuntimeFact{Name: harden.CRIO}, apparmor(true), harden.StatusFail, `apparmor_profile = "unconfined"`},
		{"SELinux off", "runtime-apparmor-selinux", harden.RuntimeFact{AppArmor: true}, selinux, harden.StatusFail, "enable_selinux = false"},
		{"SELinux", "runtime-apparmor-selinux", crio, selinux, harden.StatusPass, "selinux = true"},

		{"streams on the loopback address", "runtime-streams", harden.RuntimeFact{Streams: &harden.StreamsFact{Address: "127.0.0.1"}}, hears(listens("127.0.0.1", "containerd")), harden.StatusPass, `stream_server_address = "127.0.0.1"`},
		{"streams for all", "runtime-streams", harden.RuntimeFact{Streams: &open}, hears(listens("::", "containerd")), harden.StatusFail, "not encrypted"},
		{"streams at the node's own address", "runtime-streams", harden.RuntimeFact{Streams: &harden.StreamsFact{}}, nil, harden.StatusFail, "not encrypted"},
		{"streams for all, over TLS", "runtime-streams", harden.RuntimeFact{Streams: &harden.StreamsFact{Address: "::", TLS: true}}, nil, harden.StatusManual, "over TLS"},
		{"something else of the runtime's", "runtime-streams", harden.RuntimeFact{Streams: &harden.StreamsFact{Address: "::1"}}, hears(listens("10.0.0.1", "containerd")), harden.StatusManual, "its metrics"},
		{"not told, on the loopback address", "runtime-streams", harden.RuntimeFact{}, hears(listens("127.0.0.1", "/usr/bin/containerd"), listens("::", "sshd")), harden.StatusPass, "does not tell over CRI"},
		{"not told, for others", "runtime-streams", harden.RuntimeFact{}, hears(listens("::", "containerd")), harden.StatusManual, "tcp [::]:35571"},
		{"not told and not seen", "runtime-streams", harden.RuntimeFact{}, nil, harden.StatusManual, "ss -ltnp"},

		{"registries", "runtime-registries", harden.RuntimeFact{}, nil, harden.StatusPass, ""},
		{"one that need not prove itself", "runtime-registries", harden.RuntimeFact{}, func(f *harden.Facts) {
			f.Registries.Unverified = []harden.Evidence{{Source: "/etc/containerd/certs.d/a/hosts.toml", Value: "skip_verify = true"}}
		}, harden.StatusFail, "skip_verify"},
		{"files that are not read yet", "runtime-registries", harden.RuntimeFact{}, func(f *harden.Facts) { f.Registries.Changed = true }, harden.StatusManual, "restart"},
		{"not told", "runtime-registries", crio, func(f *harden.Facts) { f.Missing[harden.NeedRegistries] = harden.Msg("not told") }, harden.StatusUnknown, "not told"},

		{"no writable control groups", "runtime-writable-cgroups", harden.RuntimeFact{}, nil, harden.StatusPass, ""},
		{"writable control groups", "runtime-writable-cgroups", harden.RuntimeFact{WritableCgroups: []string{"sysbox"}}, nil, harden.StatusManual, "sysbox"},
		{"CRI-O has no such setting", "runtime-writable-cgroups", crio, nil, harden.StatusNotApplicable, ""},
	} {
		f := running(t, tt.runtime)
		if tt.change != nil {
			tt.change(f)
		}
		got := finding(t, f, tt.control)
		text := got.Message.String()
		for _, e := range got.Evidence {
			text += "\n" + e.Source + ": " + e.Value
		}
		if got.Status != tt.want || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %s: %s: %s", tt.control, tt.name, got.Status, text)
		}
	}
}

func seccompOn(f *harden.Facts) {
	f.Kubelet.Layers = append(f.Kubelet.Layers, harden.KubeletLayer{Source: "/etc/kubelet.conf.d/a.conf", Fields: map[string]any{"seccompDefault": true}})
}

func apparmor(parser bool) func(*harden.Facts) {
	return func(f *harden.Facts) { f.Modules = &harden.ModulesFact{AppArmor: true, Parser: parser} }
}

func selinux(f *harden.Facts) { f.Modules = &harden.ModulesFact{SELinux: true} }

func hears(l ...harden.ListenerFact) func(*harden.Facts) {
	return func(f *harden.Facts) { f.Listeners = l }
}

func TestRuntimeThatTellsNothingIsUnknown(t *testing.T) {
	f := hardentest.Fixture(t, "1.37").Facts(t)
	for _, id := range []string{"runtime-seccomp-default", "runtime-apparmor-selinux", "runtime-streams", "runtime-registries", "runtime-writable-cgroups"} {
		if got := finding(t, f, id); got.Status != harden.StatusUnknown {
			t.Errorf("%s: %s: %s", id, got.Status, got.Message)
		}
	}
}
