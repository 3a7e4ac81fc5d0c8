package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// encryptionMetric has the digest of the encryption configuration that an API server has read, since Kubernetes 1.34.
const encryptionMetric = "apiserver_encryption_config_controller_last_config_info{"

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Encryption asks an API server, at its own address, for the sha256 of the encryption configuration that it has read, in hex; "" for
// none. The process tells it, not its manifest.
func (c *Client) Encryption(ctx context.Context, m harden.ControlPlane) (string, error) {
	const doing = "asking which encryption configuration the API server has read"
	var sum string
	several := false
	see := func(labels string) bool {
		_, rest, _ := strings.Cut(","+labels, `,hash="sha256:`)
		found, _, _ := strings.Cut(rest, `"`)
		if !sha256Hex.MatchString(found) {
			return true
		}
		several = several || sum != "" && sum != found
		sum = found
		return true
	}
	err := c.at(ctx, doing, m.Address, "/metrics", func(body io.Reader) error { return eachLine(body, encryptionMetric, see) })
	switch {
	case err != nil:
		return "", err
	case several:
		return "", c.fault(doing, m.Address, errors.New("it names several"))
	case sum == "" && m.Encrypts:
		return "", c.fault(doing, m.Address, fmt.Errorf("%s is not among its metrics: Kubernetes tells it since 1.34", strings.TrimSuffix(encryptionMetric, "{")))
	}
	return sum, nil
}

// readKeys asks the API servers of several control planes; a single one has nobody to share a key with.
func readKeys(ctx context.Context, c *sources, facts *harden.ClusterFacts) error {
	pods, err := c.pods()
	var members []harden.ControlPlane
	for _, p := range pods {
		if m, ok := p.ControlPlane(); ok {
			members = append(members, m)
		}
	}
	switch {
	case err != nil || len(members) == 1:
		return err
	case len(members) == 0:
		return c.fault("listing control planes", "", errNoControlPlane)
	}
	for _, m := range members {
		k := harden.KeyFact{Node: m.Node}
		if k.SHA256, err = c.Encryption(ctx, m); err != nil {
			k.Unread = why(err)
		}
		facts.Keys = append(facts.Keys, k)
	}
	return nil
}
