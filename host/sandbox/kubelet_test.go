package sandbox

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// The words are those of kubelet v1.37.2 with these files and flags, but for the kernel's, which are from its source.
func TestKubeletRefuses(t *testing.T) {
	const load = `"command failed" err="failed to load kubelet config file, path: /var/lib/kubelet/config.yaml, error: failed to load Kubelet config file /var/lib/kubelet/config.yaml, error `
	add := func(line string) func(*bench) {
		return func(b *bench) { b.write(kubeletConfig, b.read(kubeletConfig)+line+"\n") }
	}
	swap := func(from, to string) func(*bench) { return func(b *bench) { b.replace(kubeletConfig, from, to) } }
	extra := func(flags string) func(*bench) {
		return func(b *bench) { b.replace("/var/lib/kubelet/kubeadm-flags.env", "cp1", "cp1 "+flags) }
	}
	tests := []struct {
		name  string
		do    func(*bench)
		words string // "" when it starts
	}{
		{"nothing", func(*bench) {}, ""},
		{"unknown field", add("fooBar: 1"), ""},
		{"field twice", add("rotateCertificates: false"), ""},
		{"unknown flag", extra("--foo"), `"command failed" err="failed to parse kubelet flag: unknown flag: --foo"`},
		{"flag that is gone", extra("--pod-infra-container-image=x"), `err="failed to parse kubelet flag: unknown flag: --pod-infra-container-image"`},
		{"bad switch", extra("--anonymous-auth=maybe"), `err="failed to parse kubelet flag: invalid argument \"maybe\" for \"--anonymous-auth\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax"`},
		{"no file", extra("--config=/none"), `error failed to read kubelet config file \"/none\", error: open /none: no such file or directory"`},
		{"empty", func(b *bench) { b.write(kubeletConfig, "") }, `error kubelet config file \"/var/lib/kubelet/config.yaml\" was empty"`},
		{"no YAML", add("foo: ["), load + `failed to decode: yaml: line `},
		{"type", swap("rotateCertificates: true", "rotateCertificates: maybe"), load + `failed to decode: json: cannot unmarshal string into Go struct field KubeletConfiguration.rotateCertificates of type bool"`},
		{"duration", swap("syncFrequency: 0s", "syncFrequency: 5x"), load + `failed to decode: time: unknown unit \"x\" in duration \"5x\""`},
		{"version", swap("/v1beta1", "/v9"), load + `failed to decode: no kind \"KubeletConfiguration\" is registered for version \"kubelet.config.k8s.io/v9\"`},
		{"kind", swap("kind: KubeletConfiguration", "kind: Foo"), load + `failed to decode: no kind \"Foo\" is registered for version \"kubelet.config.k8s.io/v1beta1\"`},
		{"port", add("readOnlyPort: 99999"), `"command failed" err="failed to validate kubelet configuration, error: invalid configuration: readOnlyPort (--read-only-port) 99999 must be between 0 and 65535, inclusive, path: &TypeMeta{Kind:,APIVersion:,}"`},
		{"health port", swap("healthzPort: 10248", "healthzPort: 99999"), `invalid configuration: healthzPort (--healthz-port) 99999 must be between 1 and 65535, inclusive`},
		{"events", add("eventRecordQPS: -1"), `invalid configuration: eventRecordQPS (--event-qps) -1 must not be a negative number`},
		{"cipher", add("tlsCipherSuites: [FOO]"), `"command failed" err="failed to construct kubelet dependencies: Cipher suite FOO not supported or doesn't exist"`},
		{"TLS version", add("tlsMinVersion: VersionTLS99"), `"command failed" err="failed to construct kubelet dependencies: unknown tls version \"VersionTLS99\""`},
		{"CA", swap("/etc/kubernetes/pki/ca.crt", "/none"), `"command failed" err="failed to run Kubelet: open /none: no such file or directory"`},
		{"authorization", swap("mode: Webhook", "mode: Foo"), `err="failed to run Kubelet: unknown authorization mode Foo"`},
		{"kernel as it is wanted", add("protectKernelDefaults: true"), ""},
		{"kernel", func(b *bench) {
			add("protectKernelDefaults: true")(b)
			if err := b.LoadSysctls(b.t.Context(), map[string]string{"kernel.panic": "0"}); err != nil {
				b.t.Fatal(err)
			}
		}, `kubelet.go:1850] "Failed to start ContainerManager" err="invalid kernel flag: kernel/panic, expected value: 10, actual value: 0"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			pod := b.instance()
			tt.do(b)
			restarted := b.clock.Now()
			if err := b.RestartUnit(t.Context(), kubeletUnit); err != nil {
				t.Fatal(err)
			}
			b.pass(2 * time.Second)
			u, err := b.Unit(t.Context(), kubeletUnit)
			if err != nil {
				t.Fatal(err)
			}
			health := b.Probe(t.Context(), harden.Probe{Scheme: "HTTP", Host: "127.0.0.1", Port: 10248, Path: "/healthz"})
			ready, heartbeat, _ := b.Ready()
			if tt.words == "" {
				if !u.Active || u.Restarts != 0 || !u.Since.Equal(restarted) || health.Status != 200 || !ready || !heartbeat.After(restarted) {
					t.Errorf("it does not start: %+v, %+v, ready %v: %s", u, health, ready, b.kubelet.words)
				}
			} else {
				if words := b.kubelet.words; !strings.Contains(words, tt.words) {
					t.Errorf("its words\n%s\nwant\n%s", words, tt.words)
				}
				if u.Active || health.Err == nil || ready {
					t.Errorf("it runs: %+v, %+v, ready %v", u, health, ready)
				}
				b.pass(20 * time.Second)
				if u, err := b.Unit(t.Context(), kubeletUnit); err != nil || u.Restarts != 2 {
					t.Errorf("restarts: %+v, %v", u, err)
				}
			}
			if now := b.instance(); now.ID != pod.ID || !b.Serving() {
				t.Error("the API server was restarted with it")
			}
		})
	}
}

// A kubelet that is down sees no change; the next one does.
func TestBlindKubelet(t *testing.T) {
	b := newBench(t, Options{})
	whole := b.read(kubeletConfig)
	b.write(kubeletConfig, "")
	if err := b.RestartUnit(t.Context(), kubeletUnit); err != nil {
		t.Fatal(err)
	}
	b.pass(5 * time.Second)
	old := b.instance()
	b.flags("--profiling=false")
	b.pass(5 * time.Second)
	if b.instance().ID != old.ID {
		t.Error("the change was seen")
	}
	b.write(kubeletConfig, whole)
	b.pass(20 * time.Second) // systemd starts it again by itself
	if b.instance().ID == old.ID || !b.Serving() {
		t.Error("the change was not seen later")
	}
}

func TestConfigz(t *testing.T) {
	b := newBench(t, Options{})
	at := func(path string) any {
		var v any = b.Configz()
		for _, k := range strings.Split(path, ".") {
			m, _ := v.(map[string]any)
			v = m[k]
		}
		return v
	}
	want := func(path string, want any) {
		t.Helper()
		if got := at(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v", path, got, want)
		}
	}
	want("streamingConnectionIdleTimeout", "4h0m0s")
	want("eventRecordQPS", 50.0)
	want("authentication.x509.clientCAFile", "/etc/kubernetes/pki/ca.crt")
	want("authentication.webhook.cacheTTL", "2m0s")
	want("cgroupDriver", "systemd")
	b.replace(kubeletConfig, "streamingConnectionIdleTimeout: 0s", "streamingConnectionIdleTimeout: 5m\npodPidsLimit: 4096\neventRecordQPS: 0")
	want("streamingConnectionIdleTimeout", "4h0m0s") // until it restarts
	if err := b.RestartUnit(t.Context(), kubeletUnit); err != nil {
		t.Fatal(err)
	}
	want("streamingConnectionIdleTimeout", "5m0s")
	want("podPidsLimit", 4096.0)
	want("eventRecordQPS", 0.0)
}

func TestUnknowns(t *testing.T) {
	b := newBench(t, Options{})
	if _, err := b.Unit(t.Context(), "sshd.service"); err == nil {
		t.Error("there is another unit")
	}
	if err := b.RestartUnit(t.Context(), "sshd.service"); err == nil {
		t.Error("another unit was restarted")
	}
	if err := b.LoadSysctls(t.Context(), map[string]string{"kernel.foo": "1"}); err == nil {
		t.Error("there is another setting")
	}
	if _, err := b.Sysctl("kernel.foo"); err == nil {
		t.Error("there is another setting")
	}
	if v, err := b.Sysctl("kernel.panic"); v != "10" || err != nil {
		t.Errorf("kernel.panic = %q, %v", v, err)
	}
}

func TestProcesses(t *testing.T) {
	b := newBench(t, Options{})
	for name, first := range map[string]string{
		"kubelet": "/usr/bin/kubelet", "kube-apiserver": "kube-apiserver", "etcd": "etcd", "kube-scheduler": "kube-scheduler", "kube-controller-manager": "kube-controller-manager",
	} {
		all, err := b.Processes(name)
		ps := all[name]
		if err != nil || len(ps) != 1 || ps[0].Args[0] != first || (ps[0].Container == "") != (name == "kubelet") {
			t.Errorf("%s: %+v, %v", name, ps, err)
		}
	}
	if ps, err := b.Processes("sshd"); len(ps["sshd"]) > 0 || err != nil {
		t.Errorf("sshd: %v, %v", ps, err)
	}
}
