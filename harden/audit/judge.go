package audit

import (
	"fmt"
	"slices"
	"strings"

	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

var (
	levels = []auditv1.Level{auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse}
	stages = []auditv1.Stage{auditv1.StageRequestReceived, auditv1.StageResponseStarted, auditv1.StageResponseComplete, auditv1.StagePanic}
)

// judge says whether the API server of a version loads the policy, and what it makes of requests.
func judge(data []byte, v harden.Version) judgement {
	p, err := decode(data)
	if err != nil {
		return judgement{fatal: []harden.Message{harden.Msg("it cannot be decoded: %s", err)}}
	}
	j := judgement{fatal: loadErrors(p, v)}
	if len(j.fatal) > 0 {
		return j
	}
	j.leaks = leaks(p)
	j.gaps = gaps(p, v)
	if err := yaml.UnmarshalStrict(data, &auditv1.Policy{}); err != nil {
		j.gaps = append(j.gaps, harden.Msg("the API server ignores a part of it: %s", err))
	}
	return j
}

// decode reads as the API server does when a policy is not strictly right: names of fields count with their case,
// unknown ones are ignored.
func decode(data []byte) (auditv1.Policy, error) {
	var p auditv1.Policy
	j, err := yaml.YAMLToJSON(data)
	if err != nil {
		return p, err
	}
	err = utiljson.Unmarshal(j, &p)
	return p, err
}

// loadErrors are the reasons for which the API server refuses a policy (k8s.io/apiserver: pkg/apis/audit/validation).
func loadErrors(p auditv1.Policy, v harden.Version) []harden.Message {
	var out []harden.Message
	if p.APIVersion != "audit.k8s.io/v1" || p.Kind != "Policy" {
		out = append(out, harden.Msg("it is %q of %q, not Policy of audit.k8s.io/v1", p.Kind, p.APIVersion))
	}
	if len(p.Rules) == 0 {
		out = append(out, harden.Msg("it has no rules"))
	}
	out = append(out, badStages("omitStages", p.OmitStages)...)
	for i, r := range p.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		if !slices.Contains(levels, r.Level) {
			out = append(out, harden.Msg("%s: level is %q, not None, Metadata, Request or RequestResponse", at, r.Level))
		}
		out = append(out, badStages(at+".omitStages", r.OmitStages)...)
		if len(r.NonResourceURLs) > 0 && len(r.Resources)+len(r.Namespaces) > 0 {
			out = append(out, harden.Msg("%s: a rule for nonResourceURLs cannot be one for resources or namespaces too", at))
		}
		for _, u := range r.NonResourceURLs {
			if u != "*" && (!strings.HasPrefix(u, "/") || strings.Contains(u[:len(u)-1], "*")) {
				out = append(out, harden.Msg("%s: %q in nonResourceURLs does not begin with / or has * before its end", at, u))
			}
		}
		for _, g := range r.Resources {
			out = append(out, badGroup(at, g, v)...)
		}
	}
	return out
}

func badStages(at string, omit []auditv1.Stage) []harden.Message {
	var out []harden.Message
	for _, s := range omit {
		if !slices.Contains(stages, s) {
			out = append(out, harden.Msg("%s: there is no stage %q", at, s))
		}
	}
	return out
}

func badGroup(at string, g auditv1.GroupResources, v harden.Version) []harden.Message {
	var out []harden.Message
	switch {
	case g.Group == "*" && !v.AtLeast(1, 36):
		out = append(out, harden.Msg("%s: group \"*\" is known from 1.36 on, and here is %s", at, v))
	case g.Group != "" && g.Group != "*" && len(validation.IsDNS1123Subdomain(g.Group)) > 0:
		out = append(out, harden.Msg("%s: %q is not the name of an API group; versions do not belong in it", at, g.Group))
	}
	if len(g.ResourceNames) > 0 && len(g.Resources) == 0 {
		out = append(out, harden.Msg("%s: resourceNames without resources", at))
	}
	return out
}
