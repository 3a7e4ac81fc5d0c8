package audit

import (
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	head     = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
	metadata = head + "rules:\n- level: Metadata\n"
	literal  = head + "rules:\n- level: RequestResponse\n"
)

// google is the policy that kubernetes/kubernetes gives control planes on GCE (cluster/gce/gci/configure-helper.sh), without comments.
const google = head + `rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services, services/status]}]}
- {level: None, users: ["system:unsecured"], namespaces: [kube-system], verbs: [get], resources: [{group: "", resources: [configmaps]}]}
- {level: None, users: [kubelet], verbs: [get], resources: [{group: "", resources: [nodes, nodes/status]}]}
- {level: None, userGroups: ["system:nodes"], verbs: [get], resources: [{group: "", resources: [nodes, nodes/status]}]}
- level: None
  users: ["system:kube-controller-manager", "system:cloud-controller-manager", "system:kube-scheduler", "system:serviceaccount:kube-system:endpoint-controller"]
  verbs: [get, update]
  namespaces: [kube-system]
  resources: [{group: "", resources: [endpoints]}]
- {level: None, users: ["system:apiserver"], verbs: [get], resources: [{group: "", resources: [namespaces, namespaces/status, namespaces/finalize]}]}
- {level: None, users: [cluster-autoscaler], verbs: [get, update], namespaces: [kube-system], resources: [{group: "", resources: [configmaps, endpoints]}]}
- {level: None, users: ["system:kube-controller-manager", "system:cloud-controller-manager"], verbs: [get, list], resources: [{group: metrics.k8s.io}]}
- {level: None, nonResourceURLs: ["/healthz*", /version, "/swagger*"]}
- {level: None, resources: [{group: "", resources: [events]}]}
- level: Request
  users: [kubelet, "system:node-problem-detector", "system:serviceaccount:kube-system:node-problem-detector"]
  verbs: [update, patch]
  resources: [{group: "", resources: [nodes/status, pods/status]}]
  omitStages: [RequestReceived]
- level: Request
  userGroups: ["system:nodes"]
  verbs: [update, patch]
  resources: [{group: "", resources: [nodes/status, pods/status]}]
  omitStages: [RequestReceived]
- {level: Request, users: ["system:serviceaccount:kube-system:namespace-controller"], verbs: [deletecollection], omitStages: [RequestReceived]}
- level: Metadata
  resources: [{group: "", resources: [secrets, configmaps, serviceaccounts/token]}, {group: authentication.k8s.io, resources: [tokenreviews]}]
  omitStages: [RequestReceived]
- {level: Request, verbs: [get, list, watch], resources: [{group: ""}, {group: apps}, {group: rbac.authorization.k8s.io}], omitStages: [RequestReceived]}
- {level: RequestResponse, resources: [{group: ""}, {group: apps}, {group: rbac.authorization.k8s.io}], omitStages: [RequestReceived]}
- {level: Metadata, omitStages: [RequestReceived]}
`

func TestPolicyTemplateIsGood(t *testing.T) {
	for minor := 29; minor <= 37; minor++ {
		if j := judge(patches.AuditPolicy(), harden.Version{Major: 1, Minor: minor}); len(j.fatal)+len(j.leaks)+len(j.gaps) > 0 {
			t.Errorf("1.%d: %+v", minor, j)
		}
	}
}

var judged = []struct {
	name, policy string
	minor        int
	fatal, leaks string
	gaps         string
}{
	{"metadata of everything", metadata, 29, "", "", ""},
	{"empty", "", 37, "no rules", "", ""},
	{"no rules", head + "rules: []\n", 37, "no rules", "", ""},
	{"rules in another case", head + "Rules:\n- level: Metadata\n", 37, "no rules", "", ""},
	{"no YAML", "a: b: c\n", 37, "cannot be decoded", "", ""},
	{"a list where there is none", head + "rules: {level: None}\n", 37, "cannot be decoded", "", ""},
	{"unknown level", head + "rules:\n- level: metadata\n", 37, `level is "metadata"`, "", ""},
	{"no level", head + "rules:\n- verbs: [get]\n", 37, `level is ""`, "", ""},
	{"bad stage", head + "omitStages: [Received]\nrules:\n- level: Metadata\n", 37, `no stage "Received"`, "", ""},
	{"bad stage of a rule", head + "rules:\n- {level: Metadata, omitStages: [X]}\n", 37, `rules[0].omitStages`, "", ""},
	{"old version", "apiVersion: audit.k8s.io/v1beta1\nkind: Policy\nrules:\n- level: Metadata\n", 37, "audit.k8s.io/v1beta1", "", ""},
	{"any group before 1.36", head + "rules:\n- {level: Metadata, resources: [{group: \"*\"}]}\n- level: Metadata\n", 35, `group "*"`, "", ""},
	{"any group since 1.36", head + "rules:\n- {level: Metadata, resources: [{group: \"*\"}]}\n- level: Metadata\n", 36, "", "", ""},
	{"a group with its version", head + "rules:\n- {level: Metadata, resources: [{group: apps/v1}]}\n", 37, "versions do not belong", "", ""},
	{"names without resources", head + "rules:\n- {level: Metadata, resources: [{group: \"\", resourceNames: [x]}]}\n", 37, "resourceNames without resources", "", ""},
	{"both kinds of a rule", head + "rules:\n- {level: Metadata, nonResourceURLs: [/x], namespaces: [a]}\n", 37, "cannot be one for resources", "", ""},
	{"a URL without a slash", head + "rules:\n- {level: None, nonResourceURLs: [livez]}\n- level: Metadata\n", 37, "does not begin with /", "", ""},
	{"a star inside", head + "rules:\n- {level: None, nonResourceURLs: [\"/a*b\"]}\n- level: Metadata\n", 37, "* before its end", "", ""},
	{"any URL", head + "rules:\n- {level: None, nonResourceURLs: [\"*\"]}\n- level: Metadata\n", 37, "", "", ""},

	{"the benchmark to the letter", literal, 37, "", "rules[0] is RequestResponse, which writes the bodies of create of secrets", ""},
	{"requests of secrets", head + "rules:\n- {level: Request, resources: [{group: \"\", resources: [secrets]}]}\n- level: Metadata\n", 37, "", "create of secrets", ""},
	{"secrets of one namespace", head + "rules:\n- {level: RequestResponse, namespaces: [prod]}\n- level: Metadata\n", 37, "", "rules[0]", ""},
	{"secrets of one name", head + "rules:\n- {level: Request, resources: [{group: \"\", resources: [secrets], resourceNames: [a]}]}\n- level: Metadata\n", 37, "", "rules[0]", ""},
	{"secrets read by one group", head + "rules:\n- {level: RequestResponse, userGroups: [ops], verbs: [get]}\n- level: Metadata\n", 37, "", "get of secrets", ""},
	{"new tokens", head + "rules:\n- {level: RequestResponse, resources: [{group: \"\", resources: [\"serviceaccounts/*\"]}]}\n- level: Metadata\n", 37, "", "serviceaccounts/token", ""},
	{"tokens under review", head + "rules:\n- {level: Request, resources: [{group: authentication.k8s.io}]}\n- level: Metadata\n", 37, "", "tokenreviews", ""},
	{"secrets before everything", head + "rules:\n- {level: Metadata, resources: [{group: \"\", resources: [secrets, serviceaccounts/token]}, {group: authentication.k8s.io}]}\n- level: RequestResponse\n", 37, "", "", ""},
	{"requests of everything but writes of secrets", head + "rules:\n- {level: Metadata, verbs: [create, update, patch], resources: [{group: \"\", resources: [secrets]}, {group: authentication.k8s.io}]}\n- level: Request\n", 37, "", "", ""},

	{"nothing of pods", head + "rules:\n- {level: None, resources: [{group: \"\", resources: [pods]}]}\n- level: Metadata\n", 37, "", "", "create of pods by kubernetes-admin is not recorded (rules[0])"},
	{"no catch-all", head + "rules:\n- {level: Metadata, resources: [{group: \"\"}]}\n", 37, "", "", "create of deployments.apps by kubernetes-admin is not recorded (no rule matches)"},
	{"nothing of shells", head + "rules:\n- {level: None, resources: [{group: \"\", resources: [\"*/exec\"]}]}\n- level: Metadata\n", 37, "", "", "pods/exec"},
	{"shells by create only", head + "rules:\n- {level: Metadata, verbs: [create], resources: [{group: \"\", resources: [pods/exec, pods/attach, pods/portforward]}]}\n- {level: None, resources: [{group: \"\", resources: [pods/exec, pods/attach, pods/portforward]}]}\n- level: Metadata\n", 34, "", "", "get of pods/exec"},
	{"shells by create only, since 1.35", head + "rules:\n- {level: Metadata, verbs: [create], resources: [{group: \"\", resources: [pods/exec, pods/attach, pods/portforward]}]}\n- {level: None, resources: [{group: \"\", resources: [pods/exec, pods/attach, pods/portforward]}]}\n- level: Metadata\n", 35, "", "", ""},
	{"nothing of workloads", head + "rules:\n- {level: None, userGroups: [\"system:serviceaccounts\"]}\n- level: Metadata\n", 37, "", "", "by system:serviceaccount:default:app"},
	{"all stages left out", head + "omitStages: [RequestReceived, ResponseComplete]\nrules:\n- level: Metadata\n", 37, "", "", "not recorded"},
	{"secrets of the namespaces that one thinks of", head + "rules:\n- {level: Metadata, namespaces: [default, kube-system], resources: [{group: \"\", resources: [secrets, serviceaccounts/token]}]}\n- {level: Metadata, resources: [{group: authentication.k8s.io}]}\n- level: RequestResponse\n", 37, "", "rules[2] is RequestResponse, which writes the bodies of create of secrets", ""},
	{"lists of all secrets", head + "rules:\n- {level: RequestResponse, namespaces: [\"\"], verbs: [list]}\n- level: Metadata\n", 37, "", "rules[0] is RequestResponse, which writes the bodies of list of secrets", ""},
	{"secrets of the people that one thinks of", head + "rules:\n- {level: Metadata, userGroups: [\"kubeadm:cluster-admins\", \"system:serviceaccounts\"]}\n- level: RequestResponse\n", 37, "", "rules[1] is RequestResponse, which writes the bodies of create of secrets", ""},
	{"secrets of all who log in", head + "rules:\n- {level: Metadata, userGroups: [\"system:authenticated\"]}\n- level: RequestResponse\n", 37, "", "", ""},
	{"nothing of other namespaces", head + "rules:\n- {level: Metadata, namespaces: [default, kube-system, \"\"]}\n", 37, "", "", "get of secrets in other namespaces by kubernetes-admin is not recorded (no rule matches)"},
	{"nothing of lists over all namespaces", head + "rules:\n- {level: None, namespaces: [\"\"], verbs: [list]}\n- level: Metadata\n", 37, "", "", "list of secrets of all namespaces by kubernetes-admin is not recorded (rules[0])"},
	{"nothing of masters", head + "rules:\n- {level: None, userGroups: [\"system:masters\"]}\n- level: Metadata\n", 37, "", "", "get of secrets by kubernetes-super-admin"},
	{"nothing of nodes", head + "rules:\n- {level: None, userGroups: [\"system:nodes\"]}\n- level: Metadata\n", 37, "", "", "by system:node:worker"},
	{"nothing of who is in no group", head + "rules:\n- {level: Metadata, userGroups: [\"kubeadm:cluster-admins\", \"system:masters\", \"system:nodes\", \"system:serviceaccounts\"]}\n", 37, "", "", "by somebody is not recorded"},
	{"nothing of what nodes do with themselves", head + "rules:\n- {level: None, userGroups: [\"system:nodes\"], verbs: [get, update, patch], resources: [{group: \"\", resources: [nodes, nodes/status]}]}\n- level: Metadata\n", 37, "", "", ""},
	{"nothing of debugging containers", head + "rules:\n- {level: None, resources: [{group: \"\", resources: [pods/ephemeralcontainers]}]}\n- level: Metadata\n", 37, "", "", "patch of pods/ephemeralcontainers"},
	{"nothing of kubelets by way of the API", head + "rules:\n- {level: None, resources: [{group: \"\", resources: [nodes/proxy]}]}\n- level: Metadata\n", 37, "", "", "get of nodes/proxy"},
	{"nothing of webhooks", head + "rules:\n- {level: None, resources: [{group: admissionregistration.k8s.io}]}\n- level: Metadata\n", 37, "", "", "create of mutatingwebhookconfigurations.admissionregistration.k8s.io"},
	{"nothing of certificates", head + "rules:\n- {level: None, resources: [{group: certificates.k8s.io}]}\n- level: Metadata\n", 37, "", "", "update of certificatesigningrequests/approval.certificates.k8s.io"},
	{"nothing of deleting all at once", head + "rules:\n- {level: None, verbs: [deletecollection]}\n- level: Metadata\n", 37, "", "", "deletecollection of secrets"},
	{"Google's", google, 37, "", "", ""},

	{"one misspelt field", head + "rules:\n- {level: Metadata, resource: [x]}\n", 37, "", "", "ignores a part of it"},
}

func TestJudge(t *testing.T) {
	for _, tt := range judged {
		t.Run(tt.name, func(t *testing.T) {
			j := judge([]byte(tt.policy), harden.Version{Major: 1, Minor: tt.minor})
			for what, pair := range map[string]struct {
				got  []harden.Message
				want string
			}{"fatal": {j.fatal, tt.fatal}, "leaks": {j.leaks, tt.leaks}, "gaps": {j.gaps, tt.gaps}} {
				found := slices.ContainsFunc(pair.got, func(m harden.Message) bool { return strings.Contains(m.String(), pair.want) })
				if (len(pair.got) > 0) != (pair.want != "") || pair.want != "" && !found {
					t.Errorf("%s = %v, want %q", what, pair.got, pair.want)
				}
			}
		})
	}
}

func TestPolicyVerdict(t *testing.T) {
	tests := []struct {
		name string
		node *hardentest.Node
		want harden.Status
		says string
	}{
		{"kubeadm's", hardentest.APIServer(t, "1.37"), harden.StatusFail, "--audit-policy-file is not set"},
		{"a path alone", hardentest.APIServer(t, "1.37", hardentest.Flag(pathFlag, "-")), harden.StatusFail, "nothing is recorded"},
		{"not mounted", hardentest.APIServer(t, "1.37", hardentest.Flag(policyFlag, PolicyFile)), harden.StatusFail, "no mount"},
		{"not there", hardentest.APIServer(t, "1.37", hardentest.Flag(policyFlag, PolicyFile), hardentest.Mount(policyDir, "Directory")), harden.StatusFail, "does not exist"},
		{"ours", logging(t, "1.30", LogFile, string(patches.AuditPolicy())), harden.StatusPass, "keeps secrets out"},
		{"another good one", logging(t, "1.34", LogFile, metadata), harden.StatusPass, ""},
		{"empty", logging(t, "1.34", LogFile, ""), harden.StatusFail, "keeps the API server from starting"},
		{"leaking", logging(t, "1.37", LogFile, literal), harden.StatusFail, "copies secrets"},
		{"with gaps", logging(t, "1.37", LogFile, head+"rules:\n- {level: Metadata, verbs: [create]}\n"), harden.StatusManual, "leaves out"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := statuses(t, tt.node)["audit-policy"]
			if got.Status != tt.want || !strings.Contains(got.Message.String(), tt.says) || len(got.Evidence) == 0 {
				t.Errorf("%s: %s, want %s with %q and evidence", got.Status, got.Message, tt.want, tt.says)
			}
		})
	}
}

// A policy that is there is never replaced unasked.
func TestExistingPolicy(t *testing.T) {
	lying := func(text string) *hardentest.Node {
		n := hardentest.APIServer(t, "1.37")
		n.Files[policyDir] = harden.State{Exists: true, Dir: true, Mode: 0o755}
		n.Write(PolicyFile, text, 0o644)
		return n
	}
	const without = "take --remedy audit-policy=replace-policy"
	replace := harden.Choice{Control: "audit-policy", Remedy: "replace-policy", Named: true}
	tests := []struct {
		name   string
		node   *hardentest.Node
		choice harden.Choice
		policy string // afterwards
		skip   string
	}{
		{"one that lies ready is used", lying(metadata), harden.Choice{Control: "audit-policy"}, metadata, ""},
		{"one that lies ready and leaks", lying(literal), harden.Choice{Control: "audit-log-path"}, literal, without},
		{"one that lies ready and is empty", lying(""), harden.Choice{Control: "audit-log-maxage"}, "", without},
		{"leaking", logging(t, "1.37", LogFile, literal), harden.Choice{Control: "audit-policy"}, literal, without},
		{"leaking, replaced", logging(t, "1.37", LogFile, literal), replace, string(patches.AuditPolicy()), ""},
		{"with gaps", logging(t, "1.37", LogFile, head+"rules:\n- {level: Metadata, verbs: [create]}\n"), harden.Choice{Control: "audit-policy"}, head + "rules:\n- {level: Metadata, verbs: [create]}\n", without},
		{"broken", logging(t, "1.30", LogFile, head), harden.Choice{Control: "audit-log-maxage"}, head, without},
		{"broken, replaced", logging(t, "1.30", LogFile, head), replace, string(patches.AuditPolicy()), ""},
		{"one that lies ready, replaced", lying(literal), replace, string(patches.AuditPolicy()), ""},
		{"another control leaves a leaking one", logging(t, "1.30", LogFile, literal), harden.Choice{Control: "audit-log-maxage"}, literal, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.node.Plan(t, Area(), tt.choice)
			if err != nil {
				t.Fatal(err)
			}
			if tt.skip != "" {
				if !p.Empty() || len(p.Skipped) != 1 || !strings.Contains(p.Skipped[0].Reason.String(), tt.skip) {
					t.Errorf("changes %v, skipped %v: want nothing, because of %q", hardentest.Changes(t, p), p.Skipped, tt.skip)
				}
				return
			}
			if len(p.Skipped) > 0 || p.Empty() {
				t.Fatalf("skipped %v", p.Skipped)
			}
			tt.node.Apply(p)
			if got := string(tt.node.Files[PolicyFile].Data); got != tt.policy {
				t.Errorf("the policy is\n%s\nwant\n%s", got, tt.policy)
			}
			if got := statuses(t, tt.node)[tt.choice.Control]; got.Status != harden.StatusPass {
				t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
			}
			if !slices.ContainsFunc(p.Stages[0].Effects, func(e harden.Effect) bool { return e.Component == harden.APIServer }) {
				t.Error("the API server is not restarted")
			}
		})
	}
}

// Policies elsewhere are judged where they are, and replaced there.
func TestPolicyElsewhere(t *testing.T) {
	const at = "/etc/kubernetes/own/policy.yaml"
	edits := []hardentest.Edit{hardentest.Flag(policyFlag, at), hardentest.Flag(pathFlag, "-")}
	n := hardentest.APIServer(t, "1.37", append(edits, hardentest.Mount("/etc/kubernetes/own", "Directory"))...)
	n.Files["/etc/kubernetes/own"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
	n.Write(at, literal, 0o600)
	p, err := n.Plan(t, Area(), harden.Choice{Control: "audit-policy", Remedy: "replace-policy"})
	if err != nil {
		t.Fatal(err)
	}
	n.Apply(p)
	if got := statuses(t, n)["audit-policy"]; got.Status != harden.StatusPass || string(n.Files[at].Data) != string(patches.AuditPolicy()) {
		t.Errorf("afterwards it is %s: %s", got.Status, got.Message)
	}
	hidden := hardentest.APIServer(t, "1.37", edits...)
	if p, err = hidden.Plan(t, Area(), harden.Choice{Control: "audit-policy"}); err != nil || !p.Empty() || len(p.Skipped) != 1 {
		t.Errorf("a policy that no mount shows: %v %v, want it left to a person", hardentest.Changes(t, p), err)
	}
}
