package certificates_test

import (
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestOnlyTheFirstServiceRangeIsInTheCertificate: of two ranges both were asked for, and kubeadm's own certificate failed.
func TestOnlyTheFirstServiceRangeIsInTheCertificate(t *testing.T) {
	first := func(c *x509.Certificate) { names("")(c) }
	second := func(c *x509.Certificate) {
		names("10.96.0.1")(c)
		c.IPAddresses = append(c.IPAddresses, net.ParseIP("fd00:10:96::1"))
	}
	for _, row := range []struct {
		name, ranges string
		cert         func(*x509.Certificate)
		want         harden.Status
		message      string
	}{
		{"both families, as kubeadm makes it", "10.96.0.0/12,fd00:10:96::/112", first, harden.StatusPass, ""},
		{"both families, with the second address alone", "10.96.0.0/12,fd00:10:96::/112", second, harden.StatusFail, "10.96.0.1"},
		{"IPv6 first", "fd00:10:96::/112,10.96.0.0/12", second, harden.StatusPass, ""},
		{"IPv6 first, with the IPv4 address alone", "fd00:10:96::/112,10.96.0.0/12", first, harden.StatusFail, "fd00:10:96::1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, "1.37")
			n.Edit(t, harden.StaticPodDir+"/kube-apiserver.yaml", "--service-cluster-ip-range=10.96.0.0/12", "--service-cluster-ip-range="+row.ranges)
			n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, row.cert))
			got := finding(t, n.facts(t), "certificates-apiserver-names")
			if got.Status != row.want || !strings.Contains(got.Message.String(), row.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
}
