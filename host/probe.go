package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	defaultProbeTimeout = time.Second // as in a pod that sets none
	maxProbeBody        = 10 << 10    // as much as the kubelet reads
	maxRedirects        = 10
)

// ProbeRequest is one question of a kind that the kubelet asks.
type ProbeRequest struct {
	TCP    bool   // only open a connection
	Scheme string // "http" or "https", in any case
	Host   string // name or address, without brackets
	Port   int
	Path   string // may have a query
	// Timeout is for everything, the answer's body included; one second if it is zero.
	Timeout time.Duration
	// CA holds certificates in PEM. With it the server has to prove its name, which the kubelet does not ask for.
	CA []byte
}

// ProbeResult is an answer, or why there was none.
type ProbeResult struct {
	Status int    // of HTTP; 0 without an answer, and where only a connection was asked for
	Body   string // its beginning
	Err    error
}

// Probe asks as the kubelet does: without credentials, without checking certificates (but see CA), through no proxy, on a
// connection of its own, following redirects to the same host only.
func Probe(ctx context.Context, q ProbeRequest) ProbeResult {
	if q.Timeout <= 0 {
		q.Timeout = defaultProbeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	var result ProbeResult
	if q.TCP {
		result.Err = probeTCP(ctx, q)
	} else {
		result = probeHTTP(ctx, q)
	}
	if result.Err != nil {
		result.Err = fmt.Errorf("probing %s: %w", q, result.Err)
	}
	return result
}

// String names the target, safe to show.
func (q ProbeRequest) String() string {
	if q.TCP {
		return fmt.Sprintf("%q", "tcp://"+q.address())
	}
	return fmt.Sprintf("%q", q.url().String())
}

func (q ProbeRequest) address() string { return net.JoinHostPort(q.Host, strconv.Itoa(q.Port)) }

// url forgives a path that is none, as the kubelet does, but takes nothing except path and query from it.
func (q ProbeRequest) url() *url.URL {
	u := &url.URL{Path: q.Path}
	if parsed, err := url.Parse(q.Path); err == nil {
		u = &url.URL{Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery}
	}
	u.Scheme, u.Host = q.Scheme, q.address()
	return u
}

func probeTCP(ctx context.Context, q ProbeRequest) error {
	conn, err := dialProbe(ctx, "tcp", q.address())
	if err != nil {
		return err
	}
	return conn.Close()
}

// dialProbe leaves no socket in TIME-WAIT for long: a gate asks again and again.
func dialProbe(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		_ = tcp.SetLinger(1)
	}
	return conn, err
}

func probeHTTP(ctx context.Context, q ProbeRequest) ProbeResult {
	config := &tls.Config{InsecureSkipVerify: true}
	if q.CA != nil {
		config = &tls.Config{RootCAs: x509.NewCertPool()}
		if !config.RootCAs.AppendCertsFromPEM(q.CA) {
			return ProbeResult{Err: errors.New("there is no certificate in the CA given")}
		}
	}
	transport := &http.Transport{
		TLSClientConfig:    config,
		DisableKeepAlives:  true,
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
		DialContext:        dialProbe,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse
			}
			if len(via) >= maxRedirects {
				return fmt.Errorf("stopped after %d redirects", maxRedirects)
			}
			return nil
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url().String(), nil)
	if err != nil {
		return ProbeResult{Err: reason(ctx, err)}
	}
	request.Header.Set("User-Agent", "kube-probe/kubectl-harden")
	request.Header.Set("Accept", "*/*")
	response, err := client.Do(request)
	if err != nil {
		return ProbeResult{Err: reason(ctx, err)}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProbeBody))
	return ProbeResult{Status: response.StatusCode, Body: string(body), Err: reason(ctx, err)}
}

// reason reduces an error to its cause: the client repeats the URL, and says in many ways that time was up.
func reason(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// Served is the first certificate that a TLS server at the address shows, in DER, whatever it is. A server that wants one of its
// clients is told none, and may end the connection then.
func Served(ctx context.Context, address string) ([]byte, error) {
	var shown []byte
	d := tls.Dialer{Config: &tls.Config{
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			shown = s.PeerCertificates[0].Raw
			return nil
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	if shown == nil {
		return nil, fmt.Errorf("asking %q for its certificate: %w", address, reason(ctx, err))
	}
	return shown, nil
}
