package apiserver

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

func TestProfiling(t *testing.T) {
	off := hardentest.Flag("profiling", "false")
	table().Verdicts(t, "apiserver-profiling", []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "/debug/pprof"},
		{Name: "off", Edits: []hardentest.Edit{off}, Want: harden.StatusPass},
		{Name: "off in args", Edits: []hardentest.Edit{off, hardentest.InArgs()}, Want: harden.StatusPass},
		{Name: "off, split", Edits: []hardentest.Edit{off, hardentest.Split()}, Want: harden.StatusPass},
		{Name: "on", Edits: []hardentest.Edit{hardentest.Flag("profiling", "true")}, Want: harden.StatusFail},
		{Name: "the last one counts", Edits: []hardentest.Edit{hardentest.Flag("profiling", "true"), off}, Want: harden.StatusFail},
		{Name: "not a boolean", Edits: []hardentest.Edit{hardentest.Flag("profiling", "no")}, Want: harden.StatusFail},
		{Name: "by a socket", Edits: []hardentest.Edit{off, hardentest.Flag("debug-socket-path", "/run/debug.sock")}, Want: harden.StatusFail, Says: "socket"},
		{Name: "the process counts", Facts: func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, "--profiling=false") }, Want: harden.StatusPass},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "adds", Minor: "1.30", Choice: harden.Choice{Control: "apiserver-profiling"}, Want: []string{"kube-apiserver.yaml: + - --profiling=false"}},
		{Name: "adds to args", Minor: "1.37", Edits: []hardentest.Edit{hardentest.InArgs()}, Choice: harden.Choice{Control: "apiserver-profiling"}, Want: []string{"kube-apiserver.yaml: + - --profiling=false"}},
		{Name: "changes, and drops the socket", Minor: "1.37", Edits: []hardentest.Edit{hardentest.Flag("profiling", "true"), hardentest.Flag("debug-socket-path", "/run/x")}, Choice: harden.Choice{Control: "apiserver-profiling"},
			Want: []string{"kube-apiserver.yaml: - - --debug-socket-path=/run/x", "kube-apiserver.yaml: - - --profiling=true", "kube-apiserver.yaml: + - --profiling=false"}},
	})
}

func TestExtendTokens(t *testing.T) {
	const id = "apiserver-service-account-extend-token-expiration"
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusFail, Says: "good for a year"},
		{Name: "off", Edits: []hardentest.Edit{hardentest.Flag(extendFlag, "false")}, Want: harden.StatusPass},
		{Name: "on", Edits: []hardentest.Edit{hardentest.Flag(extendFlag, "true")}, Want: harden.StatusFail},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "not without knowing", Minor: "1.37", Choice: harden.Choice{Control: id}, Skip: "--accept " + id},
		{Name: "accepted", Minor: "1.37", Choice: harden.Choice{Control: id, Accept: true}, Want: []string{"kube-apiserver.yaml: + - --service-account-extend-token-expiration=false"}},
	})
}

func TestStaleTokens(t *testing.T) {
	tests := []struct {
		name  string
		count float64 // -1: not read
		up    time.Duration
		want  harden.PreconditionState
	}{
		{"not read", -1, 48 * time.Hour, harden.PreconditionUnknown},
		{"some", 3, 48 * time.Hour, harden.Unmet},
		{"some soon after the start", 3, time.Hour, harden.Unmet},
		{"none in a day", 0, 24 * time.Hour, harden.Met},
		{"none yet", 0, 23 * time.Hour, harden.PreconditionUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := hardentest.APIServerFacts(t, "1.37")
			hardentest.Run(f, f.CollectedAt.Add(-tt.up))
			if tt.count >= 0 {
				f.Cluster = &harden.ClusterFacts{StaleTokens: &tt.count}
			}
			got := staleTokens(f, nil)
			if len(got) != 1 || got[0].State != tt.want || got[0].Message.IsZero() {
				t.Errorf("precondition = %+v, want %s", got, tt.want)
			}
		})
	}
}

func TestTokenAuthFile(t *testing.T) {
	const id, secret = "apiserver-token-auth-file", "31ada4fd-adec-460c-809a-9e56ceb75269"
	edits := []hardentest.Edit{hardentest.Flag(tokenFileFlag, "/etc/kubernetes/pki/tokens.csv")}
	write := func(n *hardentest.Node) { n.Write("/etc/kubernetes/pki/tokens.csv", secret+",admin,1\n", 0o600) }
	table().Verdicts(t, id, []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusPass},
		{Name: "in use", Edits: edits, Change: write, Want: harden.StatusFail, Says: "/etc/kubernetes/pki/tokens.csv"},
	})
	table().Changes(t, []hardentest.Change{
		{Name: "not without knowing", Minor: "1.34", Edits: edits, Change: write, Choice: harden.Choice{Control: id}, Skip: "--accept " + id},
		{Name: "accepted", Minor: "1.34", Edits: edits, Change: write, Choice: harden.Choice{Control: id, Accept: true},
			Want: []string{"kube-apiserver.yaml: - - --token-auth-file=/etc/kubernetes/pki/tokens.csv"}},
	})
	n := hardentest.APIServer(t, "1.34", edits...)
	write(n)
	for _, e := range table().Finding(t, n.Facts(t), id).Evidence {
		if strings.Contains(e.Value, secret) {
			t.Error("the finding shows a token")
		}
	}
}
