package certificates_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// aged is a certificate that has been good for a time, and is for another.
func aged(old, left time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = hardentest.Now.Add(-old), hardentest.Now.Add(left)
	}
}

// TestAShortLifeIsNotLate: a certificate of 30 days was said not to have been renewed on its first one. What renews itself is late by the
// part of its life that has passed.
func TestAShortLifeIsNotLate(t *testing.T) {
	const client, server = "/var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-server-current.pem"
	for _, row := range []struct {
		name, path string
		life       func(*x509.Certificate)
		still      bool // the kubelet renews nothing
		want       harden.Status
		message    string
	}{
		{"30 days, one day old", client, aged(day, 29*day), false, harden.StatusPass, ""},
		{"30 days, at the end of its window", client, aged(27*day, 3*day), false, harden.StatusPass, ""},
		{"30 days, past it", client, aged(28*day, 2*day), false, harden.StatusFail, "journalctl -u kubelet"},
		{"a year, at the end of its window", client, aged(328*day, 37*day), false, harden.StatusPass, ""},
		{"a year, past it", client, aged(330*day, 35*day), false, harden.StatusFail, "journalctl -u kubelet"},
		{"an hour, fresh", client, aged(10*time.Minute, 50*time.Minute), false, harden.StatusPass, ""},
		{"of 30 days, serving, one day old", server, aged(day, 29*day), false, harden.StatusPass, ""},
		{"of 30 days, serving, past its window", server, aged(28*day, 2*day), false, harden.StatusFail, "nobody has approved it"},
		{"29 days left, and nothing renews it", client, aged(day, 29*day), true, harden.StatusFail, "rotateCertificates is off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			n := newNode(t, "1.37")
			if row.still {
				n.Edit(t, "/var/lib/kubelet/config.yaml", "rotateCertificates: true", "rotateCertificates: false")
			}
			n.Files["/var/lib/kubelet/pki"] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			p := issue(t, "system:node:cp1", &n.ca, row.life)
			n.Write(row.path, p.pem()+p.keyPEM(t), 0o600)
			got := finding(t, n.facts(t), "certificates-expiry")
			if got.Status != row.want || !strings.Contains(got.Message.String(), row.message) {
				t.Errorf("%s: %s", got.Status, got.Message)
			}
		})
	}
}

// TestTheLastWeekIsSaid: 29 days and 3 days read the same.
func TestTheLastWeekIsSaid(t *testing.T) {
	for left, said := range map[time.Duration]bool{8 * day: false, 6 * day: true} {
		n := newNode(t, "1.37")
		n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, until(left)))
		got := finding(t, n.facts(t), "certificates-expiry")
		if got.Status != harden.StatusFail || strings.HasPrefix(got.Message.String(), "critical, less than a week is left: ends on") != said {
			t.Errorf("%s left: %s: %s", left, got.Status, got.Message)
		}
	}
}
