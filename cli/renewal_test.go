package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// soonEnding is within the last month of the sandbox's certificates.
var soonEnding = time.Date(2027, 11, 10, 9, 0, 0, 0, time.UTC)

// byItsClock lets the facts have the time of the sandbox.
func byItsClock(t *testing.T) {
	was := observedAt
	observedAt = func(now time.Time) time.Time { return now }
	t.Cleanup(func() { observedAt = was })
}

func TestCertificatesAreRenewedAndComeBack(t *testing.T) {
	byItsClock(t)
	code, out, errs, left := demoRun(t, t.Context(), &leap{now: soonEnding}, "--yes", "--area", "certificates")
	if code != exitDone || errs != "" || len(left) > 0 {
		t.Fatalf("exit code %d, stderr %q, left %v\n%s", code, errs, left, out)
	}
	inOrder(t, strings.Join(strings.Fields(out), " "),
		"Plan", "/etc/kubernetes/pki/apiserver.crt", "/etc/kubernetes/scheduler.conf", "/etc/kubernetes/pki/etcd/server.crt",
		"then: a snapshot of etcd is saved first", "then: etcd: static pod restarts", "Apply on the node", "proven for certificates-expiry at the second one: it serves with /etc/kubernetes/pki/apiserver.crt",
		"proven for certificates-expiry: it serves with /etc/kubernetes/pki/apiserver.crt", "the lease kube-scheduler is renewed", "applied, every gate has passed",
		"a snapshot of etcd is in /var/lib/kubectl-harden/transactions/", "etcd-snapshot.db; it holds no Secret", "/etc/kubernetes/manifests/etcd.yaml is written",
		"proven for certificates-etcd-expiry: it serves with /etc/kubernetes/pki/etcd/server.crt", "applied, every gate has passed",
		"The plan of the same choices is empty now.", "Proof", "Everything is as it was.")
	sameDigests(t, out)
}

// What is shown of a renewal are certificates; keys are told by their fingerprints.
func TestARenewalIsShownWithoutItsKeys(t *testing.T) {
	byItsClock(t)
	a := &app{areas: catalog.Areas()}
	e, node, clock := demoEngine(t, a)
	clock.now = soonEnding
	f, err := e.Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	plans, err := e.Plan(t.Context(), f, []harden.Choice{{Control: "certificates-expiry"}})
	if err != nil {
		t.Fatal(err)
	}
	var diff bytes.Buffer
	if err := printPlans(&diff, plans, false); err != nil {
		t.Fatal(err)
	}
	inOrder(t, diff.String(),
		"# /etc/kubernetes/pki/apiserver.crt: certificates-expiry\n# certificate of CN=kube-apiserver, signed by CN=kubernetes\n# for cp1, kubernetes, ", ", 192.0.2.11, as before\n# serial ",
		"# it ends on 2028-11-09 instead of 2027-11-23\n", "--- a/etc/kubernetes/pki/apiserver.crt",
		"# /etc/kubernetes/pki/apiserver.key: certificates-expiry\n# secret content, it becomes sha256 ",
		"# /etc/kubernetes/admin.conf: certificates-expiry\n# certificate of CN=kubernetes-admin,O=kubeadm:cluster-admins, signed by CN=kubernetes\n", "# secret content, it becomes sha256 ")
	view, err := json.Marshal(viewPlans(plans))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(view), `"certificates":{"before":{"subject":"CN=kubernetes-admin,O=kubeadm:cluster-admins","serial":"`) {
		t.Errorf("%s", view)
	}
	keys := 0
	for _, s := range plans[0].Steps() {
		if !s.Secret {
			continue
		}
		keys++
		// Any line of what must not be seen.
		for line := range strings.Lines(string(s.After.Data)) {
			line = strings.TrimSpace(line)
			_, value, _ := strings.Cut(line, "client-key-data: ")
			for _, shown := range []string{diff.String(), string(view)} {
				if len(line) == 64 && strings.Contains(shown, line) || value != "" && strings.Contains(shown, value) {
					t.Errorf("a key of %s is shown", s.ID)
				}
			}
		}
	}
	if keys != 8 {
		t.Errorf("%d secrets", keys)
	}
	if s, err := node.State("/etc/kubernetes/pki/apiserver.crt"); err != nil || !s.Equal(plans[0].Steps()[4].Before) {
		t.Error("planning has touched the certificate", err)
	}
}
