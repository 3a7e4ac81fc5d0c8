package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestKubernetesService(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	const path = "/api/v1/namespaces/default/services/kubernetes"
	for spec, want := range map[string]string{
		`{"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}`: "10.96.0.1:443",
		`{"clusterIP": "fd96::1", "ports": [{"name": "https", "port": 443}]}`:   "[fd96::1]:443",
		`{"clusterIP": "None", "ports": [{"port": 443}]}`:                       "",
		`{"clusterIP": "10.96.0.1", "ports": []}`:                               "",
	} {
		a.json(path, `{"spec": `+spec+`}`)
		got, err := c.KubernetesService(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", spec, got, err)
		}
	}
}

// TestPublishedComesBack empties one of the two that say where the API is, deletes the other, and restores both.
func TestPublishedComesBack(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	const endpoints, slices = "/api/v1/namespaces/default/endpoints", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
	object := func(rest string) string {
		return `{"metadata": {"name": "kubernetes", "namespace": "default", "uid": "u", "resourceVersion": "7"}, ` + rest + `}`
	}
	a.json(endpoints, `{"items": [`+object(`"subsets": [{"addresses": [{"ip": "192.0.2.11"}]}]`)+`]}`)
	a.json(slices, `{"items": [`+object(`"endpoints": [{"addresses": ["192.0.2.11"]}]`)+`]}`)
	saved, err := c.SavePublished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wrote []string
	a.handle(endpoints+"/kubernetes", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			wrote = append(wrote, "PUT "+body(t, r))
		}
		fmt.Fprint(w, `{"metadata": {"name": "kubernetes", "resourceVersion": "9"}}`)
	})
	a.handle(slices, func(w http.ResponseWriter, r *http.Request) {
		wrote = append(wrote, r.Method+" "+body(t, r))
		fmt.Fprint(w, `{}`)
	})
	if err := c.RestorePublished(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	if len(wrote) != 2 || !strings.Contains(wrote[0], `"resourceVersion":"9"`) || !strings.Contains(wrote[0], "192.0.2.11") ||
		!strings.HasPrefix(wrote[1], "POST") || strings.Contains(wrote[1], "resourceVersion") || strings.Contains(wrote[1], `"uid"`) {
		t.Errorf("%q", wrote)
	}
	if err := c.RestorePublished(t.Context(), []byte("x")); err == nil {
		t.Error("something else is restored")
	}
}

func body(t *testing.T, r *http.Request) string {
	data, err := io.ReadAll(r.Body)
	if err != nil || !json.Valid(data) {
		t.Error(err)
	}
	return string(data)
}
