package harden_test

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestEndsAreDrawnByTheirTime(t *testing.T) {
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	var ends []harden.End
	for name, days := range map[string]int{
		"/etc/kubernetes/pki/ca.crt": 3650, "/etc/kubernetes/pki/apiserver-kubelet-client.crt": 365, "/etc/kubernetes/admin.conf": -3,
		"/etc/kubernetes/pki/etcd/server.crt": 29, "/var/lib/kubelet/pki/kubelet-client-current.pem": 182, "/etc/kubernetes/scheduler.conf": 30,
	} {
		ends = append(ends, harden.End{Name: name, Key: "RSA 2048", CA: strings.HasSuffix(name, "ca.crt"), Days: days, At: now.AddDate(0, 0, days)})
	}
	want := `ends on      left [12 months   ] key       file, below /etc/kubernetes/
2026-11-28  ended [            ] RSA 2048  admin.conf
2026-12-30    29d [!           ] RSA 2048  pki/etcd/server.crt
2026-12-31    30d [=           ] RSA 2048  scheduler.conf
2027-06-01   182d [======      ] RSA 2048  ...t/pki/kubelet-client-current.pem
2027-12-01   365d [============] RSA 2048  pki/apiserver-kubelet-client.crt
2036-11-28  3650d [===========+] RSA 2048  CA pki/ca.crt`
	got := harden.DrawEnds(ends, 78)
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	for _, width := range []int{38, 60, 78} {
		for _, l := range harden.DrawEnds(ends, width)[1:] {
			if len(l) > max(width, 51) {
				t.Errorf("%d columns for %d: %s", len(l), width, l)
			}
		}
	}
	if harden.DrawEnds(nil, 78) != nil {
		t.Error("there is nothing to draw")
	}
}
