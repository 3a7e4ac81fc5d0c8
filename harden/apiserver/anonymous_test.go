package apiserver

import (
	"slices"
	"strings"
	"testing"

	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	apiserverv1beta1 "k8s.io/apiserver/pkg/apis/apiserver/v1beta1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

// authn is a node that uses an authentication configuration with this text.
func authn(text string, more ...hardentest.Edit) ([]hardentest.Edit, func(*hardentest.Node)) {
	edits := append([]hardentest.Edit{hardentest.Flag(authnFlag, "/etc/kubernetes/own/authn.yaml"), hardentest.Mount("/etc/kubernetes/own", "Directory", "readOnly: true")}, more...)
	return edits, func(n *hardentest.Node) {
		n.Files["/etc/kubernetes/own"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write("/etc/kubernetes/own/authn.yaml", text, 0o600)
	}
}

const authnHead = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n"

// tcpProbes makes the probes of the manifest ask the port only.
func tcpProbes(t testing.TB, text string) string {
	t.Helper()
	out, err := patches.SetProbeTCP([]byte(text), "kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestAnonymousAuth(t *testing.T) {
	flagFalse := hardentest.Flag(anonymousFlag, "false")
	cases := []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "every path"},
		{Name: "flag true", Edits: []hardentest.Edit{hardentest.Flag(anonymousFlag, "true")}, Want: harden.StatusFail},
		{Name: "flag false with kubeadm's probes", Edits: []hardentest.Edit{flagFalse}, Want: harden.StatusFail, Says: "livenessProbe asks /livez without credentials"},
		{Name: "flag false with TCP probes", Edits: []hardentest.Edit{flagFalse, tcpProbes}, Want: harden.StatusPass},
		{Name: "flag false with probes that log in", Edits: []hardentest.Edit{flagFalse, hardentest.Replace("        scheme: HTTPS\n", "        scheme: HTTPS\n        httpHeaders:\n        - name: Authorization\n          value: x\n")}, Want: harden.StatusPass},
	}
	for _, file := range []struct {
		name, text string
		want       harden.Status
		says       string
	}{
		{"health paths", authnHead + "anonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n  - path: /readyz\n", harden.StatusPass, "only on /livez, /readyz"},
		{"and cluster-info", authnHead + "anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}, {path: " + clusterInfo + "}]}\n", harden.StatusPass, "cluster-info"},
		{"another path", authnHead + "anonymous: {enabled: true, conditions: [{path: /livez}, {path: /readyz}, {path: /version}]}\n", harden.StatusManual, "/version"},
		{"without conditions", authnHead + "anonymous: {enabled: true}\n", harden.StatusFail, "every path"},
		{"off, and kubeadm's probes get 401", authnHead + "anonymous: {enabled: false}\n", harden.StatusFail, "livenessProbe asks /livez without credentials"},
		{"without what the liveness probe asks", authnHead + "anonymous: {enabled: true, conditions: [{path: /readyz}]}\n", harden.StatusFail, "kills the API server"},
		{"without what any probe asks", authnHead + "anonymous: {enabled: true, conditions: [{path: /healthz}]}\n", harden.StatusFail, "kills the API server"},
		{"without what the readiness probe asks", authnHead + "anonymous: {enabled: true, conditions: [{path: /livez}]}\n", harden.StatusFail, "takes the API server for not ready"},
		{"silent", authnHead + "jwt: []\n", harden.StatusFail, "every path"},
		{"another kind", "kind: ConfigMap\n", harden.StatusManual, "no AuthenticationConfiguration"},
		{"no YAML", "a: b: c\n", harden.StatusManual, "not valid YAML"},
	} {
		edits, change := authn(file.text)
		cases = append(cases, hardentest.Verdict{Name: file.name, Edits: edits, Change: change, Want: file.want, Says: file.says})
	}
	edits, _ := authn("")
	off, writeOff := authn(authnHead+"anonymous: {enabled: false}\n", tcpProbes)
	cases = append(cases,
		hardentest.Verdict{Name: "off, with TCP probes", Edits: off, Change: writeOff, Want: harden.StatusPass, Says: "is off"},
		hardentest.Verdict{Name: "a file that is not there", Edits: edits, Want: harden.StatusFail, Says: "does not exist"},
		hardentest.Verdict{Name: "a file that nothing mounts", Edits: edits[:1], Want: harden.StatusFail, Says: "no mount"},
	)
	table().Verdicts(t, "apiserver-anonymous-auth", cases)
}

func manifestLines(lines ...string) []string {
	for i, l := range lines {
		lines[i] = "kube-apiserver.yaml: " + l
	}
	return lines
}

func TestHealthEndpointsOnly(t *testing.T) {
	const id = "apiserver-anonymous-auth"
	fresh := []string{"make /etc/kubernetes/authn", "write /etc/kubernetes/authn/config.yaml"}
	mount := manifestLines("+ - mountPath: /etc/kubernetes/authn", "+ name: authn-config", "+ readOnly: true",
		"+ - hostPath:", "+ path: /etc/kubernetes/authn", "+ type: Directory", "+ name: authn-config")
	flag := manifestLines("+ - --authentication-config=/etc/kubernetes/authn/config.yaml")
	version := func(v string) []hardentest.Edit { return []hardentest.Edit{hardentest.Version(v)} }
	silent, writeSilent := authn(authnHead+"jwt: []\n", hardentest.Flag(anonymousFlag, "true"))
	off, writeOff := authn(authnHead + "anonymous:\n  enabled: false\n")
	oidc := []hardentest.Edit{hardentest.Flag("oidc-issuer-url", "https://id.example.com"), hardentest.Flag("oidc-client-id", "kubernetes")}
	table().Changes(t, []hardentest.Change{
		{Name: "fresh 1.37", Minor: "1.37", Choice: harden.Choice{Control: id}, Want: slices.Concat(fresh, flag, mount)},
		{Name: "fresh 1.32", Minor: "1.30", Edits: version("1.32.8"), Choice: harden.Choice{Control: id}, Want: slices.Concat(fresh, flag, mount)},
		{Name: "too old", Minor: "1.30", Edits: version("1.31.9"), Choice: harden.Choice{Control: id}, Skip: "--remedy apiserver-anonymous-auth=flag-false"},
		{Name: "too old by name", Minor: "1.30", Choice: harden.Choice{Control: id, Remedy: "health-endpoints-only"}, Skip: "holds for 1.32 and newer"},
		{Name: "takes a leftover flag away", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Flag(anonymousFlag, "true")}, Choice: harden.Choice{Control: id},
			Want: slices.Concat(fresh, manifestLines("- - --anonymous-auth=true"), flag, mount)},
		{Name: "edits the file in use, and restarts for it", Minor: "1.34", Edits: silent, Change: writeSilent, Choice: harden.Choice{Control: id},
			Want: []string{
				"authn.yaml: + anonymous:", "authn.yaml: + conditions:", "authn.yaml: + - path: /livez", "authn.yaml: + - path: /readyz", "authn.yaml: + - path: /healthz",
				"authn.yaml: + - path: " + clusterInfo, "authn.yaml: + enabled: true",
				"kube-apiserver.yaml: + kubectl-harden.io/files-sha256: ...",
				"kube-apiserver.yaml: - - --anonymous-auth=true",
			}},
		{Name: "opens what the probes ask for in a file that opens nothing", Minor: "1.37", Edits: off, Change: writeOff, Choice: harden.Choice{Control: id},
			Want: []string{"authn.yaml: - enabled: false", "authn.yaml: + conditions:",
				"authn.yaml: + - path: /livez", "authn.yaml: + - path: /readyz", "authn.yaml: + - path: /healthz", "authn.yaml: + - path: " + clusterInfo,
				"authn.yaml: + enabled: true", "kube-apiserver.yaml: + kubectl-harden.io/files-sha256: ..."}},
		{Name: "keeps a file of another kind", Minor: "1.37", Change: func(n *hardentest.Node) { n.Write(authnFile, "kind: Secret\n", 0o600) },
			Choice: harden.Choice{Control: id}, Skip: "move it away first"},
		{Name: "not with OIDC flags", Minor: "1.37", Edits: oidc, Choice: harden.Choice{Control: id}, Skip: "jwt section by hand first"},
		{Name: "not with other probes", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Replace("path: /readyz", "path: /readyz/ping")}, Choice: harden.Choice{Control: id}, Skip: "readinessProbe asks /readyz/ping"},
		{Name: "not when rootless", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Replace("  securityContext:\n", "  securityContext:\n    runAsUser: 1000\n")}, Choice: harden.Choice{Control: id}, Skip: "another user"},
	})
}

func TestAuthnFile(t *testing.T) {
	const joins = "  - path: " + clusterInfo + "\n"
	tests := []struct {
		version, joins, want string
	}{
		{"1.32.8", "true", "apiserver.config.k8s.io/v1beta1"},
		{"1.33.5", "false", "apiserver.config.k8s.io/v1beta1"},
		{"1.34.2", "false", "apiserver.config.k8s.io/v1"},
		{"1.37.2", "true", "apiserver.config.k8s.io/v1"},
	}
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			n := hardentest.APIServer(t, "1.34", hardentest.Version(tt.version))
			p, err := n.Plan(t, Area(), harden.Choice{Control: "apiserver-anonymous-auth", Options: harden.Values{"token-joins": tt.joins}})
			if err != nil {
				t.Fatal(err)
			}
			n.Apply(p)
			file, dir := n.Files[authnFile], n.Files[authnDir]
			want := "apiVersion: " + tt.want + "\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n  - path: /readyz\n  - path: /healthz\n"
			if tt.joins == "true" {
				want += joins
			}
			var theirs any = &apiserverv1.AuthenticationConfiguration{}
			if strings.HasSuffix(tt.want, "/v1beta1") {
				theirs = &apiserverv1beta1.AuthenticationConfiguration{}
			}
			if err := yaml.UnmarshalStrict(file.Data, theirs); err != nil {
				t.Errorf("the API server's own type refuses the file: %v", err)
			}
			if string(file.Data) != want || file.Mode != 0o600 || !dir.Dir || dir.Mode != 0o700 {
				t.Errorf("the file has mode %o in %o and says\n%swant\n%s", file.Mode, dir.Mode, file.Data, want)
			}
		})
	}
}

func TestFlagFalse(t *testing.T) {
	choice := harden.Choice{Control: "apiserver-anonymous-auth", Remedy: "flag-false", Named: true}
	withAnonymous, write := authn(authnHead + "anonymous: {enabled: true}\n")
	silent, writeSilent := authn(authnHead + "jwt: []\n")
	for _, minor := range hardentest.Minors {
		t.Run(minor, func(t *testing.T) {
			n := hardentest.APIServer(t, minor)
			p, err := n.Plan(t, Area(), choice)
			if err != nil {
				t.Fatal(err)
			}
			var added, removed int
			for _, c := range hardentest.Changes(t, p) {
				switch {
				case strings.HasSuffix(c, "+ - --anonymous-auth=false"), strings.HasSuffix(c, "+ tcpSocket:"):
					added++
				case strings.HasSuffix(c, "- httpGet:"), strings.Contains(c, "- path: /"), strings.HasSuffix(c, "- scheme: HTTPS"):
					removed++
				default:
					t.Errorf("the plan changes %q too", c)
				}
			}
			if added != 4 || removed != 9 {
				t.Errorf("%d lines added and %d removed, want 4 and 9", added, removed)
			}
			n.Apply(p)
			if got := table().Finding(t, n.Facts(t), choice.Control); got.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
			}
		})
	}
	table().Changes(t, []hardentest.Change{
		{Name: "not beside an anonymous section", Minor: "1.37", Edits: withAnonymous, Change: write, Choice: choice, Skip: "has an anonymous section"},
	})
	n := hardentest.APIServer(t, "1.37", silent...)
	writeSilent(n)
	if p, err := n.Plan(t, Area(), choice); err != nil || p.Empty() {
		t.Errorf("beside a file without such a section: %v, skipped %v", err, p.Skipped)
	}
	if !anonymousFlagFalse.Literal || !anonymousFlagFalse.NodeOnly || anonymousFlagFalse.Risk != harden.RiskLockOut {
		t.Error("the literal remedy must be taken by name, stay on the node, and count as a lock-out")
	}
}

// TestAnOpenPortIsNotHealth: with TCP probes a server that is not ready passed every gate.
func TestAnOpenPortIsNotHealth(t *testing.T) {
	p, err := hardentest.APIServer(t, "1.37").Plan(t, Area(), harden.Choice{Control: "apiserver-anonymous-auth", Remedy: "flag-false", Named: true, Accept: true})
	if err != nil {
		t.Fatal(err)
	}
	ready := harden.Proof{Control: "apiserver-anonymous-auth", Kind: harden.ProofAdmin, Path: "/readyz", Status: 200}
	if got := p.Stages[0].Gates[0].Proofs; !slices.Contains(got, ready) {
		t.Errorf("proofs = %v, want %v among them", got, ready)
	}
}

// TestBalancerThatAsksAnotherPath: a load balancer that asks /version takes this API server out of service, and --all did not care.
func TestBalancerThatAsksAnotherPath(t *testing.T) {
	for name, test := range map[string]struct {
		kubeconfigs []harden.KubeconfigFact
		want        harden.PreconditionState
	}{
		"its own address":    {[]harden.KubeconfigFact{{Path: "/etc/kubernetes/admin.conf", Servers: []string{"192.0.2.11"}}}, harden.Met},
		"another one":        {[]harden.KubeconfigFact{{Path: "/etc/kubernetes/kubelet.conf", Servers: []string{"192.0.2.11"}}, {Path: "/etc/kubernetes/admin.conf", Servers: []string{"api.example.com"}}}, harden.PreconditionUnknown},
		"somebody's cluster": {[]harden.KubeconfigFact{{Path: "/etc/kubernetes/admin.conf", Servers: []string{"192.0.2.11"}}, {Path: "/root/.kube/config", Servers: []string{"api.example.com"}}}, harden.Met},
		"none":               {nil, harden.PreconditionUnknown},
	} {
		n := hardentest.APIServer(t, "1.37")
		f := n.Facts(t)
		f.Kubeconfigs = test.kubeconfigs
		choice := harden.Choice{Control: "apiserver-anonymous-auth"}
		if got := balancerAsksHealth(f); got.State != test.want {
			t.Errorf("%s: %s: %s", name, got.State, got.Message)
		}
		for _, choice.Accept = range []bool{false, true} {
			p, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{Area()}, Choices: []harden.Choice{choice}, Read: n.State, Tool: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if planned := !p.Node.Empty(); planned != (choice.Accept || test.want == harden.Met) {
				t.Errorf("%s: accepted %t: planned %t", name, choice.Accept, planned)
			}
		}
	}
}

func TestAnonymousProof(t *testing.T) {
	p, err := hardentest.APIServer(t, "1.37").Plan(t, Area(), harden.Choice{Control: "apiserver-anonymous-auth"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stages[0].Gates[0].Proofs; !slices.Equal(got, anonymousProofs) {
		t.Errorf("proofs = %v, want %v", got, anonymousProofs)
	}
}
