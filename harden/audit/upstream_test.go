package audit

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// The verdicts are those of the API server's own code, of the newest version.
func TestAgainstAPIServer(t *testing.T) {
	texts := map[string]string{"template": string(patches.AuditPolicy())}
	for _, tt := range judged {
		texts[tt.name] = tt.policy
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			theirs, err := policy.LoadPolicyFromBytes([]byte(text))
			if j := judge([]byte(text), harden.NewestSupported); (err != nil) != (len(j.fatal) > 0) {
				t.Fatalf("the API server says %v, and here it is %v", err, j.fatal)
			}
			if err != nil {
				return
			}
			ours, err := decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			evaluator := policy.NewPolicyRuleEvaluator(theirs)
			for _, who := range []identity{person, workload, {"somebody", []string{"ops"}}, {"system:apiserver", []string{"system:masters"}}, {"system:node:a", []string{"system:nodes"}}} {
				for _, r := range tried() {
					for _, name := range []string{"", "a"} {
						resource, sub, _ := strings.Cut(r.resource, "/")
						got := evaluator.EvaluatePolicyRule(authorizer.AttributesRecord{
							User: &user.DefaultInfo{Name: who.user, Groups: who.groups}, Verb: r.verb, Namespace: r.namespace, Name: name,
							APIGroup: r.group, Resource: resource, Subresource: sub, ResourceRequest: true,
						})
						want := string(got.Level)
						if len(got.OmitStages) > 1 {
							want = "None" // no stage is left that would be written
						}
						if l := level(ours, ruleFor(ours, who, r, name)); string(l) != want {
							t.Errorf("%s of %s %q in %q by %s is %s, and here %s", r.verb, r, name, r.namespace, who.user, want, l)
						}
					}
				}
			}
		})
	}
}

// tried are requests of all kinds that the judgement knows, in namespaces that the policies treat apart.
func tried() []request {
	out := slices.Concat(important, importantBefore35)
	for _, b := range bodies {
		for _, ns := range []string{"", "default", "prod", "kube-system"} {
			out = append(out, request{b.verb, b.group, b.resource, ns})
		}
	}
	return out
}
