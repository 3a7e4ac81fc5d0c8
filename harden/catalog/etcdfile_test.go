package catalog

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const (
	etcdFolder = "/etc/kubernetes/etcd"
	etcdOwn    = `data-dir: /srv/etcd
listen-client-urls: https://127.0.0.1:2379,https://192.0.2.11:2379
listen-peer-urls: https://192.0.2.11:2380
client-transport-security:
  trusted-ca-file: /etc/kubernetes/pki/etcd/ca.crt
`
)

// byFile is an etcd that is told everything by its configuration file, which an etcd with one goes by alone.
func byFile(t *testing.T, text string) *hardentest.Node {
	t.Helper()
	edits := []hardentest.Edit{
		hardentest.Flag("config-file", etcdFolder+"/config.yaml"), hardentest.Mount(etcdFolder, "Directory"), hardentest.Mount("/srv/etcd", "Directory"),
	}
	for _, flag := range []string{"listen-client-urls", "listen-peer-urls", "listen-metrics-urls", "data-dir", "trusted-ca-file", "cert-file", "peer-cert-file"} {
		edits = append(edits, hardentest.NoFlag(flag))
	}
	n := hardentest.StaticPod(t, "1.37", harden.Etcd, edits...)
	for p, mode := range map[string]uint32{etcdFolder: 0o700, "/srv": 0o755, "/srv/etcd": 0o755, "/var/lib/etcd": 0o700} {
		n.Files[p] = harden.State{Exists: true, Dir: true, Mode: mode}
	}
	if text != "" {
		n.Write(etcdFolder+"/config.yaml", text, 0o600)
	}
	return n
}

// Outside of etcd's own controls its configuration file was not looked at: URLs of it were passed unseen, a CA was missed that it names,
// and another directory than the one with the data was judged.
func TestEtcdThatGoesByItsConfigurationFile(t *testing.T) {
	for _, test := range []struct {
		name, text, control string
		want                harden.Status
		says                string
	}{
		{"TLS", etcdOwn, "ports-tls", harden.StatusPass, ""},
		{"plain text", strings.Replace(etcdOwn, "https://192.0.2.11:2379", "http://192.0.2.11:2379", 1), "ports-tls", harden.StatusFail, "listen-client-urls"},
		{"its default is plain text", "data-dir: /srv/etcd\n", "ports-tls", harden.StatusFail, "listen-peer-urls"},
		{"not there", "", "ports-tls", harden.StatusManual, "does not exist"},
		{"its own CA", etcdOwn, "certificates-etcd-ca", harden.StatusPass, "another one"},
		{"no CA", "data-dir: /srv/etcd\n", "certificates-etcd-ca", harden.StatusFail, "asks its clients for no certificate"},
		{"not there", "", "certificates-etcd-ca", harden.StatusManual, "does not exist"},
		{"a CA that is not mounted", strings.Replace(etcdOwn, "pki/etcd/ca.crt", "pki/ca.crt", 1), "certificates-etcd-ca", harden.StatusManual, "could not be read"},
		{"its own directory", etcdOwn, "files-etcd-data-modes", harden.StatusFail, "mode 0755 of /srv/etcd"},
		{"no directory", "name: cp1\n", "files-etcd-data-modes", harden.StatusManual, "data-dir of etcd is not set"},
		{"not there", "", "files-etcd-data-owners", harden.StatusManual, "does not exist"},
	} {
		f := byFile(t, test.text).Facts(t)
		for _, got := range harden.Assess(f, Areas()) {
			if got.Control == test.control && (got.Status != test.want || !strings.Contains(got.Message.String(), test.says) || len(got.Evidence) == 0) {
				t.Errorf("%s: %s: %s: %s %v", test.name, got.Control, got.Status, got.Message, got.Evidence)
			}
		}
	}
}

func TestEtcdThatGoesByItsEnvironment(t *testing.T) {
	n := hardentest.StaticPod(t, "1.37", harden.Etcd, hardentest.NoFlag("listen-client-urls"), hardentest.NoFlag("trusted-ca-file"),
		hardentest.Replace("    image: ", "    env:\n    - name: ETCD_LISTEN_CLIENT_URLS\n      value: http://192.0.2.11:2379\n    - name: ETCD_TRUSTED_CA_FILE\n      value: /etc/kubernetes/pki/etcd/ca.crt\n    image: "))
	want := map[string]harden.Status{"ports-tls": harden.StatusFail, "certificates-etcd-ca": harden.StatusPass}
	for _, got := range harden.Assess(n.Facts(t), Areas()) {
		if s, ok := want[got.Control]; ok && got.Status != s {
			t.Errorf("%s: %s: %s", got.Control, got.Status, got.Message)
		}
	}
}
