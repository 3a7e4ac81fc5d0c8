package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

func TestControlPlanes(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	const pods = "/api/v1/namespaces/kube-system/pods"
	pod := func(name, node, source, address string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q, "annotations": {"kubernetes.io/config.source": %q, %q: %q}}, "spec": {"nodeName": %q}}`,
			name, source, objects.AddressAnnotation, address, node)
	}
	a.json(pods, `{"items": [`+strings.Join([]string{
		pod("kube-apiserver-cp1", "cp1", "file", "192.0.2.11:6443"),
		pod("kube-apiserver-cp2", "cp2", "file", "192.0.2.12:6443"),
		pod("kube-apiserver-cp3", "cp3", "api", "192.0.2.13:6443"), // somebody's pod with these labels
		pod("mine", "cp4", "file", "192.0.2.14:6443"),
	}, ",")+`]}`)
	c := a.client(t)
	got, err := c.ControlPlanes(t.Context())
	if err != nil || fmt.Sprint(got) != "[{cp1 192.0.2.11:6443 false} {cp2 192.0.2.12:6443 false}]" {
		t.Errorf("%v %v", got, err)
	}
	requests := a.got()
	if q := requests[len(requests)-1].query; !strings.Contains(q, "labelSelector=component%3Dkube-apiserver%2Ctier%3Dcontrol-plane") {
		t.Errorf("asked with %s", q)
	}
	a.json(pods, `{"items": []}`)
	if _, err := c.ControlPlanes(t.Context()); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("none, and no error: %v", err)
	}
}

func TestAskAt(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	code := 200
	a.handle("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	own := strings.TrimPrefix(a.URL, "https://")
	if err := c.AskAt(t.Context(), own, "/readyz"); err != nil {
		t.Error(err)
	}
	code = 500
	if err := c.AskAt(t.Context(), own, "/readyz"); err == nil || !strings.Contains(err.Error(), own+": ") || !strings.Contains(err.Error(), "500") {
		t.Errorf("not ready: %v", err)
	}
	if err := c.AskAt(t.Context(), "127.0.0.1:1", "/readyz"); reasonOf(err) != objects.Unreachable {
		t.Errorf("nobody there: %v", err)
	}
	for _, address := range []string{"", "192.0.2.1", "a:b:c", "x/y"} {
		if err := c.AskAt(t.Context(), address, "/readyz"); err == nil {
			t.Errorf("%q is an address", address)
		}
	}
	// Another cluster's API server at that address is not ours.
	other := newAPI(t, pkiOptions{})
	other.handle("/readyz", func(http.ResponseWriter, *http.Request) {})
	if err := c.AskAt(t.Context(), strings.TrimPrefix(other.URL, "https://"), "/readyz"); reasonOf(err) != objects.Certificate {
		t.Errorf("another cluster's: %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", `{"items": [{"ports": [{"name": "https", "port": 6443}], "endpoints": [
		{"addresses": ["192.0.2.11"], "conditions": {"ready": true}}, {"addresses": ["192.0.2.12"], "conditions": {"ready": false}},
		{"addresses": ["2001:db8::1"]}]}]}`)
	got, err := a.client(t).Endpoints(t.Context())
	if err != nil || fmt.Sprint(got) != "[192.0.2.11:6443 [2001:db8::1]:6443]" {
		t.Errorf("%v %v", got, err)
	}
}
