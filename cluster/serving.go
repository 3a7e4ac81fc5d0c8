package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

const signingRequests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// signingRequest is a certificates.k8s.io/v1 CertificateSigningRequest.
type signingRequest struct {
	Meta objects.Meta `json:"metadata"`
	Spec struct {
		Signer  string   `json:"signerName"`
		User    string   `json:"username"`
		Groups  []string `json:"groups"`
		Usages  []string `json:"usages"`
		Request []byte   `json:"request"`
	} `json:"spec"`
	Status struct {
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (s signingRequest) fact() harden.ServingRequest {
	r := harden.ServingRequest{
		Name: s.Meta.Name, UID: s.Meta.UID, ResourceVersion: s.Meta.ResourceVersion, Created: s.Meta.Created, Signer: s.Spec.Signer,
		User: s.Spec.User, Groups: s.Spec.Groups, Usages: s.Spec.Usages, Request: s.Spec.Request,
	}
	for _, c := range s.Status.Conditions {
		r.Approved = r.Approved || c.Type == "Approved" && c.Status == "True"
		r.Denied = r.Denied || (c.Type == "Denied" || c.Type == "Failed") && c.Status == "True"
	}
	return r
}

// ServingRequests are a node's requests for serving certificates, newest first, and the names and addresses that its Node shows;
// none while the Node is being deleted.
func (c *Client) ServingRequests(ctx context.Context, node string) (requests []harden.ServingRequest, known []string, err error) {
	n, err := c.node(ctx, "asking for the node's addresses", node)
	if err != nil {
		return nil, nil, err
	}
	if n.Meta.Deleted.IsZero() {
		known = n.Fact().Addresses
	}
	query := url.Values{"fieldSelector": {"spec.signerName=" + harden.KubeletServingSigner}}
	requests, err = list(ctx, c, "requests for certificates", signingRequests+"?"+query.Encode(), func(s signingRequest) []harden.ServingRequest {
		if r := s.fact(); r.User == harden.KubeletUser+node {
			return []harden.ServingRequest{r}
		}
		return nil
	})
	slices.SortStableFunc(requests, func(a, b harden.ServingRequest) int { return b.Created.Compare(a.Created) })
	return requests, known, err
}

// Approve approves a request that still is the one that was checked.
func (c *Client) Approve(ctx context.Context, r harden.ServingRequest, why string) error {
	const doing = "approving a request for a certificate"
	if err := objects.CheckSegment(r.Name); err != nil {
		return c.fault(doing, r.Name, err)
	}
	var now map[string]any
	if _, err := c.do(ctx, request{doing: doing, subject: r.Name, verb: http.MethodGet, path: []string{signingRequests, r.Name}}, &now); err != nil {
		return err
	}
	meta, _ := now["metadata"].(map[string]any)
	if meta["uid"] != r.UID || meta["resourceVersion"] != r.ResourceVersion {
		return c.fault(doing, r.Name, errors.New("it was changed since it was checked"))
	}
	status, _ := now["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	conditions, _ := status["conditions"].([]any)
	status["conditions"] = append(conditions, map[string]any{
		"type": "Approved", "status": "True", "reason": "KubectlHarden", "message": why, "lastUpdateTime": time.Now().UTC().Format(time.RFC3339),
	})
	now["status"] = status
	body, err := json.Marshal(now)
	if err != nil {
		return c.fault(doing, r.Name, err)
	}
	_, err = c.do(ctx, request{
		doing: doing, subject: r.Name, verb: http.MethodPut, path: []string{signingRequests, r.Name, "approval"},
		query: url.Values{"fieldManager": {FieldManager}}, media: "application/json", body: body,
	}, nil)
	return err
}

// KubeletServing looks at the certificate that one node's kubelet serves with now.
func (c *Client) KubeletServing(ctx context.Context, node string) (harden.KubeletServingFact, error) {
	const doing = "looking at the kubelet's certificate"
	config, err := rest.TLSConfigFor(c.config)
	if err != nil || config == nil {
		return harden.KubeletServingFact{}, c.fault(doing, "", errors.New("the kubeconfig has no CA to check it with"))
	}
	n, err := c.node(ctx, doing, node)
	if err != nil {
		return harden.KubeletServingFact{}, err
	}
	return lookAtKubelet(ctx, n, config.RootCAs), nil
}
