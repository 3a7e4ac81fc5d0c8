package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// proofs are what an API server answers that is asked whether changes are in force.
type proofs struct {
	err     error
	plugins []string
	tokens  []string // that were sent
	status  int      // for a token
	life    time.Duration
	noPod   bool
	refusal string
}

func (c *cluster) AdmissionPlugins(context.Context) ([]string, error) {
	return c.proofs.plugins, errors.Join(c.up(), c.proofs.err)
}

func (c *cluster) GetWith(_ context.Context, token, path string) (int, error) {
	c.proofs.tokens = append(c.proofs.tokens, token+" "+path)
	return c.proofs.status, errors.Join(c.up(), c.proofs.err)
}

func (c *cluster) TokenLife(context.Context) (time.Duration, bool, error) {
	return c.proofs.life, !c.proofs.noPod, errors.Join(c.up(), c.proofs.err)
}

func (c *cluster) TrialPod(context.Context, string) (string, error) {
	return c.proofs.refusal, errors.Join(c.up(), c.proofs.err)
}

// A change that is not in force is undone, one that is passes, and what cannot be asked is said and forbids nothing.
func TestProofsOfTheAPIServer(t *testing.T) {
	const tokens = "/etc/kubernetes/tokens.csv"
	admission := harden.Proof{Kind: harden.ProofAdmission, Path: "NodeRestriction"}
	oldToken := harden.Proof{Kind: harden.ProofOldToken, Path: tokens, Request: "/api", Status: 401}
	life := harden.Proof{Kind: harden.ProofTokenLife, Path: "for a pod"}
	refused := harden.Proof{Kind: harden.ProofPodRefused, Path: "shop"}
	const csv = "sesame,mei,1,\"system:masters\"\nother,jo,2\n"
	for _, row := range []struct {
		name     string
		proof    harden.Proof
		file     string // of tokens
		answers  proofs
		wrong    string // with which it is undone
		unproven string
	}{
		{name: "the plugin is at work", proof: admission, answers: proofs{plugins: []string{"LimitRanger", "NodeRestriction"}}},
		{name: "the plugin is not at work", proof: admission, answers: proofs{plugins: []string{"LimitRanger"}}, wrong: "NodeRestriction has looked at no request, and LimitRanger have"},
		{name: "plugins cannot be asked for", proof: admission, answers: proofs{err: errors.New("no metric names any")}, unproven: "no metric names any"},
		{name: "a token of the file is refused", proof: oldToken, file: csv, answers: proofs{status: 401}},
		{name: "a token of the file is taken", proof: oldToken, file: csv, answers: proofs{status: 200}, wrong: "GET /api with a token from " + tokens + ": wanted 401, got 200"},
		{name: "the file is empty", proof: oldToken, answers: proofs{status: 200}, unproven: tokens + " has no token in its first line"},
		{name: "the file is broken", proof: oldToken, file: "sesame\"x,mei\n", answers: proofs{status: 200}, unproven: tokens + " has no token in its first line"},
		{name: "a new token is good for an hour", proof: life, answers: proofs{life: 3607 * time.Second}},
		{name: "a new token is good for a year", proof: life, answers: proofs{life: 8766 * time.Hour}, wrong: "a pod's new token is good for 8766h"},
		{name: "there is no pod to ask a token for", proof: life, answers: proofs{noPod: true}, unproven: "there is no pod with a service account"},
		{name: "no token can be had", proof: life, answers: proofs{err: errors.New("a webhook refuses it")}, unproven: "a webhook refuses it"},
		{name: "a pod is refused", proof: refused, answers: proofs{refusal: `pods "x" is forbidden: violates PodSecurity "baseline:v1.37"`}},
		{name: "a pod is taken", proof: refused, wrong: "a privileged pod is not refused in the namespace shop"},
		{name: "a pod is refused by others", proof: refused, answers: proofs{refusal: "exceeded quota"}, unproven: "the pod is refused for another reason: exceeded quota"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.write(tokens, row.file)
			w = worldOn(t, w.fsys)
			proving(w, "change", row.proof, false)
			w.cluster.proofs = row.answers
			r := w.apply(w.plan("change"))
			want := harden.OutcomeApplied
			if row.wrong != "" {
				want = harden.OutcomeRefused // by the canary already
			}
			if r.Outcome != want || !strings.Contains(r.Message.String(), row.wrong) {
				t.Errorf("%s: %s, want %s", r.Outcome, r.Message, want)
			}
			said := ""
			for _, e := range w.events {
				if e.Kind == harden.EventUnproven {
					said += e.Message.String() + "\n"
				}
			}
			if row.unproven == "" && strings.Contains(said, "not proven for change") || !strings.Contains(said, row.unproven) {
				t.Errorf("not proven: %s", said)
			}
			told, err := json.Marshal(w.events)
			if err != nil || strings.Contains(string(told)+r.Message.String(), "sesame") {
				t.Errorf("the token is told: %s %v", r.Message, err)
			}
			if row.file == csv && !slices.Equal(slices.Compact(w.cluster.proofs.tokens), []string{"sesame /api"}) {
				t.Errorf("sent %q", w.cluster.proofs.tokens)
			}
		})
	}
}
