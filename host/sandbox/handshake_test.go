package sandbox

import (
	"crypto/tls"
	"strconv"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Handshakes go by what runs, at each port.
func TestHandshakes(t *testing.T) {
	const gcm, cbc = tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
	b := newBench(t, Options{})
	says := func(port string, version uint16, suite uint16) string {
		t.Helper()
		got, err := b.Handshake(t.Context(), "127.0.0.1:"+port, version, []uint16{suite})
		switch {
		case err != nil:
			return err.Error()
		case got.Agreed:
			return tls.CipherSuiteName(got.Suite)
		}
		return got.Alert.Error()
	}
	want := func(port string, version uint16, suite uint16, want string) {
		t.Helper()
		if got := says(port, version, suite); !strings.Contains(got, want) {
			t.Errorf("%s: %s with %s: %s, want %s", port, tls.VersionName(version), tls.CipherSuiteName(suite), got, want)
		}
	}
	for _, port := range []string{"6443", "10257", "10259", "2379", "2380", "10250"} {
		want(port, tls.VersionTLS11, cbc, "protocol version")
		want(port, tls.VersionTLS12, cbc, "CBC_SHA")
		want(port, tls.VersionTLS13, cbc, "TLS_AES_128")
	}
	want("16443", tls.VersionTLS12, gcm, "connection refused")
	c := b.rehearse("--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-min-version=VersionTLS12")
	b.pass(5 * time.Second)
	at := c.Probes[0].Port
	canary := strconv.Itoa(at)
	want(canary, tls.VersionTLS12, gcm, "GCM_SHA256")
	want(canary, tls.VersionTLS12, cbc, "handshake failure")
	want("6443", tls.VersionTLS12, cbc, "CBC_SHA")
	b.write(kubeletConfig, b.read(kubeletConfig)+"tlsMinVersion: VersionTLS13\ntlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\n")
	kubelet, _ := harden.ComponentByID(harden.Kubelet)
	if err := b.RestartUnit(t.Context(), kubelet.Unit); err != nil {
		t.Fatal(err)
	}
	b.pass(10 * time.Second)
	want("10250", tls.VersionTLS12, gcm, "protocol version")
	want("10250", tls.VersionTLS13, gcm, "TLS_AES_128")
}
