package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Identity is the sha256 of the cluster CA's certificate, and the API server's version.
//
// The cluster CA is the one that pods are given (kube-root-ca.crt) and, of several there, the one that the server's own
// certificate comes from; without the right to read that ConfigMap, the one that the server's certificate comes from.
func (c *Client) Identity(ctx context.Context) (caDigest string, version harden.Version, err error) {
	id, err := c.identity(ctx)
	if err != nil {
		return "", harden.Version{}, err
	}
	for _, d := range id.cluster {
		if slices.Contains(id.serving, d) {
			return d, id.version, nil
		}
	}
	if len(id.cluster) > 0 {
		return id.cluster[0], id.version, nil
	}
	return id.serving[len(id.serving)-1], id.version, nil
}

// CheckIdentity refuses unless the API is that of the node's own cluster: the cluster CA is the node's, and the Node object
// of that name is the machine with the node's id. It says which of the two differs.
func (c *Client) CheckIdentity(ctx context.Context, node harden.Identity) error {
	const doing = "checking that this is the node's cluster"
	refuse := func(format string, args ...any) error {
		return &objects.Error{Doing: doing, Subject: c.Server(), Reason: objects.Elsewhere, Cause: fmt.Errorf(format, args...)}
	}
	if node.CADigest == "" || node.MachineID == "" || node.Node == "" {
		return refuse("the node's name, machine id or cluster CA is not known")
	}
	id, err := c.identity(ctx)
	if err != nil {
		return err
	}
	trusted := id.cluster
	if len(trusted) == 0 {
		trusted = id.serving
	}
	if !slices.Contains(trusted, node.CADigest) {
		return refuse("it is another cluster: its CA is %s, the node's is %s", short(trusted[0]), short(node.CADigest))
	}
	found, err := c.node(ctx, doing, node.Node)
	var fault *objects.Error
	if errors.As(err, &fault) && fault.NotFound() {
		return refuse("it has no node %q", node.Node)
	}
	if err != nil {
		return err
	}
	if got := found.Status.NodeInfo.MachineID; got != node.MachineID {
		return refuse("its node %q is another machine: its machine id is %s, this one's is %s", node.Node, short(got), short(node.MachineID))
	}
	return nil
}

// short is enough of a digest or id to tell two apart.
func short(s string) string {
	if len(s) > 12 {
		return s[:12]
	}
	return s
}

type identity struct {
	version harden.Version
	serving []string // digests of the chain above the server's own certificate, which is verified
	cluster []string // digests of the CAs that pods are given; empty where they may not be read
}

func (c *Client) identity(ctx context.Context) (identity, error) {
	id, err := c.serving(ctx, c.open)
	if err != nil {
		return identity{}, err
	}
	var bundle struct {
		Data map[string]string `json:"data"`
	}
	_, err = c.do(ctx, request{
		doing: "reading the cluster CA", verb: http.MethodGet,
		path: []string{"/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"},
	}, &bundle)
	var fault *objects.Error
	if errors.As(err, &fault) && (fault.Reason == objects.Forbidden || fault.NotFound()) {
		return id, nil
	}
	if err != nil {
		return identity{}, err
	}
	for _, cert := range harden.CertificatesIn([]byte(bundle.Data["ca.crt"])) {
		id.cluster = append(id.cluster, digest(cert))
	}
	return id, nil
}

// serving asks for the version, by open or ask, and looks at the certificates that the answer came with.
func (c *Client) serving(ctx context.Context, ask func(ctx context.Context, path, userAgent string) (*http.Response, error)) (identity, error) {
	const doing = "asking for the cluster's version"
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.insecure {
		return identity{}, &objects.Error{Doing: doing, Subject: c.Server(), Reason: objects.Certificate,
			Cause: errors.New("the kubeconfig turns off the check of the server's certificate (insecure-skip-tls-verify), so anybody could answer")}
	}
	resp, err := ask(ctx, "/version", "")
	if err != nil {
		return identity{}, c.fault(doing, "", err)
	}
	defer resp.Body.Close()
	if resp.TLS == nil || len(resp.TLS.VerifiedChains) == 0 {
		return identity{}, c.fault(doing, "", errors.New("the answer's certificate was not verified"))
	}
	if resp.StatusCode != http.StatusOK {
		return identity{}, c.fault(doing, "", genericStatus(resp.StatusCode))
	}
	var answer struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return identity{}, c.fault(doing, "", fmt.Errorf("the answer cannot be decoded: %w", err))
	}
	var id identity
	if id.version, err = harden.ParseVersion(answer.GitVersion); err != nil {
		return identity{}, c.fault(doing, "", err)
	}
	for _, chain := range resp.TLS.VerifiedChains {
		for _, cert := range chain[min(1, len(chain)-1):] {
			id.serving = append(id.serving, digest(cert))
		}
	}
	return id, nil
}

func digest(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}
