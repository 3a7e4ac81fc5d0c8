package cluster

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
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kubectl-harden.io/kubectl-harden/cluster/objects"
	"kubectl-harden.io/kubectl-harden/harden"
)

// fault makes the one kind of error that leaves this package.
func (c *Client) fault(doing, subject string, err error) error {
	var done *objects.Error
	if errors.As(err, &done) {
		return done
	}
	if subject == "" {
		subject = c.Server()
	}
	reason, cause := c.explain(err)
	return &objects.Error{Doing: doing, Subject: subject, Reason: reason, Cause: cause}
}

func (c *Client) explain(err error) (objects.Reason, error) {
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		return c.explainStatus(status)
	}
	// The address is the error's subject already.
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if reason, cause, ok := explainTLS(err); ok {
		return reason, cause
	}
	var netErr net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return objects.Failed, err
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return objects.TimedOut, noAnswer{c.timeout, err}
	case errors.Is(err, errTooLarge):
		return objects.Failed, errTooLarge
	}
	var op *net.OpError
	var dns *net.DNSError
	if errors.As(err, &op) || errors.As(err, &dns) || isBroken(err) {
		return objects.Unreachable, err
	}
	return objects.Failed, err
}

// noAnswer replaces the library's words for a timeout, and stays one for errors.Is.
type noAnswer struct {
	after time.Duration
	cause error
}

func (e noAnswer) Error() string { return fmt.Sprintf("no answer within %s", e.after) }
func (e noAnswer) Unwrap() error { return e.cause }

func explainTLS(err error) (objects.Reason, error, bool) {
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var op *net.OpError
	switch {
	case errors.As(err, &unknown):
		return objects.Certificate, errors.New("its certificate is not from the CA that the kubeconfig trusts"), true
	case errors.As(err, &host):
		return objects.Certificate, fmt.Errorf("its certificate is for another name: %w", host), true
	case errors.As(err, &invalid):
		return objects.Certificate, fmt.Errorf("its certificate is not valid: %w", invalid), true
	case errors.As(err, &verification):
		return objects.Certificate, fmt.Errorf("its certificate is not trusted: %w", verification.Err), true
	case errors.As(err, &header), errors.Is(err, http.ErrSchemeMismatch):
		return objects.Unreachable, errors.New("who answers does not speak TLS"), true
	case errors.As(err, &op) && op.Op == "remote error":
		return objects.Certificate, fmt.Errorf("the server refuses the TLS handshake: %w", op.Err), true
	}
	return "", nil, false
}

func (c *Client) explainStatus(e *apierrors.StatusError) (objects.Reason, error) {
	switch {
	case apierrors.IsUnauthorized(e):
		if end, ok := expiry(c.clientCert); ok && time.Now().After(end) {
			return objects.Unauthorized, fmt.Errorf("the client certificate expired on %s", end.Format(time.DateOnly))
		}
		return objects.Unauthorized, errors.New("the API server does not know the credentials")
	case apierrors.IsForbidden(e):
		return objects.Forbidden, e
	case apierrors.IsNotFound(e):
		return objects.NotFound, e
	case apierrors.IsAlreadyExists(e):
		return objects.Exists, e
	case hasCause(e, metav1.CauseTypeFieldManagerConflict):
		return objects.Contested, e
	case apierrors.IsConflict(e):
		return objects.Changed, e
	case apierrors.IsInvalid(e), apierrors.IsBadRequest(e), apierrors.IsUnsupportedMediaType(e), apierrors.IsRequestEntityTooLargeError(e):
		return objects.Refused, e
	case apierrors.IsTimeout(e), apierrors.IsServerTimeout(e):
		return objects.TimedOut, e
	}
	// Server-side apply has no code of its own for an object with unknown fields or of wrong types.
	if strings.Contains(e.Error(), "failed to create typed patch object") {
		return objects.Refused, e
	}
	switch e.Status().Code {
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return objects.Unreachable, e
	}
	return objects.Failed, e
}

func hasCause(e *apierrors.StatusError, t metav1.CauseType) bool {
	_, ok := apierrors.StatusCause(e, t)
	return ok
}

// expiry of the first certificate in PEM.
func expiry(data []byte) (time.Time, bool) {
	certs := harden.CertificatesIn(data)
	if len(certs) == 0 {
		return time.Time{}, false
	}
	return certs[0].NotAfter, true
}

// isBroken says that the connection ended before the answer did. HTTP/2 has no types for its ways to end.
func isBroken(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.HasPrefix(err.Error(), "http2: ")
}
