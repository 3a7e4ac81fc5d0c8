package audit

import (
	"slices"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

// identity is who asks.
type identity struct {
	user   string
	groups []string
}

var (
	person   = identity{"kubernetes-admin", []string{"kubeadm:cluster-admins", "system:authenticated"}}
	workload = identity{"system:serviceaccount:default:app", []string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}}
	// people may do what matters: a rule about some of them is not about the others.
	people = []identity{
		person, workload,
		{"kubernetes-super-admin", []string{"system:masters", "system:authenticated"}},
		{"system:node:worker", []string{"system:nodes", "system:authenticated"}},
		{"somebody", []string{"system:authenticated"}},
	}
)

// request is one that a policy is tried with.
type request struct {
	verb, group, resource string // resource with its subresource: "pods/exec"
	namespace             string // empty for what is not in namespaces
}

// anySpace stands for a namespace that no rule names.
const anySpace = "*"

// important are requests that an investigation asks for (CIS 3.2.2): at least their metadata should be recorded. Those in default are
// made in any other namespace too.
var important = []request{
	{"get", "", "secrets", "default"}, {"list", "", "secrets", "default"}, {"create", "", "secrets", "default"}, {"delete", "", "secrets", "default"},
	{"deletecollection", "", "secrets", "default"},
	{"get", "", "secrets", "kube-system"}, {"list", "", "secrets", ""},
	{"update", "", "configmaps", "default"},
	{"create", "", "serviceaccounts/token", "default"},
	{"create", "authentication.k8s.io", "tokenreviews", ""},
	{"create", "", "pods", "default"}, {"delete", "", "pods", "default"}, {"create", "", "pods", "kube-system"},
	{"deletecollection", "", "pods", "default"},
	{"create", "apps", "deployments", "default"}, {"patch", "apps", "deployments", "default"},
	{"create", "", "pods/exec", "default"}, {"create", "", "pods/attach", "default"}, {"create", "", "pods/portforward", "default"},
	{"patch", "", "pods/ephemeralcontainers", "default"},
	{"get", "", "pods/proxy", "default"}, {"get", "", "services/proxy", "default"}, {"get", "", "nodes/proxy", ""}, {"create", "", "nodes/proxy", ""},
	{"create", "rbac.authorization.k8s.io", "rolebindings", "default"}, {"create", "rbac.authorization.k8s.io", "clusterrolebindings", ""},
	{"update", "rbac.authorization.k8s.io", "clusterroles", ""},
	{"create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""},
	{"delete", "admissionregistration.k8s.io", "validatingwebhookconfigurations", ""},
	{"create", "certificates.k8s.io", "certificatesigningrequests", ""},
	{"update", "certificates.k8s.io", "certificatesigningrequests/approval", ""},
}

// importantBefore35: shells over WebSocket were opened by get until 1.35.
var importantBefore35 = []request{{"get", "", "pods/exec", "default"}, {"get", "", "pods/attach", "default"}, {"get", "", "pods/portforward", "default"}}

func gaps(p auditv1.Policy, v harden.Version) []harden.Message {
	asked := important
	if !v.AtLeast(1, 35) {
		asked = slices.Concat(important, importantBefore35)
	}
	type gap struct {
		verb, what string
		rule       int
	}
	seen := map[gap]bool{}
	var out []harden.Message
	for _, r := range asked {
		tries := []request{r}
		if r.namespace == "default" {
			tries = append(tries, request{r.verb, r.group, r.resource, anySpace})
		}
		for _, who := range people {
			for _, try := range tries {
				rule := ruleFor(p, who, try, "")
				if key := (gap{r.verb, r.String(), rule}); level(p, rule) == auditv1.LevelNone && !seen[key] {
					seen[key] = true
					out = append(out, harden.Msg("%s of %s%s by %s is not recorded (%s)", r.verb, r, try.where(), who.user, ruleName(rule)))
				}
			}
		}
	}
	return out
}

// where is said where it is not what one thinks of.
func (r request) where() string {
	switch {
	case r.namespace == anySpace:
		return " in other namespaces"
	case r.namespace == "kube-system":
		return " in kube-system"
	case r.namespace == "" && r.resource == "secrets":
		return " of all namespaces"
	}
	return ""
}

// bodies hold secrets: in the request, recorded from level Request on, or only in the response. What is deleted is answered with
// too, where it waits for a finalizer, and always where a whole list is deleted; events of a watch are never recorded
// (k8s.io/apiserver: pkg/registry/generic/registry/store.go, pkg/endpoints/handlers).
var bodies = []struct {
	verb, group, resource string
	from                  auditv1.Level
}{
	{"create", "", "secrets", auditv1.LevelRequest},
	{"update", "", "secrets", auditv1.LevelRequest},
	{"patch", "", "secrets", auditv1.LevelRequest},
	{"get", "", "secrets", auditv1.LevelRequestResponse},
	{"list", "", "secrets", auditv1.LevelRequestResponse},
	{"delete", "", "secrets", auditv1.LevelRequestResponse},
	{"deletecollection", "", "secrets", auditv1.LevelRequestResponse},
	{"create", "", "serviceaccounts/token", auditv1.LevelRequestResponse},
	{"create", "authentication.k8s.io", "tokenreviews", auditv1.LevelRequest},
}

// leaks are the rules that write secrets into the log, tried with whom and what each rule is about.
func leaks(p auditv1.Policy) []harden.Message {
	var out []harden.Message
	for i, rule := range p.Rules {
		for _, b := range bodies {
			if atLeast(level(p, i), b.from) && counts(p, i, b.verb, b.group, b.resource) {
				out = append(out, harden.Msg("%s is %s, which writes the bodies of %s of %s", ruleName(i), rule.Level, b.verb, request{group: b.group, resource: b.resource}))
			}
		}
	}
	return out
}

// provable are requests that read nothing of what is there: the object has a name that nobody uses.
var provable = []struct {
	path string
	request
}{
	{"/api/v1/namespaces", request{"list", "", "namespaces", ""}},
	{"/api/v1/namespaces/default/secrets/" + nobodys, request{"get", "", "secrets", "default"}},
	{"/api/v1/namespaces/kube-system/secrets/" + nobodys, request{"get", "", "secrets", "kube-system"}},
	{"/api/v1/namespaces/default/configmaps/" + nobodys, request{"get", "", "configmaps", "default"}},
	{"/api/v1/namespaces/kube-system/configmaps/" + nobodys, request{"get", "", "configmaps", "kube-system"}},
	{"/api/v1/namespaces/default/pods/" + nobodys, request{"get", "", "pods", "default"}},
	{"/api/v1/namespaces/kube-system/pods/" + nobodys, request{"get", "", "pods", "kube-system"}},
	{"/api/v1/namespaces/default/serviceaccounts/" + nobodys, request{"get", "", "serviceaccounts", "default"}},
	{"/apis/apps/v1/namespaces/default/deployments/" + nobodys, request{"get", "apps", "deployments", "default"}},
	{"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/" + nobodys, request{"get", "rbac.authorization.k8s.io", "rolebindings", "default"}},
	{"/apis/rbac.authorization.k8s.io/v1/clusterroles/" + nobodys, request{"get", "rbac.authorization.k8s.io", "clusterroles", ""}},
	{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/" + nobodys, request{"get", "rbac.authorization.k8s.io", "clusterrolebindings", ""}},
}

const nobodys = "kubectl-harden-proof"

// Who asks without credentials is anonymous, or nobody at all where that is refused; which administrator there is is not known.
var (
	strangers      = []identity{{"system:anonymous", []string{"system:unauthenticated"}}, {}}
	administrators = []identity{
		{"kubernetes-admin", []string{"kubeadm:cluster-admins", "system:authenticated"}},
		{"kubernetes-admin", []string{"system:masters", "system:authenticated"}},
		{"kubernetes-super-admin", []string{"system:masters", "system:authenticated"}},
	}
)

// recorded is a request that the policy records for certain, and how it is made; where there is none, that the log is there is
// all that can be proven.
func recorded(p auditv1.Policy) (harden.ProofKind, string) {
	for _, x := range []struct {
		kind harden.ProofKind
		who  []identity
	}{{harden.ProofAuditLine, strangers}, {harden.ProofAdminLine, administrators}} {
		for _, ask := range provable {
			if !slices.ContainsFunc(x.who, func(who identity) bool { return !records(p, who, ask.request) }) {
				return x.kind, ask.path
			}
		}
	}
	return harden.ProofAuditLog, ""
}

// records wants both stages at which an answer may be recorded: one that is refused for want of credentials has the first only.
func records(p auditv1.Policy, who identity, r request) bool {
	i := ruleFor(p, who, r, "")
	if i < 0 || level(p, i) == auditv1.LevelNone {
		return false
	}
	omit := slices.Concat(p.OmitStages, p.Rules[i].OmitStages)
	return !slices.Contains(omit, auditv1.StageResponseComplete) && (who.user != "" || !slices.Contains(omit, auditv1.StageResponseStarted))
}

// counts says whether a rule is the first that matches some request of the kind.
func counts(p auditv1.Policy, i int, verb, group, resource string) bool {
	rule := p.Rules[i]
	spaces, names := spacesOf(rule, verb, resource), []string{""}
	for _, g := range rule.Resources {
		names = append(names, g.ResourceNames...)
	}
	for _, who := range peopleOf(rule) {
		for _, ns := range spaces {
			for _, name := range names {
				if ruleFor(p, who, request{verb, group, resource, ns}, name) == i {
					return true
				}
			}
		}
	}
	return false
}

// spacesOf a rule are the namespaces that it names, or any, as far as the request can be made there: what is in no namespace, and a list
// over all of them, have none.
func spacesOf(rule auditv1.PolicyRule, verb, resource string) []string {
	out := slices.Clone(rule.Namespaces)
	if len(out) == 0 {
		out = []string{"default", "kube-system", anySpace, ""}
	}
	return slices.DeleteFunc(out, func(space string) bool {
		if resource == "tokenreviews" {
			return space != ""
		}
		return space == "" && verb != "list"
	})
}

// peopleOf a rule are whom it names, or anybody.
func peopleOf(rule auditv1.PolicyRule) []identity {
	out := people
	if len(rule.UserGroups) > 0 {
		out = nil
		for _, g := range rule.UserGroups {
			out = append(out, identity{"somebody", []string{g, "system:authenticated"}})
		}
	}
	if len(rule.Users) == 0 {
		return out
	}
	var named []identity
	for _, u := range rule.Users {
		for _, who := range out {
			named = append(named, identity{u, who.groups})
		}
	}
	return named
}

// ruleFor is the index of the first rule that matches, which is the one that counts; -1: none does.
func ruleFor(p auditv1.Policy, who identity, r request, name string) int {
	return slices.IndexFunc(p.Rules, func(rule auditv1.PolicyRule) bool { return matches(rule, who, r, name) })
}

var levels = []auditv1.Level{auditv1.LevelNone, auditv1.LevelMetadata, auditv1.LevelRequest, auditv1.LevelRequestResponse}

// level is what a rule records; without any rule, or with all stages left out, that is nothing.
func level(p auditv1.Policy, rule int) auditv1.Level {
	if rule < 0 {
		return auditv1.LevelNone
	}
	omit := slices.Concat(p.OmitStages, p.Rules[rule].OmitStages)
	if slices.Contains(omit, auditv1.StageRequestReceived) && slices.Contains(omit, auditv1.StageResponseComplete) {
		return auditv1.LevelNone
	}
	return p.Rules[rule].Level
}

func atLeast(l, least auditv1.Level) bool {
	return slices.Index(levels, l) >= slices.Index(levels, least)
}

func ruleName(rule int) string {
	if rule < 0 {
		return "no rule matches"
	}
	return harden.Msg("rules[%d]", rule).String()
}

// matches says whether a rule is about the request for an object of that name; an empty one stands for names that no rule
// treats apart (k8s.io/apiserver: pkg/audit/policy/checker.go).
func matches(rule auditv1.PolicyRule, who identity, r request, name string) bool {
	switch {
	case len(rule.Users) > 0 && !slices.Contains(rule.Users, who.user),
		len(rule.UserGroups) > 0 && !slices.ContainsFunc(rule.UserGroups, func(g string) bool { return slices.Contains(who.groups, g) }),
		len(rule.Verbs) > 0 && !slices.Contains(rule.Verbs, r.verb),
		len(rule.Namespaces) > 0 && !slices.Contains(rule.Namespaces, r.namespace),
		len(rule.NonResourceURLs) > 0 && len(rule.Namespaces)+len(rule.Resources) == 0:
		return false
	}
	return len(rule.Resources) == 0 || slices.ContainsFunc(rule.Resources, func(g auditv1.GroupResources) bool {
		if g.Group != r.group && g.Group != "*" {
			return false
		}
		return len(g.Resources) == 0 || (len(g.ResourceNames) == 0 || slices.Contains(g.ResourceNames, name)) && slices.ContainsFunc(g.Resources, r.is)
	})
}

// is compares with an entry of a rule's resources: "pods", "pods/exec", "*", "*/exec", "pods/*".
func (r request) is(entry string) bool {
	resource, sub, hasSub := strings.Cut(r.resource, "/")
	return entry == "*" || entry == r.resource || hasSub && entry == "*/"+sub || entry == resource+"/*"
}

// String is "secrets", "pods/exec", "deployments.apps".
func (r request) String() string {
	if r.group == "" {
		return r.resource
	}
	return r.resource + "." + r.group
}
