package host

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// node is a server of health endpoints of every temper.
func node(t *testing.T, secure bool) (ProbeRequest, *httptest.Server) {
	t.Helper()
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s auth=%q cookie=%q agent=%q accept=%q encoding=%q close=%v", r.URL.RawQuery, r.Header.Get("Authorization"),
			r.Header.Get("Cookie"), r.UserAgent(), r.Header.Get("Accept"), r.Header.Get("Accept-Encoding"), r.Close)
	})
	mux.HandleFunc("/from", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	mux.HandleFunc("/unauthorized", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Unauthorized", http.StatusUnauthorized) })
	mux.HandleFunc("/forbidden", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Forbidden", http.StatusForbidden) })
	mux.HandleFunc("/failing", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "[-]etcd failed", http.StatusInternalServerError)
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { wait(r, release) })
	mux.HandleFunc("/hangs-in-body", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "o")
		w.(http.Flusher).Flush()
		wait(r, release)
	})
	mux.HandleFunc("/streams", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/healthz?moved", http.StatusFound) })
	mux.HandleFunc("/elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://elsewhere.invalid/", http.StatusFound)
	})
	mux.HandleFunc("/circle", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/circle", http.StatusFound) })
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		server.EnableHTTP2 = true
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(func() { close(release); server.Close() })
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return ProbeRequest{Scheme: u.Scheme, Host: u.Hostname(), Port: port, Timeout: 10 * time.Second}, server
}

func wait(r *http.Request, release chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-release:
	}
}

func TestProbe(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	for _, secure := range []bool{false, true} {
		// HTTP/2, which is spoken over TLS, has no such thing as closing after one request.
		asked := fmt.Sprintf(`auth="" cookie="" agent="kube-probe/kubectl-harden" accept="*/*" encoding="" close=%v`, !secure)
		q, _ := node(t, secure)
		for _, tt := range []struct {
			path   string
			status int
			body   string
			err    string
		}{
			{"/healthz?verbose", 200, "verbose " + asked, ""},
			{"/moved", 200, "moved " + asked, ""},
			{"http://user:secret@elsewhere.invalid/healthz?taken", 200, "taken " + asked, ""},
			{"/unauthorized", 401, "Unauthorized\n", ""},
			{"/forbidden", 403, "Forbidden\n", ""},
			{"/failing", 500, "[-]etcd failed\n", ""},
			{"/none", 404, "404 page not found\n", ""},
			{"/streams", 200, strings.Repeat("x", 10<<10), ""},
			{"/elsewhere", 302, "<a href=", ""},
			{"/circle", 0, "", "stopped after 10 redirects"},
			{"/a\nb\x1b[2J", 404, "404 page not found\n", ""},
			{"%zz", 404, "404 page not found\n", ""},
		} {
			q.Path = tt.path
			got := Probe(t.Context(), q)
			if got.Status != tt.status || !strings.HasPrefix(got.Body, tt.body) || len(got.Body) > 10<<10 {
				t.Errorf("%s: %d %.120q %v", q, got.Status, got.Body, got.Err)
			}
			if (got.Err == nil) != (tt.err == "") || got.Err != nil && !strings.Contains(got.Err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", q, got.Err, tt.err)
			}
		}
	}
}

func TestProbeGivesUp(t *testing.T) {
	q, _ := node(t, false)
	q.Timeout = 50 * time.Millisecond
	for path, status := range map[string]int{"/hangs": 0, "/hangs-in-body": 200} {
		q.Path = path
		began := time.Now()
		got := Probe(t.Context(), q)
		if !errors.Is(got.Err, context.DeadlineExceeded) || got.Status != status || time.Since(began) < q.Timeout {
			t.Errorf("%s: %+v", path, got)
		}
	}
	q.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Probe(ctx, q); !errors.Is(got.Err, context.Canceled) {
		t.Errorf("cancelled: %+v", got)
	}
}

func TestProbeOpensAConnectionEachTime(t *testing.T) {
	q, _ := node(t, false)
	q.Path = "/from"
	from := make(map[string]bool)
	for range 5 {
		got := Probe(t.Context(), q)
		if got.Err != nil || got.Status != 200 {
			t.Fatalf("%+v", got)
		}
		from[got.Body] = true
	}
	if len(from) != 5 {
		t.Errorf("%d connections for 5 probes", len(from))
	}
}

func TestProbeOfAClosedPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if got := Probe(t.Context(), ProbeRequest{TCP: true, Host: "127.0.0.1", Port: port}); got.Err != nil || got.Status != 0 {
		t.Errorf("an open port: %+v", got)
	}
	l.Close()
	for _, q := range []ProbeRequest{{TCP: true, Host: "127.0.0.1", Port: port}, {Scheme: "HTTP", Host: "127.0.0.1", Port: port, Path: "/x"}} {
		got := Probe(t.Context(), q)
		if got.Err == nil || !strings.HasPrefix(got.Err.Error(), fmt.Sprintf("probing %s: ", q)) {
			t.Errorf("a closed port: %+v", got)
		}
	}
}

func TestProbeChecksTheServerWhenAsked(t *testing.T) {
	q, server := node(t, true)
	q.Path = "/healthz"
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	q.CA = ca
	if got := Probe(t.Context(), q); got.Err != nil || got.Status != 200 {
		t.Errorf("its own certificate: %+v", got)
	}
	q.CA = []byte("none")
	if got := Probe(t.Context(), q); got.Err == nil {
		t.Errorf("no certificate: %+v", got)
	}
	q.CA, q.Host = ca, "localhost"
	if got := Probe(t.Context(), q); got.Err == nil {
		t.Errorf("another name than the certificate's: %+v", got)
	}
}
