package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	gcm = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
	cbc = tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
)

// tlsServer serves on the loopback address, with an RSA key.
func tlsServer(t *testing.T, config *tls.Config) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS() // for its certificate
	config.Certificates = s.TLS.Certificates
	s.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestOfferTLS(t *testing.T) {
	list := func() *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: []uint16{gcm}} }
	mutual := func(c *tls.Config) *tls.Config {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		return c
	}
	old := &tls.Config{MinVersion: tls.VersionTLS10}
	const failure, version = tls.AlertError(40), tls.AlertError(70)
	for name, tt := range map[string]struct {
		config *tls.Config
		offer  uint16
		suites []uint16
		want   TLSAnswer
	}{
		"its version and suite":              {config: list(), offer: tls.VersionTLS12, suites: []uint16{cbc, gcm}, want: TLSAnswer{Agreed: true, Suite: gcm, Key: x509.RSA}},
		"TLS 1.3":                            {config: list(), offer: tls.VersionTLS13, want: TLSAnswer{Agreed: true, Key: x509.RSA}},
		"a suite besides its list":           {config: list(), offer: tls.VersionTLS12, suites: []uint16{cbc}, want: TLSAnswer{Alert: failure}},
		"a suite without a list":             {config: &tls.Config{}, offer: tls.VersionTLS12, suites: []uint16{cbc}, want: TLSAnswer{Agreed: true, Suite: cbc, Key: x509.RSA}},
		"a version below its floor":          {config: list(), offer: tls.VersionTLS11, suites: []uint16{cbc}, want: TLSAnswer{Alert: version}},
		"TLS 1.2 below its floor":            {config: &tls.Config{MinVersion: tls.VersionTLS13}, offer: tls.VersionTLS12, suites: []uint16{gcm}, want: TLSAnswer{Alert: version}},
		"an old version without a floor":     {config: old, offer: tls.VersionTLS11, suites: []uint16{cbc}, want: TLSAnswer{Agreed: true, Suite: cbc, Key: x509.RSA}},
		"of a client with a certificate":     {config: mutual(list()), offer: tls.VersionTLS12, suites: []uint16{gcm}, want: TLSAnswer{Agreed: true, Suite: gcm, Key: x509.RSA}},
		"of such a client by TLS 1.3":        {config: mutual(list()), offer: tls.VersionTLS13, want: TLSAnswer{Agreed: true, Key: x509.RSA}},
		"a suite that no client may have":    {config: mutual(list()), offer: tls.VersionTLS12, suites: []uint16{cbc}, want: TLSAnswer{Alert: failure}},
		"a suite that clients should not":    {config: mutual(&tls.Config{}), offer: tls.VersionTLS12, suites: []uint16{cbc}, want: TLSAnswer{Agreed: true, Suite: cbc, Key: x509.RSA}},
		"a version that no client may speak": {config: mutual(list()), offer: tls.VersionTLS11, suites: []uint16{cbc}, want: TLSAnswer{Alert: version}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := OfferTLS(t.Context(), tlsServer(t, tt.config), tt.offer, tt.suites)
			if tt.offer == tls.VersionTLS13 {
				got.Suite = 0 // the server's choice
			}
			if err != nil || got != tt.want {
				t.Errorf("%+v %v, want %+v", got, err, tt.want)
			}
		})
	}
}

// Nobody there, silence, an end without an alert, what is no TLS and an alert after it has agreed are no refusals.
func TestNoAnswerIsNoRefusal(t *testing.T) {
	serve := func(with func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				with(c)
			}
		}()
		return l.Addr().String()
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	gone := l.Addr().String()
	l.Close()
	hello := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }
	for address, want := range map[string]string{
		gone:                     "connection refused",
		serve(func(net.Conn) {}): context.DeadlineExceeded.Error(),
		serve(func(c net.Conn) { hello(c); c.Close() }):                                                                 "EOF",
		serve(func(c net.Conn) { hello(c); _, _ = c.Write([]byte("HTTP/1.0 400 Bad Request\r\n\r\n")) }):                "does not look like a TLS handshake",
		serve(func(c net.Conn) { hello(c); _, _ = c.Write([]byte{22, 3, 3, 0, 4, 99, 0, 0, 0}) }):                       "unexpected message", // an alert of ours, not of theirs
		tlsServer(t, &tls.Config{VerifyConnection: func(tls.ConnectionState) error { return errors.New("not today") }}): "bad certificate",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		got, err := OfferTLS(ctx, address, tls.VersionTLS12, []uint16{gcm})
		cancel()
		if err == nil || got != (TLSAnswer{}) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v %v, want %s", got, err, want)
		}
		if want == context.DeadlineExceeded.Error() && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	}
}
