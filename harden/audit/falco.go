package audit

import (
	"fmt"
	"path"
	"slices"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	formatFlag  = "audit-log-format"
	versionFlag = "audit-log-version"

	jsonFormat, legacyFormat = "json", "legacy"
)

// falcoControl is about the file source of falcosecurity/plugins, plugins/k8saudit: source.go says what it reads, config.go how long an
// event may be, CHANGELOG.md that it follows files since 0.17.0, and rules/k8s_audit_rules.yaml what is looked for.
var falcoControl = harden.Control{
	ID: "audit-falco", Title: "Falco's k8saudit plugin can follow the log, and finds what its rules ask for", Severity: harden.Low,
	Why: harden.Msg("The plugin follows the log as it is written, over rotations, and then the API server needs no webhook. " +
		"It reads lines of JSON from a file of the host, and many of its rules look into bodies of requests, which the policy has to record. " +
		"An event of more than 262144 bytes is not taken unless maxEventSize of its init_config is higher. " +
		"What is written while no plugin runs is not read later."),
	Refs:      harden.Refs{NSA: []string{nsaTopic}, Docs: []string{docsPage}},
	Component: harden.APIServer, Flags: []string{pathFlag, formatFlag, versionFlag, policyFlag},
	Needs: needs, Applies: applies, Assess: assessFalco,
	Remedies: []harden.Remedy{{
		ID: "json", Title: harden.Msg("Take the format away, so that events are written as JSON"), Risk: harden.RiskNode,
		Impact: harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute."),
		Breaks: []harden.Message{harden.Msg("Programs that read the old lines of text. Lines of JSON are longer: the same room holds fewer of them.")},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			if !f.Component(harden.APIServer).Flag(formatFlag).Set {
				return nil, fmt.Errorf("events are written as JSON already; what the policy records is for the controls %s and %s", partPolicy, partPath)
			}
			return []harden.Intent{harden.RemoveFlag(harden.APIServer, formatFlag)}, nil
		},
	}},
}

func assessFalco(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	log, format, version := c.Flag(pathFlag), c.Flag(formatFlag), c.Flag(versionFlag)
	if log.Last() == "" {
		return harden.NotFor(harden.Msg("there is no audit log"), log.Evidence(pathFlag))
	}
	seen := []harden.Evidence{log.Evidence(pathFlag), format.Evidence(formatFlag)}
	switch {
	case format.Set && !slices.Contains([]string{jsonFormat, legacyFormat}, format.Last()):
		return harden.Failed(harden.Msg("there is no format %q; the API server does not start with it", format.Last()), seen...)
	case version.Set && version.Last() != "audit.k8s.io/v1":
		return harden.Failed(harden.Msg("there is no version %q; the API server does not start with it", version.Last()), append(seen, version.Evidence(versionFlag))...)
	case format.Last() == legacyFormat:
		return harden.Failed(harden.Msg("events are lines of text, without bodies: neither the plugin nor anything else that wants JSON can read them"), seen...)
	case log.Last() == stdout:
		return harden.NeedsPerson(harden.Msg("the log goes to standard output, and the plugin reads files: set a path, or have events sent by the webhook"), seen...)
	}
	m, mounted := mountOf(c, log.Last())
	if !mounted || m.file {
		return harden.NeedsPerson(harden.Msg("the log is not in a directory of the host, where a pod of Falco's could follow it; %s says what to do", partPath), seen...)
	}
	policy := c.Flag(policyFlag)
	seen = append(seen, policy.Evidence(policyFlag))
	file := f.Referred(harden.APIServer, policy.Last())
	p, err := decode(file.State.Data)
	if !file.Known || !file.State.Exists || err != nil {
		return harden.NeedsPerson(harden.Msg("what the policy records is not known here; %s says why", partPolicy), seen...)
	}
	gaps, left := falcoGaps(p, c.Version)
	for _, g := range slices.Concat(gaps, left) {
		seen = append(seen, harden.Evidence{Source: file.Path, Value: g.String()})
	}
	if len(gaps) > 0 {
		return harden.NeedsPerson(harden.Msg("the log can be followed at file://%s, and some rules find nothing in it: decide whether they are wanted", m.host), seen...)
	}
	return harden.Passed(harden.Msg("k8saudit 0.17 or newer follows it with open_params \"file://%s\", in a pod that runs as root and mounts %s read-only", m.host, path.Dir(m.host)), seen...)
}

// lookedFor are the requests that the plugin's rules look at: from which level on, at which stage, and what the rules are about.
var lookedFor = []struct {
	request
	from  auditv1.Level
	stage auditv1.Stage
	about string
	// secret: bodies may hold credentials, so that leaving them out is right too.
	secret bool
}{
	{request{"create", "", "pods", "default"}, auditv1.LevelRequest, auditv1.StageResponseComplete, "pods that are privileged or share the host's files, network or processes", false},
	{request{"create", "", "services", "default"}, auditv1.LevelRequest, auditv1.StageResponseComplete, "Services of type NodePort", false},
	{request{"create", "rbac.authorization.k8s.io", "clusterrolebindings", ""}, auditv1.LevelRequest, auditv1.StageResponseComplete, "bindings of cluster-admin", false},
	{request{"create", "rbac.authorization.k8s.io", "clusterroles", ""}, auditv1.LevelRequest, auditv1.StageResponseComplete, "roles with wildcards, writes or exec", false},
	{request{"create", "rbac.authorization.k8s.io", "roles", "default"}, auditv1.LevelRequest, auditv1.StageResponseComplete, "roles with wildcards, writes or exec", false},
	{request{"create", "networking.k8s.io", "ingresses", "default"}, auditv1.LevelRequest, auditv1.StageResponseComplete, "Ingresses without TLS", false},
	{request{"create", "", "configmaps", "default"}, auditv1.LevelRequest, auditv1.StageResponseComplete, "credentials in ConfigMaps", true},
	{request{"create", "", "pods/exec", "default"}, auditv1.LevelMetadata, auditv1.StageResponseStarted, "shells in pods", false},
	{request{"get", "", "pods/exec", "default"}, auditv1.LevelMetadata, auditv1.StageResponseStarted, "shells in pods", false},
	{request{"patch", "", "pods/ephemeralcontainers", "default"}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "containers for debugging", false},
	{request{"create", "", "namespaces", ""}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "new namespaces", false},
	{request{"create", "", "serviceaccounts", "kube-system"}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "service accounts of the system", false},
	{request{"create", "apps", "deployments", "default"}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "Deployments", false},
	{request{"get", "", "secrets", "default"}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "who reads Secrets", false},
	{request{"create", "", "secrets", "default"}, auditv1.LevelMetadata, auditv1.StageResponseComplete, "new Secrets", false},
}

// controller makes most pods.
var controller = identity{"system:serviceaccount:kube-system:replicaset-controller", []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"}}

// falcoGaps are the rules that find nothing: gaps where the policy could record what they need, left where it rightly does not.
func falcoGaps(p auditv1.Policy, v harden.Version) (gaps, left []harden.Message) {
	said := map[string]bool{}
	for _, l := range lookedFor {
		if v.AtLeast(1, 35) && l.verb == "get" && l.resource == "pods/exec" {
			continue // it is create in any case
		}
		for _, who := range []identity{person, workload, controller} {
			rule := ruleFor(p, who, l.request, "")
			enough := rule >= 0 && atLeast(p.Rules[rule].Level, l.from) && !slices.Contains(slices.Concat(p.OmitStages, p.Rules[rule].OmitStages), l.stage)
			if enough || said[l.about] {
				continue
			}
			said[l.about] = true
			why := harden.Msg("rules about %s find nothing: %s of %s by %s is not recorded at level %s and stage %s (%s)", l.about, l.verb, l.request, who.user, l.from, l.stage, ruleName(rule))
			if l.secret {
				left = append(left, why)
			} else {
				gaps = append(gaps, why)
			}
		}
	}
	return gaps, left
}
