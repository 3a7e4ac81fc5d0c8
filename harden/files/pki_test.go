package files_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// static edits the manifest of a static pod.
func static(manifest string, list ...hardentest.Edit) edit {
	return func(t *testing.T, n node) {
		at := "/etc/kubernetes/manifests/" + manifest + ".yaml"
		s := n.Files[at]
		for _, e := range list {
			s.Data = []byte(e(t, string(s.Data)))
		}
		n.Files[at] = s
	}
}

func folderAt(p string) edit {
	return func(_ *testing.T, n node) { n.Files[p] = harden.State{Exists: true, Dir: true, Mode: 0o755} }
}

func setting(flag, value string) hardentest.Edit {
	return func(t testing.TB, text string) string {
		return hardentest.Flag(flag, value)(t, hardentest.NoFlag(flag)(t, text))
	}
}

// TestKubeadmsFolderIsLookedAtWhereverTheClientCALies: a CA of one's own elsewhere took /etc/kubernetes/pki out of sight.
func TestKubeadmsFolderIsLookedAtWhereverTheClientCALies(t *testing.T) {
	const clients = "/etc/kubernetes/clients"
	moved := edits(folderAt(clients), file(clients+"/ca.crt", "ca", 0o644),
		static("kube-apiserver", setting("client-ca-file", clients+"/ca.crt"), hardentest.Mount(clients, "Directory")))
	check(t, []verdict{
		{"ca.key for all", "files-pki-keys-modes", edits(moved, mode(caKey, 0o644)), harden.StatusFail, caKey},
		{"ca.key of a user", "files-pki-keys-owners", edits(moved, owned(caKey, 1000, 1000)), harden.StatusFail, caKey},
		{"ca.crt that others write to", "files-pki-modes", edits(moved, mode("/etc/kubernetes/pki/ca.crt", 0o666)), harden.StatusFail, "pki/ca.crt"},
		{"the clients' CA that others write to", "files-pki-modes", edits(moved, mode(clients+"/ca.crt", 0o666)), harden.StatusFail, clients + "/ca.crt"},
		{"a key beside the clients' CA", "files-pki-keys-modes", edits(moved, file(clients+"/ca.key", "key", 0o644)), harden.StatusFail, clients + "/ca.key"},
		{"all as it should be", "files-pki-keys-modes", moved, harden.StatusPass, ""},
		{"all owned as it should be", "files-pki-keys-owners", moved, harden.StatusPass, ""},
	})
}

// TestAKeyCalledPemIsAKey: it passed as a certificate, which all may read.
func TestAKeyCalledPemIsAKey(t *testing.T) {
	const key, public = "/etc/kubernetes/pki/apiserver-key.pem", "/etc/kubernetes/pki/server.pem"
	named := static("kube-apiserver", setting("tls-private-key-file", public))
	check(t, []verdict{
		{"cfssl's name, for all", "files-pki-keys-modes", file(key, "key", 0o644), harden.StatusFail, key},
		{"cfssl's name, for root", "files-pki-keys-modes", file(key, "key", 0o600), harden.StatusPass, ""},
		{"named by a flag, for all", "files-pki-keys-modes", edits(named, file(public, "key", 0o644)), harden.StatusFail, public},
		{"named by a flag, for root", "files-pki-keys-modes", edits(named, file(public, "key", 0o600)), harden.StatusPass, ""},
		{"named by a flag, it is no certificate", "files-pki-modes", edits(named, file(public, "key", 0o666)), harden.StatusPass, ""},
		{"named by no flag, for all to read", "files-pki-keys-modes", file(public, "certificate", 0o644), harden.StatusPass, ""},
		{"named by no flag, for all to write", "files-pki-modes", file(public, "certificate", 0o666), harden.StatusFail, public},
	})
}

// TestKeysThatOnlyFlagsNameAreJudged: outside the folder of certificates nobody looked at them.
func TestKeysThatOnlyFlagsNameAreJudged(t *testing.T) {
	for component, flags := range map[string][]string{
		"kube-apiserver": {"tls-private-key-file", "service-account-signing-key-file", "etcd-keyfile", "kubelet-client-key", "proxy-client-key-file"},
		"kube-controller-manager": {
			"cluster-signing-key-file", "cluster-signing-kube-apiserver-client-key-file", "cluster-signing-kubelet-client-key-file",
			"cluster-signing-kubelet-serving-key-file", "cluster-signing-legacy-unknown-key-file", "service-account-private-key-file", "tls-private-key-file",
		},
		"kube-scheduler": {"tls-private-key-file"},
		"etcd":           {"key-file", "peer-key-file", "client-key-file"},
	} {
		for _, flag := range flags {
			const key = "/srv/keys/some.pem"
			named := edits(folderAt("/srv"), folderAt("/srv/keys"), static(component, setting(flag, key), hardentest.Mount("/srv/keys", "Directory")))
			check(t, []verdict{
				{component + " " + flag + " for all", "files-pki-keys-modes", edits(named, file(key, "key", 0o644)), harden.StatusFail, key},
				{component + " " + flag + " of a user", "files-pki-keys-owners", edits(named, file(key, "key", 0o600), owned(key, 1000, 1000)), harden.StatusFail, key},
				{component + " " + flag + " for root", "files-pki-keys-modes", edits(named, file(key, "key", 0o600)), harden.StatusPass, ""},
			})
		}
	}
	const sni, kubelet = "/srv/keys/sni.pem", "/srv/keys/kubelet.pem"
	pair := func(value string) edit {
		return edits(folderAt("/srv"), folderAt("/srv/keys"), static("kube-apiserver", hardentest.Flag("tls-sni-cert-key", value), hardentest.Mount("/srv/keys", "Directory")))
	}
	serving := func(t *testing.T, n node) {
		edits(folderAt("/srv"), folderAt("/srv/keys"))(t, n)
		n.Edit(t, "/var/lib/kubelet/config.yaml", "staticPodPath:", "tlsCertFile: /srv/keys/kubelet.crt\ntlsPrivateKeyFile: "+kubelet+"\nstaticPodPath:")
	}
	check(t, []verdict{
		{"a key for one name", "files-pki-keys-modes", edits(pair("/srv/keys/sni.crt,"+sni+":api.example.com"), file(sni, "key", 0o640)), harden.StatusFail, sni},
		{"a key for the certificate's own names", "files-pki-keys-modes", edits(pair("/srv/keys/sni.crt,"+sni), file(sni, "key", 0o640)), harden.StatusFail, sni},
		{"the certificate beside it", "files-pki-keys-modes", edits(pair("/srv/keys/sni.crt,"+sni), file(sni, "key", 0o600), file("/srv/keys/sni.crt", "", 0o644)), harden.StatusPass, ""},
		{"the kubelet's serving key", "files-kubelet-conf-modes", edits(serving, file(kubelet, "key", 0o644)), harden.StatusFail, kubelet},
		{"the kubelet's serving key for root", "files-kubelet-conf-modes", edits(serving, file(kubelet, "key", 0o600)), harden.StatusPass, ""},
	})
}

// verdict is a node, and what a control says of it. What fails is remedied, and the remedy undone.
type verdict struct {
	name, control string
	edit          edit
	want          harden.Status
	message       string
}

func check(t *testing.T, rows []verdict) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.control+" "+row.name, func(t *testing.T) {
			n := installed(t, "1.37")
			row.edit(t, n)
			got := finding(t, n.facts(t), row.control)
			if got.Status != row.want || !strings.Contains(got.Message.String(), row.message) {
				t.Fatalf("%s: %s\n%v", got.Status, got.Message, got.Evidence)
			}
			if row.want == harden.StatusFail {
				remedied(t, n, row.control)
			}
		})
	}
}
