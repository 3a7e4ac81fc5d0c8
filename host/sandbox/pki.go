package sandbox

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/patches"
)

const pki = "etc/kubernetes/pki/"

type signer struct {
	ca   string
	leaf func(path string) bool
}

// signers are the CAs with what each of them has signed. The fixtures have no keys, so the sandbox has CAs of its own.
var signers = []signer{
	{pki + "etcd/ca", func(p string) bool { return strings.HasPrefix(p, pki+"etcd/") || p == pki+"apiserver-etcd-client.crt" }},
	{pki + "front-proxy-ca", func(p string) bool { return p == pki+"front-proxy-client.crt" }},
	{pki + "ca", func(string) bool { return true }},
}

// signAgain gives the certificates CAs whose keys are there, and leaves what they say as it is.
func signAgain(found map[string]entry) error {
	done := map[string]bool{}
	for _, s := range signers {
		old, err := parseCertificate(found[s.ca+".crt"].data)
		if err != nil {
			return fmt.Errorf("%s: %w", s.ca, err)
		}
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		ca, err := sign(old, old, key.Public(), key)
		if err != nil {
			return err
		}
		replace(found, s.ca+".crt", ca)
		if err := put(found, s.ca+".key", key); err != nil {
			return err
		}
		done[s.ca+".crt"] = true
		signer, err := parseCertificate(ca)
		if err != nil {
			return err
		}
		for p, e := range found {
			if done[p] || !strings.HasPrefix(p, "etc/kubernetes/") || !s.leaf(p) || path.Ext(p) != ".crt" && path.Ext(p) != ".conf" {
				continue
			}
			done[p] = true
			if err := signLeaf(found, p, e, old, signer, key); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	return nil
}

// signLeaf signs a certificate again, or that in a kubeconfig, where the CA's stands too.
func signLeaf(found map[string]entry, p string, e entry, old, ca *x509.Certificate, key crypto.Signer) error {
	if path.Ext(p) == ".crt" {
		c, err := parseCertificate(e.data)
		if err != nil {
			return err
		}
		signed, err := sign(c, ca, c.PublicKey, key)
		if err != nil {
			return err
		}
		replace(found, p, signed)
		return nil
	}
	text := strings.ReplaceAll(string(e.data), inText(old.Raw), inText(ca.Raw))
	if block := embedded(text); block != "" {
		data, err := base64.StdEncoding.DecodeString(block)
		if err != nil {
			return err
		}
		c, err := parseCertificate(data)
		if err != nil {
			return err
		}
		signed, err := sign(c, ca, c.PublicKey, key)
		if err != nil {
			return err
		}
		text = strings.Replace(text, block, base64.StdEncoding.EncodeToString(signed), 1)
	}
	replace(found, p, []byte(text))
	return nil
}

// embedded is the client certificate of a kubeconfig as it stands in its text.
func embedded(text string) string {
	_, rest, ok := strings.Cut(text, "client-certificate-data: ")
	if !ok {
		return ""
	}
	block, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(block)
}

func inText(der []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func replace(found map[string]entry, p string, data []byte) {
	e := found[p]
	e.data = data
	found[p] = e
}

func put(found map[string]entry, p string, key crypto.Signer) error {
	data, err := encodeKey(key)
	replace(found, p, data)
	return err
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func parseCertificate(data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// sign makes a certificate that says what another one says.
func sign(like, by *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	template := *like
	template.SignatureAlgorithm, template.AuthorityKeyId, template.SubjectKeyId = x509.UnknownSignatureAlgorithm, nil, nil
	template.PublicKey = key
	if like == by {
		by = &template // by itself
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, by, key, signer)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

// validity is how long kubeadm makes a certificate good for.
const validity = 365 * 24 * time.Hour

// Renew does as "kubeadm certs renew" does, on copies.
func (n *Node) Renew(_ context.Context, names []string) (harden.Renewed, error) {
	now, done := n.look()
	defer done()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return harden.Renewed{}, err
	}
	out := harden.Renewed{Files: map[string][]byte{}}
	for _, name := range names {
		if err := n.renew(name, now, key, out.Files); err != nil {
			return harden.Renewed{}, fmt.Errorf("renewing %s: %w", name, err)
		}
	}
	return out, nil
}

func (n *Node) renew(name string, now time.Time, key crypto.Signer, out map[string][]byte) error {
	file := "etc/kubernetes/" + name
	if path.Ext(name) != ".conf" {
		file = pki + name + ".crt"
		if rest, ok := strings.CutPrefix(name, "etcd-"); ok {
			file = pki + "etcd/" + rest + ".crt"
		}
	}
	s, err := n.files.State("/" + file)
	if err != nil {
		return err
	}
	old := s.Data
	if path.Ext(name) == ".conf" {
		if old, err = base64.StdEncoding.DecodeString(embedded(string(s.Data))); err != nil {
			return err
		}
	}
	was, err := parseCertificate(old)
	if err != nil {
		return err
	}
	ca, signer, err := n.signer(file)
	if err != nil {
		return err
	}
	like := *was
	like.NotBefore, like.NotAfter = now.Add(-5*time.Minute), now.Add(validity)
	if like.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return err
	}
	cert, err := sign(&like, ca, key.Public(), signer)
	if err != nil {
		return err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return err
	}
	if path.Ext(name) != ".conf" {
		out["/"+file], out["/"+strings.TrimSuffix(file, ".crt")+".key"] = cert, keyPEM
		return nil
	}
	text := s.Data
	for field, data := range map[string][]byte{"client-certificate-data": cert, "client-key-data": keyPEM} {
		at := patches.Path{"users", 0, "user", field}
		if text, err = patches.Set(text, at, base64.StdEncoding.EncodeToString(data)); err != nil {
			return errors.New("the kubeconfig cannot be written")
		}
	}
	out["/"+file] = text
	return nil
}

// signer is the CA that signs what is to lie in a file.
func (n *Node) signer(file string) (*x509.Certificate, crypto.Signer, error) {
	at := slices.IndexFunc(signers, func(s signer) bool { return s.leaf(file) })
	cert, err := n.files.State("/" + signers[at].ca + ".crt")
	if err != nil {
		return nil, nil, err
	}
	key, err := n.files.State("/" + signers[at].ca + ".key")
	if err != nil {
		return nil, nil, err
	}
	ca, err := parseCertificate(cert.Data)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(key.Data)
	if block == nil {
		return nil, nil, fmt.Errorf("%s.key holds no key", signers[at].ca)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	signer, ok := parsed.(crypto.Signer)
	if err != nil || !ok {
		return nil, nil, fmt.Errorf("%s.key holds no key", signers[at].ca)
	}
	return ca, signer, nil
}

// servers are by which flags components name the certificate that they serve with, by the port at which they do.
var servers = map[string]struct {
	id   harden.ComponentID
	flag string
}{
	"2379": {harden.Etcd, "cert-file"},
	"2380": {harden.Etcd, "peer-cert-file"},
}

// Served is the certificate that the component at a port serves with: each reads it anew when it changes.
func (n *Node) Served(_ context.Context, address string) ([]byte, error) {
	_, done := n.look()
	defer done()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	by, known := servers[port]
	if !known {
		by.id, by.flag = harden.APIServer, "tls-cert-file"
	}
	p := n.pod(by.id)
	if p == nil || p.live == nil {
		return nil, wordsf("dial tcp %s: connect: connection refused", address)
	}
	for _, f := range patches.ParseArgs(p.live.args) {
		if f.Name != by.flag {
			continue
		}
		host, _ := onHost(p.spec, f.Value)
		s, err := n.files.State(host)
		if err != nil {
			return nil, err
		}
		c, err := parseCertificate(s.Data)
		if err != nil {
			return nil, err
		}
		return c.Raw, nil
	}
	return nil, apply.ErrNotRunning
}
