package audit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestWebhook(t *testing.T) {
	config := func(server string) string {
		return "apiVersion: v1\nkind: Config\ncurrent-context: b\ncontexts:\n- name: a\n  context: {cluster: other}\n- name: b\n  context: {cluster: siem, user: us}\n" +
			"clusters:\n- name: other\n  cluster: {server: 'https://other.example'}\n- name: siem\n  cluster: {server: '" + server + "'}\nusers:\n- name: us\n  user: {token: VERYSECRET}\n"
	}
	for _, tt := range []struct {
		name, text, mode string
		want             harden.Status
		says             string
	}{
		{"https", config("https://siem.example:8443/k8s"), "", harden.StatusPass, "siem.example"},
		{"batch", config("https://192.0.2.50"), "batch", harden.StatusPass, ""},
		{"blocking", config("https://192.0.2.50"), "blocking", harden.StatusFail, "waits"},
		{"no such mode", config("https://192.0.2.50"), "fast", harden.StatusFail, "no mode"},
		{"plain", config("http://10.96.3.4:9765/k8s-audit"), "", harden.StatusManual, "10.96.3.4:9765 unencrypted"},
		{"on the node", config("http://127.0.0.1:9765/k8s-audit"), "", harden.StatusPass, ""},
		{"a name of a Service", config("https://falco.falco.svc:9765"), "", harden.StatusFail, "host's network"},
		{"with a password", config("https://me:VERYSECRET@siem.example/?key=VERYSECRET"), "", harden.StatusPass, ""},
		{"no kubeconfig", "VERYSECRET: [", "", harden.StatusManual, "no kubeconfig"},
		{"no context", "kind: Config\n", "", harden.StatusManual, "no current context"},
	} {
		for _, minor := range hardentest.Minors {
			edits := []hardentest.Edit{hardentest.Flag(webhookFlag, "/etc/kubernetes/own/hook.yaml"), hardentest.Mount("/etc/kubernetes/own", "Directory", "readOnly: true")}
			if tt.mode != "" {
				edits = append(edits, hardentest.Flag(webhookModeFlag, tt.mode))
			}
			n := hardentest.APIServer(t, minor, edits...)
			n.Write("/etc/kubernetes/own/hook.yaml", tt.text, 0o600)
			got := statuses(t, n)["audit-webhook"]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) {
				t.Errorf("%s on %s: %s: %s", tt.name, minor, got.Status, got.Message)
			}
			if f := n.Facts(t); strings.Contains(fmt.Sprintf("%+v %+v", got, *f.AuditWebhook), "VERYSECRET") || f.Files["/etc/kubernetes/own/hook.yaml"].State.Exists {
				t.Errorf("%s: a credential is in the facts", tt.name)
			}
		}
	}
	if got := statuses(t, hardentest.APIServer(t, "1.37"))["audit-webhook"]; got.Status != harden.StatusNotApplicable {
		t.Errorf("without a webhook: %s", got.Status)
	}
}

// receiverConfig is a kubeconfig as somebody's collector hands it out.
func receiverConfig(server, cluster, user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: siem\ncontexts:\n- name: siem\n  context: {cluster: siem, user: node}\n" +
		"clusters:\n- name: siem\n  cluster: {server: '" + server + "'" + cluster + "}\nusers:\n- name: node\n  user: {" + user + "}\n"
}

const config = harden.AuditWebhookDir + "/config.yaml"

// receiving is a node on which the operator has put a receiver's kubeconfig.
func receiving(t *testing.T, minor, text string, edits ...hardentest.Edit) *hardentest.Node {
	n := logging(t, minor, LogFile, string(patches.AuditPolicy()), edits...)
	n.Files[harden.AuditWebhookDir] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	n.Write(config, text, 0o600)
	n.Write(harden.AuditWebhookDir+"/ca.crt", "CA\n", 0o644)
	return n
}

// TestEventsAreSentOnlyWhereThatIsNamed: what leaves the node is the operator's to say, the receiver is taken on their word, and nothing
// is sent in another way than in batches.
func TestEventsAreSentOnlyWhereThatIsNamed(t *testing.T) {
	https := receiverConfig("https://192.0.2.50:8443/k8s", ", certificate-authority: ca.crt", "token: VERYSECRET")
	choice := harden.Choice{Control: "audit-webhook", Remedy: sendID, Accept: true, Named: true}
	want := []string{
		"kube-apiserver.yaml: + - --audit-webhook-config-file=" + config,
		"kube-apiserver.yaml: + - mountPath: " + harden.AuditWebhookDir, "kube-apiserver.yaml: + name: audit-webhook", "kube-apiserver.yaml: + readOnly: true",
		"kube-apiserver.yaml: + - hostPath:", "kube-apiserver.yaml: + path: " + harden.AuditWebhookDir, "kube-apiserver.yaml: + type: Directory", "kube-apiserver.yaml: + name: audit-webhook",
	}
	for _, minor := range hardentest.Minors {
		n := receiving(t, minor, https)
		if got := statuses(t, n)["audit-webhook"]; got.Status != harden.StatusManual || !strings.Contains(got.Message.String(), config) {
			t.Errorf("%s: %s: %s", minor, got.Status, got.Message)
		}
		choices, _, err := harden.Select(n.Facts(t), []harden.Area{Area()}, harden.Selection{All: true})
		if err != nil || slices.ContainsFunc(choices, func(c harden.Choice) bool { return c.Control == "audit-webhook" }) {
			t.Errorf("%s: --all sends events away: %v, %v", minor, choices, err)
		}
		unasked := choice
		unasked.Accept = false
		if p, err := n.Plan(t, Area(), unasked); err != nil || !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), "curl -sS -o /dev/null https://192.0.2.50:8443/k8s") {
			t.Errorf("%s: whether the receiver answers was not asked: %+v, %v", minor, p.Skipped, err)
		}
		p, err := n.Plan(t, Area(), choice)
		if err != nil {
			t.Fatal(err)
		}
		got := hardentest.Changes(t, p)
		if slices.Sort(got); !slices.Equal(got, sorted(want)) {
			t.Errorf("%s: %q, want %q", minor, got, want)
		}
		if strings.Contains(fmt.Sprintf("%+v", p), "VERYSECRET") {
			t.Errorf("%s: a credential is in the plan", minor)
		}
		n.Apply(p)
		if got := statuses(t, n)["audit-webhook"]; got.Status != harden.StatusPass {
			t.Errorf("%s: afterwards %s: %s", minor, got.Status, got.Message)
		}
		if p, err = n.Plan(t, Area(), choice); err != nil || !p.Empty() {
			t.Errorf("%s: there is more to do: %q, %v", minor, hardentest.Changes(t, p), err)
		}
	}
	// A node without a policy gets one along, and another mode than batch goes.
	n := receiving(t, "1.37", https, hardentest.Flag(webhookModeFlag, blocking))
	p, err := n.Plan(t, Area(), choice)
	if got := hardentest.Changes(t, p); err != nil || !slices.Contains(got, "kube-apiserver.yaml: - - --audit-webhook-mode=blocking") {
		t.Errorf("the mode stays: %q, %v", got, err)
	}
	bare := hardentest.APIServer(t, "1.37")
	bare.Files[harden.AuditWebhookDir] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	bare.Write(config, receiverConfig("https://192.0.2.50:8443/k8s", "", ""), 0o600)
	p, err = bare.Plan(t, Area(), choice)
	if got := hardentest.Changes(t, p); err != nil || !slices.Contains(got, "write "+PolicyFile) {
		t.Errorf("without a policy nothing would be sent: %q, %v", got, err)
	}
}

func sorted(in []string) []string {
	out := slices.Clone(in)
	slices.Sort(out)
	return out
}

// TestReceiversThatTheAPIServerCannotUse: each would keep it from starting, or sends nothing.
func TestReceiversThatTheAPIServerCannotUse(t *testing.T) {
	for _, tt := range []struct{ name, text, says string }{
		{"nothing there", "", "there is no " + config},
		{"no kubeconfig", "VERYSECRET: [", "no kubeconfig"},
		{"no context", "kind: Config\n", "no current context"},
		{"a name of a Service", receiverConfig("https://falco.falco.svc:9765", "", ""), "write the Service's address"},
		{"a CA elsewhere", receiverConfig("https://192.0.2.50", ", certificate-authority: /etc/ssl/siem.crt", ""), "/etc/ssl/siem.crt, which is not in"},
		{"a CA that is not there", receiverConfig("https://192.0.2.50", ", certificate-authority: other.crt", ""), "other.crt, which is not there"},
		{"a key that is not there", receiverConfig("https://192.0.2.50", "", "client-certificate: ca.crt, client-key: node.key"), "node.key, which is not there"},
		{"a program", receiverConfig("https://192.0.2.50", "", "exec: {command: get-token}"), "come from a program"},
		{"no server", receiverConfig("nowhere", "", ""), "no address of a server"},
		{"unencrypted", receiverConfig("http://10.96.3.4:9765/k8s-audit", "", ""), ""},
	} {
		n := receiving(t, "1.37", tt.text)
		if tt.text == "" {
			delete(n.Files, config)
			n.Write(harden.AuditWebhookDir+"/other.yaml", receiverConfig("https://192.0.2.50", "", ""), 0o600)
		}
		p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-webhook", Remedy: sendID, Accept: true, Named: true})
		if err != nil {
			t.Fatal(tt.name, err)
		}
		if tt.says == "" {
			if p.Empty() || !slices.ContainsFunc(p.Preflight, func(c harden.Check) bool { return strings.Contains(c.Message.String(), "unencrypted") }) {
				t.Errorf("%s: %+v, checks %+v", tt.name, p.Skipped, p.Preflight)
			}
			continue
		}
		if !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), tt.says) || strings.Contains(p.Skipped[0].Reason.String(), "VERYSECRET") {
			t.Errorf("%s: %+v", tt.name, p.Skipped)
		}
	}
	for _, at := range []string{"config.yaml", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/admin.conf", harden.AuditWebhookDir + "/a/b.yaml", harden.AuditWebhookDir + "/../admin.conf", harden.AuditWebhookDir + "/.hidden"} {
		if _, err := receiving(t, "1.37", "").Plan(t, Area(), harden.Choice{Control: "audit-webhook", Remedy: sendID, Options: harden.Values{"config": at}}); err == nil {
			t.Errorf("%s is taken", at)
		}
	}
}

// TestABlockingWebhookIsMended: its mode goes, and the receiver stays.
func TestABlockingWebhookIsMended(t *testing.T) {
	for _, mode := range []string{blocking, strict, "fast"} {
		n := receiving(t, "1.37", receiverConfig("https://192.0.2.50:8443/k8s", "", ""),
			hardentest.Flag(webhookFlag, config), hardentest.Flag(webhookModeFlag, mode), hardentest.Mount(harden.AuditWebhookDir, "Directory", "readOnly: true"))
		choices, _, err := harden.Select(n.Facts(t), []harden.Area{Area()}, harden.Selection{All: true})
		if err != nil || !slices.ContainsFunc(choices, func(c harden.Choice) bool { return c.Control == "audit-webhook" }) {
			t.Errorf("%s: --all leaves it: %v, %v", mode, choices, err)
		}
		p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-webhook"})
		if got := hardentest.Changes(t, p); err != nil || !slices.Equal(got, []string{"kube-apiserver.yaml: - - --audit-webhook-mode=" + mode}) {
			t.Errorf("%s: %q, %v", mode, got, err)
		}
		n.Apply(p)
		if got := statuses(t, n)["audit-webhook"]; got.Status != harden.StatusPass {
			t.Errorf("%s: afterwards %s: %s", mode, got.Status, got.Message)
		}
	}
}
