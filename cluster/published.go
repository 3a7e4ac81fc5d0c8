package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

// KubernetesService is the address and port by which pods reach the API: "10.96.0.1:443".
func (c *Client) KubernetesService(ctx context.Context) (string, error) {
	const doing, subject = "reading", "Service default/kubernetes"
	var service struct {
		Spec struct {
			ClusterIP string `json:"clusterIP"`
			Ports     []struct {
				Name string `json:"name"`
				Port int    `json:"port"`
			} `json:"ports"`
		} `json:"spec"`
	}
	_, err := c.do(ctx, request{doing: doing, subject: subject, verb: http.MethodGet, path: []string{"/api/v1/namespaces/default/services/kubernetes"}}, &service)
	if err != nil {
		return "", err
	}
	if net.ParseIP(service.Spec.ClusterIP) == nil || len(service.Spec.Ports) != 1 {
		return "", c.fault(doing, subject, fmt.Errorf("it has no address, or not one port: %q, %d ports", service.Spec.ClusterIP, len(service.Spec.Ports)))
	}
	return net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(service.Spec.Ports[0].Port)), nil
}

// published are the collections that say where default/kubernetes leads to. An API server writes both.
var published = []struct{ path, query string }{
	{"/api/v1/namespaces/default/endpoints", "fieldSelector=" + url.QueryEscape("metadata.name=kubernetes")},
	{"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", "labelSelector=" + url.QueryEscape("kubernetes.io/service-name=kubernetes")},
}

// SavePublished gives what says where default/kubernetes leads to, for RestorePublished.
func (c *Client) SavePublished(ctx context.Context) ([]byte, error) {
	saved := make([][]objects.Object, len(published))
	for i, p := range published {
		var err error
		if saved[i], err = list(ctx, c, "endpoints of the API", p.path+"?"+p.query, func(o objects.Object) []objects.Object { return []objects.Object{o} }); err != nil {
			return nil, err
		}
	}
	return json.Marshal(saved)
}

// RestorePublished makes default/kubernetes lead to where it led to, by this client's own server.
func (c *Client) RestorePublished(ctx context.Context, saved []byte) error {
	var all [][]objects.Object
	if err := json.Unmarshal(saved, &all); err != nil || len(all) != len(published) {
		return c.fault("restoring the endpoints of the API", "", errors.New("what was saved cannot be read"))
	}
	var errs []error
	for i, found := range all {
		for _, o := range found {
			errs = append(errs, c.putPublished(ctx, published[i].path, o))
		}
	}
	return errors.Join(errs...)
}

func (c *Client) putPublished(ctx context.Context, collection string, o objects.Object) error {
	doing, subject := "restoring the endpoints of the API", collection+"/"+o.Meta("name")
	r := request{doing: doing, subject: subject, verb: http.MethodGet, path: []string{collection, o.Meta("name")}}
	var now objects.Object
	_, err := c.do(ctx, r, &now)
	var fault *objects.Error
	gone := errors.As(err, &fault) && fault.NotFound()
	if err != nil && !gone {
		return err
	}
	meta, _ := o["metadata"].(map[string]any)
	for _, own := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		delete(meta, own)
	}
	r.verb, r.media = http.MethodPost, "application/json"
	if r.path = []string{collection}; !gone {
		r.verb, r.path = http.MethodPut, []string{collection, o.Meta("name")}
		meta["resourceVersion"] = now.Meta("resourceVersion")
	}
	if r.body, err = json.Marshal(o); err != nil {
		return c.fault(doing, subject, err)
	}
	_, err = c.do(ctx, r, nil)
	return err
}
