package apiserver

import (
	"slices"
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
	table().Verdicts(t, "apiserver-rival-manifest", []hardentest.Verdict{
		{Name: "one file", Want: harden.StatusPass, Says: "only"},
		{Name: "a backup beside it", Change: copyTo("kube-apiserver.yaml.bak"), Want: harden.StatusFail, Says: "the kubelet obeys /etc/kubernetes/manifests/kube-apiserver.yaml.bak"},
		{Name: "a copy that loses", Change: copyTo("a.yaml"), Want: harden.StatusFail, Says: "the kubelet obeys /etc/kubernetes/manifests/kube-apiserver.yaml"},
		{Name: "a dot-file", Change: copyTo(".kube-apiserver.yaml.swp"), Want: harden.StatusPass},
	})
}

// A stray manifest was found, and what to do about it was not offered.
func TestRivalManifestHasAHint(t *testing.T) {
	f := hardentest.APIServerFacts(t, "1.37")
	f.Component(harden.APIServer).Rivals = []string{harden.StaticPodDir + "/it's mine; rm -rf.bak"}
	f.Identity.Root = "/mnt"
	want := []string{`mv -n -- '/mnt/etc/kubernetes/manifests/it'\''s mine; rm -rf.bak' '/mnt/etc/kubernetes/it'\''s mine; rm -rf.bak'`}
	if got := table().Finding(t, f, "apiserver-rival-manifest").Hints; !slices.Equal(got, want) {
		t.Errorf("hints %q, want %q", got, want)
	}
}

func TestRunningArguments(t *testing.T) {
	run := func(more ...string) func(*harden.Facts) {
		return func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, more...) }
	}
	table().Verdicts(t, "apiserver-running-arguments", []hardentest.Verdict{
		{Name: "offline", Want: harden.StatusNotApplicable},
		{Name: "not running", Facts: func(f *harden.Facts) { f.Identity.Offline = false }, Want: harden.StatusManual},
		{Name: "the same", Facts: run(), Want: harden.StatusPass},
		{Name: "one flag more", Facts: run("--profiling=false"), Want: harden.StatusFail, Says: "process 4711"},
		{Name: "split flags mean the same", Edits: []hardentest.Edit{hardentest.Split()}, Facts: run(), Want: harden.StatusPass},
	})
	f := hardentest.APIServerFacts(t, "1.37")
	hardentest.Run(f, f.CollectedAt, "--profiling=false")
	got := table().Finding(t, f, "apiserver-running-arguments").Evidence
	if len(got) != 2 || got[0].Value != "--profiling is not set" || got[1].Value != "--profiling=false" {
		t.Errorf("evidence = %v, want --profiling of the file and of the process", got)
	}
}
