package files_test

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// given lets the API server have a configuration by a flag, in a folder of its own that it sees at another path.
func given(flag, text string, more ...edit) edit {
	const dir = "/srv/api"
	mount := func(t testing.TB, manifest string) string {
		out := hardentest.Mount(dir, "Directory")(t, manifest)
		return strings.Replace(out, "mountPath: "+dir, "mountPath: /config", 1)
	}
	return edits(append([]edit{folderAt("/srv"), folderAt(dir), static("kube-apiserver", mount, setting(flag, "/config/main.yaml")), file(dir+"/main.yaml", text, 0o600)}, more...)...)
}

// TestWhatConfigurationsNameIsJudged: a kubeconfig with a token in it, or the key that it names, could be read by all where only a
// configuration named it.
func TestWhatConfigurationsNameIsJudged(t *testing.T) {
	const (
		modes, owners, keys = "files-server-configuration-modes", "files-server-configuration-owners", "files-pki-keys-modes"
		named, deep         = "/srv/api/named.yaml", "/srv/api/deep.yaml"

		admission = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
		webhooks  = "{apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: /config/deep.yaml}"
		images    = "imagePolicy: {kubeConfigFile: /config/deep.yaml, defaultAllow: false}\n"
		authz     = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: [{type: Webhook, name: w, webhook: {connectionInfo: {type: KubeConfigFile, kubeConfigFile: /config/deep.yaml}}}]\n"
		egress    = "apiVersion: apiserver.k8s.io/v1beta1\nkind: EgressSelectorConfiguration\negressSelections: [{name: cluster, connection: {transport: {tcp: {url: 'https://x', tlsConfig: {clientKey: /config/client, clientCert: /config/deep.yaml}}}}}]\n"
		users     = "apiVersion: v1\nkind: Config\nusers:\n- {name: other, user: {token: x}}\n- {name: w.example.svc, user: {client-key: client, client-certificate: c.crt, tokenFile: /config/token}}\n"
	)
	inPlugin := given("admission-control-config-file", admission+"- {name: ValidatingAdmissionWebhook, path: named.yaml}\n", file(named, webhooks, 0o600))
	inline := given("admission-control-config-file", admission+"- {name: MutatingAdmissionWebhook, path: named.yaml, configuration: "+webhooks+"}\n", file(named, "", 0o644))
	policy := given("admission-control-config-file", admission+"- {name: ImagePolicyWebhook, path: /config/named.yaml}\n", file(named, images, 0o600))
	rows := []verdict{
		{"a plugin's configuration for all", modes, edits(inPlugin, mode(named, 0o644)), harden.StatusFail, named},
		{"a plugin's configuration of a user", owners, edits(inPlugin, owned(named, 1000, 1000)), harden.StatusFail, named},
		{"a file beside what is said inline", modes, inline, harden.StatusPass, ""},
		{"ImagePolicyWebhook's own file, as it was given before", modes, given("admission-control-config-file", images, file(deep, users, 0o644)), harden.StatusFail, deep},
		{"an authorizer's kubeconfig in the cluster", modes, given("authorization-config", strings.Replace(authz, "kubeConfigFile: /config/deep.yaml", "kubeConfigFile: /elsewhere/deep.yaml", 1), file(deep, users, 0o644)), harden.StatusPass, ""},
		{"the policy of ABAC for all", modes, edits(given("authorization-policy-file", "{}"), mode("/srv/api/main.yaml", 0o644)), harden.StatusFail, "/srv/api/main.yaml"},
		{"a key for konnectivity for all", keys, given("egress-selector-config-file", egress, file("/srv/api/client", "key", 0o644), file(deep, "certificate", 0o644)), harden.StatusFail, "/srv/api/client"},
		{"the certificate beside it", modes, given("egress-selector-config-file", egress, file("/srv/api/client", "key", 0o600), file(deep, "certificate", 0o644)), harden.StatusPass, ""},
		{"what names nothing that can be read", modes, given("admission-control-config-file", "plugins: [", file(deep, users, 0o644)), harden.StatusPass, ""},
	}
	for what, by := range map[string]edit{
		"of a plugin": inPlugin, "of a plugin, inline": inline, "of ImagePolicyWebhook": policy, "of an authorizer": given("authorization-config", authz),
	} {
		rows = append(rows,
			verdict{"a kubeconfig " + what + " for all", modes, edits(by, file(deep, users, 0o640)), harden.StatusFail, deep},
			verdict{"a kubeconfig " + what + " of a user", owners, edits(by, file(deep, users, 0o600), owned(deep, 1000, 1000)), harden.StatusFail, deep},
			verdict{"a kubeconfig " + what + " for root", modes, edits(by, file(deep, users, 0o600), file("/srv/api/c.crt", "certificate", 0o644)), harden.StatusPass, ""},
			verdict{"the key of a kubeconfig " + what, keys, edits(by, file(deep, users, 0o600), file("/srv/api/client", "key", 0o640)), harden.StatusFail, "/srv/api/client"},
			verdict{"the token of a kubeconfig " + what, modes, edits(by, file(deep, users, 0o600), file("/srv/api/token", "x", 0o644)), harden.StatusFail, "/srv/api/token"},
		)
	}
	for _, flag := range []string{"audit-webhook-config-file", "authentication-token-webhook-config-file", "authorization-webhook-config-file"} {
		rows = append(rows,
			verdict{"the key for " + flag, keys, given(flag, users, file("/srv/api/client", "key", 0o644)), harden.StatusFail, "/srv/api/client"},
			verdict{"the token for " + flag, modes, given(flag, users, file("/srv/api/token", "x", 0o644)), harden.StatusFail, "/srv/api/token"},
		)
	}
	check(t, rows)

	n := installed(t, "1.37")
	edits(inPlugin, file(deep, users, 0o644))(t, n)
	f := n.facts(t)
	want := harden.Evidence{Source: deep, Value: "mode 0644, owner root:root; " + named + " names it"}
	if got := finding(t, f, modes); !slices.Contains(got.Evidence, want) {
		t.Errorf("evidence %v", got.Evidence)
	}
	if _, kept := f.Files[deep]; kept {
		t.Error("what a kubeconfig holds is among the facts")
	}
}
