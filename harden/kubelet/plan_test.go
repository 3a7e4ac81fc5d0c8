package kubelet_test

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

func choice(control string, options ...string) harden.Choice {
	c := harden.Choice{Control: control, Named: true, Accept: true, Options: harden.Values{}}
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		c.Options[name] = value
	}
	return c
}

// Each remedy changes these lines and no others; afterwards its control passes, and its plan is empty.
func TestRemedies(t *testing.T) {
	const extra = "KUBELET_EXTRA_ARGS"
	tests := []struct {
		name   string
		edit   edit
		choice harden.Choice
		want   []string
		live   any // as configz shows it
	}{
		{"anonymous", config(anonymousOff, "  anonymous:\n    enabled: true\n"), choice("kubelet-anonymous-auth"),
			[]string{"config.yaml: - enabled: true", "config.yaml: + enabled: false"}, false},
		{"a flag over a good file goes", extraArgs("--v=2 --anonymous-auth=true"), choice("kubelet-anonymous-auth"),
			[]string{"kubelet: - " + extra + `="--v=2 --anonymous-auth=true"`, "kubelet: + " + extra + `="--v=2"`}, false},
		{"a flag in kubeadm's file goes too", all(extraArgs("--read-only-port=10255"), func(t *testing.T, n *hardentest.Node) {
			n.Edit(t, flagsPath, "--hostname-override=cp1", "--hostname-override=cp1 --read-only-port=10255")
		}), choice("kubelet-read-only-port"), nil, 0},
		{"a drop-in that wins is edited", dropIns("authorization:\n  mode: AlwaysAllow"), choice("kubelet-authorization-mode"),
			[]string{"10.conf: - mode: AlwaysAllow", "10.conf: + mode: Webhook"}, "Webhook"},
		{"the last drop-in that sets it is edited", dropIns("podPidsLimit: -1", "podPidsLimit: -1", "seccompDefault: true"), choice("kubelet-pod-pids-limit", "limit=2000"),
			[]string{"20.conf: - podPidsLimit: -1", "20.conf: + podPidsLimit: 2000"}, 2000},
		{"webhook", config("    enabled: true\n", "    enabled: false\n"), choice("kubelet-authentication-webhook"),
			[]string{"config.yaml: - enabled: false", "config.yaml: + enabled: true"}, true},
		{"client CA", config("  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n", ""), choice("kubelet-client-ca-file"),
			[]string{"config.yaml: + x509:", "config.yaml: + clientCAFile: /etc/kubernetes/pki/ca.crt"}, "/etc/kubernetes/pki/ca.crt"},
		{"everything alpha", config("rotateCertificates: true\n", "rotateCertificates: true\nfeatureGates:\n  AllAlpha: true\n"), choice("kubelet-alpha-features"),
			[]string{"config.yaml: - AllAlpha: true", "config.yaml: + AllAlpha: false"}, false},
		{"a gate that is off with its stage", config("rotateCertificates: true\n", "rotateCertificates: true\nfeatureGates:\n  AllBeta: false\n"), choice("kubelet-rotate-server-certificates"),
			[]string{"config.yaml: + RotateKubeletServerCertificate: true"}, true},
		{"rotation", config("rotateCertificates: true", "rotateCertificates: false"), choice("kubelet-rotate-certificates"),
			[]string{"config.yaml: - rotateCertificates: false", "config.yaml: + rotateCertificates: true"}, true},
		{"idle timeout", nil, choice("kubelet-streaming-connection-idle-timeout"),
			[]string{"config.yaml: - streamingConnectionIdleTimeout: 0s", "config.yaml: + streamingConnectionIdleTimeout: 5m0s"}, "5m0s"},
		{"chains", field("makeIPTablesUtilChains: false"), choice("kubelet-make-iptables-util-chains"),
			[]string{"config.yaml: - makeIPTablesUtilChains: false", "config.yaml: + makeIPTablesUtilChains: true"}, true},
		{"events", field("eventRecordQPS: 0"), choice("kubelet-event-record-qps"),
			[]string{"config.yaml: - eventRecordQPS: 0", "config.yaml: + eventRecordQPS: 50"}, 50},
		{"pids", nil, choice("kubelet-pod-pids-limit"), []string{"config.yaml: + podPidsLimit: 4096"}, 4096},
		{"seccomp", nil, choice("kubelet-seccomp-default"), []string{"config.yaml: + seccompDefault: true"}, true},
		{"TLS version", field("tlsMinVersion: VersionTLS10"), choice("kubelet-tls-min-version", "version=VersionTLS13"),
			[]string{"config.yaml: - tlsMinVersion: VersionTLS10", "config.yaml: + tlsMinVersion: VersionTLS13"}, "VersionTLS13"},
		{"suites", nil, choice("kubelet-tls-cipher-suites"), []string{
			"config.yaml: + tlsCipherSuites:",
			"config.yaml: + - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "config.yaml: + - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
			"config.yaml: + - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "config.yaml: + - TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
			"config.yaml: + - TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "config.yaml: + - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
		}, nil},
		{"kernel", nil, choice("kubelet-protect-kernel-defaults"),
			[]string{"make /etc/sysctl.d", "write " + kubelet.SysctlFile, "config.yaml: + protectKernelDefaults: true"}, true},
		{"mode", nil, choice("kubelet-config-file-mode"), nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, minor := range minors {
				n := hardentest.Fixture(t, minor)
				if test.edit != nil {
					test.edit(t, n)
				}
				p, err := n.Plan(t, kubelet.Area(), test.choice)
				if err != nil || p.Empty() {
					t.Fatalf("%s: %v, skipped %v", minor, err, p.Skipped)
				}
				if got := hardentest.Changes(t, p); test.want != nil && !slices.Equal(got, test.want) {
					t.Errorf("%s: got\n%s", minor, strings.Join(got, "\n"))
				}
				if test.live != nil {
					checkGate(t, p, test.choice.Control, test.live)
				}
				n.Apply(p)
				if got := finding(t, n.Facts(t), test.choice.Control); got.Status != harden.StatusPass {
					t.Errorf("%s: afterwards %s: %s", minor, got.Status, got.Message)
				}
				if again, err := n.Plan(t, kubelet.Area(), test.choice); err != nil || !again.Empty() {
					t.Errorf("%s: once more: %v, %v", minor, hardentest.Changes(t, again), err)
				}
			}
		})
	}
}

// checkGate wants one restart of the kubelet, with the field proven on the live kubelet.
func checkGate(t *testing.T, p harden.Plan, control string, live any) {
	t.Helper()
	restarts := 0
	for _, e := range p.Stages[0].Effects {
		if e.Kind == harden.EffectUnit && e.Component == harden.Kubelet {
			restarts++
		}
	}
	if restarts != 1 || len(p.Stages[0].Gates) != 1 {
		t.Fatalf("effects %v", p.Stages[0].Effects)
	}
	proofs := p.Stages[0].Gates[0].Proofs
	proofs = slices.DeleteFunc(slices.Clone(proofs), func(p harden.Proof) bool { return p.Kind == harden.ProofHandshake })
	if len(proofs) != 1 || proofs[0].Control != control || proofs[0].Kind != harden.ProofConfigz || !reflect.DeepEqual(proofs[0].Want, live) {
		t.Errorf("proofs %v, want %v", proofs, live)
	}
}

func TestModeAloneRestartsNothing(t *testing.T) {
	p, err := hardentest.Fixture(t, "1.37").Plan(t, kubelet.Area(), choice("kubelet-config-file-mode"))
	if err != nil || len(p.Steps()) != 1 || p.Steps()[0].After.Mode != 0o600 || len(p.Stages[0].Effects) != 0 {
		t.Errorf("%d steps, %v", len(p.Steps()), err)
	}
}

// All at once is one restart, and everything that can pass does.
func TestAllTogether(t *testing.T) {
	for _, minor := range minors {
		n := hardentest.Fixture(t, minor)
		var choices []harden.Choice
		left := map[string]harden.Status{}
		for _, found := range harden.Assess(n.Facts(t), []harden.Area{kubelet.Area()}) {
			switch found.Status {
			case harden.StatusPass, harden.StatusFail:
				choices = append(choices, choice(found.Control))
			default:
				left[found.Control] = found.Status
			}
		}
		p, err := n.Plan(t, kubelet.Area(), choices...)
		named := slices.DeleteFunc(p.Skipped, func(s harden.Skip) bool { return !s.Named }) // the others pass already
		if err != nil || len(named) != 0 {
			t.Fatalf("%s: %v, skipped %v", minor, err, named)
		}
		if e := p.Stages[0].Effects; len(e) != 2 || e[0].Kind != harden.EffectSysctl || e[1].Component != harden.Kubelet {
			t.Errorf("%s: effects %v", minor, e)
		}
		n.Apply(p)
		for _, got := range harden.Assess(n.Facts(t), []harden.Area{kubelet.Area()}) {
			if got.Status != harden.StatusPass && got.Status != left[got.Control] {
				t.Errorf("%s: %s: %s: %s", minor, got.Control, got.Status, got.Message)
			}
		}
	}
}

// --all takes what concerns the node alone.
func TestAllLeavesWorkloadsAlone(t *testing.T) {
	choices, skipped, err := harden.Select(hardentest.Fixture(t, "1.37").Facts(t), []harden.Area{kubelet.Area()}, harden.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var taken, left []string
	for _, c := range choices {
		taken = append(taken, c.Control)
	}
	for _, s := range skipped {
		left = append(left, s.Control)
	}
	if want := []string{"kubelet-tls-cipher-suites", "kubelet-streaming-connection-idle-timeout", "kubelet-protect-kernel-defaults", "kubelet-profiling-handler", "kubelet-debug-flags-handler", "kubelet-config-file-mode"}; !slices.Equal(taken, want) {
		t.Errorf("taken %v", taken)
	}
	if want := []string{"kubelet-pod-pids-limit", "kubelet-seccomp-default"}; !slices.Equal(left, want) {
		t.Errorf("left %v", left)
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		facts  func(t *testing.T) *harden.Facts
		choice string
		want   string
	}{
		{"no configuration file", func(*testing.T) *harden.Facts {
			return &harden.Facts{Kubelet: &harden.KubeletFacts{PeakPids: -1}}
		}, "kubelet-anonymous-auth", "without a configuration file"},
		{"a flag in the unit", func(t *testing.T) *harden.Facts {
			f := hardentest.Fixture(t, "1.37").Facts(t)
			f.Kubelet.Process = &harden.ProcessFact{PID: 7, Args: []string{"/usr/bin/kubelet", "--read-only-port=10255"}}
			return f
		}, "kubelet-read-only-port", "--read-only-port wins over the configuration file and stands in the kubelet's unit"},
		{"a flag in the unit and in a file", func(t *testing.T) *harden.Facts {
			n := hardentest.Fixture(t, "1.37")
			extraArgs("--read-only-port=10255")(t, n)
			f := n.Facts(t)
			f.Kubelet.Args = append(f.Kubelet.Args, "--read-only-port=10255")
			return f
		}, "kubelet-read-only-port", "systemctl edit --full kubelet"},
		{"kernel settings that are only not loaded", func(t *testing.T) *harden.Facts {
			n := hardentest.Fixture(t, "1.37")
			keepKernelSettings(n, kubelet.SysctlFile)
			field("protectKernelDefaults: true")(t, n)
			f := n.Facts(t)
			f.Sysctls = map[string]string{"kernel.panic": "0"}
			return f
		}, "kubelet-protect-kernel-defaults", "sysctl --system"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, c, _ := harden.FindControl([]harden.Area{kubelet.Area()}, test.choice)
			f := test.facts(t)
			if got := finding(t, f, test.choice); got.Status != harden.StatusFail {
				t.Fatalf("%s: %s", got.Status, got.Message)
			}
			values, err := c.Remedies[0].Fill(c.ID, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Remedies[0].Intents(f, values); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPreconditions(t *testing.T) {
	tests := []struct {
		name, control, option, id string
		change                    func(*harden.Facts)
		want                      harden.PreconditionState
	}{
		{"decodes", "kubelet-anonymous-auth", "", "kubelet-config-decodes", nil, harden.Met},
		{"does not decode", "kubelet-anonymous-auth", "", "kubelet-config-decodes", func(f *harden.Facts) { f.Kubelet.Decode = "unknown field" }, harden.PreconditionUnknown},
		{"pids not read", "kubelet-pod-pids-limit", "", "room-for-pids", nil, harden.PreconditionUnknown},
		{"pids fit", "kubelet-pod-pids-limit", "", "room-for-pids", func(f *harden.Facts) { f.Kubelet.PeakPids = 2048 }, harden.Met},
		{"pids do not fit", "kubelet-pod-pids-limit", "", "room-for-pids", func(f *harden.Facts) { f.Kubelet.PeakPids = 2049 }, harden.Unmet},
		{"pids fit a larger limit", "kubelet-pod-pids-limit", "limit=8192", "room-for-pids", func(f *harden.Facts) { f.Kubelet.PeakPids = 2049 }, harden.Met},
		{"cluster CA", "kubelet-client-ca-file", "", "client-ca-exists", func(f *harden.Facts) { f.Files, f.Identity.CADigest = nil, "abc" }, harden.Met},
		{"CA not read", "kubelet-client-ca-file", "path=/etc/ca.crt", "client-ca-exists", nil, harden.PreconditionUnknown},
		{"CA missing", "kubelet-client-ca-file", "path=/etc/ca.crt", "client-ca-exists", func(f *harden.Facts) {
			f.Files = map[string]harden.FileFact{"/etc/ca.crt": {Path: "/etc/ca.crt"}}
		}, harden.Unmet},
		{"suites for both keys", "kubelet-tls-cipher-suites", "", "suites-fit-key", nil, harden.Met},
		{"suites for another key", "kubelet-tls-cipher-suites", "suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "suites-fit-key", func(f *harden.Facts) { f.Kubelet.ServingKey = "ECDSA" }, harden.Unmet},
		{"suites for an unknown key", "kubelet-tls-cipher-suites", "suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "suites-fit-key", func(f *harden.Facts) { f.Kubelet.ServingKey = "" }, harden.PreconditionUnknown},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := hardentest.Fixture(t, "1.37").Facts(t)
			if test.change != nil {
				test.change(f)
			}
			given := harden.Values{}
			if name, value, ok := strings.Cut(test.option, "="); ok {
				given[name] = value
			}
			if got := precondition(t, f, test.control, test.id, given); got.State != test.want || got.State != harden.Met && got.Message.IsZero() {
				t.Errorf("%s: %s", got.State, got.Message)
			}
		})
	}
}

func precondition(t *testing.T, f *harden.Facts, control, id string, given harden.Values) harden.Precondition {
	t.Helper()
	_, c, _ := harden.FindControl([]harden.Area{kubelet.Area()}, control)
	values, err := c.Remedies[0].Fill(control, given)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Remedies[0].Preconditions(f, values) {
		if p.ID == id {
			return p
		}
	}
	t.Fatalf("no precondition %s", id)
	return harden.Precondition{}
}

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		control, option, value string
		ok                     bool
	}{
		{"kubelet-event-record-qps", "qps", "0", false},
		{"kubelet-event-record-qps", "qps", "1", true},
		{"kubelet-pod-pids-limit", "limit", "-1", false},
		{"kubelet-pod-pids-limit", "limit", "many", false},
		{"kubelet-pod-pids-limit", "limit", "1024", true},
		{"kubelet-streaming-connection-idle-timeout", "timeout", "0s", false},
		{"kubelet-streaming-connection-idle-timeout", "timeout", "1h", true},
		{"kubelet-tls-min-version", "version", "VersionTLS11", false},
		{"kubelet-client-ca-file", "path", "pki/ca.crt", false},
		{"kubelet-client-ca-file", "path", "/etc/../ca.crt", false},
		{"kubelet-tls-cipher-suites", "suites", "", false},
		{"kubelet-tls-cipher-suites", "suites", "TLS_NO_SUCH", false},
		{"kubelet-tls-cipher-suites", "suites", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", false},
		{"kubelet-tls-cipher-suites", "suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256", false},
		{"kubelet-tls-cipher-suites", "suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA", false},
		{"kubelet-tls-cipher-suites", "suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", true},
	}
	for _, test := range tests {
		_, c, _ := harden.FindControl([]harden.Area{kubelet.Area()}, test.control)
		if _, err := c.Remedies[0].Fill(test.control, harden.Values{test.option: test.value}); (err == nil) != test.ok {
			t.Errorf("%s.%s=%s: %v", test.control, test.option, test.value, err)
		}
	}
}

// The port was closed to whoever was reading from it, though they were seen.
func TestReadersOfTheReadOnlyPort(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	field("readOnlyPort: 10266")(t, n)
	reader := []harden.PeerFact{{Address: netip.MustParseAddr("192.0.2.50"), Port: 10266}, {Address: netip.MustParseAddr("192.0.2.51"), Port: 10255}}
	for _, test := range []struct {
		name     string
		firewall *harden.FirewallFact
		offline  bool
		want     harden.PreconditionState
		says     string
	}{
		{"offline", nil, true, harden.Met, "nothing runs"},
		{"not looked at", nil, false, harden.PreconditionUnknown, "was not looked at"},
		{"not seen", &harden.FirewallFact{PeersUnread: harden.Msg("no /proc")}, false, harden.PreconditionUnknown, "no /proc"},
		{"nobody", &harden.FirewallFact{Peers: reader[1:]}, false, harden.Met, "nobody is connected to port 10266"},
		{"somebody", &harden.FirewallFact{Peers: reader}, false, harden.PreconditionUnknown, "192.0.2.50 read from port 10266"},
	} {
		f := n.Facts(t)
		f.Identity.Offline, f.Firewall = test.offline, test.firewall
		got := precondition(t, f, "kubelet-read-only-port", "nobody-reads", nil)
		if got.State != test.want || !strings.Contains(got.Message.String(), test.says) {
			t.Errorf("%s: %s: %s", test.name, got.State, got.Message)
		}
	}
}
