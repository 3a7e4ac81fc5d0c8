package sandbox

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	authnText = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n"
	useAuthn  = "--authentication-config=" + authnFile
	usePolicy = "--audit-policy-file=" + policyFile
	policyTop = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
)

// The words are those of kube-apiserver v1.37.2 with these flags and files.
func TestAPIServerRefuses(t *testing.T) {
	swap := func(from, to string) string { return strings.Replace(authnText, from, to, 1) }
	tests := []struct {
		name  string
		flags []string
		files map[string]string
		words string // "" when it starts
	}{
		{name: "unknown flag", flags: []string{"--foo"}, words: `Error: unknown flag: --foo`},
		{name: "underscores", flags: []string{"--audit_log_maxage=1"}},
		{name: "bad switch", flags: []string{"--profiling=maybe"}, words: `Error: invalid argument "maybe" for "--profiling" flag: strconv.ParseBool: parsing "maybe": invalid syntax`},
		{name: "bad number", flags: []string{"--audit-log-maxage=x"}, words: `Error: invalid argument "x" for "--audit-log-maxage" flag: strconv.ParseInt: parsing "x": invalid syntax`},
		{name: "bad level", flags: []string{"--v=x"}, words: `Error: invalid argument "x" for "-v, --v" flag: strconv.ParseUint: parsing "x": invalid syntax`},
		{name: "a switch's value apart", flags: []string{"--profiling", `"false"`}, words: `Error: "kube-apiserver" does not take any arguments, got ["false"]`},
		{name: "gone feature gate", flags: []string{"--feature-gates=KMSv2=true"}, words: `"command failed" err="unrecognized feature gate: KMSv2"`},
		{name: "unknown plugins", flags: []string{"--enable-admission-plugins=Foo,Bar"}, words: `err="[enable-admission-plugins plugin \"Foo\" is unknown, enable-admission-plugins plugin \"Bar\" is unknown]"`},
		{name: "unknown plugin off", flags: []string{"--disable-admission-plugins=Foo"}, words: `err="disable-admission-plugins plugin \"Foo\" is unknown"`},
		{name: "plugin on and off", flags: []string{"--disable-admission-plugins=NodeRestriction"}, words: `err="[NodeRestriction] in enable-admission-plugins and disable-admission-plugins overlapped"`},
		{name: "old plugin flag", flags: []string{"--admission-control=NodeRestriction"}, words: `err="admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive"`},
		{name: "authorization mode", flags: []string{"--authorization-mode=Foo"}, words: `err="authorization-mode \"Foo\" is not a valid mode"`},
		{name: "authorization mode twice", flags: []string{"--authorization-mode=Node"}, words: `err="authorization-mode [\"Node\" \"Node\" \"RBAC\"] has mode specified more than once"`},
		{name: "authorization config too", flags: []string{"--authorization-config=/x"}, words: `err="--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"`},
		{name: "TLS version", flags: []string{"--tls-min-version=VersionTLS99"}, words: `err="unknown tls version \"VersionTLS99\""`},
		{name: "cipher", flags: []string{"--tls-cipher-suites=FOO"}, words: `err="Cipher suite FOO not supported or doesn't exist"`},
		{name: "negative age", flags: []string{"--audit-log-maxage=-1"}, words: `err="--audit-log-maxage -1 can't be a negative number"`},
		{name: "log format", flags: []string{"--audit-log-format=foo"}, words: `err="invalid audit log format foo, allowed formats are \"legacy,json\""`},
		{name: "log mode", flags: []string{"--audit-log-mode=foo"}, words: `err="invalid audit log mode foo, allowed modes are \"batch,blocking,blocking-strict\""`},
		{name: "no such token file", flags: []string{"--token-auth-file=/etc/kubernetes/pki/none"}, words: `err="open /etc/kubernetes/pki/none: no such file or directory"`},
		{name: "file that is not mounted", flags: []string{"--token-auth-file=/etc/hostname"}, words: `err="open /etc/hostname: no such file or directory"`},

		{name: "authentication", flags: []string{useAuthn}, files: map[string]string{authnFile: authnText}},
		{name: "authentication, beta", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("/v1", "/v1beta1")}},
		{name: "authentication and flag", flags: []string{useAuthn, "--anonymous-auth=false"}, files: map[string]string{authnFile: authnText}, words: `err="anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"`},
		{name: "authentication and OIDC", flags: []string{useAuthn, "--oidc-client-id=x"}, files: map[string]string{authnFile: authnText}, words: `err="authentication-config file and oidc-* flags are mutually exclusive"`},
		{name: "authentication: none", flags: []string{useAuthn}, words: `err="failed to load authentication configuration from file \"` + authnFile + `\": open ` + authnFile + `: no such file or directory"`},
		{name: "authentication: empty", flags: []string{useAuthn}, files: map[string]string{authnFile: ""}, words: `: empty config data"`},
		{name: "authentication: field", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("enabled: true", "enabled: true\n  foo: 1")}, words: `err="failed to load authentication configuration from file \"` + authnFile + `\": strict decoding error: unknown field \"anonymous.foo\""`},
		{name: "authentication: type", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("true", "maybe")}, words: `: json: cannot unmarshal string into Go struct field AnonymousAuthConfig.anonymous.enabled of type bool"`},
		{name: "authentication: kind", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("kind: AuthenticationConfiguration", "kind: Foo")}, words: `: no kind \"Foo\" is registered for version \"apiserver.config.k8s.io/v1\" in scheme \"pkg/runtime/scheme.go:`},
		{name: "authentication: version", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("/v1", "/v9")}, words: `: no kind \"AuthenticationConfiguration\" is registered for version \"apiserver.config.k8s.io/v9\" in scheme`},
		{name: "authentication: off with paths", flags: []string{useAuthn}, files: map[string]string{authnFile: swap("true", "false")}, words: `err="invalid authentication configuration: anonymous.conditions: Invalid value: [{\"Path\":\"/livez\"}]: enabled should be set to true when conditions are defined"`},

		{name: "policy of ours", flags: []string{usePolicy}, files: map[string]string{policyFile: string(patches.AuditPolicy())}},
		{name: "policy: unknown field", flags: []string{usePolicy}, files: map[string]string{policyFile: policyTop + "rules:\n- level: Metadata\n  foo: 1\n"}},
		{name: "policy: none", flags: []string{usePolicy}, words: `err="loading audit policy file: failed to read file path \"` + policyFile + `\": open ` + policyFile + `: no such file or directory"`},
		{name: "policy: empty", flags: []string{usePolicy}, files: map[string]string{policyFile: ""}, words: `err="loading audit policy file: unknown group version field audit.k8s.io/__internal, Kind=Policy in policy: from file ` + policyFile + `"`},
		{name: "policy: no rules", flags: []string{usePolicy}, files: map[string]string{policyFile: policyTop + "rules: []\n"}, words: `err="loading audit policy file: loaded illegal policy with 0 rules: from file ` + policyFile + `"`},
		{name: "policy: level", flags: []string{usePolicy}, files: map[string]string{policyFile: policyTop + "rules:\n- level: Foo\n"}, words: `rules[0].level: Unsupported value: \"Foo\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"`},
		{name: "policy: stage", flags: []string{usePolicy}, files: map[string]string{policyFile: policyTop + "omitStages: [Foo]\nrules:\n- level: None\n"}, words: `omitStages[0]: Invalid value: \"Foo\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic`},
		{name: "policy: URLs and namespaces", flags: []string{usePolicy}, files: map[string]string{policyFile: policyTop + "rules:\n- level: None\n  nonResourceURLs: [/x]\n  namespaces: [a]\n"}, words: `rules cannot apply to both regular resources and non-resource URLs`},
		{name: "policy: version", flags: []string{usePolicy}, files: map[string]string{policyFile: strings.Replace(policyTop, "/v1", "/v1beta1", 1) + "rules:\n- level: None\n"}, words: `no kind \"Policy\" is registered for version \"audit.k8s.io/v1beta1\"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			for path, text := range tt.files {
				b.write(path, text)
			}
			b.flags(tt.flags...)
			b.pass(4 * time.Second)
			crashes, words := b.words()
			if tt.words == "" {
				if r := b.get("/readyz"); crashes > 0 || r.Err != nil {
					t.Fatalf("it does not start: %v, %s", r.Err, words)
				}
				return
			}
			if crashes != 1 || !strings.Contains(words, tt.words) {
				t.Errorf("%d crashes, words\n%s\nwant\n%s", crashes, words, tt.words)
			}
			if b.Serving() {
				t.Error("the API answers")
			}
			if r := b.get("/livez"); r.Err == nil || r.Err.Error() != "dial tcp 192.0.2.11:6443: connect: connection refused" {
				t.Errorf("probe: %+v", r)
			}
		})
	}
}

func TestRequiredFlags(t *testing.T) {
	_, err := startAPIServer([]string{"kube-apiserver"}, nil)
	const want = `"command failed" err="[--etcd-servers must be specified, service-account-issuer is a required flag]"`
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// The statuses are those of a real one.
func TestAnonymous(t *testing.T) {
	tests := []struct {
		name  string
		flags []string
		want  map[string]int
	}{
		{"default", nil, map[string]int{
			"/livez": 200, "/readyz?verbose": 200, "/healthz": 200, "/version": 200, "/version/": 200, "/livez/": 403, "/livez/ping": 403,
			"/": 403, "/api": 403, "/metrics": 403, "/foo": 403, "/api/v1/namespaces/kube-public/configmaps/cluster-info": 200,
		}},
		{"off", []string{"--anonymous-auth=false"}, map[string]int{"/livez": 401, "/api": 401, "/foo": 401}},
		{"on for paths", []string{useAuthn}, map[string]int{"/livez": 200, "/livez?x": 200, "/livez/": 401, "/readyz": 401, "/api": 401}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			b.write(authnFile, authnText)
			b.flags(append(tt.flags, "--v=2")...)
			b.pass(10 * time.Second)
			for path, want := range tt.want {
				if r := b.get(path); r.Err != nil || r.Status != want {
					t.Errorf("%s: %+v, want %d", path, r, want)
				}
			}
		})
	}
}

func TestAlwaysAllowTurnsAnonymousOff(t *testing.T) {
	b := newBench(t, Options{})
	b.replace(manifest, "Node,RBAC", "AlwaysAllow")
	b.pass(10 * time.Second)
	if r := b.get("/livez"); r.Status != 401 {
		t.Errorf("%+v", r)
	}
}

func TestAdmin(t *testing.T) {
	b := newBench(t, Options{})
	for path, want := range map[string]int{"/debug/pprof": 200, "/debug/pprof/": 200, "/api/v1/namespaces": 200, "/livez/ping": 200, "/foo": 404} {
		if got := b.Admin(path, "test"); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	b.flags("--profiling=false")
	b.pass(10 * time.Second)
	if got := b.Admin("/debug/pprof/", "test"); got != 404 {
		t.Errorf("profiles without profiling: %d", got)
	}
}

func TestAuditLog(t *testing.T) {
	const log = "/var/log/audit.log"
	onHostLog := "/etc/kubernetes/pki/audit.log"
	tests := []struct {
		name, path, policy, ask string
		want                    bool
	}{
		{"recorded", onHostLog, string(patches.AuditPolicy()), "/api/v1/namespaces?m=marker", true},
		{"health is left out", onHostLog, string(patches.AuditPolicy()), "/livez?m=marker", false},
		{"nothing is recorded", onHostLog, policyTop + "rules:\n- level: None\n", "/api?m=marker", false},
		{"stage left out", onHostLog, policyTop + "omitStages: [ResponseComplete]\nrules:\n- level: Metadata\n", "/api?m=marker", false},
		{"log in the container only", log, string(patches.AuditPolicy()), "/api?m=marker", false},
		{"no policy", onHostLog, "", "/api?m=marker", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			flags := []string{"--audit-log-path=" + tt.path}
			if tt.policy != "" {
				b.write(policyFile, tt.policy)
				flags = append(flags, usePolicy)
			}
			b.flags(flags...)
			b.pass(10 * time.Second)
			before, err := b.files.Snapshot("")
			if err != nil {
				t.Fatal(err)
			}
			b.get(tt.ask)
			if got, _ := b.LogHas(tt.path, "m=marker"); got != tt.want {
				t.Errorf("recorded: %v, want %v", got, tt.want)
			}
			after, err := b.files.Snapshot("")
			if err != nil {
				t.Fatal(err)
			}
			if d := after.Differences(before); len(d) > 0 {
				t.Errorf("the root has changed: %v", d)
			}
		})
	}
}

func TestOtherProbes(t *testing.T) {
	b := newBench(t, Options{})
	for _, tt := range []struct {
		scheme string
		port   int
		path   string
		want   int // 0: connection refused
	}{
		{"HTTPS", 10257, "/healthz", 200}, {"HTTPS", 10259, "/readyz", 200}, {"HTTP", 2381, "/livez", 200}, {"HTTP", 10248, "/healthz", 200},
		{"HTTP", 6443, "/livez", 400}, {"HTTP", 10255, "/healthz", 0}, {"HTTP", 10248, "/foo", 404},
	} {
		r := b.Probe(t.Context(), harden.Probe{Scheme: tt.scheme, Host: "127.0.0.1", Port: tt.port, Path: tt.path})
		if r.Status != tt.want || (r.Err == nil) != (tt.want != 0) {
			t.Errorf("%v: %+v", tt, r)
		}
	}
	if r := b.Probe(t.Context(), harden.Probe{Scheme: "TCP", Host: nodeIP, Port: 6443}); r.Err != nil {
		t.Errorf("TCP: %v", r.Err)
	}
}
