package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// maxAnswer bounds one answer of the API: the largest real ones, pages of CustomResourceDefinitions, stay far below.
const maxAnswer = 64 << 20

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxAnswer>>20)

// limited bounds the bodies of answers, whoever reads them.
type limited struct{ next http.RoundTripper }

func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

// WrappedRoundTripper lets idle connections be closed.
func (l *limited) WrappedRoundTripper() http.RoundTripper { return l.next }

type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// request is one question to the API.
type request struct {
	doing   string // for the error
	subject string // for the error; empty: the server
	verb    string
	path    []string
	query   url.Values
	media   string // of the body
	body    []byte
}

// do asks, and decodes the answer into out unless that is nil.
func (c *Client) do(ctx context.Context, r request, out any) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req := c.rest.Verb(r.verb).AbsPath(r.path...)
	for key, values := range r.query {
		for _, v := range values {
			req.Param(key, v)
		}
	}
	if r.body != nil {
		req.SetHeader("Content-Type", r.media).Body(r.body)
	}
	result := req.Do(ctx).StatusCode(&status)
	data, err := result.Raw()
	if err != nil {
		// Raw gives the body of an error as it is; Error has decoded it.
		if decoded := result.Error(); decoded != nil {
			err = decoded
		}
		return status, c.fault(r.doing, r.subject, err)
	}
	if out == nil {
		return status, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return status, c.fault(r.doing, r.subject, fmt.Errorf("the answer cannot be decoded: %w", err))
	}
	return status, nil
}

// open asks for a path and gives the answer as it comes, on a connection that is new unless another request is under way:
// what is asked after a restart is then asked of the new instance.
func (c *Client) open(ctx context.Context, pathAndQuery, userAgent string) (*http.Response, error) {
	utilnet.CloseIdleConnectionsFor(c.http.Transport)
	return c.ask(ctx, pathAndQuery, userAgent)
}

// ask is open on a connection that may be there already.
func (c *Client) ask(ctx context.Context, pathAndQuery, userAgent string) (*http.Response, error) {
	u, err := url.Parse(pathAndQuery)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return nil, fmt.Errorf("%q is not a path", pathAndQuery)
	}
	target := *c.server
	target.Path = path.Join(target.Path, u.Path)
	if strings.HasSuffix(u.Path, "/") && !strings.HasSuffix(target.Path, "/") {
		target.Path += "/"
	}
	target.RawQuery = u.RawQuery
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, errors.New("the request cannot be made")
	}
	if userAgent != "" {
		req.Header.Set("User-Agent", userAgent)
	}
	return c.http.Do(req)
}
