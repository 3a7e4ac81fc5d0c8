package host

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
)

// TLSAnswer is what a TLS server makes of an offer: the suite that it agreed to, and the key of its certificate; or the alert by which
// it refused.
type TLSAnswer struct {
	Agreed bool
	Suite  uint16
	Key    x509.PublicKeyAlgorithm
	Alert  tls.AlertError
}

// OfferTLS offers one version and suites of it, without a certificate. A server that wants one has agreed when it asks for it: before
// TLS 1.3 it refuses who has none by the same alert as who has no suite for it. Everything else that is neither an agreement nor an
// alert is an error.
func OfferTLS(ctx context.Context, address string, version uint16, suites []uint16) (TLSAnswer, error) {
	fail := func(err error) (TLSAnswer, error) {
		return TLSAnswer{}, fmt.Errorf("offering %s to %q: %w", tls.VersionName(version), address, reason(ctx, err))
	}
	conn, err := dialProbe(ctx, "tcp", address)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	var shown *tls.ConnectionState
	asked := false
	client := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, MinVersion: version, MaxVersion: version, CipherSuites: suites,
		VerifyConnection: func(s tls.ConnectionState) error {
			shown = &s
			return nil
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return new(tls.Certificate), nil
		},
	})
	err = client.HandshakeContext(ctx)
	alert, refused := alertOf(err)
	switch {
	case shown != nil && (err == nil || asked):
		return TLSAnswer{Agreed: true, Suite: shown.CipherSuite, Key: shown.PeerCertificates[0].PublicKeyAlgorithm}, nil
	case shown == nil && refused:
		return TLSAnswer{Alert: alert}, nil
	}
	return fail(err)
}

// alertOf is the alert that the other side has sent. crypto/tls has no type for one outside of QUIC, but the same words.
func alertOf(err error) (tls.AlertError, bool) {
	var sent *net.OpError
	if !errors.As(err, &sent) || sent.Op != "remote error" {
		return 0, false
	}
	for a := range 256 {
		if alert := tls.AlertError(a); alert.Error() == sent.Err.Error() {
			return alert, true
		}
	}
	return 0, false
}
