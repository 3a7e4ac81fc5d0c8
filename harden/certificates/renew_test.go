package certificates_test

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/certificates"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// ending is a node that runs, whose certificates of kubeadm's all end in ten days and can be renewed.
func ending(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "1.37")
	etcd, proxy := issue(t, "etcd-ca", nil, ca), issue(t, "front-proxy-ca", nil, ca)
	n.put(t, pki+"/etcd/ca", etcd)
	n.put(t, pki+"/front-proxy-ca", proxy)
	for _, name := range []string{"apiserver", "apiserver-kubelet-client"} {
		n.put(t, pki+"/"+name, issue(t, name, &n.ca, until(10*day)))
	}
	n.put(t, pki+"/front-proxy-client", issue(t, "front-proxy-client", &proxy, until(10*day)))
	for _, name := range []string{"etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"} {
		n.put(t, pki+"/"+name, issue(t, name, &etcd, until(10*day)))
	}
	for _, name := range []string{"admin", "super-admin", "scheduler", "controller-manager"} {
		n.embed(t, "/etc/kubernetes/"+name+".conf", issue(t, name, &n.ca, until(10*day)))
	}
	return n
}

// running are the facts of a node that runs.
func (n *node) running(t *testing.T) *harden.Facts {
	t.Helper()
	f := n.facts(t)
	f.Identity.Offline = false
	return f
}

func remedyOf(t *testing.T, id string) (harden.Remedy, harden.Values) {
	t.Helper()
	_, c, ok := harden.FindControl([]harden.Area{certificates.Area()}, id)
	if !ok || len(c.Remedies) == 0 {
		t.Fatalf("%s has no remedy", id)
	}
	v, err := c.Remedies[0].Fill(id, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Remedies[0], v
}

func TestEachReaderOfARenewedCertificateRestarts(t *testing.T) {
	f := ending(t).running(t)
	for id, want := range map[string]string{
		"certificates-expiry": "apiserver-etcd-client apiserver-etcd-client.crt kube-apiserver\napiserver-etcd-client apiserver-etcd-client.key kube-apiserver\n" +
			"apiserver-kubelet-client apiserver-kubelet-client.crt kube-apiserver\napiserver-kubelet-client apiserver-kubelet-client.key kube-apiserver\n" +
			"apiserver apiserver.crt kube-apiserver\napiserver apiserver.key kube-apiserver\n" +
			"front-proxy-client front-proxy-client.crt kube-apiserver\nfront-proxy-client front-proxy-client.key kube-apiserver\n" +
			"admin.conf admin.conf \ncontroller-manager.conf controller-manager.conf kube-controller-manager\n" +
			"scheduler.conf scheduler.conf kube-scheduler\nsuper-admin.conf super-admin.conf ",
		"certificates-etcd-expiry": "etcd-healthcheck-client healthcheck-client.crt \netcd-healthcheck-client healthcheck-client.key \n" +
			"etcd-peer peer.crt etcd\netcd-peer peer.key etcd\netcd-server server.crt etcd\netcd-server server.key etcd",
	} {
		r, v := remedyOf(t, id)
		intents, err := r.Intents(f, v)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range intents {
			got = append(got, i.Key+" "+i.Path[strings.LastIndex(i.Path, "/")+1:]+" "+string(i.Restarts))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s:\n%s", id, strings.Join(got, "\n"))
		}
		for _, p := range r.Preconditions(f, v) {
			if p.State != harden.Met {
				t.Errorf("%s: %s: %s %s", id, p.Title, p.State, p.Message)
			}
		}
	}
}

func TestWhatServesIsAskedForItsRenewedCertificate(t *testing.T) {
	f := ending(t).running(t)
	r, v := remedyOf(t, "certificates-etcd-expiry")
	want := []harden.Proof{
		{Control: "certificates-etcd-expiry", Kind: harden.ProofServed, Component: harden.Etcd, Path: pki + "/etcd/peer.crt", Request: "192.0.2.11:2380"},
		{Control: "certificates-etcd-expiry", Kind: harden.ProofServed, Component: harden.Etcd, Path: pki + "/etcd/server.crt", Request: "127.0.0.1:2379"},
	}
	if got := r.Proofs(f, v); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	r, v = remedyOf(t, "certificates-expiry")
	if got := r.Proofs(f, v); len(got) != 1 || got[0].Path != pki+"/apiserver.crt" || got[0].Component != harden.APIServer {
		t.Errorf("%+v", got)
	}
}

// What kubeadm cannot renew here is left out, with what to do by hand, and the rest is renewed.
func TestWithoutTheKeyOfACANothingOfItIsRenewed(t *testing.T) {
	n := ending(t)
	delete(n.Files, pki+"/front-proxy-ca.key")
	f := n.running(t)
	r, v := remedyOf(t, "certificates-expiry")
	intents, err := r.Intents(f, v)
	if err != nil || slices.ContainsFunc(intents, func(i harden.Intent) bool { return i.Key == "front-proxy-client" }) || len(intents) != 10 {
		t.Errorf("%d intents, %v", len(intents), err)
	}
	p := r.Preconditions(f, v)[1]
	if p.State != harden.Met || !strings.Contains(p.Message.String(), "not for /etc/kubernetes/pki/front-proxy-client.crt: have it signed") {
		t.Errorf("%s %s", p.State, p.Message)
	}
	for _, name := range []string{"ca", "etcd/ca"} {
		delete(n.Files, pki+"/"+name+".key")
	}
	if p := r.Preconditions(n.running(t), v)[1]; p.State != harden.Unmet || !strings.Contains(p.Message.String(), "generate-csr") {
		t.Errorf("%s %s", p.State, p.Message)
	}
}

// Nothing can be run from an image or a mounted disk.
func TestAnOfflineRootRenewsNothing(t *testing.T) {
	r, v := remedyOf(t, "certificates-expiry")
	if p := r.Preconditions(ending(t).facts(t), v)[0]; p.State != harden.Unmet || !strings.Contains(p.Message.String(), "nothing runs from this root") {
		t.Errorf("%s %s", p.State, p.Message)
	}
}

func TestWhatKubeadmDoesNotRenewHere(t *testing.T) {
	r, v := remedyOf(t, "certificates-expiry")
	tests := map[string]struct {
		edit func(n *node, f *harden.Facts)
		says string
	}{
		"nothing ends": {func(_ *node, f *harden.Facts) {
			for i := range f.Certificates {
				f.Certificates[i].NotAfter = hardentest.Now.Add(31 * day)
			}
		}, "kubeadm has none to renew of those that end within 30 days"},
		"a certificate of somebody else's": {func(_ *node, f *harden.Facts) {
			f.Certificates = slices.DeleteFunc(f.Certificates, func(c harden.CertificateFact) bool { return strings.HasPrefix(c.Path, "/etc/kubernetes/") && !c.CA })
			f.Certificates = append(f.Certificates, harden.CertificateFact{Path: "/etc/kubernetes/pki/mine.crt", NotAfter: hardentest.Now})
		}, "kubeadm has none to renew"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := ending(t)
			f := n.running(t)
			tt.edit(n, f)
			if _, err := r.Intents(f, v); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// By a clock that is behind the new certificates would end too early.
func TestAClockThatIsBehindRenewsNothing(t *testing.T) {
	n := ending(t)
	n.put(t, pki+"/apiserver", issue(t, "kube-apiserver", &n.ca, func(c *x509.Certificate) { c.NotBefore = hardentest.Now.Add(day) }))
	r, v := remedyOf(t, "certificates-expiry")
	if p := r.Preconditions(n.running(t), v)[2]; p.State != harden.Unmet || !strings.Contains(p.Message.String(), "timedatectl") {
		t.Errorf("%s %s", p.State, p.Message)
	}
}

// Each certificate of the node is in one timeline.
func TestEveryCertificateHasItsEnd(t *testing.T) {
	f := ending(t).running(t)
	var got []string
	for _, c := range certificates.Area().Controls {
		if c.Ends == nil {
			continue
		}
		for _, e := range c.Ends(f) {
			got = append(got, e.Name)
			if want := strings.HasSuffix(e.Name, "ca.crt"); e.CA != want || e.Key != "ECDSA 256" && e.Name != "/etc/kubernetes/kubelet.conf" || e.Days != 10 && !want && e.Name != "/etc/kubernetes/kubelet.conf" {
				t.Errorf("%+v", e)
			}
		}
	}
	if len(got) != len(f.Certificates) || len(got) != 15 {
		t.Errorf("%d of %d: %v", len(got), len(f.Certificates), got)
	}
}

// Who has renewed by hand and not restarted what reads the files at its start has it restarted, once for each renewal.
func TestWhatUsesTheCertificateFromBeforeIsRestarted(t *testing.T) {
	n := newNode(t, "1.37")
	n.live[harden.ControllerManager], n.live[harden.Scheduler] = hardentest.Now.Add(-day), hardentest.Now
	n.Modified["/etc/kubernetes/controller-manager.conf"], n.Modified["/etc/kubernetes/scheduler.conf"] = hardentest.Now.Add(-time.Hour), hardentest.Now.Add(-time.Hour)
	built, err := harden.Build(harden.BuildInput{
		Facts: n.running(t), Areas: []harden.Area{certificates.Area()}, Choices: []harden.Choice{{Control: "certificates-in-use"}}, Read: n.State, Now: hardentest.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	steps := built.Node.Steps()
	if len(steps) != 1 || len(built.Node.Stages[0].Effects) != 1 || built.Node.Stages[0].Effects[0].Component != harden.ControllerManager {
		t.Fatalf("%d steps, skipped %v", len(steps), built.Node.Skipped)
	}
	const since = "kubectl-harden.io/restarted-for: /etc/kubernetes/controller-manager.conf of 2026-12-01T11:00:00Z"
	if text := string(steps[0].After.Data); !strings.Contains(text, since) {
		t.Error(text)
	}
	// It started then.
	n.Files[steps[0].Path] = steps[0].After
	n.live[harden.ControllerManager] = hardentest.Now
	if got := finding(t, n.running(t), "certificates-in-use"); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}
