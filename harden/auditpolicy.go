package harden

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

var (
	auditLevels = []auditv1.Level{auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse}
	auditStages = []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted, auditv1.StageResponseComplete, auditv1.StagePanic}
)

// AuditPolicyProblems are the reasons for which the API server of a version refuses a policy and does not start
// (k8s.io/apiserver: pkg/apis/audit/validation).
func AuditPolicyProblems(p auditv1.Policy, v Version) []Message {
	var out []Message
	if p.APIVersion != "audit.k8s.io/v1" || p.Kind != "Policy" {
		out = append(out, Msg("it is %q of %q, not Policy of audit.k8s.io/v1", p.Kind, p.APIVersion))
	}
	if len(p.Rules) == 0 {
		out = append(out, Msg("it has no rules"))
	}
	out = append(out, badStages("omitStages", p.OmitStages)...)
	for i, r := range p.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if !slices.Contains(auditLevels, r.Level) {
			out = append(out, Msg("%s: level is %q, not None, Metadata, Request or RequestResponse", at, r.Level))
		}
		out = append(out, badStages(at+".omitStages", r.OmitStages)...)
		if len(r.NonResourceURLs) > 0 && len(r.Resources)+len(r.Namespaces) > 0 {
			out = append(out, Msg("%s: a rule for nonResourceURLs cannot be one for resources or namespaces too", at))
		}
		for _, u := range r.NonResourceURLs {
			if u != "*" && (!strings.HasPrefix(u, "/") || strings.Contains(u[:len(u)-1], "*")) {
				out = append(out, Msg("%s: %q in nonResourceURLs does not begin with / or has * before its end", at, u))
			}
		}
		for _, g := range r.Resources {
			out = append(out, badGroup(at, g, v)...)
		}
	}
	return out
}

func badStages(at string, omit []auditv1.Stage) []Message {
	var out []Message
	for _, s := range omit {
		if !slices.Contains(auditStages, s) {
			out = append(out, Msg("%s: there is no stage %q", at, s))
		}
	}
	return out
}

func badGroup(at string, g auditv1.GroupResources, v Version) []Message {
	var out []Message
	switch {
	case g.Group == "*" && !v.AtLeast(1, 36):
		out = append(out, Msg("%s: group \"*\" is known from 1.36 on, and here is %s", at, v))
	case g.Group != "" && g.Group != "*" && len(validation.IsDNS1123Subdomain(g.Group)) > 0:
		out = append(out, Msg("%s: %q is not the name of an API group; versions do not belong in it", at, g.Group))
	}
	if len(g.ResourceNames) > 0 && len(g.Resources) == 0 {
		out = append(out, Msg("%s: resourceNames without resources", at))
	}
	return out
}
