package harden_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

func servingRequest(t *testing.T, edit func(*x509.CertificateRequest)) harden.ServingRequest {
	t.Helper()
	csr := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:cp1", Organization: []string{"system:nodes"}},
		DNSNames: []string{"cp1"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.11")},
	}
	if edit != nil {
		edit(csr)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, csr, key)
	if err != nil {
		t.Fatal(err)
	}
	return harden.ServingRequest{
		Name: "csr-1", Signer: harden.KubeletServingSigner, User: "system:node:cp1", Groups: []string{"system:nodes", "system:authenticated"},
		Usages: []string{"digital signature", "server auth"}, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	}
}

func TestOnlyTheNodesOwnRequestMayBeApproved(t *testing.T) {
	known := []string{"cp1", "192.0.2.11"}
	if err := servingRequest(t, nil).Check("cp1", known); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		csr    func(*x509.CertificateRequest)
		around func(*harden.ServingRequest)
		want   string
	}{
		"another address":       {csr: func(c *x509.CertificateRequest) { c.IPAddresses = append(c.IPAddresses, net.ParseIP("192.0.2.99")) }, want: `"192.0.2.99", which is not an address of node cp1`},
		"another name":          {csr: func(c *x509.CertificateRequest) { c.DNSNames = []string{"kubernetes.default.svc"} }, want: `"kubernetes.default.svc", which is not`},
		"no name at all":        {csr: func(c *x509.CertificateRequest) { c.DNSNames, c.IPAddresses = nil, nil }, want: "no name and no address"},
		"another node's name":   {csr: func(c *x509.CertificateRequest) { c.Subject.CommonName = "system:node:cp2" }, want: "for the name system:node:cp2"},
		"an administrator's":    {csr: func(c *x509.CertificateRequest) { c.Subject.Organization = []string{"system:masters"} }, want: "system:masters"},
		"one group more":        {csr: func(c *x509.CertificateRequest) { c.Subject.Organization = []string{"system:nodes", "system:masters"} }, want: "system:masters"},
		"an e-mail address":     {csr: func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"a@example.com"} }, want: "e-mail"},
		"a URI":                 {csr: func(c *x509.CertificateRequest) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }, want: "URIs"},
		"made by another":       {around: func(r *harden.ServingRequest) { r.User = "system:node:cp2" }, want: "made by system:node:cp2"},
		"made by no node":       {around: func(r *harden.ServingRequest) { r.Groups = []string{"system:authenticated"} }, want: "not in the group system:nodes"},
		"another signer":        {around: func(r *harden.ServingRequest) { r.Signer = "kubernetes.io/kube-apiserver-client" }, want: "for the signer kubernetes.io/kube-apiserver-client"},
		"a client's":            {around: func(r *harden.ServingRequest) { r.Usages = append(r.Usages, "client auth") }, want: `"client auth"`},
		"not for serving":       {around: func(r *harden.ServingRequest) { r.Usages = []string{"digital signature"} }, want: "not for serving"},
		"no request":            {around: func(r *harden.ServingRequest) { r.Request = []byte("x") }, want: "no single certificate request"},
		"two requests":          {around: func(r *harden.ServingRequest) { r.Request = append(r.Request, r.Request...) }, want: "no single certificate request"},
		"signed by another key": {around: func(r *harden.ServingRequest) { r.Request = tampered(r.Request) }, want: "checking the request csr-1"},
	} {
		r := servingRequest(t, tt.csr)
		if tt.around != nil {
			tt.around(&r)
		}
		if err := r.Check("cp1", known); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := servingRequest(t, nil).Check("cp1", nil); err == nil {
		t.Error("a node that is being deleted gets a certificate")
	}
}

// tampered changes the signature.
func tampered(text []byte) []byte {
	block, _ := pem.Decode(text)
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}
