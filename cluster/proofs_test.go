package cluster

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
)

func TestAdmissionPlugins(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	metrics := "# TYPE apiserver_admission_controller_admission_duration_seconds histogram\n"
	a.handle("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, metrics) })
	if got, err := a.client(t).AdmissionPlugins(t.Context()); err == nil {
		t.Errorf("no metric is taken for no plugin: %v", got)
	}
	const count = "apiserver_admission_controller_admission_duration_seconds_count"
	metrics += count + `{name="PodSecurity",operation="CREATE",rejected="false",type="validate"} 3` + "\n" +
		count + `{name="NodeRestriction",operation="CREATE",rejected="false",type="admit"} 1` + "\n" +
		count + `{operation="UPDATE",name="NodeRestriction",rejected="false",type="admit"} 1` + "\n" +
		`apiserver_admission_webhook_admission_duration_seconds_count{name="some.webhook",operation="CREATE"} 1` + "\n"
	if got, err := a.client(t).AdmissionPlugins(t.Context()); err != nil || !slices.Equal(got, []string{"NodeRestriction", "PodSecurity"}) {
		t.Errorf("%v %v", got, err)
	}
	a.fails("/metrics", http.StatusForbidden, "Forbidden", "no")
	if got, err := a.client(t).AdmissionPlugins(t.Context()); err == nil {
		t.Errorf("a refusal is taken for an answer: %v", got)
	}
}

// A token is tried alone: the administrator's certificate beside it would let it in.
func TestATokenIsSentWithoutOtherCredentials(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	var header string
	var certificates int
	a.handle("/api", func(w http.ResponseWriter, r *http.Request) {
		header, certificates = r.Header.Get("Authorization"), len(r.TLS.PeerCertificates)
		status(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized")
	})
	code, err := a.client(t).GetWith(t.Context(), "sesame", "/api")
	if err != nil || code != http.StatusUnauthorized || header != "Bearer sesame" || certificates != 0 {
		t.Errorf("%d %v, sent %q with %d certificates", code, err, header, certificates)
	}
	// Nobody else is shown it.
	other := newAPI(t, pkiOptions{})
	c := a.client(t)
	c.config.Host = other.URL
	if code, err := c.GetWith(t.Context(), "sesame", "/api"); err == nil || strings.Contains(err.Error(), "sesame") || len(other.got()) > 0 {
		t.Errorf("another server is asked: %d %v", code, err)
	}
}

func TestTokenLife(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	const pods = `{"items": [
		{"metadata": {"namespace": "kube-system", "name": "kube-apiserver-cp1", "uid": "u0"}, "spec": {}},
		{"metadata": {"namespace": "shop", "name": "going", "uid": "u1", "deletionTimestamp": "2026-11-23T00:00:00Z"}, "spec": {"serviceAccountName": "default"}},
		{"metadata": {"namespace": "shop", "name": "web", "uid": "u2"}, "spec": {"serviceAccountName": "web"}}]}`
	for name, row := range map[string]struct {
		pods, token string
		want        time.Duration
		asked       bool
		fails       bool
	}{
		"an hour":           {pods, token(`{"iat":1000,"exp":4607}`), 3607 * time.Second, true, false},
		"a year":            {pods, token(`{"iat":1000,"exp":31537000}`), 8760 * time.Hour, true, false},
		"no claims":         {pods, token(`{}`), 0, false, true},
		"no token":          {pods, "", 0, false, true},
		"not a token":       {pods, "a.b.c", 0, false, true},
		"nobody has one":    {`{"items": [{"metadata": {"name": "kube-apiserver-cp1"}, "spec": {}}]}`, "", 0, false, false},
		"there is nothing ": {`{}`, "", 0, false, false},
	} {
		a := newAPI(t, pkiOptions{})
		a.json("/api/v1/pods", row.pods)
		a.handle("POST /api/v1/namespaces/shop/serviceaccounts/web/token", func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusCreated, fmt.Sprintf(`{"status": {"token": %q, "expirationTimestamp": "2026-11-23T01:00:07Z"}}`, row.token))
		})
		life, asked, err := a.client(t).TokenLife(t.Context())
		if life != row.want || asked != row.asked || (err != nil) != row.fails {
			t.Errorf("%s: %s %v %v", name, life, asked, err)
		}
		if err != nil && row.token != "" && strings.Contains(err.Error(), row.token) {
			t.Errorf("%s: the token is told: %v", name, err)
		}
		if r := last(a); asked && (!strings.Contains(r.body, `"expirationSeconds":3607`) || !strings.Contains(r.body, `"uid":"u2"`) || r.query != "dryRun=All") {
			t.Errorf("%s: asked %+v", name, r)
		}
	}
}

func TestTrialPodIsNotKept(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	const path = "POST /api/v1/namespaces/shop/pods"
	a.handle(path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusCreated, "{}") })
	if refusal, err := a.client(t).TrialPod(t.Context(), "shop"); err != nil || refusal != "" {
		t.Errorf("%q %v", refusal, err)
	}
	if r := last(a); !strings.Contains(r.query, "dryRun=All") || !strings.Contains(r.body, `"privileged":true`) {
		t.Errorf("asked %+v", r)
	}
	a.fails(path, http.StatusForbidden, "Forbidden", `pods "x" is forbidden: violates PodSecurity "baseline:latest"`)
	if refusal, err := a.client(t).TrialPod(t.Context(), "shop"); err != nil || !strings.Contains(refusal, "violates PodSecurity") {
		t.Errorf("%q %v", refusal, err)
	}
	a.fails(path, http.StatusNotFound, "NotFound", `namespaces "shop" not found`)
	if refusal, err := a.client(t).TrialPod(t.Context(), "shop"); err == nil {
		t.Errorf("no namespace is taken for %q", refusal)
	}
	if _, err := a.client(t).TrialPod(t.Context(), "../../nodes"); err == nil {
		t.Error("a namespace that is a path")
	}
}

// A component that cannot prove who it is gets to see a certificate, and no token, at a loopback address only.
func TestAComponentIsAskedWithTheCertificateAlone(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	var shown int
	var sent string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown, sent = len(r.TLS.PeerCertificates), r.Header.Get("Authorization")
		w.WriteHeader(http.StatusNotFound)
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} // its own certificate is nobody's
	s.StartTLS()
	defer s.Close()
	port := s.Listener.Addr().(*net.TCPAddr).Port
	c.config.BearerToken = "secret"
	status, err := c.GetAt(t.Context(), "127.0.0.1", port, "/debug/pprof/")
	if err != nil || status != 404 || shown != 1 || sent != "" {
		t.Errorf("%d, %d certificates, %q, %v", status, shown, sent, err)
	}
	if _, err := c.GetAt(t.Context(), "192.0.2.11", port, "/"); reasonOf(err) != objects.Credentials {
		t.Errorf("another machine was asked: %v", err)
	}
	c.config.CertData, c.config.CertFile = nil, ""
	if _, err := c.GetAt(t.Context(), "127.0.0.1", port, "/"); reasonOf(err) != objects.Credentials {
		t.Errorf("without a certificate: %v", err)
	}
}
