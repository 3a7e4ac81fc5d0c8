package certificates_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/certificates"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestAreaIsWellFormed(t *testing.T) { hardentest.CheckArea(t, certificates.Area()) }

const pki = "/etc/kubernetes/pki"

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func (p pair) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

func (p pair) keyPEM(t *testing.T) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// issue makes a certificate signed by another one, or by itself. Change edits the template.
func issue(t *testing.T, name string, by *pair, change func(*x509.Certificate)) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueFor(t, key, name, by, change)
}

func issueFor(t *testing.T, key crypto.Signer, name string, by *pair, change func(*x509.Certificate)) pair {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
		NotBefore: hardentest.Now.Add(-time.Hour), NotAfter: hardentest.Now.Add(365 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	signer, parent := key, template
	if by != nil {
		signer, parent = by.key, by.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

func ca(c *x509.Certificate) {
	c.IsCA, c.ExtKeyUsage, c.KeyUsage = true, nil, x509.KeyUsageCertSign
	c.NotAfter = c.NotBefore.Add(10 * 365 * 24 * time.Hour)
}

func until(d time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.NotAfter = hardentest.Now.Add(d) }
}

func in(group string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.Organization = []string{group} }
}

const day = 24 * time.Hour

// node is a real node whose certificates a test replaces.
type node struct {
	*hardentest.Node
	ca   pair
	live map[harden.ComponentID]time.Time
}

func newNode(t *testing.T, minor string) *node {
	t.Helper()
	n := &node{Node: hardentest.Fixture(t, minor), ca: issue(t, "kubernetes", nil, ca), live: map[harden.ComponentID]time.Time{}}
	n.put(t, pki+"/ca", n.ca)
	return n
}

// put writes a certificate and its key.
func (n *node) put(t *testing.T, base string, p pair) {
	n.Write(base+".crt", p.pem(), 0o644)
	n.Write(base+".key", p.keyPEM(t), 0o600)
}

// embed writes a kubeconfig with a client certificate.
func (n *node) embed(t *testing.T, path string, p pair) {
	n.Write(path, fmt.Sprintf("kind: Config\nusers:\n- name: %s\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n", p.cert.Subject.CommonName,
		base64.StdEncoding.EncodeToString([]byte(p.pem())), base64.StdEncoding.EncodeToString([]byte(p.keyPEM(t)))), 0o600)
}

func (n *node) facts(t *testing.T) *harden.Facts {
	t.Helper()
	f := n.Facts(t)
	for id, started := range n.live {
		c := f.Components[id]
		c.Process = &harden.ProcessFact{PID: 4711, Args: c.Args, Started: started}
	}
	return f
}

func finding(t *testing.T, f *harden.Facts, id string) harden.Finding {
	t.Helper()
	for _, found := range harden.Assess(f, []harden.Area{certificates.Area()}) {
		if found.Control == id {
			return found
		}
	}
	t.Fatalf("no control %s", id)
	return harden.Finding{}
}

// What kubeadm writes is right in all respects that show without its keys, which the fixtures lack.
func TestUntouchedNodes(t *testing.T) {
	for _, minor := range hardentest.Minors {
		want := map[string]harden.Status{
			"certificates-in-use": harden.StatusNotApplicable, "certificates-keys-match": harden.StatusManual,
			"certificates-kubelet-client-rights": harden.StatusNotApplicable,
		}
		if minor == "1.37" {
			want["certificates-kubelet-client-rights"] = harden.StatusPass
		}
		for _, got := range harden.Assess(hardentest.Fixture(t, minor).Facts(t), []harden.Area{certificates.Area()}) {
			expected := harden.StatusPass
			if s, ok := want[got.Control]; ok {
				expected = s
			}
			if got.Status != expected || got.Status == harden.StatusPass && len(got.Evidence) == 0 {
				t.Errorf("%s %s: %s: %s %v", minor, got.Control, got.Status, got.Message, got.Evidence)
			}
		}
	}
}

// names are those that clients call the API server by, but for one.
func names(drop string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, n := range []string{"cp1", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"} {
			if n != drop {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
		for _, a := range []string{"10.96.0.1", "192.0.2.11"} {
			if a != drop {
				c.IPAddresses = append(c.IPAddresses, net.ParseIP(a))
			}
		}
	}
}

func TestVerdicts(t *testing.T) {
	const kubelet = "/var/lib/kubelet/pki"
	tests := []struct {
		name, control string
		edit          func(t *testing.T, n *node)
		want          harden.Status
		message       string
	}{
		{"a year to go", "certificates-expiry", func(t *testing.T, n *node) {}, harden.StatusPass, "the first one to end is"},
		{"31 days to go", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, until(31*day)))
		}, harden.StatusPass, "apiserver.crt, on 2027-01-01"},
		{"29 days to go", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, until(29*day)))
		}, harden.StatusFail, "ends on 2026-12-30, in 29 days: /etc/kubernetes/pki/apiserver.crt; kubeadm renews it once the node runs"},
		{"ended", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, until(-time.Minute)))
		}, harden.StatusFail, "ended on 2026-12-01: /etc/kubernetes/pki/apiserver.crt; kubeadm renews it once"},
		{"ended in a kubeconfig", "certificates-expiry", func(t *testing.T, n *node) {
			n.embed(t, "/etc/kubernetes/admin.conf", issue(t, "kubernetes-admin", &n.ca, until(-day)))
		}, harden.StatusFail, "/etc/kubernetes/admin.conf (kubernetes-admin)"},
		{"a copy of admin.conf", "certificates-expiry", func(t *testing.T, n *node) {
			n.Files["/root/.kube"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
			n.embed(t, "/root/.kube/config", issue(t, "kubernetes-admin", &n.ca, until(3*day)))
		}, harden.StatusFail, "copy /etc/kubernetes/admin.conf over it"},
		{"etcd's are another control's", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/etcd/server", issue(t, "cp1", &n.ca, until(3*day)))
		}, harden.StatusPass, ""},
		{"etcd's server", "certificates-etcd-expiry", func(t *testing.T, n *node) {
			own := issue(t, "etcd-ca", nil, ca)
			n.put(t, pki+"/etcd/ca", own)
			n.put(t, pki+"/etcd/server", issue(t, "cp1", &own, until(3*day)))
		}, harden.StatusFail, "in 3 days: /etc/kubernetes/pki/etcd/server.crt; kubeadm renews it once"},
		{"the API server's for etcd is no etcd's", "certificates-etcd-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver-etcd-client", issue(t, "kube-apiserver-etcd-client", &n.ca, until(3*day)))
		}, harden.StatusPass, ""},
		{"no etcd here", "certificates-etcd-expiry", func(t *testing.T, n *node) {
			for p := range n.Files {
				if strings.HasPrefix(p, pki+"/etcd/") || strings.HasSuffix(p, "etcd.yaml") {
					delete(n.Files, p)
				}
			}
		}, harden.StatusNotApplicable, ""},
		{"not yet good", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, func(c *x509.Certificate) { c.NotBefore = hardentest.Now.Add(day) }))
		}, harden.StatusFail, "is the clock of this node right?"},
		{"signed elsewhere", "certificates-expiry", func(t *testing.T, n *node) {
			delete(n.Files, pki+"/ca.key")
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, until(3*day)))
		}, harden.StatusFail, "the key of the CA that signed it is not on this node"},
		{"the kubelet's own", "certificates-expiry", func(t *testing.T, n *node) {
			p := issue(t, "system:node:cp1", &n.ca, aged(300*day, 3*day))
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.Write(kubelet+"/kubelet-client-2026.pem", p.pem()+p.keyPEM(t), 0o600)
			n.Links[kubelet+"/kubelet-client-current.pem"] = kubelet + "/kubelet-client-2026.pem"
		}, harden.StatusFail, "journalctl -u kubelet"},
		{"the kubelet's own has ended", "certificates-expiry", func(t *testing.T, n *node) {
			p := issue(t, "system:node:cp1", &n.ca, until(-day))
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.Write(kubelet+"/kubelet-client-2026.pem", p.pem()+p.keyPEM(t), 0o600)
			n.Links[kubelet+"/kubelet-client-current.pem"] = kubelet + "/kubelet-client-2026.pem"
		}, harden.StatusFail, `does not start: on this node run "kubeadm kubeconfig user --org system:nodes --client-name system:node:cp1"`},
		{"the kubelet's own has ended, and the CA signs elsewhere", "certificates-expiry", func(t *testing.T, n *node) {
			n.embed(t, "/etc/kubernetes/kubelet.conf", issue(t, "system:node:cp1", &n.ca, until(-day)))
			delete(n.Files, pki+"/ca.key")
		}, harden.StatusFail, `does not start: on a control-plane node run "kubeadm kubeconfig user`},
		{"one in the kubelet's kubeconfig", "certificates-expiry", func(t *testing.T, n *node) {
			n.embed(t, "/etc/kubernetes/kubelet.conf", issue(t, "system:node:cp1", &n.ca, until(3*day)))
		}, harden.StatusFail, "have it name /var/lib/kubelet/pki/kubelet-client-current.pem"},
		{"the kubelet's self-signed one", "certificates-expiry", func(t *testing.T, n *node) {
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.put(t, kubelet+"/kubelet", issue(t, "cp1-ca", nil, until(3*day)))
		}, harden.StatusFail, "restart the kubelet"},
		{"rotated away by the kubelet", "certificates-expiry", func(t *testing.T, n *node) {
			p := issue(t, "system:node:cp1", &n.ca, until(-day))
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.Write(kubelet+"/kubelet-client-2025.pem", p.pem()+p.keyPEM(t), 0o600)
		}, harden.StatusPass, ""},
		{"a CA's last year", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/ca", issue(t, "kubernetes", nil, func(c *x509.Certificate) { ca(c); until(300 * day)(c) }))
		}, harden.StatusManual, "plan its rotation"},
		{"the CA of the kubelet's own certificate", "certificates-expiry", func(t *testing.T, n *node) {
			own := issue(t, "cp1-ca@1", nil, func(c *x509.Certificate) { ca(c); until(300 * day)(c) })
			leaf := issue(t, "cp1@1", &own, until(300*day))
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.Write(kubelet+"/kubelet.crt", leaf.pem()+own.pem(), 0o644)
		}, harden.StatusPass, ""},
		{"the certificate that the cluster gave the kubelet is no file to be moved away", "certificates-expiry", func(t *testing.T, n *node) {
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			p := issue(t, "system:node:cp1", &n.ca, aged(300*day, 3*day))
			n.Write(kubelet+"/kubelet-server-current.pem", p.pem()+p.keyPEM(t), 0o600)
		}, harden.StatusFail, "kubelet-server-current.pem; the kubelet asks the cluster for a new one by itself, and nobody has approved it: look for its request with \"kubectl get csr\""},
		{"the kubelet's own, signed by itself", "certificates-expiry", func(t *testing.T, n *node) {
			n.Files[kubelet] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			n.Write(kubelet+"/kubelet.crt", issue(t, "cp1@1", nil, until(3*day)).pem(), 0o644)
		}, harden.StatusFail, "move it away with its key and restart the kubelet"},
		{"a CA's last month", "certificates-expiry", func(t *testing.T, n *node) {
			n.put(t, pki+"/ca", issue(t, "kubernetes", nil, func(c *x509.Certificate) { ca(c); until(20 * day)(c) }))
		}, harden.StatusFail, "plan its rotation"},

		{"started after its kubeconfig", "certificates-in-use", func(t *testing.T, n *node) {
			n.live[harden.Scheduler] = hardentest.Now
			n.Modified["/etc/kubernetes/scheduler.conf"] = hardentest.Now.Add(-day)
		}, harden.StatusPass, ""},
		{"renewed since it started", "certificates-in-use", func(t *testing.T, n *node) {
			n.live[harden.ControllerManager] = hardentest.Now.Add(-day)
			n.Modified["/etc/kubernetes/controller-manager.conf"] = hardentest.Now
		}, harden.StatusFail, "kube-controller-manager started before"},

		{"small RSA keys", "certificates-key-strength", func(t *testing.T, n *node) {
			key, err := rsa.GenerateKey(rand.Reader, 1024)
			if err != nil {
				t.Skip(err)
			}
			n.put(t, pki+"/apiserver", issueFor(t, key, "kube-apiserver", &n.ca, nil))
		}, harden.StatusFail, "RSA 1024, signed with ECDSA-SHA256); kubeadm renews it once the node runs"},
		{"small curves", "certificates-key-strength", func(t *testing.T, n *node) {
			key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			n.put(t, pki+"/apiserver", issueFor(t, key, "kube-apiserver", &n.ca, nil))
		}, harden.StatusFail, "ECDSA 224"},
		{"strong curves", "certificates-key-strength", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, nil))
		}, harden.StatusPass, "strong"},

		{"a server that may sign", "certificates-leaf-not-ca", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, func(c *x509.Certificate) {
				c.IsCA, c.ExtKeyUsage = true, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}))
		}, harden.StatusFail, "apiserver.crt; kubeadm renews it once the node runs"},
		{"a CA that serves", "certificates-leaf-not-ca", func(t *testing.T, n *node) {
			n.Edit(t, hardentest.ManifestPath, "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt", "--tls-cert-file=/etc/kubernetes/pki/ca.crt")
		}, harden.StatusFail, "ca.crt"},
		{"a user that may sign", "certificates-leaf-not-ca", func(t *testing.T, n *node) {
			n.embed(t, "/etc/kubernetes/admin.conf", issue(t, "kubernetes-admin", &n.ca, func(c *x509.Certificate) { c.IsCA = true }))
		}, harden.StatusFail, "admin.conf"},

		{"another's key", "certificates-keys-match", func(t *testing.T, n *node) {
			n.Write(pki+"/apiserver.key", issue(t, "x", nil, nil).keyPEM(t), 0o600)
		}, harden.StatusFail, "apiserver.crt"},
		{"no key", "certificates-keys-match", func(t *testing.T, n *node) {}, harden.StatusManual, "and "},
		{"all keys", "certificates-keys-match", func(t *testing.T, n *node) {
			for _, p := range []string{"apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client", "etcd/server", "etcd/peer", "etcd/healthcheck-client"} {
				n.put(t, pki+"/"+p, issue(t, p, &n.ca, nil))
			}
			for _, p := range []string{"admin", "super-admin", "scheduler", "controller-manager", "kubelet"} {
				n.embed(t, "/etc/kubernetes/"+p+".conf", issue(t, p, &n.ca, nil))
			}
		}, harden.StatusPass, "13 keys"},

		{"all names", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, names("")))
		}, harden.StatusPass, ""},
		{"the Service's name is missing", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, names("kubernetes.default.svc")))
		}, harden.StatusFail, "does not have: kubernetes.default.svc;"},
		{"the Service's address is missing", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, names("10.96.0.1")))
		}, harden.StatusFail, "10.96.0.1"},
		{"a name that stands for others", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.Edit(t, "/etc/kubernetes/admin.conf", "https://192.0.2.11:6443", "https://api.corp.example:6443")
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, func(c *x509.Certificate) {
				names("")(c)
				c.DNSNames = append(c.DNSNames, "*.corp.example")
			}))
		}, harden.StatusPass, ""},
		{"an IPv6 address in another spelling", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.Edit(t, "/etc/kubernetes/admin.conf", "https://192.0.2.11:6443", "https://[2001:DB8:0:0::11]:6443")
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, func(c *x509.Certificate) {
				names("")(c)
				c.IPAddresses = append(c.IPAddresses, net.ParseIP("2001:db8::11"))
			}))
		}, harden.StatusPass, ""},
		{"another domain", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.Edit(t, "/var/lib/kubelet/config.yaml", "clusterDomain: cluster.local", "clusterDomain: corp.example")
		}, harden.StatusFail, "kubernetes.default.svc.corp.example"},
		{"a load balancer's name is missing", "certificates-apiserver-names", func(t *testing.T, n *node) {
			n.Edit(t, "/etc/kubernetes/admin.conf", "https://192.0.2.11:6443", "https://api.corp.example:6443")
		}, harden.StatusFail, "api.corp.example"},
		{"a certificate that is not there", "certificates-apiserver-names", func(t *testing.T, n *node) { delete(n.Files, pki+"/apiserver.crt") }, harden.StatusManual, "could not be read"},

		{"the cluster's CA for etcd", "certificates-etcd-ca", func(t *testing.T, n *node) {
			n.Write(pki+"/etcd/ca.crt", n.ca.pem(), 0o644)
		}, harden.StatusFail, "etcd trusts the cluster's CA"},
		{"no CA for etcd", "certificates-etcd-ca", func(t *testing.T, n *node) {
			n.Edit(t, "/etc/kubernetes/manifests/etcd.yaml", "    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt\n", "")
		}, harden.StatusFail, "no certificate"},
		{"no etcd here", "certificates-etcd-ca", func(t *testing.T, n *node) { delete(n.Files, "/etc/kubernetes/manifests/etcd.yaml") }, harden.StatusNotApplicable, ""},

		{"an administrator for kubelets", "certificates-kubelet-client-rights", func(t *testing.T, n *node) {
			n.put(t, pki+"/apiserver-kubelet-client", issue(t, "kube-apiserver-kubelet-client", &n.ca, in("kubeadm:cluster-admins")))
		}, harden.StatusManual, "kubeadm:cluster-admins"},

		{"a user above RBAC", "certificates-masters-group", func(t *testing.T, n *node) {
			n.Files["/root/.kube"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
			n.embed(t, "/root/.kube/config", issue(t, "bob", &n.ca, in("system:masters")))
		}, harden.StatusFail, "/root/.kube/config (bob)"},
		{"nobody above RBAC", "certificates-masters-group", func(t *testing.T, n *node) { delete(n.Files, "/etc/kubernetes/super-admin.conf") }, harden.StatusPass, "none of"},
		{"only super-admin.conf", "certificates-masters-group", func(t *testing.T, n *node) {}, harden.StatusPass, "only /etc/kubernetes/super-admin.conf"},
		{"a client of etcd's in the group", "certificates-masters-group", func(t *testing.T, n *node) {
			own := issue(t, "etcd-ca", nil, ca)
			n.put(t, pki+"/etcd/ca", own)
			n.put(t, pki+"/apiserver-etcd-client", issue(t, "kube-apiserver-etcd-client", &own, in("system:masters")))
		}, harden.StatusPass, ""},
	}
	for _, tt := range tests {
		t.Run(tt.control+" "+tt.name, func(t *testing.T) {
			n := newNode(t, "1.37")
			tt.edit(t, n)
			got := finding(t, n.facts(t), tt.control)
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.message) {
				t.Errorf("%s: %s\n%v", got.Status, got.Message, got.Evidence)
			}
		})
	}
}
