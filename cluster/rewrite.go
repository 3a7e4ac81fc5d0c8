package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

// rewritten are the resources that can be written anew, all of the group without a name and in namespaces.
var rewritten = []string{"secrets", "configmaps"}

// rewritePage is small, as the objects come whole: that each of them can be read is what the list proves.
const rewritePage = "50"

// Names are the objects of a resource ("kube-system/token"). They are read wholly, and nothing of them is kept: one that could not be
// decrypted is an error.
func (c *Client) Names(ctx context.Context, resource string) ([]string, error) {
	type named struct {
		Meta struct {
			Namespace string `json:"namespace"`
			Name      string `json:"name"`
		} `json:"metadata"`
	}
	if !slices.Contains(rewritten, resource) {
		return nil, c.fault("listing "+resource, "", errors.New("they are not written anew from here"))
	}
	return list(ctx, c, resource, "/api/v1/"+resource+"?limit="+rewritePage, func(n named) []string {
		return []string{n.Meta.Namespace + "/" + n.Meta.Name}
	})
}

// maxRewrites is how often somebody else may be faster.
const maxRewrites = 10

// Rewrite writes an object as it is, so that the server stores it as it stores everything now: it does so although nothing changes
// where what is stored was not written by the first provider. One that is gone is no error.
func (c *Client) Rewrite(ctx context.Context, resource, name string) error {
	const doing = "writing anew"
	namespace, object, ok := strings.Cut(name, "/")
	if !ok || !slices.Contains(rewritten, resource) {
		return c.fault(doing, resource+" "+name, errors.New("it is not written anew from here"))
	}
	path := []string{"/api/v1/namespaces", namespace, resource, object}
	var err error
	for range maxRewrites {
		var now json.RawMessage
		_, err = c.do(ctx, request{doing: doing, subject: resource + " " + name, verb: http.MethodGet, path: path}, &now)
		if err == nil {
			_, err = c.do(ctx, request{
				doing: doing, subject: resource + " " + name, verb: http.MethodPut, path: path, media: "application/json", body: now,
				query: url.Values{"fieldManager": {FieldManager}},
			}, nil)
		}
		var fault *objects.Error
		switch {
		case err == nil:
			return nil
		case errors.As(err, &fault) && fault.NotFound():
			return nil
		case !errors.As(err, &fault):
			return err
		case fault.Reason == objects.Refused:
			// The server's words may quote what it does not take, which is secret here.
			return c.fault(doing, resource+" "+name, errors.New("the API server does not take it as it is"))
		case fault.Reason != objects.Changed:
			return err
		}
	}
	return fmt.Errorf("%w, %d times", err, maxRewrites)
}
