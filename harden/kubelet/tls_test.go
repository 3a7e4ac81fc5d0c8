package kubelet_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
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

// The kubelet's handshakes are asked for where it serves, flags first.
func TestHandshakesAreAskedWhereItServes(t *testing.T) {
	const rsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	for _, test := range []struct {
		config, args, control string
		options               harden.Values
		want                  harden.Proof
	}{
		{"", "", "kubelet-tls-min-version", harden.Values{"version": "VersionTLS13"}, harden.Proof{Path: "TLS 1.3", Request: "127.0.0.1:10250"}},
		{"port: 11250\naddress: 192.0.2.11", "", "kubelet-tls-min-version", harden.Values{"version": "VersionTLS12"}, harden.Proof{Path: "TLS 1.2", Request: "192.0.2.11:11250"}},
		{"port: 11250", "--port=12250", "kubelet-tls-min-version", harden.Values{"version": "VersionTLS12"}, harden.Proof{Path: "TLS 1.2", Request: "127.0.0.1:12250"}},
		{"", "", "kubelet-tls-cipher-suites", harden.Values{"suites": rsa}, harden.Proof{Path: "TLS 1.2", Request: "127.0.0.1:10250", Want: []string{rsa}}},
		{"tlsMinVersion: VersionTLS13", "", "kubelet-tls-cipher-suites", harden.Values{"suites": rsa}, harden.Proof{Path: "TLS 1.3", Request: "127.0.0.1:10250", Want: []string{rsa}}},
	} {
		n := hardentest.Fixture(t, "1.37")
		if test.config != "" {
			for _, line := range strings.Split(test.config, "\n") {
				field(line)(t, n)
			}
		}
		f := n.Facts(t)
		if test.args != "" {
			f.Kubelet.Args = append(f.Kubelet.Args, test.args)
		}
		_, c, _ := harden.FindControl([]harden.Area{kubelet.Area()}, test.control)
		test.want.Control, test.want.Kind, test.want.Component = test.control, harden.ProofHandshake, harden.Kubelet
		proofs := c.Remedies[0].Proofs(f, test.options)
		if !slices.ContainsFunc(proofs, func(p harden.Proof) bool { return reflect.DeepEqual(p, test.want) }) {
			t.Errorf("%s: %+v, want %+v", test.config, proofs, test.want)
		}
	}
}
