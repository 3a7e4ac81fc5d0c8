package cluster

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

func TestNodeReady(t *testing.T) {
	restart := time.Date(2026, 11, 23, 10, 0, 0, 700_000_000, time.UTC)
	condition := func(status, heartbeat string) string {
		return fmt.Sprintf(`{"metadata": {"name": "cp1"}, "status": {"conditions": [{"type": "Ready", "status": %q, "reason": "KubeletNotReady",
			"message": "network\nplugin is not ready", "lastHeartbeatTime": %q}]}}`, status, heartbeat)
	}
	for name, test := range map[string]struct {
		body, why string
	}{
		"reported since":         {condition("True", "2026-11-23T10:00:04Z"), ""},
		"in the same second":     {condition("True", "2026-11-23T10:00:00Z"), ""},
		"ready before":           {condition("True", "2026-11-23T09:59:59Z"), "its last report is of 2026-11-23T09:59:59Z"},
		"not ready":              {condition("False", "2026-11-23T10:00:04Z"), "KubeletNotReady: network plugin is not ready"},
		"kubelet has gone quiet": {condition("Unknown", "2026-11-23T10:00:04Z"), "KubeletNotReady"},
		"never reported":         {`{"metadata": {"name": "cp1"}}`, "it has not reported yet"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, pkiOptions{})
			a.json("/api/v1/nodes/cp1", test.body)
			ready, why, err := a.client(t).NodeReady(t.Context(), "cp1", restart)
			if err != nil || ready != (test.why == "") || !strings.Contains(why, test.why) {
				t.Errorf("ready %t, %q, %v", ready, why, err)
			}
		})
	}
}

func TestConfigz(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	const path = "/api/v1/nodes/cp1/proxy/configz"
	a.json(path, `{"kubeletconfig": {"readOnlyPort": 0, "authentication": {"anonymous": {"enabled": false}}}}`)
	c := a.client(t)
	got, err := c.Configz(t.Context(), "cp1")
	if err != nil || fmt.Sprint(got) != "map[authentication:map[anonymous:map[enabled:false]] readOnlyPort:0]" {
		t.Errorf("%v %v", got, err)
	}
	a.json(path, `{}`)
	if _, err := c.Configz(t.Context(), "cp1"); err == nil {
		t.Error("no configuration is no error")
	}
	if _, err := c.Configz(t.Context(), "cp1/../../secrets"); err == nil || len(a.got()) != 2 {
		t.Errorf("a path was asked for: %v %v", err, a.got())
	}
}

func TestAdminGet(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.handle("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	a.handle("/debug/pprof/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	c := a.client(t)
	for path, want := range map[string]int{"/readyz?verbose": 200, "/debug/pprof/": 404, "/nothing": 404} {
		if status, err := c.AdminGet(t.Context(), path, "kubectl-harden/proof-7"); err != nil || status != want {
			t.Errorf("%s: %d %v", path, status, err)
		}
		r := last(a)
		if name, query, _ := strings.Cut(path, "?"); r.path != name || r.query != query || r.agent != "kubectl-harden/proof-7" {
			t.Errorf("asked %+v", r)
		}
	}
	before := len(a.got())
	for _, path := range []string{"", "readyz", "https://192.0.2.99/x", "//192.0.2.99/x", "%zz"} {
		if _, err := c.AdminGet(t.Context(), path, ""); err == nil {
			t.Errorf("%q was asked for", path)
		}
	}
	if len(a.got()) != before {
		t.Error("the server was asked")
	}
}

func TestReadyz(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	c := a.client(t)
	code, body := 200, "[+]ping ok\nreadyz check passed\n"
	a.handle("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	})
	if ready, failing, err := c.Readyz(t.Context()); err != nil || !ready || len(failing) != 0 {
		t.Errorf("%t %v %v", ready, failing, err)
	}
	code, body = 500, "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n"
	if ready, failing, err := c.Readyz(t.Context()); err != nil || ready || fmt.Sprint(failing) != "[etcd poststarthook/rbac/bootstrap-roles]" {
		t.Errorf("%t %v %v", ready, failing, err)
	}
	code, body = 401, "Unauthorized"
	if ready, _, err := c.Readyz(t.Context()); ready || reasonOf(err) != objects.Unauthorized {
		t.Errorf("a 401 was taken for health: %t %v", ready, err)
	}
}

func TestLeases(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", `{"items": [
		{"metadata": {"name": "kube-scheduler"}, "spec": {"holderIdentity": "cp1_a", "renewTime": "2026-11-23T10:00:00.123456Z"}}, {"metadata": {"name": "new"}, "spec": {}}]}`)
	got, err := a.client(t).Leases(t.Context())
	if err != nil || !got["kube-scheduler"].Renewed.Equal(time.Date(2026, 11, 23, 10, 0, 0, 123_456_000, time.UTC)) ||
		got["kube-scheduler"].Holder != "cp1_a" || got["new"] != (harden.Lease{}) || len(got) != 2 {
		t.Errorf("%v %v", got, err)
	}
}

// A server that is a path of another one, as proxies in front of many clusters have it.
func TestServerWithAPath(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	a.json("/k8s/c1/version", `{"gitVersion": "v1.34.2"}`)
	a.json("/k8s/c1"+rootCA, `{"data": {}}`)
	a.handle("/k8s/c1/readyz", func(http.ResponseWriter, *http.Request) {})
	c, err := Connect(Options{Kubeconfig: a.kubeconfig(t, func(c *clientcmdapi.Config) { c.Clusters["test"].Server += "/k8s/c1" })})
	if err != nil {
		t.Fatal(err)
	}
	if _, version, err := c.Identity(t.Context()); err != nil || version.Minor != 34 {
		t.Errorf("%s %v", version, err)
	}
	if status, err := c.AdminGet(t.Context(), "/readyz", ""); err != nil || status != 200 {
		t.Errorf("%d %v", status, err)
	}
}
