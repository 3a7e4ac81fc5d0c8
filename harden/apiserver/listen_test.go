package apiserver

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestListen(t *testing.T) {
	on := func(v string) []hardentest.Edit { return []hardentest.Edit{hardentest.Flag(bindFlag, v)} }
	port := func(v string) []hardentest.Edit {
		return []hardentest.Edit{hardentest.NoFlag(portFlag), hardentest.Flag(portFlag, v)}
	}
	table().Verdicts(t, "apiserver-bind-address", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass, Says: "every address"},
		{Name: "every address", Edits: on("0.0.0.0"), Want: harden.StatusPass},
		{Name: "every address of IPv6", Edits: on("::0"), Want: harden.StatusPass},
		{Name: "one", Edits: on("192.0.2.11"), Want: harden.StatusManual, Says: "192.0.2.11 alone"},
		{Name: "loopback", Edits: on("127.0.0.1"), Want: harden.StatusFail, Says: "no other node"},
		{Name: "a name", Edits: on("cp1"), Want: harden.StatusFail, Says: "no address"},
		{Name: "no port", Edits: port("0"), Want: harden.StatusFail, Says: "no port"},
		{Name: "another port", Edits: port("443"), Want: harden.StatusPass},
	})
}

// nodes are a cluster with so many control-plane nodes.
func nodes(n int) func(*harden.Facts) {
	return func(f *harden.Facts) {
		delete(f.Missing, harden.NeedNodes)
		f.Cluster = &harden.ClusterFacts{Nodes: []harden.NodeFact{{Name: "w1"}}}
		for range n {
			f.Cluster.Nodes = append(f.Cluster.Nodes, harden.NodeFact{ControlPlane: true})
		}
	}
}

func TestGoaway(t *testing.T) {
	const id = "apiserver-goaway-chance"
	chance := func(v string) []hardentest.Edit { return []hardentest.Edit{hardentest.Flag(goawayFlag, v)} }
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusManual, Says: "decide"},
		{Name: "alone", Facts: nodes(1), Want: harden.StatusNotApplicable, Says: "only API server"},
		{Name: "one of three", Facts: nodes(3), Want: harden.StatusManual},
		{Name: "set", Edits: chance("0.001"), Facts: nodes(3), Want: harden.StatusPass, Says: "one request of 1000"},
		{Name: "zero", Edits: chance("0"), Facts: nodes(3), Want: harden.StatusManual},
		{Name: "too large", Edits: chance("0.5"), Facts: nodes(1), Want: harden.StatusFail, Says: "does not start"},
		{Name: "no number", Edits: chance("often"), Want: harden.StatusFail},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "one of three", Minor: "1.37", Facts: nodes(3), Choice: harden.Choice{Control: id}, Want: manifestLines("+ - --goaway-chance=0.001")},
		{Name: "alone", Minor: "1.37", Facts: nodes(1), Choice: harden.Choice{Control: id, Named: true}, Skip: "only API server"},
	})
}
