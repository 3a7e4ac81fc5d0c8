package sandbox

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// ServingRequests: the kubelet has asked for a certificate where its live configuration says so.
func (c *Cluster) ServingRequests(ctx context.Context, node string) ([]harden.ServingRequest, []string, error) {
	const doing = "listing requests for certificates"
	asks := c.bootstraps()
	if err := c.enter(ctx, doing); err != nil {
		return nil, nil, err
	}
	defer c.mu.Unlock()
	n, err := c.nodeNamed(doing, node)
	if err != nil {
		return nil, nil, err
	}
	if !asks {
		c.serving = nil
		return nil, n.Fact().Addresses, nil
	}
	if c.serving == nil {
		if c.serving, err = c.ask(n); err != nil {
			return nil, nil, &objects.Error{Doing: doing, Subject: server, Reason: objects.Failed, Cause: err}
		}
	}
	return []harden.ServingRequest{*c.serving}, n.Fact().Addresses, nil
}

// Approve has it signed at once.
func (c *Cluster) Approve(ctx context.Context, r harden.ServingRequest, _ string) error {
	const doing = "approving a request for a certificate"
	if err := c.enter(ctx, doing); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if c.serving == nil || c.serving.UID != r.UID || c.serving.ResourceVersion != r.ResourceVersion {
		return &objects.Error{Doing: doing, Subject: r.Name, Reason: objects.Changed, Cause: errors.New("it was changed since it was checked")}
	}
	c.version++
	c.serving.ResourceVersion, c.serving.Approved = fmt.Sprint(c.version), true
	return nil
}

// KubeletServing is a certificate that nobody can check until one from the cluster was asked for and approved.
func (c *Cluster) KubeletServing(ctx context.Context, node string) (harden.KubeletServingFact, error) {
	const doing = "looking at the kubelet's certificate"
	asks := c.bootstraps()
	if err := c.enter(ctx, doing); err != nil {
		return harden.KubeletServingFact{}, err
	}
	defer c.mu.Unlock()
	n, err := c.nodeNamed(doing, node)
	if err != nil {
		return harden.KubeletServingFact{}, err
	}
	return c.kubeletServing(n, asks), nil
}

func (c *Cluster) kubeletServing(n objects.Node, asks bool) harden.KubeletServingFact {
	k := harden.KubeletServingFact{Node: n.Meta.Name, DNSNames: []string{n.Meta.Name}}
	for _, a := range n.Status.Addresses {
		k.NodeAddresses = append(k.NodeAddresses, harden.NodeAddress{Type: string(a.Type), Address: a.Address})
	}
	switch {
	case !asks:
		k.Problem = harden.Msg("x509: certificate signed by unknown authority")
	case c.serving == nil || !c.serving.Approved:
		k.Unread = harden.Msg("remote error: tls: internal error")
	default:
		k.Addresses = []string{c.fixture.Address}
	}
	return k
}

// bootstraps says whether the kubelet runs with serverTLSBootstrap. It is asked without the lock, as everything of the fixture.
func (c *Cluster) bootstraps() bool {
	return c.fixture.Config != nil && c.fixture.Config()["serverTLSBootstrap"] == true
}

func (c *Cluster) nodeNamed(doing, node string) (objects.Node, error) {
	r, ok := c.records[nodeRef(node)]
	if !ok {
		return objects.Node{}, notFound(doing, nodeRef(node))
	}
	return as[objects.Node](r.Object)
}

// ask makes the request that a kubelet makes.
func (c *Cluster) ask(n objects.Node) (*harden.ServingRequest, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	user := harden.KubeletUser + n.Meta.Name
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: user, Organization: []string{"system:nodes"}},
		DNSNames: []string{n.Meta.Name}, IPAddresses: []net.IP{net.ParseIP(c.fixture.Address)},
	}, key)
	if err != nil {
		return nil, err
	}
	c.version++
	return &harden.ServingRequest{
		Name: "csr-sandbox", UID: fmt.Sprintf("csr-%d", c.version), ResourceVersion: fmt.Sprint(c.version), Signer: harden.KubeletServingSigner,
		User: user, Groups: []string{"system:nodes", "system:authenticated"}, Usages: []string{"digital signature", "server auth"},
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Created: c.fixture.Now(),
	}, nil
}
