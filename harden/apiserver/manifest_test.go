package apiserver

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestRivalManifest(t *testing.T) {
	copyTo := func(name string) func(*hardentest.Node) {
		return func(n *hardentest.Node) {
			n.Write(harden.StaticPodDir+"/"+name, string(n.Files[hardentest.ManifestPath].Data), 0o600)
		}
	}
	try(t, "apiserver-rival-manifest", []verdictCase{
		{name: "one file", want: harden.StatusPass, says: "only"},
		{name: "a backup beside it", change: copyTo("kube-apiserver.yaml.bak"), want: harden.StatusFail, says: "the kubelet obeys /etc/kubernetes/manifests/kube-apiserver.yaml.bak"},
		{name: "a copy that loses", change: copyTo("a.yaml"), want: harden.StatusFail, says: "the kubelet obeys /etc/kubernetes/manifests/kube-apiserver.yaml"},
		{name: "a dot-file", change: copyTo(".kube-apiserver.yaml.swp"), want: harden.StatusPass},
	})
}

func TestRunningArguments(t *testing.T) {
	run := func(more ...string) func(*harden.Facts) {
		return func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, more...) }
	}
	try(t, "apiserver-running-arguments", []verdictCase{
		{name: "offline", want: harden.StatusNotApplicable},
		{name: "not running", facts: func(f *harden.Facts) { f.Identity.Offline = false }, want: harden.StatusManual},
		{name: "the same", facts: run(), want: harden.StatusPass},
		{name: "one flag more", facts: run("--profiling=false"), want: harden.StatusFail, says: "process 4711"},
		{name: "split flags mean the same", edits: []hardentest.Edit{hardentest.Split()}, facts: run(), want: harden.StatusPass},
	})
	f := hardentest.APIServerFacts(t, "1.37")
	hardentest.Run(f, f.CollectedAt, "--profiling=false")
	got := finding(t, f, "apiserver-running-arguments").Evidence
	if len(got) != 2 || got[0].Value != "--profiling is not set" || got[1].Value != "--profiling=false" {
		t.Errorf("evidence = %v, want --profiling of the file and of the process", got)
	}
}
