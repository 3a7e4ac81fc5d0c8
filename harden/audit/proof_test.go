package audit

import (
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

const policyHead = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

// The proof wanted a line that the operator's own policy leaves out, and the change was undone each time.
func TestNarrowPolicyIsProvenByWhatItRecords(t *testing.T) {
	const secret = "/api/v1/namespaces/default/secrets/kubectl-harden-proof"
	for _, row := range []struct {
		name, policy string
		kind         harden.ProofKind
		request      string
	}{
		{"all", "rules: [{level: Metadata}]", harden.ProofAuditLine, "/api/v1/namespaces"},
		{"secrets only", `rules: [{level: Metadata, resources: [{group: "", resources: ["secrets"]}]}]`, harden.ProofAuditLine, secret},
		{"secrets of kube-system only", `rules: [{level: Metadata, namespaces: ["kube-system"], resources: [{group: "", resources: ["secrets"]}]}]`,
			harden.ProofAuditLine, "/api/v1/namespaces/kube-system/secrets/kubectl-harden-proof"},
		{"nobody without a name", `rules: [{level: None, userGroups: ["system:unauthenticated"]}, {level: Metadata, userGroups: ["system:authenticated"]}]`,
			harden.ProofAdminLine, "/api/v1/namespaces"},
		{"not what is refused", `omitStages: ["ResponseStarted"]` + "\nrules: [{level: Metadata}]", harden.ProofAdminLine, "/api/v1/namespaces"},
		{"writes only", `rules: [{level: Metadata, verbs: ["create","update","patch","delete"]}]`, harden.ProofAuditLog, ""},
		{"paths only", `rules: [{level: Metadata, nonResourceURLs: ["*"]}]`, harden.ProofAuditLog, ""},
		{"one person", `rules: [{level: Metadata, users: ["alice"]}]`, harden.ProofAuditLog, ""},
	} {
		n := logging(t, "1.34", LogFile, policyHead+row.policy+"\n")
		p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-log-maxage"})
		if err != nil {
			t.Fatal(row.name, err)
		}
		got := p.Stages[0].Gates[0].Proofs
		if len(got) != 1 || got[0].Kind != row.kind || got[0].Request != row.request || got[0].Path != LogFile {
			t.Errorf("%s: %+v, want %s of %q", row.name, got, row.kind, row.request)
		}
	}
}

// Replacing a policy is proven by the new one, which records all that may be asked for.
func TestReplacedPolicyIsProvenByTheNewOne(t *testing.T) {
	n := logging(t, "1.37", LogFile, policyHead+`rules: [{level: Metadata, users: ["alice"]}]`+"\n")
	p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-policy", Remedy: "replace-policy"})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Stages[0].Gates[0].Proofs; len(got) != 1 || got[0].Kind != harden.ProofAuditLine {
		t.Errorf("%+v", got)
	}
	ours, err := decode(patches.AuditPolicy())
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range provable {
		for _, who := range append(strangers, administrators...) {
			if !records(ours, who, ask.request) {
				t.Errorf("our policy does not record %s of %s by %q", ask.verb, ask.request, who.user)
			}
		}
	}
}

// deletecollection is answered with the whole list, and delete with what waits for a finalizer; both passed as "keeps secrets out".
func TestBodiesOfDeletedSecretsAreALeak(t *testing.T) {
	for verb, leaks := range map[string]bool{"deletecollection": true, "delete": true, "watch": false} {
		policy := policyHead + `rules: [{level: RequestResponse, verbs: ["` + verb + `"], resources: [{group: "", resources: ["secrets"]}]}, {level: Metadata}]` + "\n"
		f := statuses(t, logging(t, "1.37", LogFile, policy, hardentest.Flag("audit-log-maxage", "30")))["audit-policy"]
		if got := f.Status == harden.StatusFail && strings.Contains(f.Message.String(), verb+" of secrets"); got != leaks {
			t.Errorf("%s: %s: %s", verb, f.Status, f.Message)
		}
		policy = strings.ReplaceAll(policy, "level: RequestResponse", "level: Request")
		if f := statuses(t, logging(t, "1.37", LogFile, policy))["audit-policy"]; f.Status != harden.StatusPass {
			t.Errorf("%s at Request: %s: %s", verb, f.Status, f.Message)
		}
	}
}
