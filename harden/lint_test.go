package harden_test

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// wellFormed is what a plan of the intents says about files and flags, "" for nothing.
func wellFormed(t *testing.T, n *hardentest.Node, intents ...harden.Intent) string {
	t.Helper()
	areas := []harden.Area{{ID: "test", Controls: []harden.Control{failing("this", harden.RiskNode, intents...)}}}
	plans, err := harden.Build(harden.BuildInput{Facts: n.Facts(t), Areas: areas, Choices: []harden.Choice{{Control: "this", Accept: true}}, Read: n.State, Now: time.Unix(0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	checked, said := 0, ""
	for _, p := range plans.InOrder() {
		for _, c := range p.Preflight {
			if c.ID != "well-formed" {
				continue
			}
			checked++
			if c.State != harden.Met {
				for _, e := range c.Evidence {
					said += e.Value + "\n"
				}
				if !c.Blocks || c.Message.IsZero() {
					t.Errorf("it does not block, or says nothing: %+v", c)
				}
			}
		}
	}
	if checked == 0 {
		t.Fatal("nothing was checked")
	}
	return said
}

func TestFlagRules(t *testing.T) {
	set := func(pairs ...string) []harden.Intent {
		var out []harden.Intent
		for _, p := range pairs {
			name, value, _ := strings.Cut(p, "=")
			out = append(out, harden.SetFlag(harden.APIServer, name, value))
		}
		return out
	}
	const pki = "/etc/kubernetes/pki/"
	anonymous := harden.WriteFile(pki+"authn.yaml", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: true}\n"), 0o600, "")
	limits := func(plugins string) harden.Intent {
		return harden.WriteFile(pki+"admission.yaml", []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: "+plugins+"\n"), 0o600, "")
	}
	for _, tt := range []struct {
		name    string
		intents []harden.Intent
		says    string
	}{
		{"fine", set("profiling=false", "tls-min-version=VersionTLS12"), ""},
		{"cipher name", set("tls-cipher-suites=TLS_AES_128_GCM_SHA257,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), `there is no cipher suite "TLS_AES_128_GCM_SHA257"`},
		{"HTTP/2 suites", set("tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), "lack both that HTTP/2 needs"},
		{"HTTP/2 suites with HTTP/2 off", set("tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "disable-http2-serving=true"), ""},
		{"HTTP/2 suites with 1.3", set("tls-cipher-suites=TLS_AES_128_GCM_SHA256", "tls-min-version=VersionTLS13"), ""},
		{"good suites", set("tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"), ""},
		{"TLS version", set("tls-min-version=TLS1.2"), `there is no TLS version "TLS1.2"`},
		{"plugin", set("enable-admission-plugins=NodeRestriction,SecurityContextDeny"), `there is no admission plugin "SecurityContextDeny" in v1.37`},
		{"plugin off", set("disable-admission-plugins=Foo"), `there is no admission plugin "Foo"`},
		{"plugin on and off", set("disable-admission-plugins=NodeRestriction"), "NodeRestriction is enabled and disabled"},
		{"old plugin flag", set("admission-control=NodeRestriction"), "--admission-control does not go with"},
		{"plugin without configuration", set("enable-admission-plugins=NodeRestriction,EventRateLimit"), "EventRateLimit does not start without a configuration"},
		{"plugin with configuration", append(set("enable-admission-plugins=NodeRestriction,EventRateLimit", "admission-control-config-file="+pki+"admission.yaml"),
			limits("[{name: EventRateLimit, path: limits.yaml}]")), ""},
		{"plugin with another's configuration", append(set("enable-admission-plugins=NodeRestriction,EventRateLimit", "admission-control-config-file="+pki+"admission.yaml"),
			limits("[{name: PodSecurity, path: x.yaml}]")), "EventRateLimit does not start without a configuration"},
		{"configuration that cannot be known here", set("enable-admission-plugins=NodeRestriction,EventRateLimit", "admission-control-config-file="+pki+"there-perhaps.yaml"), ""},
		{"anonymous twice", append(set("anonymous-auth=true", "authentication-config="+pki+"authn.yaml"), anonymous), "--anonymous-auth does not go with the anonymous section"},
		{"anonymous once", append(set("authentication-config="+pki+"authn.yaml"), anonymous), ""},
		{"OIDC and file", append(set("oidc-issuer-url=https://x", "oidc-client-id=y", "authentication-config="+pki+"authn.yaml"), anonymous), "--authentication-config does not go with --oidc flags"},
		{"OIDC, half", set("oidc-client-id=y"), "need --oidc-issuer-url and --oidc-client-id"},
		{"authorization twice", set("authorization-config=" + pki + "authz.yaml"), "--authorization-config does not go with --authorization-mode"},
		{"mode", set("authorization-mode=Node,RBACK"), `there is no mode "RBACK"`},
		{"mode twice", set("authorization-mode=Node,RBAC,Node"), "Node is there twice"},
		{"mode without its file", set("authorization-mode=Node,RBAC,Webhook"), "--authorization-mode Webhook and --authorization-webhook-config-file go together"},
		{"file without its mode", set("authorization-policy-file=" + pki + "abac"), "--authorization-mode ABAC and --authorization-policy-file go together"},
		{"no mount", set("audit-policy-file=/etc/elsewhere/policy.yaml"), "no mount shows /etc/elsewhere/policy.yaml to the API server"},
		{"audit mode", set("audit-log-mode=blocked"), `--audit-log-mode: there is no mode "blocked"`},
		{"audit format", set("audit-log-format=yaml"), `there is no format "yaml"`},
		{"audit number", set("audit-log-maxage=-1"), "--audit-log-maxage: -1 is negative"},
		{"reload of nothing", set("encryption-provider-config-automatic-reload=true"), "is for --encryption-provider-config, which is not set"},
		{"something that is needed", []harden.Intent{harden.RemoveFlag(harden.APIServer, "etcd-servers")}, "--etcd-servers is missing"},
		{"a policy without rules", append(set("audit-policy-file="+pki+"p.yaml"), harden.WriteFile(pki+"p.yaml", []byte("apiVersion: audit.k8s.io/v1\nkind: Policy\n"), 0o600, "")),
			pki + "p.yaml: it has no rules"},

		{"controller manager", []harden.Intent{harden.SetFlag(harden.ControllerManager, "tls-cipher-suites", "FOO")}, `there is no cipher suite "FOO"`},
		{"scheduler", []harden.Intent{harden.SetFlag(harden.Scheduler, "tls-min-version", "FOO")}, `there is no TLS version "FOO"`},
		{"etcd's cipher", []harden.Intent{harden.SetFlag(harden.Etcd, "cipher-suites", "FOO")}, `--cipher-suites: there is no cipher suite "FOO"`},
		{"etcd's version", []harden.Intent{harden.SetFlag(harden.Etcd, "tls-min-version", "VersionTLS12")}, `--tls-min-version: there is no TLS version "VersionTLS12"`},
		{"etcd's suites with 1.3", []harden.Intent{harden.SetFlag(harden.Etcd, "tls-min-version", "TLS1.3"),
			harden.SetFlag(harden.Etcd, "cipher-suites", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")}, "cannot be set where TLS1.3 is the lowest"},
		{"etcd", []harden.Intent{harden.SetFlag(harden.Etcd, "tls-min-version", "TLS1.2")}, ""},

		{"kubelet's field", []harden.Intent{harden.SetField(kubeletConfig, "anonymousAuth", false, harden.Kubelet)}, `unknown field "anonymousAuth"`},
		{"kubelet", []harden.Intent{harden.SetField(kubeletConfig, "podPidsLimit", 4096, harden.Kubelet)}, ""},
		{"kernel settings", []harden.Intent{harden.Sysctl("/etc/sysctl.d/90-x.conf", "vm.overcommit_memory", "1"), harden.SetField(kubeletConfig, "podPidsLimit", 4096, harden.Kubelet)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := wellFormed(t, hardentest.Fixture(t, "1.37"), tt.intents...)
			if tt.says == "" && got != "" || !strings.Contains(got, tt.says) {
				t.Errorf("says %q, want %q", got, tt.says)
			}
		})
	}
}

// TestWhatWasWrongBeforeIsNotThisPlans: a component that runs with something unusual may be changed elsewhere.
func TestWhatWasWrongBeforeIsNotThisPlans(t *testing.T) {
	n := hardentest.APIServer(t, "1.37", hardentest.Flag("disable-admission-plugins", "OneOfTheirOwn"))
	if got := wellFormed(t, n, harden.SetFlag(harden.APIServer, "profiling", "false")); got != "" {
		t.Error(got)
	}
	if got := wellFormed(t, n, harden.SetFlag(harden.APIServer, "audit-log-mode", "x")); !strings.Contains(got, "x") || strings.Contains(got, "OneOfTheirOwn") {
		t.Error(got)
	}
}

// TestNewerVersionsAreLeftToTheirOwnPrograms: this program does not know their plugins.
func TestNewerVersionsAreLeftToTheirOwnPrograms(t *testing.T) {
	n := hardentest.APIServer(t, "1.37", hardentest.Version("1.38.0"))
	if got := wellFormed(t, n, harden.SetFlag(harden.APIServer, "disable-admission-plugins", "BrandNew")); got != "" {
		t.Error(got)
	}
}
