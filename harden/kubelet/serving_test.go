package kubelet_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
)

// The request can be checked only against a Node that shows its addresses, and an approver that stays is never assumed.
func TestServingCertificateFromTheCluster(t *testing.T) {
	_, control, _ := harden.FindControl([]harden.Area{kubelet.Area()}, "kubelet-serving-certificate")
	remedy := control.Remedies[0]
	n := hardentest.Fixture(t, "1.37")
	f := n.Facts(t)
	state := func(id string) harden.PreconditionState {
		all := remedy.Preconditions(f, nil)
		return all[slices.IndexFunc(all, func(p harden.Precondition) bool { return p.ID == id })].State
	}
	if got := state("node-has-addresses"); got != harden.PreconditionUnknown {
		t.Errorf("without an API: %s", got)
	}
	delete(f.Missing, harden.NeedNodes)
	f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{{Name: f.Identity.Node, Addresses: []string{"192.0.2.11"}}}}
	if a, b := state("node-has-addresses"), state("an-approver-stays"); a != harden.Met || b != harden.PreconditionUnknown {
		t.Errorf("with an API: %s %s", a, b)
	}
	f.Cluster.Nodes[0].Addresses = nil
	if got := state("node-has-addresses"); got != harden.Unmet {
		t.Errorf("without addresses: %s", got)
	}
	f.Cluster.Pods = []harden.PodFact{{Images: []harden.ImageFact{{Image: "ghcr.io/postfinance/kubelet-csr-approver:v1.2.10"}}}}
	if got := state("an-approver-stays"); got != harden.Met {
		t.Errorf("with an approver: %s", got)
	}
	intents, err := remedy.Intents(f, nil)
	if err != nil || len(intents) != 1 || intents[0].Key != "serverTLSBootstrap" || intents[0].Value != true {
		t.Errorf("%v %v", intents, err)
	}
	if proofs := remedy.Proofs(f, nil); proofs[0].Kind != harden.ProofServing {
		t.Errorf("%v", proofs)
	}
	for name, want := range map[string]string{
		"serverTLSBootstrap: true":                       "asked already",
		"tlsCertFile: /a.crt\ntlsPrivateKeyFile: /a.key": "takes that certificate",
	} {
		n := hardentest.Fixture(t, "1.37")
		field(name)(t, n)
		if _, err := remedy.Intents(n.Facts(t), nil); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(want, "takes ")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServedCertificateIsEvidence(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	field("serverTLSBootstrap: true")(t, n)
	f := n.Facts(t)
	f.Cluster = &harden.ClusterFacts{KubeletServing: []harden.KubeletServingFact{{Node: f.Identity.Node, Address: "192.0.2.11:10250"}}}
	if got := finding(t, f, "kubelet-serving-certificate"); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
	f.Cluster.KubeletServing[0].Problem = harden.Msg("x509")
	if got := finding(t, f, "kubelet-serving-certificate"); got.Status != harden.StatusFail {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}

// A certificate that has ended, or that the kubelet does not serve with, lay there and was enough for a pass; so was one of which
// nobody will approve the next.
func TestServingCertificateThatLiesThereIsNotEnough(t *testing.T) {
	approver := []harden.PodFact{{Namespace: "kube-system", Name: "approver", Images: []harden.ImageFact{{Image: "ghcr.io/postfinance/kubelet-csr-approver:v1.2.10"}}}}
	for _, test := range []struct {
		name    string
		edit    func(*harden.Facts, *harden.CertificateFact, *harden.KubeletServingFact)
		want    harden.Status
		message string
	}{
		{"good, with an approver", nil, harden.StatusPass, "issued by kubernetes"},
		{"ended", func(f *harden.Facts, c *harden.CertificateFact, _ *harden.KubeletServingFact) {
			c.NotAfter = f.CollectedAt
		}, harden.StatusFail, "kubectl certificate approve"},
		{"not yet good", func(f *harden.Facts, c *harden.CertificateFact, _ *harden.KubeletServingFact) {
			c.NotBefore = f.CollectedAt.Add(time.Hour)
		}, harden.StatusFail, "clock"},
		{"another one served", func(_ *harden.Facts, _ *harden.CertificateFact, s *harden.KubeletServingFact) {
			s.Problem = harden.Msg("x509: certificate signed by unknown authority")
		}, harden.StatusFail, "(x509: certificate signed by unknown authority): restart the kubelet"},
		{"not seen", func(_ *harden.Facts, _ *harden.CertificateFact, s *harden.KubeletServingFact) {
			s.Unread = harden.Msg("connection refused")
		}, harden.StatusManual, "connection refused"},
		{"no approver", func(f *harden.Facts, _ *harden.CertificateFact, _ *harden.KubeletServingFact) { f.Cluster.Pods = nil }, harden.StatusManual, "no approver"},
		{"pods not read", func(f *harden.Facts, _ *harden.CertificateFact, _ *harden.KubeletServingFact) {
			f.Cluster.Pods, f.Missing[harden.NeedWorkloads] = nil, harden.Msg("forbidden")
		}, harden.StatusPass, "whether an approver for the next one stays was not seen"},
		{"no API", func(f *harden.Facts, _ *harden.CertificateFact, _ *harden.KubeletServingFact) { f.Cluster = nil }, harden.StatusPass, "was not seen"},
	} {
		n := hardentest.Fixture(t, "1.37")
		all(field("serverTLSBootstrap: true"), serving)(t, n)
		f := n.Facts(t)
		delete(f.Missing, harden.NeedWorkloads)
		f.Cluster = &harden.ClusterFacts{Pods: approver, KubeletServing: []harden.KubeletServingFact{{Node: f.Identity.Node, Address: "192.0.2.11:10250"}}}
		i := slices.IndexFunc(f.Certificates, func(c harden.CertificateFact) bool { return strings.HasSuffix(c.Path, "kubelet-server-current.pem") })
		if test.edit != nil {
			test.edit(f, &f.Certificates[i], &f.Cluster.KubeletServing[0])
		}
		if got := finding(t, f, "kubelet-serving-certificate"); got.Status != test.want || !strings.Contains(got.Message.String(), test.message) {
			t.Errorf("%s: %s: %s", test.name, got.Status, got.Message)
		}
	}
}

func TestGivenServingCertificateThatHasEnded(t *testing.T) {
	n := hardentest.Fixture(t, "1.37")
	field("tlsCertFile: /etc/kubernetes/pki/apiserver.crt\ntlsPrivateKeyFile: /etc/kubernetes/pki/apiserver.key")(t, n)
	f := n.Facts(t)
	if got := finding(t, f, "kubelet-serving-certificate"); got.Status != harden.StatusPass {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
	f.CollectedAt = f.CollectedAt.AddDate(2, 0, 0)
	if got := finding(t, f, "kubelet-serving-certificate"); got.Status != harden.StatusFail || !strings.Contains(got.Message.String(), "ended on") {
		t.Errorf("%s: %s", got.Status, got.Message)
	}
}
