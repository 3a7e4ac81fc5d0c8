package harden_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// issued is a certificate with its key, in PEM.
type issued struct {
	cert, key string
	x509      *x509.Certificate
	signer    crypto.Signer
}

func issueBy(t *testing.T, by *issued, change func(*x509.Certificate)) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<40))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "kube-apiserver"}, BasicConstraintsValid: true,
		NotBefore: hardentest.Now.Add(-time.Hour), NotAfter: hardentest.Now.Add(10 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"kubernetes"},
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, crypto.Signer(key)
	if by != nil {
		parent, signer = by.x509, by.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return issued{encode("CERTIFICATE", der), encode("PRIVATE KEY", keyDER), cert, key}
}

func authority(t *testing.T, name string) issued {
	return issueBy(t, nil, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage, c.ExtKeyUsage, c.DNSNames = name, true, x509.KeyUsageCertSign, nil, nil
	})
}

func aYear(c *x509.Certificate) { c.NotAfter = hardentest.Now.Add(365 * 24 * time.Hour) }

func kubeconfigOf(i issued) string {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return fmt.Sprintf("# ours\nkind: Config\nusers: # who\n- name: other\n  user: {}\n- name: me\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n"+
		"contexts:\n- context: {cluster: c, user: me}\n  name: here\ncurrent-context: here\n", b64(i.cert), b64(i.key))
}

func renewal(path, data string) harden.Intent {
	i := harden.RenewCertificate("x", path, "")
	i.Data = []byte(data)
	return i
}

func TestARenewedKubeconfigKeepsTheRestOfItsText(t *testing.T) {
	ca := authority(t, "kubernetes")
	was, is := issueBy(t, &ca, nil), issueBy(t, &ca, aYear)
	// kubeadm writes the whole file anew, in its own way.
	anew := strings.NewReplacer("# ours\n", "", " # who", "", "{cluster: c, user: me}", "\n    cluster: c\n    user: me").Replace(kubeconfigOf(is))
	got, err := renewal("/etc/kubernetes/admin.conf", anew).Render(harden.State{Exists: true, Data: []byte(kubeconfigOf(was)), Mode: 0o600})
	if err != nil || string(got.Data) != kubeconfigOf(is) || got.Mode != 0o600 {
		t.Errorf("%v\n%s", err, got.Data)
	}
}

func TestWhatIsNoRenewalIsRefused(t *testing.T) {
	ca, other := authority(t, "kubernetes"), authority(t, "another")
	was := issueBy(t, &ca, nil)
	by := func(ca *issued, change func(*x509.Certificate)) string {
		return issueBy(t, ca, func(c *x509.Certificate) { aYear(c); change(c) }).cert
	}
	for name, tt := range map[string]struct{ was, is, says string }{
		"another CA":           {was.cert, by(&other, func(*x509.Certificate) {}), "of another CA: CN=another"},
		"another name":         {was.cert, by(&ca, func(c *x509.Certificate) { c.Subject.CommonName = "admin" }), "for CN=admin"},
		"more rights":          {was.cert, by(&ca, func(c *x509.Certificate) { c.Subject.Organization = []string{"system:masters"} }), "for CN=kube-apiserver,O=system:masters"},
		"another address":      {was.cert, by(&ca, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "evil") }), "for other names: kubernetes, evil"},
		"no address":           {was.cert, by(&ca, func(c *x509.Certificate) { c.DNSNames = nil }), "for other names"},
		"a CA":                 {was.cert, by(&ca, func(c *x509.Certificate) { c.IsCA = true }), "for other uses"},
		"another use":          {was.cert, by(&ca, func(c *x509.Certificate) { c.ExtKeyUsage = append(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) }), "for other uses"},
		"a chain that is lost": {was.cert + ca.cert, by(&ca, func(*x509.Certificate) {}), "more than one certificate"},
		"nothing":              {was.cert, "", "kubeadm was not asked"},
		"no certificate":       {was.cert, "x", "not one certificate"},
		"none before":          {"x", was.cert, "it holds no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := renewal("/etc/kubernetes/pki/apiserver.crt", tt.is).Render(harden.State{Exists: true, Data: []byte(tt.was)})
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// No error about a key says it.
func TestAKeyIsNeverQuoted(t *testing.T) {
	ca := authority(t, "kubernetes")
	was, is, third := issueBy(t, &ca, nil), issueBy(t, &ca, aYear), issueBy(t, &ca, aYear)
	secret := base64.StdEncoding.EncodeToString([]byte(is.key))
	torn := is
	torn.key = third.key
	for name, i := range map[string]harden.Intent{
		"no key":        renewal("/etc/kubernetes/pki/apiserver.key", strings.Replace(is.key, "\n", "\n#", 1)),
		"another's key": renewal("/etc/kubernetes/admin.conf", kubeconfigOf(torn)),
		"no kubeconfig": renewal("/etc/kubernetes/admin.conf", "kind: Config\nx: "+secret),
	} {
		_, err := i.Render(harden.State{Exists: true, Data: []byte(kubeconfigOf(was))})
		if err == nil || strings.Contains(err.Error(), secret[:40]) || strings.Contains(err.Error(), is.key[40:80]) || strings.Contains(err.Error(), third.key[40:80]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A file that cannot be edited as it is written.
	odd := strings.Replace(kubeconfigOf(was), "    client-key-data: ", "    client-key-data: &k ", 1)
	_, err := renewal("/etc/kubernetes/admin.conf", kubeconfigOf(is)).Render(harden.State{Exists: true, Data: []byte(odd)})
	if err != nil && strings.Contains(err.Error(), secret[:40]) {
		t.Error("the error quotes the key")
	}
}

// renewable is a node with one certificate that ends soon, a control that renews it, and a kubeadm.
type renewable struct {
	*hardentest.Node
	ca    issued
	calls int
	fails error
	made  func(ca *issued) issued
}

const apiserverCert, apiserverKey = "/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/pki/apiserver.key"

func newRenewable(t *testing.T) *renewable {
	n := &renewable{Node: hardentest.Fixture(t, "1.37"), ca: authority(t, "kubernetes")}
	old := issueBy(t, &n.ca, nil)
	n.Write(apiserverCert, old.cert, 0o644)
	n.Write(apiserverKey, old.key, 0o600)
	n.made = func(ca *issued) issued { return issueBy(t, ca, aYear) }
	return n
}

func (n *renewable) areas() []harden.Area {
	return []harden.Area{{ID: "c", Controls: []harden.Control{{
		ID: "c-renew", Needs: []harden.Need{harden.NeedAPIServer},
		Assess: func(*harden.Facts) harden.Verdict { return harden.Failed(harden.Msg("it ends soon")) },
		Remedies: []harden.Remedy{{ID: "renew", Risk: harden.RiskNode, NodeOnly: true, Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
			return []harden.Intent{
				harden.RenewCertificate("apiserver", apiserverCert, harden.APIServer), harden.RenewCertificate("apiserver", apiserverKey, harden.APIServer),
			}, nil
		}}},
	}}}}
}

func (n *renewable) plan(t *testing.T) harden.Plan {
	t.Helper()
	built, err := harden.Build(harden.BuildInput{
		Facts: n.live(t), Areas: n.areas(), Choices: []harden.Choice{{Control: "c-renew", Named: true}}, Read: n.State, Now: hardentest.Now,
		Renew: func([]string) (harden.Renewed, error) {
			n.calls++
			i := n.made(&n.ca)
			return harden.Renewed{Files: map[string][]byte{apiserverCert: []byte(i.cert), apiserverKey: []byte(i.key)}}, n.fails
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return built.Node
}

func (n *renewable) live(t *testing.T) *harden.Facts {
	f := n.Facts(t)
	f.Identity.Offline = false
	return f
}

func (n *renewable) write(p harden.Plan) {
	for _, s := range p.Steps() {
		n.Files[s.Path] = s.After
	}
}

func TestARenewalIsPlannedWithItsExactBytes(t *testing.T) {
	n := newRenewable(t)
	p := n.plan(t)
	var ids []string
	for _, s := range p.Steps() {
		ids = append(ids, s.ID)
		if want := s.Path == apiserverKey; s.Secret != want {
			t.Errorf("%s: secret %v", s.ID, s.Secret)
		}
	}
	if !slices.Equal(ids, []string{apiserverCert, apiserverKey, hardentest.ManifestPath}) {
		t.Fatalf("steps: %v, skipped %v", ids, p.Skipped)
	}
	if e := p.Stages[0].Effects; len(e) != 1 || e[0].Component != harden.APIServer {
		t.Errorf("effects: %v", e)
	}
	words := fmt.Sprint(p.Steps()[0].Certificates().Words())
	if !strings.Contains(words, "certificate of CN=kube-apiserver, signed by CN=kubernetes") || !strings.Contains(words, "for kubernetes, as before") ||
		!strings.Contains(words, "it ends on 2027-12-01 instead of 2026-12-11") {
		t.Error(words)
	}
	if p.Steps()[1].Certificates() != nil {
		t.Error("a key is shown as a certificate")
	}
	if err := harden.CheckPlan(p, n.live(t)); err != nil {
		t.Error(err)
	}
}

func TestAPlanWithAnotherCertificateOrKeyIsRefused(t *testing.T) {
	other := authority(t, "another")
	stranger := issueBy(t, &other, aYear)
	for name, i := range map[string]int{"certificate": 0, "key": 1} {
		n := newRenewable(t)
		p := n.plan(t)
		s := &p.Stages[0].Steps[i]
		s.After.Data = []byte([]string{stranger.cert, stranger.key}[i])
		s.Asks[0].Intent.Data = s.After.Data
		err := harden.CheckPlan(p, n.live(t))
		unmet, again := harden.Recheck(p, n.live(t), n.areas())
		if err == nil && again == nil && len(unmet) == 0 {
			t.Errorf("%s of another one is taken", name)
		}
	}
}

// A plan of the same choices after it was applied changes nothing, however short the lives of new certificates are.
func TestARenewalIsNotDoneAgain(t *testing.T) {
	n := newRenewable(t)
	short := func(c *x509.Certificate) { c.NotAfter = hardentest.Now.Add(15 * 24 * time.Hour) }
	n.made = func(ca *issued) issued { return issueBy(t, ca, short) }
	p := n.plan(t)
	if p.Empty() {
		t.Fatalf("nothing is renewed: %v", p.Skipped)
	}
	n.write(p)
	if p := n.plan(t); !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].String(), "none of its certificates would be good for longer") {
		t.Errorf("%d steps, skipped %v", len(p.Steps()), p.Skipped)
	}
}

func TestWhereKubeadmCannotRenewTheReasonIsSaid(t *testing.T) {
	n := newRenewable(t)
	n.fails = errors.New("looking for kubeadm: it is not here")
	if p := n.plan(t); !p.Empty() || !strings.Contains(fmt.Sprint(p.Skipped), "looking for kubeadm") {
		t.Errorf("%v", p.Skipped)
	}
	n = newRenewable(t)
	n.made = func(ca *issued) issued { return issued{} }
	if p := n.plan(t); !p.Empty() {
		t.Error("nothing is no renewal")
	}
}

func undoRenewal(t *testing.T, n *renewable, done harden.Plan, now time.Time) (harden.Plan, error) {
	f := n.live(t)
	f.CollectedAt = now
	return harden.Undo(harden.UndoInput{Done: harden.Done{ID: "T1", Plan: done}, Facts: f, Read: n.State, Now: now})
}

func TestARenewalIsUndoneToTheBytesBefore(t *testing.T) {
	n := newRenewable(t)
	p := n.plan(t)
	n.write(p)
	u, err := undoRenewal(t, n, p, hardentest.Now)
	if err != nil || len(u.Blocking()) > 0 {
		t.Fatal(err, u.Blocking())
	}
	for _, s := range u.Steps() {
		for _, d := range p.Steps() {
			if s.ID == d.ID && !s.After.Equal(d.Before) {
				t.Errorf("%s does not come back", s.ID)
			}
		}
	}
	if e := u.Stages[0].Effects; len(u.Steps()) != 3 || len(e) != 1 || e[0].Component != harden.APIServer {
		t.Errorf("%d steps, %v", len(u.Steps()), e)
	}
}

// Months later the certificate that an undo would bring back has ended.
func TestAnUndoBringsBackNoCertificateThatHasEnded(t *testing.T) {
	n := newRenewable(t)
	p := n.plan(t)
	n.write(p)
	u, err := undoRenewal(t, n, p, hardentest.Now.Add(11*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if b := u.Blocking(); len(b) != 1 || !strings.Contains(b[0].Message.String(), "would hold one that ended on 2026-12-11") {
		t.Errorf("%v", b)
	}
}

// kubeadm upgrade renews as well: what it has made since is not ours to take away.
func TestAnUndoLeavesALaterRenewalAlone(t *testing.T) {
	n := newRenewable(t)
	p := n.plan(t)
	n.write(p)
	newer := issueBy(t, &n.ca, aYear)
	n.Write(apiserverCert, newer.cert, 0o644)
	n.Write(apiserverKey, newer.key, 0o600)
	var conflict *harden.UndoConflictError
	if _, err := undoRenewal(t, n, p, hardentest.Now); !errors.As(err, &conflict) {
		t.Errorf("%v", err)
	}
}
