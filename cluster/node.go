package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

func (c *Client) node(ctx context.Context, doing, name string) (objects.Node, error) {
	var n objects.Node
	if err := objects.CheckSegment(name); err != nil {
		return n, c.fault(doing, "node "+name, err)
	}
	_, err := c.do(ctx, request{
		doing: doing, subject: "node " + name, verb: http.MethodGet, path: []string{"/api/v1/nodes", name},
	}, &n)
	return n, err
}

// NodeReady says whether the kubelet of a node has reported it ready since a time; where not, the reason.
func (c *Client) NodeReady(ctx context.Context, name string, since time.Time) (ready bool, reason string, err error) {
	n, err := c.node(ctx, "asking whether the node is ready", name)
	if err != nil {
		return false, "", err
	}
	ready, reason = n.ReadySince(since)
	return ready, reason, nil
}

// Configz is the live configuration of a node's kubelet, by the names of its fields.
func (c *Client) Configz(ctx context.Context, node string) (map[string]any, error) {
	const doing = "asking the kubelet for its configuration"
	if err := objects.CheckSegment(node); err != nil {
		return nil, c.fault(doing, "node "+node, err)
	}
	var answer struct {
		Config map[string]any `json:"kubeletconfig"`
	}
	_, err := c.do(ctx, request{
		doing: doing, subject: "node " + node, verb: http.MethodGet, path: []string{"/api/v1/nodes", node, "proxy/configz"},
	}, &answer)
	if err != nil {
		return nil, err
	}
	if answer.Config == nil {
		return nil, c.fault(doing, "node "+node, errors.New("the answer holds no configuration"))
	}
	return answer.Config, nil
}

// AdminGet asks for a path ("/readyz?verbose") with the administrator's credentials and gives the answer's status, whatever
// it is. userAgent marks the request in the audit log; empty: the usual one.
func (c *Client) AdminGet(ctx context.Context, path, userAgent string) (status int, err error) {
	status, _, err = c.get(ctx, "asking for "+path, path, userAgent)
	return status, err
}

// Readyz asks the API server for its own checks, and names those that fail.
func (c *Client) Readyz(ctx context.Context) (ready bool, failing []string, err error) {
	const doing = "asking whether the API server is ready"
	status, body, err := c.get(ctx, doing, "/readyz?verbose", "")
	if err != nil {
		return false, nil, err
	}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "[-]"); ok {
			failing = append(failing, strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(name), "failed: reason withheld")))
		}
	}
	if status != http.StatusOK && len(failing) == 0 {
		return false, nil, c.fault(doing, "", genericStatus(status))
	}
	return status == http.StatusOK, failing, nil
}

// Leases are the leases of kube-system, by name.
func (c *Client) Leases(ctx context.Context) (map[string]harden.Lease, error) {
	type lease struct {
		Meta objects.Meta `json:"metadata"`
		Spec struct {
			Holder   string    `json:"holderIdentity"`
			Acquired time.Time `json:"acquireTime"`
			Renewed  time.Time `json:"renewTime"`
		} `json:"spec"`
	}
	all, err := list(ctx, c, "leases", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", func(l lease) []lease { return []lease{l} })
	if err != nil {
		return nil, err
	}
	out := map[string]harden.Lease{}
	for _, l := range all {
		out[l.Meta.Name] = harden.Lease(l.Spec)
	}
	return out, nil
}

func (c *Client) get(ctx context.Context, doing, path, userAgent string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.open(ctx, path, userAgent)
	if err != nil {
		return 0, "", c.fault(doing, "", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, "", c.fault(doing, "", err)
	}
	return resp.StatusCode, string(data), nil
}

func genericStatus(code int) error {
	message := fmt.Sprintf("the answer is %d %s", code, http.StatusText(code))
	return apierrors.NewGenericServerResponse(code, http.MethodGet, schema.GroupResource{}, "", message, 0, false)
}
