//go:build linux

package main

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAnImpostorIsTrustedAndDiffersInOneThing(t *testing.T) {
	ca, key, err := impostorCA(otherCA)
	if err != nil {
		t.Fatal(err)
	}
	serving, err := servingCertificate(ca, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(serving.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "127.0.0.1", Roots: pool}); err != nil {
		t.Errorf("whoever trusts its CA does not trust it: %v", err)
	}

	const (
		bundle = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"
		node   = "/api/v1/nodes/cp1"
		other  = "/api/v1/namespaces"
	)
	bodies := map[string]string{
		bundle: `{"data":{"ca.crt":"the node's"},"kind":"ConfigMap"}`,
		node:   `{"kind":"Node","status":{"nodeInfo":{"kubeletVersion":"v1","machineID":"the node's"}}}`,
		other:  `{"items":[]}`,
	}
	for _, row := range []struct{ kind, path, want string }{
		{otherCA, bundle, `{"data":{"ca.crt":"another's"},"kind":"ConfigMap"}`},
		{otherCA, node, bodies[node]},
		{otherCA, other, bodies[other]},
		{otherMachine, node, strings.Replace(bodies[node], "the node's", strings.Repeat("0", 32), 1)},
		{otherMachine, bundle, bodies[bundle]},
	} {
		r := &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(bodies[row.path])),
			Request: &http.Request{URL: &url.URL{Path: row.path}},
		}
		if err := pretend(row.kind, r, []byte("another's")); err != nil {
			t.Errorf("%s: %s: %v", row.kind, row.path, err)
			continue
		}
		if got, err := io.ReadAll(r.Body); err != nil || string(got) != row.want {
			t.Errorf("%s: %s: %s, %v, wanted %s", row.kind, row.path, got, err, row.want)
		}
	}
}
