package cluster

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

// asksAtOnce is how many questions of Working are under way at the same time.
const asksAtOnce = 8

// Working asks for what traffic of the namespaces can be needed for, and gives by the name of each thing what is wrong with it,
// "" where it works: pods can be made there and in kube-system (a dry run, which asks the webhooks), aggregated APIs answer, and
// Services of the namespaces have endpoints that are ready. An error says that the API could not be asked at all.
func (c *Client) Working(ctx context.Context, namespaces []string) (map[string]string, error) {
	aggregated, err := list(ctx, c, "aggregated APIs", "/apis/apiregistration.k8s.io/v1/apiservices", some(objects.APIService.Fact))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	asks := map[string]func() error{}
	for _, ns := range slices.Compact(slices.Sorted(slices.Values(append([]string{"kube-system"}, namespaces...)))) {
		asks["pods can be made in "+ns] = func() error { return c.trialPod(ctx, ns) }
	}
	for _, a := range aggregated {
		version, group, _ := strings.Cut(a.Name, ".")
		asks["the aggregated API "+a.Name+" answers"] = func() error {
			_, err := c.do(ctx, request{doing: "asking", subject: a.Name, verb: http.MethodGet, path: []string{"/apis", group, version}}, nil)
			return err
		}
	}
	for _, ns := range namespaces {
		ready, err := c.readyServices(ctx, ns)
		if err != nil {
			return nil, err
		}
		for service, is := range ready {
			name := "Service " + ns + "/" + service + " has endpoints that are ready"
			if out[name] = ""; !is {
				out[name] = "none is ready"
			}
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	places := make(chan struct{}, asksAtOnce)
	for name, ask := range asks {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			trouble := ""
			if err := ask(); err != nil {
				trouble = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			out[name] = trouble
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

// trialPod asks the server to make a pod that every Pod Security Standard takes, which it checks as any other and does not keep.
func (c *Client) trialPod(ctx context.Context, namespace string) error {
	pod, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"generateName": "kubectl-harden-"},
		"spec": map[string]any{
			"securityContext": map[string]any{"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{
				"name": "trial", "image": "registry.k8s.io/pause:3.10",
				"securityContext": map[string]any{"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []string{"ALL"}}},
				"resources": map[string]any{
					"requests": map[string]any{"cpu": "1m", "memory": "1Mi"}, "limits": map[string]any{"cpu": "1m", "memory": "8Mi"},
				},
			}},
		},
	})
	if err != nil {
		return c.fault("trying a pod", namespace, err)
	}
	_, err = c.do(ctx, request{
		doing: "trying a pod", subject: namespace, verb: http.MethodPost, path: []string{"/api/v1/namespaces", namespace, "pods"},
		query: url.Values{"dryRun": {metav1.DryRunAll}, "fieldManager": {FieldManager}}, media: "application/json", body: pod,
	}, nil)
	return err
}

// readyServices are the Services of a namespace that have endpoints, and whether one of these is ready.
func (c *Client) readyServices(ctx context.Context, namespace string) (map[string]bool, error) {
	type slice struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
		Endpoints []struct {
			Conditions struct {
				Ready *bool `json:"ready"`
			} `json:"conditions"`
		} `json:"endpoints"`
	}
	slices, err := list(ctx, c, "endpoints", "/apis/discovery.k8s.io/v1/namespaces/"+url.PathEscape(namespace)+"/endpointslices",
		func(s slice) []slice { return []slice{s} })
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, s := range slices {
		service := s.Metadata.Labels["kubernetes.io/service-name"]
		for _, e := range s.Endpoints {
			ready[service] = ready[service] || e.Conditions.Ready == nil || *e.Conditions.Ready
		}
	}
	delete(ready, "")
	return ready, nil
}
