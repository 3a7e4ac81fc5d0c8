package apiserver

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

const podSecurityPlugin = "PodSecurity"

// podSecurityLevels from the one that allows everything to the strictest.
var podSecurityLevels = []string{harden.PodSecurityPrivileged, harden.PodSecurityBaseline, harden.PodSecurityRestricted}

var podSecurityDefaults = harden.Control{
	ID:    "apiserver-pod-security-defaults",
	Title: "Namespaces without labels get a Pod Security Standard too",
	Why: harden.Msg("A namespace without Pod Security labels takes every pod, privileged ones as well, and whoever may make a pod there owns the node. " +
		"Labels have to be thought of for each new namespace; a default in the API server's admission configuration is there for all that have none. " +
		"Namespaces whose pods need more than it allows have to be exempt, or these pods do not start again."),
	Refs: harden.Refs{
		STIG: []string{"V-254800"}, NSA: []string{"Pod Security"},
		Docs: []string{"https://kubernetes.io/docs/tasks/configure-pod-container/enforce-standards-admission-controller/"},
	},
	Severity: harden.High, Component: harden.APIServer, Flags: []string{admissionFlag},
	Needs: needs, Applies: applies, Assess: assessPodSecurity,
	Remedies: []harden.Remedy{{
		ID:     "defaults",
		Title:  harden.Msg("Enforce a level where a namespace sets none, warn about a stricter one, and exempt the namespaces that need more"),
		Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Pods that run go on. New pods above the level are refused with 403 in namespaces that are neither labelled nor exempt: a Deployment looks well until one of its pods is made again, and then says FailedCreate."),
			harden.Msg("Exempt are the namespaces whose pods and templates need more at the time of the plan. What is installed later and needs more, and Jobs that are started by hand, need a label on their namespace: pod-security.kubernetes.io/enforce."),
			harden.Msg("In an exempt namespace its own audit and warn labels do not count any more. kube-system is always exempt, unless it is labelled."),
			harden.Msg("The configuration is read at the start only, and every control-plane node needs the file before kubeadm's own configuration may name it."),
		},
		Risk: harden.RiskWorkloads,
		Options: []harden.Option{
			{Name: "enforce", Title: harden.Msg("level that pods must keep"), Kind: harden.OptionOneOf, Default: harden.PodSecurityBaseline, Choices: podSecurityLevels},
			{Name: "warn", Title: harden.Msg("level that warnings and the audit log speak of"), Kind: harden.OptionOneOf, Default: harden.PodSecurityRestricted, Choices: podSecurityLevels},
			{Name: "exempt", Title: harden.Msg("more namespaces to exempt"), Kind: harden.OptionList, Check: namespaceNames},
			{Name: optNeedMore, Title: harden.Msg("namespaces to exempt whose pods or templates need more; unset, those that do now"), Kind: harden.OptionList, Keeps: true, Check: namespaceNames, Found: needingMore},
		},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{exemptionsCover(f, v), readsRootFiles(f, admissionFile)}
		},
		Intents: podSecurityIntents,
		Proofs:  podSecurityProofs,
	}},
}

const optNeedMore = "need-more"

// needingMore are the namespaces that a default level would hurt; where that is not known, the one of the cluster's own machinery.
func needingMore(f *harden.Facts, v harden.Values) string {
	if v["enforce"] == harden.PodSecurityPrivileged {
		return ""
	}
	if _, missing := f.Missing[harden.NeedWorkloads]; f.Cluster == nil || missing {
		return "kube-system"
	}
	var out []string
	found, _ := beyond(f.Cluster, v["enforce"])
	for _, n := range found {
		out = append(out, n.name)
	}
	return strings.Join(out, ",")
}

// podSecurityProofs try a pod where the default is to count: in a namespace that has no label and is not exempt. Whose pods are
// exempt by user or by runtime class is not known here.
func podSecurityProofs(f *harden.Facts, v harden.Values) []harden.Proof {
	if _, missing := f.Missing[harden.NeedWorkloads]; f.Cluster == nil || missing || v["enforce"] == harden.PodSecurityPrivileged {
		return nil
	}
	if pc, _, ok := configOf(f, podSecurityPlugin); ok {
		var config podSecurityConfig
		if yaml.Unmarshal(pc.data, &config) != nil || len(config.Exemptions.Usernames)+len(config.Exemptions.RuntimeClasses) > 0 {
			return nil
		}
	}
	exempt := exemptions(f, v)
	for _, ns := range f.Cluster.Namespaces {
		if ns.Labels[enforceLabel] == "" && !ns.Terminating && !slices.Contains(exempt, ns.Name) {
			return []harden.Proof{{Control: "apiserver-pod-security-defaults", Kind: harden.ProofPodRefused, Path: ns.Name}}
		}
	}
	return nil
}

// enforceLabel of a namespace sets the level that its pods must keep.
const enforceLabel = "pod-security.kubernetes.io/enforce"

func namespaceNames(v string) error {
	for _, name := range listed(v) {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%q is no name of a namespace", name)
		}
	}
	return nil
}

func listed(v string) []string { return harden.FlagFact{Values: []string{v}}.List() }

// podSecurityConfig is what counts here of a PodSecurityConfiguration.
type podSecurityConfig struct {
	Kind     string `json:"kind"`
	Defaults struct {
		Enforce string `json:"enforce"`
		Warn    string `json:"warn"`
		Audit   string `json:"audit"`
	} `json:"defaults"`
	Exemptions struct {
		Namespaces     []string `json:"namespaces"`
		Usernames      []string `json:"usernames"`
		RuntimeClasses []string `json:"runtimeClasses"`
	} `json:"exemptions"`
}

// String says what is enforced, and where not.
func (c podSecurityConfig) String() string {
	or := func(level string) string {
		if level == "" {
			return harden.PodSecurityPrivileged
		}
		return level
	}
	out := fmt.Sprintf("enforce %s, warn %s, audit %s", or(c.Defaults.Enforce), or(c.Defaults.Warn), or(c.Defaults.Audit))
	if len(c.Exemptions.Namespaces) > 0 {
		out += "; exempt: " + strings.Join(c.Exemptions.Namespaces, ", ")
	}
	return out
}

func assessPodSecurity(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag := c.Flag(admissionFlag)
	if on := podSecurityOn(f); on.Status != harden.StatusPass {
		return harden.Failed(harden.Msg("%s is not on, so that no default counts", podSecurityPlugin), on.Evidence...)
	}
	if flag.Last() == "" {
		return harden.Failed(harden.Msg("namespaces without labels take every pod: there is no default"), flag.Evidence(admissionFlag))
	}
	pc, why, ok := configOf(f, podSecurityPlugin)
	if !ok {
		return why
	}
	var config podSecurityConfig
	if err := yaml.Unmarshal(pc.data, &config); err != nil || len(pc.data) > 0 && config.Kind != "PodSecurityConfiguration" {
		return harden.NeedsPerson(harden.Msg("%s holds no PodSecurityConfiguration that can be read here", pc.file), pc.evidence(podSecurityPlugin, "not read"))
	}
	seen := pc.evidence(podSecurityPlugin, config.String())
	d := config.Defaults
	switch {
	case slices.Contains(podSecurityLevels[1:], d.Enforce):
		return harden.Passed(harden.Msg("pods of namespaces without labels have to keep %s", d.Enforce), seen)
	case slices.Contains(podSecurityLevels[1:], d.Warn) || slices.Contains(podSecurityLevels[1:], d.Audit):
		return harden.NeedsPerson(harden.Msg("namespaces without labels take every pod, and only say what it does not keep; decide when that is enforced"), seen)
	}
	return harden.Failed(harden.Msg("namespaces without labels take every pod: the default enforces nothing"), seen)
}

// podSecurityOn says whether the plugin is on, which has a control of its own.
func podSecurityOn(f *harden.Facts) harden.Verdict {
	i := slices.IndexFunc(plugins, func(p plugin) bool { return p.name == podSecurityPlugin })
	return plugins[i].assess(f)
}

// needy is a namespace without a level of its own, some of whose pods keep less than a level.
type needy struct {
	name, why string
	labelled  bool // with warn or audit
}

// beyond finds the namespaces that a default level would hurt, and the pods that could not be judged.
func beyond(c *harden.ClusterFacts, level string) (out []needy, unjudged []string) {
	const prefix = "pod-security.kubernetes.io/"
	wanted := slices.Index(podSecurityLevels, level)
	for _, ns := range c.Namespaces {
		if ns.Labels[enforceLabel] != "" {
			continue
		}
		n := needy{name: ns.Name, labelled: ns.Labels[prefix+"warn"]+ns.Labels[prefix+"audit"] != ""}
		judge := func(namespace, what string, fact harden.PodSecurityFact) {
			if namespace != ns.Name {
				return
			}
			keeps := slices.Index(podSecurityLevels, fact.Level)
			if keeps < 0 {
				unjudged = append(unjudged, namespace+"/"+what)
			}
			if keeps >= 0 && keeps < wanted && n.why == "" {
				n.why = what + " keeps only " + fact.Level
				if len(fact.Why) > 0 {
					n.why += ": " + strings.Join(fact.Why, ", ")
				}
			}
		}
		for _, t := range c.Templates {
			judge(t.Namespace, t.Owner, t.PodSecurity)
		}
		for _, p := range c.Pods {
			judge(p.Namespace, "Pod/"+p.Name, p.PodSecurity)
		}
		if n.why == "" && ns.Name == "kube-system" && wanted > 0 {
			n.why = "the cluster's own machinery"
		}
		if n.why != "" {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b needy) int { return strings.Compare(a.name, b.name) })
	return out, unjudged
}

// exemptions are the namespaces to exempt, those that are exempt already among them.
func exemptions(f *harden.Facts, v harden.Values) []string {
	var out []string
	if pc, _, ok := configOf(f, podSecurityPlugin); ok {
		var config podSecurityConfig
		if yaml.Unmarshal(pc.data, &config) == nil {
			out = config.Exemptions.Namespaces
		}
	}
	more := slices.Concat(listed(v["exempt"]), listed(v[optNeedMore]))
	slices.Sort(more)
	for _, name := range slices.Compact(more) {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func exemptionsCover(f *harden.Facts, v harden.Values) harden.Precondition {
	pre, known := workloads(f, "exemptions-cover", harden.Msg("namespaces whose pods need more than %s are exempt", v["enforce"]))
	if !known {
		pre.Message = harden.Msg("the cluster's pods were not read, so that only kube-system and what is named would be exempt")
		return pre
	}
	found, unjudged := beyond(f.Cluster, v["enforce"])
	exempt := exemptions(f, v)
	for _, n := range found {
		value := "exempt: " + n.why
		if !slices.Contains(exempt, n.name) {
			value = "not exempt: " + n.why
			pre.State = harden.Unmet
			pre.Message = harden.Msg("%s is not exempt, and its pods would be refused: %s", n.name, n.why)
		}
		if n.labelled {
			value += "; its own warn and audit labels do not count any more"
		}
		pre.Evidence = append(pre.Evidence, harden.Evidence{Source: "namespace " + n.name, Value: value})
	}
	if pre.State == harden.Unmet {
		return pre
	}
	if len(unjudged) > 0 {
		pre.Message = harden.Msg("%d pods could not be judged, %s among them", len(unjudged), unjudged[0])
		return pre
	}
	pre.State, pre.Message = harden.Met, harden.Msg("%d namespaces need to be exempt, and are: every pod and every template was judged", len(found))
	return pre
}

func podSecurityIntents(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
	c := f.Component(harden.APIServer)
	if podSecurityOn(f).Status != harden.StatusPass {
		return nil, fmt.Errorf("%s is not on; take apiserver-admission-podsecurity first", podSecurityPlugin)
	}
	// What is enforced is pinned, so that an upgrade with new rules refuses no pod; warnings go ahead of it.
	version := "latest"
	if !c.Version.IsZero() {
		version = fmt.Sprintf("v%d.%d", c.Version.Major, c.Version.Minor)
	}
	fields := map[string]any{
		"defaults.enforce": v["enforce"], "defaults.enforce-version": version,
		"defaults.warn": v["warn"], "defaults.warn-version": "latest",
		"defaults.audit": v["warn"], "defaults.audit-version": "latest",
	}
	if names := exemptions(f, v); len(names) > 0 {
		list := make([]any, len(names))
		for i, name := range names {
			list[i] = name
		}
		fields["exemptions.namespaces"] = list
	}
	return configure(f, podSecurityPlugin, map[string]any{"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration"}, fields)
}
