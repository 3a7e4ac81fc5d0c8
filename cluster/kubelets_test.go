package cluster

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// kubelet serves with a certificate and gives its port.
func kubelet(t *testing.T, cert tls.Certificate) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

// closedPort is one that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	return port
}

func TestKubeletsAreLookedAt(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	node := func(name, port string) string {
		return fmt.Sprintf(`{"metadata": {"name": %q}, "status": {"addresses": [{"type": "Hostname", "address": %q}, {"type": "InternalIP", "address": "127.0.0.1"}],
			"daemonEndpoints": {"kubeletEndpoint": {"Port": %s}}}}`, name, name, port)
	}
	nodes := []string{
		node("ours", kubelet(t, a.server)),                      // of the cluster's CA
		node("own", kubelet(t, newPKI(t, pkiOptions{}).server)), // of another
		node("client", kubelet(t, a.admin)),                     // of the cluster's CA, and no server's
		node("gone", closedPort(t)),
		`{"metadata": {"name": "silent"}}`,
	}
	a.json("/api/v1/nodes", `{"items": [`+strings.Join(nodes, ",")+`]}`)
	c := a.client(t)
	if _, missing := c.Facts(t.Context(), []harden.Need{harden.NeedKubelets}); !strings.Contains(missing[harden.NeedKubelets].String(), "on a control-plane node only") {
		t.Errorf("a workstation asks kubelets: %v", missing)
	}
	c.onNode = true
	facts, missing := c.Facts(t.Context(), []harden.Need{harden.NeedKubelets})
	if len(missing) > 0 || len(facts.KubeletServing) != len(nodes) {
		t.Fatalf("%v %+v", missing, facts.KubeletServing)
	}
	for i, want := range []struct{ problem, unread string }{
		{"", ""}, {"unknown authority", ""}, {"incompatible key usage", ""}, {"", "refused"}, {"", "does not say where"},
	} {
		k := facts.KubeletServing[i]
		if !strings.Contains(k.Problem.String(), want.problem) || k.Problem.IsZero() != (want.problem == "") ||
			!strings.Contains(k.Unread.String(), want.unread) || k.Unread.IsZero() != (want.unread == "") {
			t.Errorf("%s: problem %q, unread %q", k.Node, k.Problem, k.Unread)
		}
	}
	if k := facts.KubeletServing[0]; !slices.Equal(k.Addresses, []string{"127.0.0.1"}) || len(k.NodeAddresses) != 2 {
		t.Errorf("%+v", k)
	}
	before := len(a.got())
	if both, missing := c.Facts(t.Context(), []harden.Need{harden.NeedNodes, harden.NeedKubelets}); len(missing) > 0 || len(both.Nodes) != len(nodes) {
		t.Errorf("both: %v %+v", missing, both.Nodes)
	}
	lists := 0
	for _, r := range a.got()[before:] {
		if r.path == "/api/v1/nodes" {
			lists++
		}
	}
	if lists != 1 {
		t.Errorf("nodes are listed %d times", lists)
	}
}
