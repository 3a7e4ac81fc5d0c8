package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

var errNoControlPlane = errors.New("there are none: no static pod of an API server is known")

// ControlPlanes are the API servers that kubeadm has set up, by the static pods that the API knows. One whose machine is away
// is among them.
func (c *Client) ControlPlanes(ctx context.Context) ([]harden.ControlPlane, error) {
	const doing = "control planes"
	found, err := list(ctx, c, doing, "/api/v1/namespaces/kube-system/pods?labelSelector="+
		url.QueryEscape("component=kube-apiserver,tier=control-plane"), some(objects.Pod.ControlPlane))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, c.fault("listing "+doing, "", errNoControlPlane)
	}
	return found, nil
}

// AskAt gets a path from the API server at an address ("192.0.2.11:6443") of its own; any answer but 200 is an error.
func (c *Client) AskAt(ctx context.Context, address, path string) error {
	return c.at(ctx, "asking for "+path, address, path, func(body io.Reader) error {
		_, _ = io.Copy(io.Discard, io.LimitReader(body, 1<<20))
		return nil
	})
}

// at gets a path from the API server at an address of its own, for which its certificate has to be, on a new connection.
func (c *Client) at(ctx context.Context, doing, address, path string, read func(body io.Reader) error) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return c.fault(doing, strconv.Quote(address), fmt.Errorf("it is not an address with a port"))
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, (&url.URL{Scheme: "https", Host: address, Path: path}).String(), nil)
	if err != nil {
		return c.fault(doing, strconv.Quote(address), err)
	}
	utilnet.CloseIdleConnectionsFor(c.http.Transport)
	answer, err := c.http.Do(request)
	if err != nil {
		return c.fault(doing, address, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
		return c.fault(doing, address, genericStatus(answer.StatusCode))
	}
	if err := read(answer.Body); err != nil {
		return c.fault(doing, address, err)
	}
	return nil
}

// Endpoints are the addresses that the Service default/kubernetes leads to: those of the API servers that serve.
func (c *Client) Endpoints(ctx context.Context) ([]string, error) {
	type slice struct {
		Ports []struct {
			Port int `json:"port"`
		} `json:"ports"`
		Endpoints []struct {
			Addresses  []string `json:"addresses"`
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
	}
	return list(ctx, c, "endpoints of the API", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector="+
		url.QueryEscape("kubernetes.io/service-name=kubernetes"), func(s slice) (out []string) {
		for _, e := range s.Endpoints {
			for _, a := range e.Addresses {
				for _, p := range s.Ports {
					if e.Conditions.Ready == nil || *e.Conditions.Ready {
						out = append(out, net.JoinHostPort(strings.TrimSpace(a), strconv.Itoa(p.Port)))
					}
				}
			}
		}
		return out
	})
}
