package apiserver

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// kubelets are a cluster with these.
func kubelets(all ...harden.KubeletServingFact) func(*harden.Facts) {
	return func(f *harden.Facts) {
		delete(f.Missing, harden.NeedKubelets)
		f.Cluster = &harden.ClusterFacts{KubeletServing: all}
	}
}

func serving(node string, change func(*harden.KubeletServingFact)) harden.KubeletServingFact {
	k := harden.KubeletServingFact{
		Node: node, DNSNames: []string{node}, Addresses: []string{"192.0.2.11"},
		NodeAddresses: []harden.NodeAddress{{Type: "Hostname", Address: node}, {Type: "InternalIP", Address: "192.0.2.11"}},
	}
	if change != nil {
		change(&k)
	}
	return k
}

var (
	proven   = serving("cp1", nil)
	selfMade = serving("w1", func(k *harden.KubeletServingFact) { k.Problem = harden.Msg("signed by unknown authority") })
	moved    = serving("w2", func(k *harden.KubeletServingFact) { k.Addresses = []string{"192.0.2.99"} })
	gone     = serving("w3", func(k *harden.KubeletServingFact) { k.Unread = harden.Msg("connection refused") })
)

func TestKubeletCertificateAuthority(t *testing.T) {
	const id = "apiserver-kubelet-certificate-authority"
	set := []hardentest.Edit{hardentest.Flag(kubeletCAFlag, clusterCA)}
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "taken for its kubelet"},
		{Name: "empty", Edits: []hardentest.Edit{hardentest.Flag(kubeletCAFlag, "")}, Want: harden.StatusFail},
		{Name: "set", Edits: set, Want: harden.StatusPass, Says: clusterCA},
		{Name: "set, kubelets proven", Edits: set, Facts: kubelets(proven, gone), Want: harden.StatusPass},
		{Name: "set, and one is refused", Edits: set, Facts: kubelets(proven, selfMade, moved), Want: harden.StatusManual, Says: "2 of them do not pass"},
		{Name: "a file that is not there", Edits: []hardentest.Edit{hardentest.Flag(kubeletCAFlag, pki+"kubelet-ca.crt")}, Want: harden.StatusFail, Says: "does not exist"},
		{Name: "a file that nothing mounts", Edits: []hardentest.Edit{hardentest.Flag(kubeletCAFlag, "/srv/ca.crt")}, Want: harden.StatusFail, Says: "no mount"},
	})
	flag := manifestLines("+ - --kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt")
	choice := harden.Choice{Control: id}
	table().Changes(t, []hardentest.Change{
		{Name: "all proven", Minor: "1.37", Facts: kubelets(proven), Choice: choice, Want: flag},
		{Name: "not looked at", Minor: "1.30", Choice: choice, Skip: "--accept " + id},
		{Name: "no nodes", Minor: "1.30", Facts: kubelets(), Choice: choice, Skip: "--accept " + id},
		{Name: "one has signed its own", Minor: "1.34", Facts: kubelets(proven, selfMade), Choice: choice, Skip: "1 of 2 have not"},
		{Name: "one is for another address", Minor: "1.34", Facts: kubelets(moved), Choice: choice, Skip: "1 of 1 have not"},
		{Name: "one does not answer", Minor: "1.34", Facts: kubelets(proven, gone), Choice: choice, Skip: "1 of 2 have not"},
	})
}

// The address is the first of the type that the API server prefers, as it looks for a kubelet.
func TestKubeletIsAskedWhereTheAPIServerAsks(t *testing.T) {
	byName := serving("W4", func(k *harden.KubeletServingFact) { k.Addresses, k.DNSNames = nil, []string{"w4"} })
	nowhere := serving("w5", func(k *harden.KubeletServingFact) { k.NodeAddresses = nil })
	for _, tt := range []struct {
		k      harden.KubeletServingFact
		prefer string
		says   string
	}{
		{byName, "Hostname,InternalIP", ""},
		{byName, "InternalIP,Hostname", "asked at 192.0.2.11, and its certificate is for w4"},
		{nowhere, "InternalIP", "no address of the types InternalIP"},
		{selfMade, "InternalIP", "unknown authority"},
	} {
		got := refusal(tt.k, strings.Split(tt.prefer, ","))
		if got.IsZero() != (tt.says == "") || !strings.Contains(got.String(), tt.says) {
			t.Errorf("%s by %s: %q", tt.k.Node, tt.prefer, got)
		}
	}
	f := hardentest.APIServerFacts(t, "1.37")
	kubelets(proven, selfMade)(f)
	var paths []string
	for _, p := range kubeletProofs(f, nil) {
		paths = append(paths, p.Path)
	}
	if want := []string{"/api/v1/nodes/cp1/proxy/healthz", "/api/v1/nodes/w1/proxy/healthz"}; !slices.Equal(paths, want) {
		t.Errorf("the proofs ask %v", paths)
	}
}
