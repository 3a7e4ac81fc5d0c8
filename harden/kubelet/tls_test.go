package kubelet_test

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestSuites(t *testing.T) {
	const rsa, ecdsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
	tests := []struct {
		name    string
		suites  string
		key     string
		want    harden.Status
		message string
	}{
		{"none", "[]", "RSA", harden.StatusFail, "no list is set"},
		{"both keys", "[" + rsa + ", " + ecdsa + "]", "", harden.StatusPass, "strong suites only"},
		{"an RSA key", "[" + rsa + "]", "RSA", harden.StatusPass, ""},
		{"another key", "[" + rsa + "]", "ECDSA", harden.StatusFail, "no suite in the list fits the ECDSA key"},
		{"no HTTP/2 suite", "[TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]", "RSA", harden.StatusFail, "HTTP/2"},
		{"an unknown name", "[" + rsa + ", TLS_RSA_WITH_ROT13]", "RSA", harden.StatusFail, "TLS_RSA_WITH_ROT13: no such suite"},
		{"CBC", "[" + rsa + ", TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA]", "RSA", harden.StatusFail, "weak suites are offered: TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"},
		{"RSA key exchange", "[" + rsa + ", TLS_RSA_WITH_AES_256_GCM_SHA384]", "RSA", harden.StatusFail, "weak"},
		{"a name of TLS 1.3 is ignored", "[" + rsa + ", TLS_AES_128_GCM_SHA256]", "RSA", harden.StatusPass, ""},
		{"an old name", "[" + rsa + ", TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305]", "RSA", harden.StatusPass, ""},
		{"not a list", rsa, "RSA", harden.StatusFail, "does not accept"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := hardentest.Fixture(t, "1.37")
			field("tlsCipherSuites: "+test.suites)(t, n)
			f := n.Facts(t)
			f.Kubelet.ServingKey = test.key
			if got := finding(t, f, "kubelet-tls-cipher-suites"); got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
}
