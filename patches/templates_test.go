package patches

import (
	"testing"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"
)

func TestAuditPolicy(t *testing.T) {
	var policy auditv1.Policy
	if err := yaml.UnmarshalStrict(AuditPolicy(), &policy); err != nil {
		t.Fatal(err)
	}
	if policy.APIVersion != "audit.k8s.io/v1" || policy.Kind != "Policy" || !policy.OmitManagedFields {
		t.Errorf("the policy is %s %s", policy.APIVersion, policy.Kind)
	}
	if last := policy.Rules[len(policy.Rules)-1]; last.Level != auditv1.LevelMetadata || len(last.Resources) > 0 {
		t.Error("the last rule does not catch all the rest")
	}
	// Rules are tried in order: nothing may record the contents of secrets before the rule that forbids it.
	for _, rule := range policy.Rules {
		for _, resources := range rule.Resources {
			for _, name := range resources.Resources {
				if resources.Group == "" && name == "secrets" {
					if rule.Level != auditv1.LevelMetadata {
						t.Errorf("secrets are recorded at %s", rule.Level)
					}
					return
				}
			}
		}
		if rule.Level != auditv1.LevelNone {
			t.Errorf("a rule at %s stands before the one for secrets", rule.Level)
		}
		for _, resources := range rule.Resources {
			if resources.Group == "*" {
				t.Error("a rule for all groups is not valid before Kubernetes 1.36")
			}
		}
	}
	t.Error("there is no rule for secrets")
}
