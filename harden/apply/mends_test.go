package apply_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// certificateUntil is one with its key, in PEM.
func certificateUntil(t *testing.T, name string, end time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(end.Unix()), Subject: pkix.Name{CommonName: name}, NotBefore: end.Add(-365 * 24 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

const (
	etcdServer = "/etc/kubernetes/pki/etcd/server"
	etcdClient = "/etc/kubernetes/pki/apiserver-etcd-client"
)

// ended is a node whose certificates between etcd and the API server ended a while ago, and kubeadm's renewals of them.
type ended struct {
	*world
	renewed harden.Renewed
}

func newEnded(t *testing.T, since time.Duration) *ended {
	t.Helper()
	w := &ended{world: newWorld(t), renewed: harden.Renewed{Files: map[string][]byte{}}}
	for _, base := range []string{etcdServer, etcdClient} {
		for _, end := range []time.Time{begin.Add(-since), begin.Add(365 * 24 * time.Hour)} {
			cert, key := certificateUntil(t, base, end)
			if end.Before(begin.Add(24*time.Hour)) && len(w.renewed.Files[base+".crt"]) == 0 {
				w.write(base+".crt", cert)
				w.write(base+".key", key)
				continue
			}
			w.renewed.Files[base+".crt"], w.renewed.Files[base+".key"] = []byte(cert), []byte(key)
		}
	}
	w.before = w.snapshot()
	w.areas = []harden.Area{{ID: "test", Controls: []harden.Control{
		control("etcds", nil, harden.RenewCertificate("etcd-server", etcdServer+".crt", harden.Etcd), harden.RenewCertificate("etcd-server", etcdServer+".key", harden.Etcd)),
		control("clients", nil, harden.RenewCertificate("apiserver-etcd-client", etcdClient+".crt", harden.APIServer), harden.RenewCertificate("apiserver-etcd-client", etcdClient+".key", harden.APIServer)),
	}}}
	return w
}

// stopped has what such a node shows: etcd cannot be asked while it runs with a certificate that has ended, and the API server is well only
// when both run with renewed ones.
func (w *ended) stopped() {
	first := map[harden.ComponentID]string{harden.Etcd: w.node.pods[harden.Etcd].runs, harden.APIServer: w.node.pods[harden.APIServer].runs}
	mended := func(id harden.ComponentID) bool { return w.node.pods[id].runs != first[id] }
	w.etcd.down = func() error {
		if mended(harden.Etcd) {
			return nil
		}
		return errors.New("x509: certificate has expired or is not yet valid")
	}
	w.members.down = errors.New("connection refused")
	w.node.answer = func(n *node, p harden.Probe, _ string) *apply.ProbeResult {
		if ports[p.Port] == harden.APIServer && !(mended(harden.Etcd) && mended(harden.APIServer)) {
			return &apply.ProbeResult{Status: 500}
		}
		return nil
	}
}

// plans are those of the renewal, in their order.
func (w *ended) plans(controls ...string) []harden.Plan {
	w.t.Helper()
	in := harden.BuildInput{Facts: w.facts(), Areas: w.areas, Read: w.State, Now: w.clock.now,
		Renew: func([]string) (harden.Renewed, error) { return w.renewed, nil }}
	for _, c := range controls {
		in.Choices = append(in.Choices, harden.Choice{Control: c})
	}
	built, err := harden.Build(in)
	must(w.t, err)
	var out []harden.Plan
	for _, p := range built.InOrder() {
		if !p.Empty() {
			out = append(out, p)
		}
	}
	return out
}

// TestEndedCertificatesAreRenewedWhileTheAPIServerIsDown: a renewal was refused because the API server was not healthy, which it could
// not get without the renewal. Etcd's come first, and the gates want health afterwards.
func TestEndedCertificatesAreRenewedWhileTheAPIServerIsDown(t *testing.T) {
	w := newEnded(t, time.Hour)
	w.stopped()
	plans := w.plans("clients", "etcds")
	if _, etcd := plans[0].Stages[0].Effect(harden.Etcd); len(plans) != 2 || !etcd {
		t.Fatalf("%d plans, the first of %+v", len(plans), plans[0].Stages[0].Effects)
	}
	for _, p := range plans {
		if !p.Mends(w.clock.now) {
			t.Error("a plan does not mend")
		}
		if res := w.apply(p); res.Outcome != harden.OutcomeApplied {
			t.Fatalf("%s: %s", res.Outcome, res.Message)
		}
	}
	told := ""
	for _, e := range w.events {
		if e.Kind == harden.EventUnproven {
			told += e.Message.String() + "\n"
		}
	}
	for _, want := range []string{"the other members could not be asked, or are not well, before the renewal: whether etcd has a quorum without this one is not known: x509", "kube-apiserver is not well before its certificates are renewed"} {
		if !strings.Contains(told, want) {
			t.Errorf("it is not told that %s:\n%s", want, told)
		}
	}
	// Nothing has ended any more: what is not healthy is left alone again.
	w.renewed.Files[etcdClient+".crt"] = nil
	cert, key := certificateUntil(t, etcdClient, begin.Add(2*365*24*time.Hour))
	w.renewed.Files[etcdClient+".crt"], w.renewed.Files[etcdClient+".key"] = []byte(cert), []byte(key)
	w.node.answer = answers("readiness", "", answerOf(500))
	again := w.plans("clients")
	if len(again) != 1 || again[0].Mends(w.clock.now) {
		t.Fatalf("%d plans", len(again))
	}
	if res := w.apply(again[0]); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "kube-apiserver is not healthy now") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// TestARenewalThatMendsNothingIsUndone: what is not well with the new certificates either goes back to the old ones, and that it is not
// well with these is no mixed state.
func TestARenewalThatMendsNothingIsUndone(t *testing.T) {
	w := newEnded(t, time.Hour)
	w.stopped()
	w.node.answer = answers("readiness", "", answerOf(500))
	plans := w.plans("clients")
	res := w.apply(plans[0])
	if res.Outcome != harden.OutcomeRolledBack || !strings.Contains(res.Message.String(), "everything is as before") {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if left := w.changes(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestWhatEndsSoonIsNotMended: while everything is still good, health is asked for before and etcd comes last.
func TestWhatEndsSoonIsNotMended(t *testing.T) {
	w := newEnded(t, -time.Hour)
	plans := w.plans("clients", "etcds")
	if len(plans) != 2 || plans[0].Stages[0].Effects[0].Component != harden.APIServer || plans[0].Mends(w.clock.now) || plans[1].Mends(w.clock.now) {
		t.Fatalf("%d plans", len(plans))
	}
	w.etcd.names = []string{"cp1", "cp2"}
	if res := w.apply(plans[1]); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "etcd has 2 members and no quorum without this one") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.etcd.down = func() error { return context.DeadlineExceeded }
	if res := w.apply(plans[1]); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "whether etcd has a quorum") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}
