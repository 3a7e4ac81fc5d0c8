package suites_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/suites"
)

const rsa, ecdsa = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"

func TestLint(t *testing.T) {
	for list, want := range map[string]string{
		strings.Join(suites.Strong, ","):         "",
		rsa:                                      "",
		"":                                       "the list is empty",
		rsa + ", TLS_ROT13":                      "there is no suite TLS_ROT13",
		rsa + ",TLS_AES_128_GCM_SHA256":          "whose suites cannot be set",
		rsa + ",TLS_RSA_WITH_AES_256_GCM_SHA384": "is weak",
		"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384":  "HTTP/2 needs",
		rsa + ",TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "",
	} {
		err := suites.Lint(suites.Split(list))
		if got := ""; err != nil {
			got = err.Error()
			if want == "" || !strings.Contains(got, want) {
				t.Errorf("%s: %s", list, got)
			}
		} else if want != "" {
			t.Errorf("%s: taken, want %q", list, want)
		}
	}
}

func TestFit(t *testing.T) {
	for _, row := range []struct {
		key, list string
		want      harden.PreconditionState
	}{
		{"RSA", rsa, harden.Met}, {"RSA", ecdsa, harden.Unmet}, {"", rsa, harden.PreconditionUnknown}, {"", rsa + "," + ecdsa, harden.Met},
	} {
		if got := suites.Fit(row.key, suites.Split(row.list)); got.State != row.want {
			t.Errorf("%s for %q: %+v", row.list, row.key, got)
		}
	}
}

func TestKeyOfRealCertificates(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(hardentest.Root(t, "1.37"), "etc/kubernetes/pki/apiserver.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if got := suites.Key(data); got != "RSA" {
		t.Errorf("kubeadm's certificate: %q", got)
	}
	if got := suites.Key([]byte("none")); got != "" {
		t.Errorf("no certificate: %q", got)
	}
}
