package certificates_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/certificates"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// overdue is a node that runs and was not touched for more than a year: all that kubeadm has made ended yesterday.
func overdue(t *testing.T) *node {
	t.Helper()
	n := ending(t)
	etcd, proxy := issue(t, "etcd-ca", nil, ca), issue(t, "front-proxy-ca", nil, ca)
	n.put(t, pki+"/etcd/ca", etcd)
	n.put(t, pki+"/front-proxy-ca", proxy)
	for name, by := range map[string]*pair{
		"apiserver": &n.ca, "apiserver-kubelet-client": &n.ca, "front-proxy-client": &proxy, "apiserver-etcd-client": &etcd,
		"etcd/server": &etcd, "etcd/peer": &etcd, "etcd/healthcheck-client": &etcd,
	} {
		n.put(t, pki+"/"+name, issue(t, name, by, until(-day)))
	}
	for _, name := range []string{"admin", "super-admin", "scheduler", "controller-manager"} {
		n.embed(t, "/etc/kubernetes/"+name+".conf", issue(t, name, &n.ca, until(-day)))
	}
	return n
}

// renewedBy is what kubeadm makes of each file that it is asked for, good for a year.
func renewedBy(t *testing.T, n *node, f *harden.Facts) func([]string) (harden.Renewed, error) {
	out := harden.Renewed{Files: map[string][]byte{}}
	signers := map[string]*pair{}
	for _, c := range f.Certificates {
		if c.CA || c.User != "" || c.Path == "/etc/kubernetes/kubelet.conf" || !strings.HasPrefix(c.Path, pki) {
			continue
		}
		if signers[c.SignedBy] == nil {
			signers[c.SignedBy] = &pair{harden.CertificatesIn(n.Files[c.SignedBy].Data)[0], harden.PrivateKeyIn(n.Files[strings.TrimSuffix(c.SignedBy, ".crt")+".key"].Data)}
		}
		p := issue(t, c.CommonName, signers[c.SignedBy], until(365*day))
		out.Files[c.Path], out.Files[strings.TrimSuffix(c.Path, ".crt")+".key"] = []byte(p.pem()), []byte(p.keyPEM(t))
	}
	return func([]string) (harden.Renewed, error) { return out, nil }
}

// TestWhatHasEndedIsRenewedFromEtcdOn: the verdict says what ended and how it comes back, --all takes the renewal, and without etcd no
// API server gets well, so that etcd's plan is the first one.
func TestWhatHasEndedIsRenewedFromEtcdOn(t *testing.T) {
	n := overdue(t)
	for _, name := range []string{"admin", "super-admin", "scheduler", "controller-manager"} {
		delete(n.Files, "/etc/kubernetes/"+name+".conf") // kubeconfigs are renewed like the rest, and need no second proof here
	}
	f := n.running(t)
	hardentest.Run(f, hardentest.Now.Add(-time.Hour))
	f.Components[harden.APIServer].Process.Resident = 300 << 20
	f.Machine = &harden.MachineFact{MemAvailable: 4 << 30, Systemd: true}
	for id, says := range map[string]string{
		"certificates-expiry":      "kubeadm renews it, also while the API server does not answer",
		"certificates-etcd-expiry": "ended on 2026-11-30: /etc/kubernetes/pki/etcd/",
	} {
		if got := finding(t, f, id); got.Status != harden.StatusFail || !strings.Contains(got.Message.String(), says) {
			t.Errorf("%s: %s: %s", id, got.Status, got.Message)
		}
	}
	areas := []harden.Area{certificates.Area()}
	choices, skipped, err := harden.Select(f, areas, harden.Selection{All: true})
	if err != nil || len(choices) != 2 {
		t.Fatalf("%v, skipped %v, %v", choices, skipped, err)
	}
	built, err := harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State, Now: hardentest.Now, Renew: renewedBy(t, n, f)})
	if err != nil {
		t.Fatal(err)
	}
	plans := slices.DeleteFunc(built.InOrder(), harden.Plan.Empty)
	if len(plans) != 2 {
		t.Fatalf("%d plans, skipped %v", len(plans), built.Node.Skipped)
	}
	for i, want := range []harden.ComponentID{harden.Etcd, harden.APIServer} {
		_, restarts := plans[i].Stages[0].Effect(want)
		if !restarts || !plans[i].Mends(hardentest.Now) || len(plans[i].Blocking()) > 0 {
			t.Errorf("plan %d restarts %s: %v, mends %v, blocked by %v", i+1, want, restarts, plans[i].Mends(hardentest.Now), plans[i].Blocking())
		}
	}
	// The day before nothing has ended, and etcd's turn is its usual one.
	built, err = harden.Build(harden.BuildInput{Facts: f, Areas: areas, Choices: choices, Read: n.State, Now: hardentest.Now.Add(-2 * day), Renew: renewedBy(t, n, f)})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.DeleteFunc(built.InOrder(), harden.Plan.Empty); len(got) != 2 || got[0].Stages[0].Effects[0].Component != harden.APIServer || got[0].Mends(hardentest.Now.Add(-2*day)) {
		t.Errorf("what is still good: %d plans", len(got))
	}
}

// TestOneMessageForAllThatEnded: the kubelet's way is another one than kubeadm's, and both are said.
func TestOneMessageForAllThatEnded(t *testing.T) {
	n := overdue(t)
	n.embed(t, "/etc/kubernetes/kubelet.conf", issue(t, "system:node:cp1", &n.ca, until(-time.Hour)))
	got := finding(t, n.running(t), "certificates-expiry").Message.String()
	for _, want := range []string{"kubeadm renews it, also while the API server does not answer", "the kubelet cannot ask for a new one, and does not start", "--client-name system:node:cp1"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q is said %d times in %s", want, strings.Count(got, want), got)
		}
	}
}
