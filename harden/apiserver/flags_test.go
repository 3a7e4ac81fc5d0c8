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
	try(t, "apiserver-profiling", []verdictCase{
		{name: "kubeadm's", want: harden.StatusFail, says: "/debug/pprof"},
		{name: "off", edits: []hardentest.Edit{off}, want: harden.StatusPass},
		{name: "off in args", edits: []hardentest.Edit{off, hardentest.InArgs()}, want: harden.StatusPass},
		{name: "off, split", edits: []hardentest.Edit{off, hardentest.Split()}, want: harden.StatusPass},
		{name: "on", edits: []hardentest.Edit{hardentest.Flag("profiling", "true")}, want: harden.StatusFail},
		{name: "the last one counts", edits: []hardentest.Edit{hardentest.Flag("profiling", "true"), off}, want: harden.StatusFail},
		{name: "not a boolean", edits: []hardentest.Edit{hardentest.Flag("profiling", "no")}, want: harden.StatusFail},
		{name: "by a socket", edits: []hardentest.Edit{off, hardentest.Flag("debug-socket-path", "/run/debug.sock")}, want: harden.StatusFail, says: "socket"},
		{name: "the process counts", facts: func(f *harden.Facts) { hardentest.Run(f, f.CollectedAt, "--profiling=false") }, want: harden.StatusPass},
	})
	plan(t, []planCase{
		{name: "adds", minor: "1.30", choice: harden.Choice{Control: "apiserver-profiling"}, want: []string{"kube-apiserver.yaml: + - --profiling=false"}},
		{name: "adds to args", minor: "1.37", edits: []hardentest.Edit{hardentest.InArgs()}, choice: harden.Choice{Control: "apiserver-profiling"}, want: []string{"kube-apiserver.yaml: + - --profiling=false"}},
		{name: "changes, and drops the socket", minor: "1.37", edits: []hardentest.Edit{hardentest.Flag("profiling", "true"), hardentest.Flag("debug-socket-path", "/run/x")}, choice: harden.Choice{Control: "apiserver-profiling"},
			want: []string{"kube-apiserver.yaml: - - --debug-socket-path=/run/x", "kube-apiserver.yaml: - - --profiling=true", "kube-apiserver.yaml: + - --profiling=false"}},
	})
}

func TestExtendTokens(t *testing.T) {
	const id = "apiserver-service-account-extend-token-expiration"
	try(t, id, []verdictCase{
		{name: "kubeadm's", want: harden.StatusFail, says: "good for a year"},
		{name: "off", edits: []hardentest.Edit{hardentest.Flag(extendFlag, "false")}, want: harden.StatusPass},
		{name: "on", edits: []hardentest.Edit{hardentest.Flag(extendFlag, "true")}, want: harden.StatusFail},
	})
	plan(t, []planCase{
		{name: "not without knowing", minor: "1.37", choice: harden.Choice{Control: id}, skip: "--accept " + id},
		{name: "accepted", minor: "1.37", choice: harden.Choice{Control: id, Accept: true}, want: []string{"kube-apiserver.yaml: + - --service-account-extend-token-expiration=false"}},
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
	try(t, id, []verdictCase{
		{name: "kubeadm's", want: harden.StatusPass},
		{name: "in use", edits: edits, change: write, want: harden.StatusFail, says: "/etc/kubernetes/pki/tokens.csv"},
	})
	plan(t, []planCase{
		{name: "not without knowing", minor: "1.34", edits: edits, change: write, choice: harden.Choice{Control: id}, skip: "--accept " + id},
		{name: "accepted", minor: "1.34", edits: edits, change: write, choice: harden.Choice{Control: id, Accept: true},
			want: []string{"kube-apiserver.yaml: - - --token-auth-file=/etc/kubernetes/pki/tokens.csv"}},
	})
	n := hardentest.APIServer(t, "1.34", edits...)
	write(n)
	for _, e := range finding(t, n.Facts(t), id).Evidence {
		if strings.Contains(e.Value, secret) {
			t.Error("the finding shows a token")
		}
	}
}
