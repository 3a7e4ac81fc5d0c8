package cluster

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// Each way in which a request can fail has its reason, and one line that says it.
func TestReasons(t *testing.T) {
	address := func(a *apiServer, url string) func(*clientcmdapi.Config) {
		return func(c *clientcmdapi.Config) { c.Clusters["test"].Server = url }
	}
	hang := make(chan struct{})
	defer close(hang)
	for name, test := range map[string]struct {
		pki         pkiOptions
		arrange     func(t *testing.T, a *apiServer)
		config      func(a *apiServer) func(*clientcmdapi.Config)
		reason      objects.Reason
		unreachable bool
		says        string
	}{
		"nobody listens": {
			config: func(a *apiServer) func(*clientcmdapi.Config) { a.Close(); return nil },
			reason: objects.Unreachable, unreachable: true, says: "refused",
		},
		"not TLS": {
			config: func(a *apiServer) func(*clientcmdapi.Config) {
				return address(a, "https://"+plainServer(t))
			},
			reason: objects.Unreachable, unreachable: true, says: "does not speak TLS",
		},
		"hangs": {
			arrange: func(t *testing.T, a *apiServer) {
				a.handle("/api/v1/nodes/cp1", func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-hang:
					case <-r.Context().Done():
					}
				})
			},
			reason: objects.TimedOut, unreachable: true, says: "no answer within 300ms",
		},
		"another CA": {
			config: func(a *apiServer) func(*clientcmdapi.Config) {
				other := newPKI(t, pkiOptions{})
				return func(c *clientcmdapi.Config) { c.Clusters["test"].CertificateAuthorityData = other.caPEM }
			},
			reason: objects.Certificate, says: "not from the CA that the kubeconfig trusts",
		},
		"another name": {
			pki: pkiOptions{serverName: "api.example"}, reason: objects.Certificate, says: "for another name",
		},
		"expired": {
			pki: pkiOptions{serverEnd: time.Now().AddDate(-1, 0, 0)}, reason: objects.Certificate, says: "is not valid",
		},
		"unauthorized": {
			arrange: func(t *testing.T, a *apiServer) { a.fails("/api/v1/nodes/cp1", 401, "Unauthorized", "Unauthorized") },
			reason:  objects.Unauthorized, says: "does not know the credentials",
		},
		"forbidden": {
			arrange: func(t *testing.T, a *apiServer) {
				a.fails("/api/v1/nodes/cp1", 403, "Forbidden", `nodes "cp1" is forbidden: User "dev" cannot get resource "nodes"`)
			},
			reason: objects.Forbidden, says: `User "dev" cannot get`,
		},
		"absent": {reason: objects.NotFound, says: "could not find"},
		"starting": {
			arrange: func(t *testing.T, a *apiServer) {
				a.handle("/api/v1/nodes/cp1", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "starting", http.StatusServiceUnavailable) })
			},
			reason: objects.Unreachable, unreachable: true, says: "asking whether the node is ready: node cp1: ",
		},
		"wrong schema": {
			arrange: func(t *testing.T, a *apiServer) {
				a.fails("/api/v1/nodes/cp1", 500, "", "failed to create typed patch object (shop/deny): .spec.egres: field not declared in schema")
			},
			reason: objects.Refused, says: ".spec.egres: field not declared",
		},
		"internal error": {
			arrange: func(t *testing.T, a *apiServer) {
				a.fails("/api/v1/nodes/cp1", 500, "InternalError", "failed calling webhook")
			},
			reason: objects.Failed, says: "failed calling webhook",
		},
		"garbage": {
			arrange: func(t *testing.T, a *apiServer) { a.json("/api/v1/nodes/cp1", "{\"metadata\": \x1b[2J") },
			reason:  objects.Failed, says: "the answer cannot be decoded",
		},
		"terminal escapes": {
			arrange: func(t *testing.T, a *apiServer) {
				a.fails("/api/v1/nodes/cp1", 403, "Forbidden", "no\x1b[2J\r\nway \u202eback")
			},
			reason: objects.Forbidden, says: `no\x1b[2J way \u202eback`,
		},
		"endless": {
			arrange: func(t *testing.T, a *apiServer) {
				a.handle("/api/v1/nodes/cp1", func(w http.ResponseWriter, r *http.Request) {
					chunk := []byte(strings.Repeat("x", 1<<20))
					for range maxAnswer>>20 + 8 {
						if _, err := w.Write(chunk); err != nil {
							return
						}
					}
				})
			},
			reason: objects.Failed, says: "larger than 64 MiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, test.pki)
			if test.arrange != nil {
				test.arrange(t, a)
			}
			var change func(*clientcmdapi.Config)
			if test.config != nil {
				change = test.config(a)
			}
			timeout := 20 * time.Second
			if test.reason == objects.TimedOut {
				timeout = 300 * time.Millisecond
			}
			c, err := Connect(Options{Kubeconfig: a.kubeconfig(t, change), Timeout: timeout})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = c.NodeReady(t.Context(), "cp1", time.Time{})
			var fault *objects.Error
			if !errors.As(err, &fault) {
				t.Fatalf("got %v", err)
			}
			if fault.Reason != test.reason || fault.Unreachable() != test.unreachable {
				t.Errorf("reason %s, unreachable %t: %v", fault.Reason, fault.Unreachable(), err)
			}
			if !strings.Contains(err.Error(), test.says) || strings.ContainsAny(err.Error(), "\x1b\r\n") {
				t.Errorf("got %q, want %q in it", err, test.says)
			}
		})
	}
}

// plainServer answers every connection with something that is not TLS.
func plainServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n"))
			conn.Close()
		}
	}()
	return l.Addr().String()
}

// What cannot be provoked at will.
func TestReasonsOfConnections(t *testing.T) {
	c := newAPI(t, pkiOptions{}).client(t)
	for name, test := range map[string]struct {
		err    error
		reason objects.Reason
		says   string
	}{
		"client certificate refused": {&net.OpError{Op: "remote error", Err: errors.New("tls: expired certificate")}, objects.Certificate, "refuses the TLS handshake: tls: expired certificate"},
		"no such name":               {&net.DNSError{Err: "no such host", Name: "api.example"}, objects.Unreachable, "no such host"},
		"closed in the middle":       {io.ErrUnexpectedEOF, objects.Unreachable, "unexpected EOF"},
		"server goes away":           {errors.New("http2: server sent GOAWAY and closed the connection"), objects.Unreachable, "GOAWAY"},
	} {
		var fault *objects.Error
		err := c.fault("asking", "", &url.Error{Op: "Get", URL: "https://192.0.2.11/x", Err: test.err})
		if !errors.As(err, &fault) || fault.Reason != test.reason || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "192.0.2.11") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExpiredAdministrator(t *testing.T) {
	a := newAPI(t, pkiOptions{adminEnd: time.Date(2025, 3, 4, 0, 0, 0, 0, time.UTC)})
	a.fails("/api/v1/nodes/cp1", 401, "Unauthorized", "Unauthorized")
	c := a.client(t)
	_, _, err := c.NodeReady(t.Context(), "cp1", time.Time{})
	if err == nil || !strings.Contains(err.Error(), "the client certificate expired on 2025-03-04") {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	a := newAPI(t, pkiOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.client(t).AdminGet(ctx, "/readyz", "")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Nothing follows a redirect: the credentials are for one address.
func TestRedirect(t *testing.T) {
	other := newAPI(t, pkiOptions{})
	a := newAPI(t, pkiOptions{})
	for _, path := range []string{"/readyz", "/api/v1/nodes/cp1", "/version"} {
		a.handle(path, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+path, http.StatusTemporaryRedirect)
		})
	}
	c := a.client(t)
	if status, err := c.AdminGet(t.Context(), "/readyz", ""); err != nil || status != http.StatusTemporaryRedirect {
		t.Errorf("status %d, %v", status, err)
	}
	if _, _, err := c.NodeReady(t.Context(), "cp1", time.Time{}); err == nil {
		t.Error("a redirect was taken for an answer")
	}
	if err := c.CheckIdentity(t.Context(), harden.Identity{Node: "cp1", MachineID: "m", CADigest: a.digest}); err == nil {
		t.Error("a redirect was taken for an identity")
	}
	if got := other.got(); len(got) != 0 {
		t.Errorf("the other server was asked: %v", got)
	}
}
