package collect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestOwnersAndModesAreReadWithNames(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nbroken\netcd:x:107:108::/:/bin/false\n", 0o644)
	n.Write("/etc/group", "root:x:0:\netcd:x:108:\n", 0o644)
	s := n.Files["/var/lib/etcd"]
	s.UID, s.GID = 107, 108
	n.Files["/var/lib/etcd"] = s
	s = n.Files["/etc/kubernetes/admin.conf"]
	s.UID, s.GID = 4711, 108
	n.Files["/etc/kubernetes/admin.conf"] = s
	n.Links["/etc/kubernetes/link.conf"] = "/etc/kubernetes/admin.conf"
	f := n.Facts(t)
	for path, want := range map[string]string{
		"/var/lib/etcd":              "mode 0700, owner etcd:etcd",
		"/etc/kubernetes/admin.conf": "mode 0600, owner 4711:etcd",
		"/etc/kubernetes/pki":        "mode 0755, owner root:root",
		"/etc/kubernetes/link.conf":  "a link to /etc/kubernetes/admin.conf",
	} {
		if got := f.Stats[path].Evidence(); got.Value != want || got.Source != path {
			t.Errorf("%s: %+v, want %s", path, got, want)
		}
	}
	if s, ok := f.Stat("/etc/kubernetes/link.conf"); !ok || s.Path != "/etc/kubernetes/admin.conf" {
		t.Errorf("a link is followed to %+v", s)
	}
	if _, ok := f.Stat("/etc/kubernetes/nothing"); ok {
		t.Error("something is where nothing is")
	}
}

// blind is a node where one path cannot be looked at.
type blind struct {
	*hardentest.Node
	path string
}

func (b blind) LookInto(dir string) ([]harden.StatFact, error) {
	if dir == b.path {
		return nil, errors.New("input/output error")
	}
	return b.Node.LookInto(dir)
}

func TestWhatCannotBeLookedAtIsUnknown(t *testing.T) {
	f, err := collect.FromNode(blind{hardentest.Fixture(t, "1.37"), "/etc/kubernetes/pki"}, nil, collect.Options{Offline: true})
	if err != nil || !strings.Contains(f.Missing[harden.NeedFiles].String(), "input/output error") {
		t.Errorf("%v %v", f.Missing, err)
	}
	n := hardentest.Fixture(t, "1.37")
	for i := range 2100 {
		n.Write(fmt.Sprintf("/etc/kubernetes/pki/%d.crt", i), "", 0o644)
	}
	if why := n.Facts(t).Missing[harden.NeedFiles]; !strings.Contains(why.String(), "more than 2000 files") {
		t.Errorf("too many files: %q", why)
	}
}

func certificate(f *harden.Facts, path, user string) harden.CertificateFact {
	for _, c := range f.Certificates {
		if c.Path == path && c.User == user {
			return c
		}
	}
	return harden.CertificateFact{}
}

func TestCertificatesOfRealNodes(t *testing.T) {
	for _, minor := range hardentest.Minors {
		f := hardentest.Fixture(t, minor).Facts(t)
		if len(f.Certificates) != 15 {
			t.Errorf("%s: %d certificates", minor, len(f.Certificates))
		}
		c := certificate(f, "/etc/kubernetes/pki/apiserver.crt", "")
		if c.CommonName != "kube-apiserver" || c.Issuer != "kubernetes" || c.SignedBy != "/etc/kubernetes/pki/ca.crt" || c.KeyKind != "RSA" || c.KeyBits != 2048 ||
			c.Signature != "SHA256-RSA" || !c.Server || c.CA || c.Key != harden.KeyAbsent || strings.Join(c.Addresses, ",") != "10.96.0.1,192.0.2.11" {
			t.Errorf("%s: %+v", minor, c)
		}
		if ca := certificate(f, "/etc/kubernetes/pki/etcd/ca.crt", ""); !ca.CA || !ca.SelfSigned || ca.SignedBy != "" || ca.Key != harden.KeyUnlooked {
			t.Errorf("%s: %+v", minor, ca)
		}
		if c := certificate(f, "/etc/kubernetes/super-admin.conf", "kubernetes-super-admin"); strings.Join(c.Organizations, ",") != "system:masters" || c.Key != harden.KeyUnreadable {
			t.Errorf("%s: %+v", minor, c)
		}
		if len(f.Kubeconfigs) != 5 {
			t.Errorf("%s: kubeconfigs %+v", minor, f.Kubeconfigs)
		}
	}
}

// issue makes a certificate of its own and its key, both PEM.
func issue(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bob", Organization: []string{"system:masters"}},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestKeysAreComparedAndNeverKept(t *testing.T) {
	cert, key := issue(t)
	_, other := issue(t)
	for want, data := range map[harden.KeyState][]byte{
		harden.KeyMatches: key, harden.KeyDiffers: other, harden.KeyUnreadable: []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
	} {
		n := hardentest.Fixture(t, "1.37")
		n.Write("/etc/kubernetes/pki/bob.crt", string(cert), 0o644)
		n.Write("/etc/kubernetes/pki/bob.key", string(data), 0o600)
		config := fmt.Sprintf("kind: Config\nusers:\n- name: bob\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n- name: tok\n  user: {token: hush}\n",
			base64.StdEncoding.EncodeToString(cert), base64.StdEncoding.EncodeToString(data))
		n.Files["/root/.kube"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write("/root/.kube/config", config, 0o600)
		f := n.Facts(t)
		if got := certificate(f, "/etc/kubernetes/pki/bob.crt", ""); got.Key != want || !got.SelfSigned || got.KeyKind != "ECDSA" || got.KeyBits != 256 {
			t.Errorf("file: %+v, want %s", got, want)
		}
		if got := certificate(f, "/root/.kube/config", "bob"); got.Key != want {
			t.Errorf("kubeconfig: %+v, want %s", got, want)
		}
		all, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"hush", strings.Split(string(data), "\n")[1], base64.StdEncoding.EncodeToString(data)} {
			if strings.Contains(string(all), secret) {
				t.Errorf("the facts hold a secret: %s", secret)
			}
		}
	}
}

// Of a home only what has the name of a kubeconfig is looked at, and no folder but .kube is entered.
func TestHomesAreNotSearched(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	for _, dir := range []string{"/root", "/root/.kube", "/root/work", "/root/old.conf"} {
		n.Files[dir] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	}
	for _, name := range []string{"admin.conf", "config", "notes.txt", "id_rsa", "x.yml", "work/admin.conf", ".kube/config"} {
		n.Write("/root/"+name, "kind: Pod\n", 0o600)
	}
	n.Links["/root/link.conf"] = "/etc/kubernetes/admin.conf"
	f := n.Facts(t)
	var seen []string
	for p := range f.Stats {
		if strings.HasPrefix(p, "/root") {
			seen = append(seen, p)
		}
	}
	slices.Sort(seen)
	if want := []string{"/root/.kube", "/root/.kube/config", "/root/admin.conf", "/root/config", "/root/x.yml"}; !slices.Equal(seen, want) {
		t.Errorf("looked at %q", seen)
	}
}

func TestKubeconfigsThatAreNoneAreLeftOut(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	n.Files["/root/.kube"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	for name, text := range map[string]string{
		"yaml": "a: [", "pod": "kind: Pod\n", "empty": "", "nobody": "kind: Config\nusers: []\n", "binary": "\x00\x01", "large": "kind: Config\n" + strings.Repeat("#", 1<<20),
		"odd": "kind: Config\nusers:\n- name: a\n  user: {client-certificate-data: '%%%', exec: {command: x}}\n",
	} {
		n.Write("/root/.kube/"+name, text, 0o600)
	}
	f := n.Facts(t)
	if len(f.Kubeconfigs) != 6 || len(f.Certificates) != 15 {
		t.Errorf("%d kubeconfigs, %d certificates", len(f.Kubeconfigs), len(f.Certificates))
	}
}
