package audit

import (
	utiljson "k8s.io/apimachinery/pkg/util/json"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// judge says whether the API server of a version loads the policy, and what it makes of requests.
func judge(data []byte, v harden.Version) judgement {
	p, err := decode(data)
	if err != nil {
		return judgement{fatal: []harden.Message{harden.Msg("it cannot be decoded: %s", err)}}
	}
	j := judgement{fatal: harden.AuditPolicyProblems(p, v)}
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
