package cluster

import (
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// TestAtAnotherAddress: a second API server of the node has the certificate of the usual one, which has not its address.
func TestAtAnotherAddress(t *testing.T) {
	canary := newAPI(t, pkiOptions{serverName: "api.example"})
	canary.json("/readyz", "ok")
	named := func(c *clientcmdapi.Config) { c.Clusters["test"].Server = "https://api.example:6443" }
	c, err := Connect(Options{Kubeconfig: canary.kubeconfig(t, named)})
	if err != nil {
		t.Fatal(err)
	}
	at := func(a *apiServer) *Client {
		u, err := url.Parse(a.URL)
		if err != nil {
			t.Fatal(err)
		}
		host, port, err := net.SplitHostPort(u.Host)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		there, err := c.At(host, n)
		if err != nil {
			t.Fatal(err)
		}
		return there
	}
	status, err := at(canary).AdminGet(t.Context(), "/readyz", "")
	if err != nil || status != http.StatusOK {
		t.Errorf("%d %v", status, err)
	}
	ready, failing, err := at(canary).Readyz(t.Context())
	if err != nil || !ready || len(failing) > 0 {
		t.Errorf("%v %v %v", ready, failing, err)
	}
	if got := canary.got(); len(got) == 0 || got[0].agent != FieldManager {
		t.Errorf("asked %+v", got)
	}
	other := newAPI(t, pkiOptions{serverName: "api.example"})
	if status, err := at(other).AdminGet(t.Context(), "/readyz", ""); err == nil {
		t.Errorf("another cluster's server is believed: %d", status)
	}
	if c.Server() != "https://api.example:6443" {
		t.Errorf("the usual address has become %s", c.Server())
	}
}

// AlwaysAllow answered the administrator's GET as RBAC does; only a refusal shows which of them it is.
func TestAccessReviewTellsAlwaysAllow(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	const path = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"
	for body, want := range map[string]bool{`{"status":{"allowed":true}}`: true, `{"status":{"allowed":false}}`: false} {
		a.handle(path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusCreated, body) })
		if got, err := a.client(t).Allowed(t.Context(), "stranger", nil, "list secrets"); err != nil || got != want {
			t.Errorf("%s: %v %v", body, got, err)
		}
	}
	if got := a.got(); len(got) != 2 || !strings.Contains(got[0].body, `"user":"stranger"`) || strings.Contains(got[0].body, "groups") {
		t.Errorf("asked %+v", got)
	}
	a.handle(path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusCreated, "{}") })
	if _, err := a.client(t).Allowed(t.Context(), "stranger", nil, "list secrets"); err == nil {
		t.Error("no answer is taken for a refusal")
	}
	a.fails(path, http.StatusForbidden, "Forbidden", "no")
	if _, err := a.client(t).Allowed(t.Context(), "stranger", nil, "list secrets"); err == nil {
		t.Error("a review that was not made is taken for a refusal")
	}
}

func TestAccessReviewSaysWhoAndWhat(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.handle("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusCreated, `{"status":{"allowed":true}}`)
	})
	for access, want := range map[string]string{
		"patch nodes/status cp1":                `{"group":"","name":"cp1","resource":"nodes","subresource":"status","verb":"patch"}`,
		"watch endpointslices.discovery.k8s.io": `{"group":"discovery.k8s.io","name":"","resource":"endpointslices","subresource":"","verb":"watch"}`,
		"update deployments.apps/scale web":     `{"group":"apps","name":"web","resource":"deployments","subresource":"scale","verb":"update"}`,
	} {
		if allowed, err := a.client(t).Allowed(t.Context(), "system:node:cp1", []string{"system:nodes"}, access); err != nil || !allowed {
			t.Errorf("%s: %v %v", access, allowed, err)
		}
		all := a.got()
		if body := all[len(all)-1].body; !strings.Contains(body, `"groups":["system:nodes"]`) || !strings.Contains(body, want) {
			t.Errorf("%s: %s", access, body)
		}
	}
}

func TestTrialWriteIsNotKept(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	const path = "/api/v1/namespaces/kube-system/configmaps"
	a.handle(http.MethodPost+" "+path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusCreated, "{}") })
	if err := a.client(t).TrialWrite(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := a.got()
	if len(got) != 1 || !strings.Contains(got[0].query, "dryRun=All") || !strings.Contains(got[0].body, "generateName") {
		t.Errorf("asked %+v", got)
	}
	a.fails(http.MethodPost+" "+path, http.StatusForbidden, "Forbidden", "no")
	if err := a.client(t).TrialWrite(t.Context()); err == nil {
		t.Error("a refusal is taken for a write")
	}
}
