package harden

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Names of certificates.k8s.io/v1 and of the kubelets' certificates (k8s.io/api/certificates/v1, pkg/apis/certificates/helpers.go).
const (
	KubeletServingSigner = "kubernetes.io/kubelet-serving"
	KubeletUser          = "system:node:" // before the name of its node
	nodesGroup           = "system:nodes"
)

// ServingRequest is a CertificateSigningRequest, as far as its approval goes by it.
type ServingRequest struct {
	Name            string    `json:"name"`
	UID             string    `json:"uid"`
	ResourceVersion string    `json:"resourceVersion"`
	Signer          string    `json:"signer"`
	User            string    `json:"user"` // who made it
	Groups          []string  `json:"groups"`
	Usages          []string  `json:"usages"`
	Request         []byte    `json:"request"` // PKCS #10, in PEM
	Created         time.Time `json:"created"`
	Approved        bool      `json:"approved"`
	Denied          bool      `json:"denied"`
}

// Serves are the names and addresses that the certificate would be for.
func (r ServingRequest) Serves() []string {
	csr, err := r.parse()
	if err != nil {
		return nil
	}
	out := slices.Clone(csr.DNSNames)
	for _, ip := range csr.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

func (r ServingRequest) parse() (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(r.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, errors.New("it holds no single certificate request in PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return csr, csr.CheckSignature()
}

// Check says why a request may not be approved as the serving certificate of a node that is known by these names and addresses.
// It holds the signer's own rules (kubernetes.io/kubelet-serving), and that the node asks for itself and for nothing that its Node
// object does not show: the signer does not look at that, and whoever holds one node's credentials could ask for another's name.
func (r ServingRequest) Check(node string, known []string) error {
	csr, err := r.parse()
	if err != nil {
		return fmt.Errorf("checking the request %s: %w", r.Name, err)
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("checking the request %s: "+format, append([]any{r.Name}, args...)...)
	}
	switch {
	case r.Signer != KubeletServingSigner:
		return refuse("it is for the signer %s", r.Signer)
	case r.User != KubeletUser+node:
		return refuse("it was made by %s, not by the node itself", r.User)
	case !slices.Contains(r.Groups, nodesGroup):
		return refuse("who made it is not in the group %s", nodesGroup)
	case csr.Subject.CommonName != KubeletUser+node:
		return refuse("it is for the name %s", csr.Subject.CommonName)
	case !slices.Equal(csr.Subject.Organization, []string{nodesGroup}):
		return refuse("it is for the groups %q", csr.Subject.Organization)
	case len(csr.EmailAddresses) > 0 || len(csr.URIs) > 0:
		return refuse("it asks for e-mail addresses or URIs")
	case len(csr.DNSNames)+len(csr.IPAddresses) == 0:
		return refuse("it asks for no name and no address")
	case !slices.Contains(r.Usages, "server auth"):
		return refuse("it is not for serving")
	}
	for _, u := range r.Usages {
		if !slices.Contains([]string{"digital signature", "key encipherment", "server auth"}, u) {
			return refuse("it asks for the usage %q", u)
		}
	}
	for _, name := range r.Serves() {
		if !slices.Contains(known, name) {
			return refuse("it asks for %q, which is not an address of node %s", name, node)
		}
	}
	return nil
}
