package cluster

import (
	"net/http"
	"strings"
	"testing"
)

func TestWorkingAsksWhatTrafficIsNeededFor(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("/apis/apiregistration.k8s.io/v1/apiservices", `{"items": [
		{"metadata": {"name": "v1."}, "spec": {}},
		{"metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": {"service": {"namespace": "monitoring", "name": "metrics"}}},
		{"metadata": {"name": "v1.gone.example.com"}, "spec": {"service": {"namespace": "shop", "name": "gone"}}}]}`)
	a.json("/apis/metrics.k8s.io/v1beta1", `{}`)
	a.fails("/apis/gone.example.com/v1", http.StatusServiceUnavailable, "ServiceUnavailable", "no endpoints")
	a.json("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", `{"items": [
		{"metadata": {"labels": {"kubernetes.io/service-name": "web"}}, "endpoints": [{"conditions": {"ready": false}}, {"conditions": {"ready": true}}]},
		{"metadata": {"labels": {"kubernetes.io/service-name": "slow"}}, "endpoints": [{"conditions": {"ready": false}}]},
		{"metadata": {"labels": {"kubernetes.io/service-name": "idle"}}, "endpoints": []},
		{"metadata": {}, "endpoints": [{"conditions": {}}]}]}`)
	made := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusCreated, "{}") }
	a.handle(http.MethodPost+" /api/v1/namespaces/kube-system/pods", made)
	a.fails(http.MethodPost+" /api/v1/namespaces/shop/pods", http.StatusInternalServerError, "InternalError", "failed calling webhook")

	got, err := a.client(t).Working(t.Context(), []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"pods can be made in kube-system":                   "",
		"pods can be made in shop":                          "failed calling webhook",
		"the aggregated API v1beta1.metrics.k8s.io answers": "",
		"the aggregated API v1.gone.example.com answers":    "no endpoints",
		"Service shop/web has endpoints that are ready":     "",
		"Service shop/slow has endpoints that are ready":    "none is ready",
	}
	for name, trouble := range want {
		if is, there := got[name]; !there || trouble == "" && is != "" || !strings.Contains(is, trouble) {
			t.Errorf("%s: %q (%t), want %q", name, is, there, trouble)
		}
	}
	if len(got) != len(want) {
		t.Errorf("asked for %v", got)
	}
	for _, r := range a.got() {
		if r.method == http.MethodPost && !strings.Contains(r.query, "dryRun=All") {
			t.Errorf("%s is kept: %s", r.path, r.query)
		}
	}

	a.fails("/apis/apiregistration.k8s.io/v1/apiservices", http.StatusForbidden, "Forbidden", "no")
	if got, err := a.client(t).Working(t.Context(), []string{"shop"}); err == nil {
		t.Errorf("what cannot be asked is %v", got)
	}
}
