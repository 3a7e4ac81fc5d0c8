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
	cases := []verdictCase{
		{name: "kubeadm's", want: harden.StatusFail, says: "every path"},
		{name: "flag true", edits: []hardentest.Edit{hardentest.Flag(anonymousFlag, "true")}, want: harden.StatusFail},
		{name: "flag false with kubeadm's probes", edits: []hardentest.Edit{flagFalse}, want: harden.StatusManual, says: "livenessProbe asks /livez without credentials"},
		{name: "flag false with TCP probes", edits: []hardentest.Edit{flagFalse, tcpProbes}, want: harden.StatusPass},
		{name: "flag false with probes that log in", edits: []hardentest.Edit{flagFalse, hardentest.Replace("        scheme: HTTPS\n", "        scheme: HTTPS\n        httpHeaders:\n        - name: Authorization\n          value: x\n")}, want: harden.StatusPass},
	}
	for _, file := range []struct {
		name, text string
		want       harden.Status
		says       string
	}{
		{"health paths", authnHead + "anonymous:\n  enabled: true\n  conditions:\n  - path: /livez\n  - path: /readyz\n", harden.StatusPass, "only on /livez, /readyz"},
		{"and cluster-info", authnHead + "anonymous: {enabled: true, conditions: [{path: /livez}, {path: " + clusterInfo + "}]}\n", harden.StatusPass, "cluster-info"},
		{"another path", authnHead + "anonymous: {enabled: true, conditions: [{path: /livez}, {path: /version}]}\n", harden.StatusManual, "/version"},
		{"without conditions", authnHead + "anonymous: {enabled: true}\n", harden.StatusFail, "every path"},
		{"off", authnHead + "anonymous: {enabled: false}\n", harden.StatusPass, "is off"},
		{"silent", authnHead + "jwt: []\n", harden.StatusFail, "every path"},
		{"another kind", "kind: ConfigMap\n", harden.StatusManual, "no AuthenticationConfiguration"},
		{"no YAML", "a: b: c\n", harden.StatusManual, "not YAML"},
	} {
		edits, change := authn(file.text)
		cases = append(cases, verdictCase{name: file.name, edits: edits, change: change, want: file.want, says: file.says})
	}
	edits, _ := authn("")
	cases = append(cases,
		verdictCase{name: "a file that is not there", edits: edits, want: harden.StatusFail, says: "does not exist"},
		verdictCase{name: "a file that nothing mounts", edits: edits[:1], want: harden.StatusFail, says: "no mount"},
	)
	try(t, "apiserver-anonymous-auth", cases)
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
	oidc := []hardentest.Edit{hardentest.Flag("oidc-issuer-url", "https://id.example.com"), hardentest.Flag("oidc-client-id", "kubernetes")}
	plan(t, []planCase{
		{name: "fresh 1.37", minor: "1.37", choice: harden.Choice{Control: id}, want: slices.Concat(fresh, flag, mount)},
		{name: "fresh 1.32", minor: "1.30", edits: version("1.32.8"), choice: harden.Choice{Control: id}, want: slices.Concat(fresh, flag, mount)},
		{name: "too old", minor: "1.30", edits: version("1.31.9"), choice: harden.Choice{Control: id}, skip: "--remedy apiserver-anonymous-auth=flag-false"},
		{name: "too old by name", minor: "1.30", choice: harden.Choice{Control: id, Remedy: "health-endpoints-only"}, skip: "holds for 1.32 and newer"},
		{name: "takes a leftover flag away", minor: "1.37", edits: []hardentest.Edit{hardentest.Flag(anonymousFlag, "true")}, choice: harden.Choice{Control: id},
			want: slices.Concat(fresh, manifestLines("- - --anonymous-auth=true"), flag, mount)},
		{name: "edits the file in use, and restarts for it", minor: "1.34", edits: silent, change: writeSilent, choice: harden.Choice{Control: id},
			want: []string{
				"authn.yaml: + anonymous:", "authn.yaml: + conditions:", "authn.yaml: + - path: /livez", "authn.yaml: + - path: /readyz", "authn.yaml: + - path: /healthz",
				"authn.yaml: + - path: " + clusterInfo, "authn.yaml: + enabled: true",
				"kube-apiserver.yaml: + kubectl-harden.io/files-sha256: d65a221379f5b1aae033858d0c86b0ca1361e0cbf8cc93d797099efe1a9ead58",
				"kube-apiserver.yaml: - - --anonymous-auth=true",
			}},
		{name: "keeps a file of another kind", minor: "1.37", change: func(n *hardentest.Node) { n.Write(authnFile, "kind: Secret\n", 0o600) },
			choice: harden.Choice{Control: id}, skip: "move it away first"},
		{name: "not with OIDC flags", minor: "1.37", edits: oidc, choice: harden.Choice{Control: id}, skip: "jwt section by hand first"},
		{name: "not with other probes", minor: "1.37", edits: []hardentest.Edit{hardentest.Replace("path: /readyz", "path: /readyz/ping")}, choice: harden.Choice{Control: id}, skip: "readinessProbe asks /readyz/ping"},
		{name: "not when rootless", minor: "1.37", edits: []hardentest.Edit{hardentest.Replace("  securityContext:\n", "  securityContext:\n    runAsUser: 1000\n")}, choice: harden.Choice{Control: id}, skip: "another user"},
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
			if got := finding(t, n.Facts(t), choice.Control); got.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
			}
		})
	}
	plan(t, []planCase{
		{name: "not beside an anonymous section", minor: "1.37", edits: withAnonymous, change: write, choice: choice, skip: "has an anonymous section"},
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

func TestAnonymousProof(t *testing.T) {
	p, err := hardentest.APIServer(t, "1.37").Plan(t, Area(), harden.Choice{Control: "apiserver-anonymous-auth"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stages[0].Gates[0].Proofs; !slices.Equal(got, anonymousProofs) {
		t.Errorf("proofs = %v, want %v", got, anonymousProofs)
	}
}
