package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/audit"
	auditpkg "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// auditing is what is recorded, and where, as the container sees it.
type auditing struct {
	rules auditpkg.PolicyRuleEvaluator
	path  string
}

// loadAudit reads the policy by the API server's own code. A log without a policy records nothing, and nothing says so.
func (s *apiServer) loadAudit(file read) error {
	from := s.args.text("audit-policy-file")
	if from == "" {
		return nil
	}
	data, err := file(from)
	if err != nil {
		return fmt.Errorf("loading audit policy file: failed to read file path %q: %w", from, missing(from, err))
	}
	p, err := policy.LoadPolicyFromBytes(data)
	if err != nil {
		return fmt.Errorf("loading audit policy file: %w: from file %s", err, from)
	}
	if path := s.args.text("audit-log-path"); path != "" {
		s.audit = &auditing{policy.NewPolicyRuleEvaluator(p), path}
	}
	return nil
}

var (
	anonymous     = &user.DefaultInfo{Name: "system:anonymous", Groups: []string{"system:unauthenticated"}}
	nobody        = &user.DefaultInfo{}
	administrator = &user.DefaultInfo{Name: "kubernetes-admin", Groups: []string{"kubeadm:cluster-admins", "system:authenticated"}}
	requests      = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}
)

// line is the log's line for a GET, or "" where the policy leaves it out.
func (a *auditing) line(who user.Info, uri, agent string, status int, at time.Time) string {
	r, err := http.NewRequest(http.MethodGet, uri, nil)
	if err != nil {
		return ""
	}
	info, err := requests.NewRequestInfo(r)
	if err != nil {
		return ""
	}
	what := a.rules.EvaluatePolicyRule(authorizer.AttributesRecord{
		User: who, Verb: info.Verb, Namespace: info.Namespace, APIGroup: info.APIGroup, APIVersion: info.APIVersion, Resource: info.Resource,
		Subresource: info.Subresource, Name: info.Name, ResourceRequest: info.IsResourceRequest, Path: info.Path,
	})
	if what.Level == audit.LevelNone || slices.Contains(what.OmitStages, audit.StageResponseComplete) {
		return ""
	}
	data, err := json.Marshal(map[string]any{
		"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": what.Level, "stage": audit.StageResponseComplete, "requestURI": uri,
		"verb": info.Verb, "user": map[string]any{"username": who.GetName(), "groups": who.GetGroups()}, "userAgent": agent,
		"responseStatus": map[string]any{"code": status}, "requestReceivedTimestamp": at.UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
