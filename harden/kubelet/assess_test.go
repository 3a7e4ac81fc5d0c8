package kubelet_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

const (
	configPath = "/var/lib/kubelet/config.yaml"
	extraPath  = "/etc/default/kubelet"
	flagsPath  = "/var/lib/kubelet/kubeadm-flags.env"
	dropInDir  = "/etc/kubernetes/kubelet.conf.d"
)

var minors = []string{"1.30", "1.34", "1.37"}

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{kubelet.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

// What kubeadm writes is the same in this respect for all minors.
func TestUntouchedNodes(t *testing.T) {
	want := map[string]harden.Status{
		"kubelet-anonymous-auth":                    harden.StatusPass,
		"kubelet-authentication-webhook":            harden.StatusPass,
		"kubelet-authorization-mode":                harden.StatusPass,
		"kubelet-client-ca-file":                    harden.StatusPass,
		"kubelet-read-only-port":                    harden.StatusPass,
		"kubelet-rotate-certificates":               harden.StatusPass,
		"kubelet-tls-min-version":                   harden.StatusPass,
		"kubelet-tls-cipher-suites":                 harden.StatusFail,
		"kubelet-streaming-connection-idle-timeout": harden.StatusFail,
		"kubelet-make-iptables-util-chains":         harden.StatusPass,
		"kubelet-event-record-qps":                  harden.StatusPass,
		"kubelet-pod-pids-limit":                    harden.StatusFail,
		"kubelet-seccomp-default":                   harden.StatusFail,
		"kubelet-protect-kernel-defaults":           harden.StatusFail,
		"kubelet-running-configuration":             harden.StatusNotApplicable,
		"kubelet-healthz-bind-address":              harden.StatusPass,
		"kubelet-rotate-server-certificates":        harden.StatusPass,
		"kubelet-serving-certificate":               harden.StatusManual,
		"kubelet-unsafe-sysctls":                    harden.StatusPass,
		"kubelet-hostname-override":                 harden.StatusManual, // the fixtures were made with another node name
		"kubelet-static-pods":                       harden.StatusNotApplicable,
		"kubelet-profiling-handler":                 harden.StatusFail,
		"kubelet-debug-flags-handler":               harden.StatusFail,
		"kubelet-cgroup-version":                    harden.StatusNotApplicable,
		"kubelet-alpha-features":                    harden.StatusPass,
		"kubelet-removed-flags":                     harden.StatusPass,
		"kubelet-removed-feature-gates":             harden.StatusPass,
		"kubelet-config-file-mode":                  harden.StatusFail,
		"kubelet-config-file-owner":                 harden.StatusPass,
	}
	for _, minor := range minors {
		t.Run(minor, func(t *testing.T) {
			found := harden.Assess(hardentest.Fixture(t, minor).Facts(t), []harden.Area{kubelet.Area()})
			if len(found) != len(want) {
				t.Fatalf("%d findings", len(found))
			}
			for _, got := range found {
				if got.Status != want[got.Control] {
					t.Errorf("%s: %s (%s), want %s", got.Control, got.Status, got.Message, want[got.Control])
				}
				if got.Message.IsZero() || got.Status != harden.StatusNotApplicable && (len(got.Evidence) == 0 || got.Evidence[0].Source == "") {
					t.Errorf("%s: nothing is said of what was seen", got.Control)
				}
			}
		})
	}
}

// edit changes the files of a node.
type edit func(t *testing.T, n *hardentest.Node)

func config(old, new string) edit {
	return func(t *testing.T, n *hardentest.Node) { n.Edit(t, configPath, old, new) }
}

// field adds a line to the configuration file.
func field(line string) edit {
	return config("kind: KubeletConfiguration\n", "kind: KubeletConfiguration\n"+line+"\n")
}

func extraArgs(args string) edit {
	return func(_ *testing.T, n *hardentest.Node) {
		n.Files["/etc/default"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		n.Write(extraPath, "KUBELET_EXTRA_ARGS=\""+args+"\"\n", 0o644)
	}
}

// dropIns writes 10.conf, 20.conf, ... and the flag that makes the kubelet read them.
func dropIns(bodies ...string) edit {
	return func(t *testing.T, n *hardentest.Node) {
		extraArgs("--config-dir="+dropInDir)(t, n)
		n.Files[dropInDir] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		for i, body := range bodies {
			name := dropInDir + "/" + string(rune('1'+i)) + "0.conf"
			n.Write(name, "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+body+"\n", 0o644)
		}
	}
}

func all(edits ...edit) edit {
	return func(t *testing.T, n *hardentest.Node) {
		for _, e := range edits {
			e(t, n)
		}
	}
}

const anonymousOff = "  anonymous:\n    enabled: false\n"

func TestVariants(t *testing.T) {
	tests := []struct {
		name     string
		control  string
		edit     edit
		want     harden.Status
		message  string // part of it
		evidence string // the first one: "source value"
	}{
		{"anonymous in the file", "kubelet-anonymous-auth", config(anonymousOff, "  anonymous:\n    enabled: true\n"),
			harden.StatusFail, "let in", configPath + ":4 authentication.anonymous.enabled: true"},
		{"anonymous left out", "kubelet-anonymous-auth", config(anonymousOff, ""),
			harden.StatusPass, "refused", configPath + " authentication.anonymous.enabled is not set; the kubelet takes false"},
		{"anonymous by a flag", "kubelet-anonymous-auth", extraArgs("--anonymous-auth=true"),
			harden.StatusFail, "the flag --anonymous-auth wins", extraPath + " --anonymous-auth=true"},
		{"anonymous off by a flag over an open file", "kubelet-anonymous-auth",
			all(config(anonymousOff, "  anonymous:\n    enabled: true\n"), extraArgs("--anonymous-auth=false")),
			harden.StatusPass, "refused", extraPath + " --anonymous-auth=false"},
		{"anonymous by a drop-in", "kubelet-anonymous-auth", dropIns("authentication: {anonymous: {enabled: true}}"),
			harden.StatusFail, "the drop-in " + dropInDir + "/10.conf wins over " + configPath, dropInDir + "/10.conf:3 authentication.anonymous.enabled: true"},
		{"the later drop-in wins", "kubelet-anonymous-auth",
			dropIns("authentication: {anonymous: {enabled: true}}", "authentication: {anonymous: {enabled: false}}"),
			harden.StatusPass, "refused", dropInDir + "/20.conf:3 authentication.anonymous.enabled: false"},
		{"a drop-in deletes by null", "kubelet-anonymous-auth",
			all(config(anonymousOff, "  anonymous:\n    enabled: true\n"), dropIns("authentication: {anonymous: null}")),
			harden.StatusPass, "refused", dropInDir + "/10.conf authentication.anonymous.enabled: null"},
		{"a quoted boolean stops the kubelet", "kubelet-anonymous-auth", config(anonymousOff, "  anonymous:\n    enabled: \"false\"\n"),
			harden.StatusFail, "does not accept", configPath + `:4 authentication.anonymous.enabled: "false"`},

		{"webhook off", "kubelet-authentication-webhook", config("    enabled: true\n", "    enabled: false\n"), harden.StatusFail, "not reviewed", ""},

		{"AlwaysAllow", "kubelet-authorization-mode", config("mode: Webhook", "mode: AlwaysAllow"), harden.StatusFail, "exec into any container", ""},
		{"an empty mode is the default", "kubelet-authorization-mode", config("mode: Webhook", `mode: ""`),
			harden.StatusPass, "API server", `/var/lib/kubelet/config.yaml:11 authorization.mode: "", for which the kubelet takes its default Webhook`},
		{"an unknown mode", "kubelet-authorization-mode", config("mode: Webhook", "mode: RBAC"), harden.StatusFail, "will not start", ""},

		{"no client CA", "kubelet-client-ca-file", config("  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n", ""), harden.StatusFail, "no CA", ""},
		{"read-only port", "kubelet-read-only-port", field("readOnlyPort: 10255"), harden.StatusFail, "port 10255", ""},
		{"read-only port by two flags, the last one wins", "kubelet-read-only-port", extraArgs("--read-only-port=10255 --read-only-port 0"), harden.StatusPass, "off", ""},
		{"no rotation", "kubelet-rotate-certificates", config("rotateCertificates: true\n", ""), harden.StatusFail, "not renewed", ""},

		{"idle timeout set", "kubelet-streaming-connection-idle-timeout", config("IdleTimeout: 0s", "IdleTimeout: 5m"), harden.StatusPass, "5m0s", ""},
		{"idle timeout off by a flag", "kubelet-streaming-connection-idle-timeout", extraArgs("--streaming-connection-idle-timeout=0"), harden.StatusFail, "wins", ""},
		{"a number is no duration", "kubelet-streaming-connection-idle-timeout", config("IdleTimeout: 0s", "IdleTimeout: 300"), harden.StatusFail, "does not accept", ""},

		{"no chains", "kubelet-make-iptables-util-chains", field("makeIPTablesUtilChains: false"), harden.StatusFail, "does not make", ""},
		{"events without limit", "kubelet-event-record-qps", field("eventRecordQPS: 0"), harden.StatusFail, "0 means", ""},
		{"few events", "kubelet-event-record-qps", field("eventRecordQPS: 1"), harden.StatusManual, "may drop", ""},
		{"five events", "kubelet-event-record-qps", field("eventRecordQPS: 5"), harden.StatusPass, "5 events", ""},
		{"event flag", "kubelet-event-record-qps", extraArgs("--event-qps=0"), harden.StatusFail, "--event-qps wins", ""},

		{"pids limited", "kubelet-pod-pids-limit", field("podPidsLimit: 2048"), harden.StatusPass, "2048", ""},
		{"pids 0 is no limit", "kubelet-pod-pids-limit", field("podPidsLimit: 0"), harden.StatusFail, "whole node", ""},
		{"pids -1 is no limit", "kubelet-pod-pids-limit", field("podPidsLimit: -1"), harden.StatusFail, "whole node", ""},
		{"a flag lifts the limit", "kubelet-pod-pids-limit", all(field("podPidsLimit: 2048"), extraArgs("--pod-max-pids=-1")), harden.StatusFail, "--pod-max-pids wins", ""},
		{"seccomp", "kubelet-seccomp-default", field("seccompDefault: true"), harden.StatusPass, "RuntimeDefault", ""},

		{"TLS 1.1", "kubelet-tls-min-version", field("tlsMinVersion: VersionTLS11"), harden.StatusFail, "VersionTLS11", ""},
		{"TLS 1.3", "kubelet-tls-min-version", field("tlsMinVersion: VersionTLS13"), harden.StatusPass, "VersionTLS13", ""},
		{"an unknown TLS version", "kubelet-tls-min-version", field(`tlsMinVersion: "1.2"`), harden.StatusFail, "will not start", ""},
		{"suites with TLS 1.3 alone", "kubelet-tls-cipher-suites", field("tlsMinVersion: VersionTLS13"), harden.StatusPass, "TLS 1.3", ""},
		{"suites by a flag", "kubelet-tls-cipher-suites", extraArgs("--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA"),
			harden.StatusFail, "weak suites are offered: TLS_RSA_WITH_AES_128_CBC_SHA", ""},

		{"mode 0600", "kubelet-config-file-mode", mode(0o600), harden.StatusPass, "0600", ""},
		{"mode 0400", "kubelet-config-file-mode", mode(0o400), harden.StatusPass, "0400", ""},
		{"mode 0640", "kubelet-config-file-mode", mode(0o640), harden.StatusFail, "0640", configPath + " mode 0640"},
		{"owner", "kubelet-config-file-owner", func(_ *testing.T, n *hardentest.Node) {
			s := n.Files[configPath]
			s.UID = 1000
			n.Files[configPath] = s
		}, harden.StatusFail, configPath + " belongs to 1000:0", configPath + " owner 1000:0"},
		{"a drop-in for all to read", "kubelet-config-file-mode", all(mode(0o600), dropIns("podPidsLimit: 7")), harden.StatusFail, dropInDir + "/10.conf", ""},

		{"profiles off", "kubelet-profiling-handler", field("enableProfilingHandler: false"), harden.StatusPass, "no profiles", ""},
		{"profiles on again by a drop-in", "kubelet-profiling-handler", all(field("enableProfilingHandler: false"), dropIns("enableProfilingHandler: true")), harden.StatusFail, "wins over", ""},
		{"log level fixed", "kubelet-debug-flags-handler", field("enableDebugFlagsHandler: false"), harden.StatusPass, "configuration alone", ""},
		{"health port for all", "kubelet-healthz-bind-address", config("healthzBindAddress: 127.0.0.1", "healthzBindAddress: 0.0.0.0"), harden.StatusFail, "listens on 0.0.0.0", ""},
		{"health port for all by a flag", "kubelet-healthz-bind-address", extraArgs("--healthz-bind-address=::"), harden.StatusFail, "--healthz-bind-address wins", extraPath + " --healthz-bind-address=::"},
		{"gate off", "kubelet-rotate-server-certificates", field("featureGates: {RotateKubeletServerCertificate: false}"), harden.StatusFail, "is off", ""},
		{"gate off with all that are beta", "kubelet-rotate-server-certificates", field("featureGates: {AllBeta: false}"), harden.StatusFail, "with all others that are beta", ""},
		{"gate off with all that are beta, by a flag", "kubelet-rotate-server-certificates", extraArgs("--feature-gates=AllBeta=false"), harden.StatusFail, "with all others that are beta", extraPath + " featureGates.AllBeta: false"},
		{"gate on by its name where all that are beta are off", "kubelet-rotate-server-certificates", field("featureGates: {AllBeta: false, RotateKubeletServerCertificate: true}"), harden.StatusPass, "is on", ""},
		{"gate on with all that are beta", "kubelet-rotate-server-certificates", field("featureGates: {AllBeta: true}"), harden.StatusPass, "is on", ""},
		{"alpha gates off are others", "kubelet-rotate-server-certificates", field("featureGates: {AllAlpha: false}"), harden.StatusPass, "is on", ""},
		{"gate off by a flag", "kubelet-rotate-server-certificates", extraArgs("--feature-gates=A=true,RotateKubeletServerCertificate=false"),
			harden.StatusFail, "--feature-gates wins", extraPath + " featureGates.RotateKubeletServerCertificate: false"},
		{"another gate by a flag", "kubelet-rotate-server-certificates", extraArgs("--feature-gates=A=false"), harden.StatusPass, "is on", ""},
		{"one of certificate and key", "kubelet-serving-certificate", field("tlsCertFile: /etc/kubernetes/pki/apiserver.crt"), harden.StatusFail, "only one", ""},
		{"a certificate of its own", "kubelet-serving-certificate", field("tlsCertFile: /etc/kubernetes/pki/apiserver.crt\ntlsPrivateKeyFile: /etc/kubernetes/pki/apiserver.key"),
			harden.StatusPass, "issued by kubernetes", ""},
		{"a certificate that is not there", "kubelet-serving-certificate", field("tlsCertFile: /nothing.crt\ntlsPrivateKeyFile: /nothing.key"), harden.StatusFail, "/nothing.crt", ""},
		{"a certificate signed by itself", "kubelet-serving-certificate", field("tlsCertFile: /etc/kubernetes/pki/ca.crt\ntlsPrivateKeyFile: /etc/kubernetes/pki/ca.key"), harden.StatusManual, "signed by itself", ""},
		{"a certificate asked for", "kubelet-serving-certificate", field("serverTLSBootstrap: true"), harden.StatusFail, "until its request is approved", ""},
		{"a certificate from the cluster", "kubelet-serving-certificate", all(field("serverTLSBootstrap: true"), serving), harden.StatusPass, "issued by kubernetes", ""},
		{"a certificate from the cluster by a flag", "kubelet-serving-certificate", all(extraArgs("--rotate-server-certificates"), serving), harden.StatusPass, "issued by kubernetes", ""},
		{"unsafe kernel settings", "kubelet-unsafe-sysctls", field("allowedUnsafeSysctls: [net.core.somaxconn, kernel.msg*]"), harden.StatusManual, "net.core.somaxconn,kernel.msg*", ""},
		{"unsafe kernel settings by a flag", "kubelet-unsafe-sysctls", extraArgs("--allowed-unsafe-sysctls=net.*"), harden.StatusManual, "net.*", ""},
		{"its own name", "kubelet-hostname-override", func(t *testing.T, n *hardentest.Node) {
			n.Write(flagsPath, strings.Replace(string(n.Files[flagsPath].Data), "--hostname-override=cp1", "", 1), 0o644)
		}, harden.StatusPass, "host name", ""},
		{"everything alpha", "kubelet-alpha-features", field("featureGates: {AllAlpha: true}"), harden.StatusFail, "everything that is alpha is turned on", ""},
		{"everything alpha, by a flag", "kubelet-alpha-features", extraArgs("--feature-gates=AllAlpha=true"), harden.StatusFail, "--feature-gates wins", extraPath + " featureGates.AllAlpha: true"},
		{"nothing alpha", "kubelet-alpha-features", field("featureGates: {AllAlpha: false}"), harden.StatusPass, "nothing turns on", ""},
		{"everything beta", "kubelet-alpha-features", field("featureGates: {AllBeta: true}"), harden.StatusPass, "nothing turns on", ""},
		{"a flag that 1.37 refuses", "kubelet-removed-flags", extraArgs("--containerd=/run/containerd.sock --storage_driver_user=root"), harden.StatusFail, "1.37 and newer will not start with --containerd", ""},
		{"a flag that went earlier", "kubelet-removed-flags", extraArgs("--storage_driver_user=root --keep-terminated-pod-volumes"), harden.StatusFail, "1.31 and newer will not start with --keep-terminated-pod-volumes", ""},
		{"a flag that is still there", "kubelet-removed-flags", extraArgs("--v=2 --node-ip=192.0.2.11"), harden.StatusPass, "no flag is in the way", ""},
		{"a gate of the file that was removed", "kubelet-removed-feature-gates", field("featureGates: {AppArmor: true, RotateKubeletServerCertificate: true}"), harden.StatusFail,
			"kubelet 1.33 and newer will not start with the feature gate AppArmor", ""},
		{"the gate that went first", "kubelet-removed-feature-gates", field("featureGates: {AppArmor: true, CloudDualStackNodeIPs: true}"), harden.StatusFail, "kubelet 1.32 and newer will not start with the feature gate CloudDualStackNodeIPs", ""},
		{"a gate of a drop-in that was removed", "kubelet-removed-feature-gates", dropIns("featureGates: {AppArmor: false}"), harden.StatusFail, dropInDir + "/10.conf", dropInDir + "/10.conf:3 featureGates.AppArmor: false"},
		{"a gate of a flag that was removed", "kubelet-removed-feature-gates", extraArgs("--feature-gates=kube:AppArmor=true"), harden.StatusFail, extraPath, ""},
		{"gates that are still there", "kubelet-removed-feature-gates", field("featureGates: {RotateKubeletServerCertificate: true}"), harden.StatusPass, "no feature gate is in the way", ""},
		{"no gate but null", "kubelet-removed-feature-gates", field("featureGates: {AppArmor: null}"), harden.StatusPass, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, minor := range minors {
				n := hardentest.Fixture(t, minor)
				test.edit(t, n)
				got := finding(t, n.Facts(t), test.control)
				if got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
					t.Errorf("%s: %s: %s\nwant %s: %s", minor, got.Status, got.Message, test.want, test.message)
				}
				if first := got.Evidence[0].Source + " " + got.Evidence[0].Value; test.evidence != "" && first != test.evidence {
					t.Errorf("%s: evidence %q, want %q", minor, first, test.evidence)
				}
			}
		})
	}
}

// serving is a kubelet that got its serving certificate from the cluster.
func serving(_ *testing.T, n *hardentest.Node) {
	n.Files["/var/lib/kubelet/pki"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
	n.Write("/var/lib/kubelet/pki/kubelet-server-2026.pem", string(n.Files["/etc/kubernetes/pki/apiserver.crt"].Data), 0o600)
	n.Links["/var/lib/kubelet/pki/kubelet-server-current.pem"] = "/var/lib/kubelet/pki/kubelet-server-2026.pem"
}

func mode(m uint32) edit {
	return func(_ *testing.T, n *hardentest.Node) {
		s := n.Files[configPath]
		s.Mode = m
		n.Files[configPath] = s
	}
}

func TestOverriddenSourcesAreSeen(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	all(field("readOnlyPort: 0"), extraArgs("--read-only-port=10255"))(t, n)
	got := finding(t, n.Facts(t), "kubelet-read-only-port").Evidence
	if len(got) != 2 || got[0] != (harden.Evidence{Source: extraPath, Value: "--read-only-port=10255"}) ||
		got[1].Value != "readOnlyPort: 0, overridden" || !strings.HasPrefix(got[1].Source, configPath+":") {
		t.Errorf("got %v", got)
	}
}

func TestVersionsDiffer(t *testing.T) {
	for _, test := range []struct {
		control, version, want string
		edit                   edit
	}{
		{"kubelet-streaming-connection-idle-timeout", "1.35", "its default of 4h0m0s", nil},
		{"kubelet-streaming-connection-idle-timeout", "1.36", "compliance only", nil},
		{"kubelet-streaming-connection-idle-timeout", "1.37", "compliance only", nil},
		{"kubelet-streaming-connection-idle-timeout", "unknown", "and from 1.36 on it does nothing", nil},
		{"kubelet-event-record-qps", "unknown", "low default up to 1.36", field("eventRecordQPS: 0")},
		{"kubelet-event-record-qps", "1.36", "no limit from 1.37 on", field("eventRecordQPS: 0")},
		{"kubelet-event-record-qps", "1.37", "no limit for kubelet v1.37.0", field("eventRecordQPS: 0")},
	} {
		n := hardentest.Fixture(t, "1.37")
		if test.edit != nil {
			test.edit(t, n)
		}
		f := n.Facts(t)
		f.Kubelet.Version, _ = harden.ParseVersion(test.version)
		if got := finding(t, f, test.control); got.Status != harden.StatusFail || !strings.Contains(got.Message.String(), test.want) {
			t.Errorf("%s %s: %s: %s", test.control, test.version, got.Status, got.Message)
		}
	}
}

// A kubelet without a configuration file has the old, open defaults.
func TestLegacyDefaults(t *testing.T) {
	f := &harden.Facts{Distro: "kubeadm", Kubelet: &harden.KubeletFacts{PeakPids: -1, Process: &harden.ProcessFact{PID: 7, Args: []string{"kubelet", "--tls-min-version=VersionTLS12"}}}}
	for id, want := range map[string]harden.Status{
		"kubelet-anonymous-auth":         harden.StatusFail,
		"kubelet-authentication-webhook": harden.StatusFail,
		"kubelet-authorization-mode":     harden.StatusFail,
		"kubelet-read-only-port":         harden.StatusFail,
		"kubelet-tls-min-version":        harden.StatusPass,
		"kubelet-config-file-mode":       harden.StatusNotApplicable,
	} {
		if got := finding(t, f, id); got.Status != want {
			t.Errorf("%s: %s (%s)", id, got.Status, got.Message)
		}
	}
	seen := finding(t, f, "kubelet-tls-min-version").Evidence[0]
	if seen.Source != "process 7 (kubelet)" || seen.Value != "--tls-min-version=VersionTLS12" {
		t.Errorf("a flag of the live process: %v", seen)
	}
}

func TestWorkerNode(t *testing.T) {
	if got := finding(t, hardentest.Worker(t), "kubelet-pod-pids-limit"); got.Status != harden.StatusFail {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
	if got := finding(t, &harden.Facts{}, "kubelet-pod-pids-limit"); got.Status != harden.StatusNotApplicable {
		t.Errorf("without a kubelet: %s", got.Status)
	}
}

func TestControlGroups(t *testing.T) {
	for name, test := range map[string]struct {
		cgroups int
		version string
		edit    edit
		want    harden.Status
	}{
		"not looked at":       {0, "1.34", nil, harden.StatusNotApplicable},
		"v2":                  {2, "1.34", nil, harden.StatusPass},
		"v1 before 1.35":      {1, "1.34", nil, harden.StatusManual},
		"v1 from 1.35 on":     {1, "1.35", nil, harden.StatusFail},
		"v1 that is accepted": {1, "1.37", field("failCgroupV1: false"), harden.StatusManual},
	} {
		n := hardentest.Fixture(t, "1.37")
		if test.edit != nil {
			test.edit(t, n)
		}
		f := n.Facts(t)
		f.Kubelet.CgroupVersion = test.cgroups
		f.Kubelet.Version, _ = harden.ParseVersion(test.version)
		if got := finding(t, f, "kubelet-cgroup-version"); got.Status != test.want {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
}

func TestStaticPodsOfWorkers(t *testing.T) {
	for name, test := range map[string]struct {
		edit edit
		want harden.Status
	}{
		"an empty directory": {nil, harden.StatusManual},
		"a pod": {func(_ *testing.T, n *hardentest.Node) {
			n.Write("/etc/kubernetes/manifests/proxy.yaml", "kind: Pod\n", 0o600)
		}, harden.StatusManual},
		"none set": {config("staticPodPath: /etc/kubernetes/manifests\n", ""), harden.StatusPass},
	} {
		n := hardentest.Fixture(t, "1.37")
		n.AsWorker()
		if test.edit != nil {
			test.edit(t, n)
		}
		got := finding(t, n.Facts(t), "kubelet-static-pods")
		if got.Status != test.want || name == "a pod" && !strings.Contains(got.Message.String(), "1 files") {
			t.Errorf("%s: %s: %s", name, got.Status, got.Message)
		}
	}
}

func TestFlagsThatNewerKubeletsRefuseAreTakenOut(t *testing.T) {
	n := hardentest.Fixture(t, "1.34")
	extraArgs("--v=2 --containerd=/x --storage_driver_user=root")(t, n)
	p, err := n.Plan(t, kubelet.Area(), harden.Choice{Control: "kubelet-removed-flags", Named: true})
	if err != nil || p.Empty() {
		t.Fatalf("%v %v", err, p.Skipped)
	}
	n.Apply(p)
	if got := string(n.Files[extraPath].Data); got != "KUBELET_EXTRA_ARGS=\"--v=2\"\n" {
		t.Errorf("%q", got)
	}
	if got := finding(t, n.Facts(t), "kubelet-removed-flags"); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

func TestAFileOfSomebodyElsesGoesToRoot(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	s := n.Files[configPath]
	s.UID, s.GID = 1000, 1000
	n.Files[configPath] = s
	p, err := n.Plan(t, kubelet.Area(), harden.Choice{Control: "kubelet-config-file-owner"})
	if err != nil || p.Empty() || len(p.Stages[0].Effects) > 0 {
		t.Fatalf("%v %v", err, p)
	}
	n.Apply(p)
	if got := finding(t, n.Facts(t), "kubelet-config-file-owner"); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

// The file of this node may be right, and the next upgrade writes it from kubelet-config.
func TestGateThatAnUpgradeBrings(t *testing.T) {
	f := hardentest.Fixture(t, "1.30").Facts(t)
	f.Cluster = &harden.ClusterFacts{Kubeadm: &harden.KubeadmFact{KubeletConfiguration: "featureGates:\n  AppArmor: true\n"}}
	if got := finding(t, f, "kubelet-removed-feature-gates"); got.Status != harden.StatusFail || !strings.Contains(got.Message.String(), "kubelet-config") {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

// TestASandboxImageThatKubeadmDoesNotTakeOutIsFound: kubeadm removes the flag from its own file, and nobody removed it elsewhere.
func TestASandboxImageThatKubeadmDoesNotTakeOutIsFound(t *testing.T) {
	const flag = "--pod-infra-container-image=registry.k8s.io/pause:3.9"
	none := func(*testing.T, *hardentest.Node) {}
	for _, row := range []struct {
		name, minor string
		edit        edit
		want        harden.Status
	}{
		{"kubeadm's own", "1.34", none, harden.StatusPass},
		{"kubeadm's own, and one of the operator's", "1.34", extraArgs(flag), harden.StatusFail},
		{"the operator's", "1.37", extraArgs(flag), harden.StatusFail},
		{"another flag of the operator's", "1.34", extraArgs("--v=2"), harden.StatusPass},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := hardentest.Fixture(t, row.minor)
			row.edit(t, n)
			got := finding(t, n.Facts(t), "kubelet-removed-flags")
			if got.Status != row.want || row.want == harden.StatusFail && !strings.Contains(got.Message.String(), "1.35 and newer will not start with --pod-infra-container-image") {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
	n := hardentest.Fixture(t, "1.34")
	own := string(n.Files["/var/lib/kubelet/kubeadm-flags.env"].Data)
	if !strings.Contains(own, "--pod-infra-container-image") {
		t.Fatal("kubeadm has not written the flag")
	}
	extraArgs("--v=2 "+flag)(t, n)
	p, err := n.Plan(t, kubelet.Area(), harden.Choice{Control: "kubelet-removed-flags", Named: true})
	if err != nil || p.Empty() {
		t.Fatalf("%v %v", err, p.Skipped)
	}
	n.Apply(p)
	if got := string(n.Files[extraPath].Data); got != "KUBELET_EXTRA_ARGS=\"--v=2\"\n" {
		t.Errorf("%q", got)
	}
	if got := string(n.Files["/var/lib/kubelet/kubeadm-flags.env"].Data); got != own {
		t.Errorf("kubeadm's file: %q", got)
	}
	if got := finding(t, n.Facts(t), "kubelet-removed-flags"); got.Status != harden.StatusPass {
		t.Errorf("afterwards: %s: %s", got.Status, got.Message)
	}
}
