package apiserver

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/pod-security-admission/admission/api/load"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

const ownAdmission = "/etc/kubernetes/own/admission.yaml"

const admissionHead = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"

// admission is a node that uses an admission configuration with this text, and files beside it.
func admission(text string, beside map[string]string, more ...hardentest.Edit) ([]hardentest.Edit, func(*hardentest.Node)) {
	edits := append([]hardentest.Edit{hardentest.Flag(admissionFlag, ownAdmission), hardentest.Mount("/etc/kubernetes/own", "Directory", "readOnly: true")}, more...)
	return edits, func(n *hardentest.Node) {
		n.Files["/etc/kubernetes/own"] = harden.State{Exists: true, Dir: true, Mode: 0o700}
		n.Write(ownAdmission, text, 0o600)
		for name, data := range beside {
			n.Write("/etc/kubernetes/own/"+name, data, 0o600)
		}
	}
}

// admissionCase is a node with an admission configuration.
type admissionCase struct {
	name, text string
	beside     map[string]string
	edits      []hardentest.Edit
	want       harden.Status
	says       string
}

func admissionVerdicts(cases []admissionCase) []hardentest.Verdict {
	var out []hardentest.Verdict
	for _, c := range cases {
		edits, change := admission(c.text, c.beside, c.edits...)
		out = append(out, hardentest.Verdict{Name: c.name, Edits: edits, Change: change, Want: c.want, Says: c.says})
	}
	return out
}

func TestEventRateLimit(t *testing.T) {
	on := enabled("NodeRestriction,EventRateLimit")
	const limits = "apiVersion: eventratelimit.admission.k8s.io/v1alpha1\nkind: Configuration\nlimits:\n- {type: Server, qps: 5000, burst: 20000}\n"
	inline := admissionHead + "plugins:\n- name: EventRateLimit\n  configuration:\n    " + strings.ReplaceAll(strings.TrimSpace(limits), "\n", "\n    ") + "\n"
	cases := []hardentest.Verdict{
		{Name: "kubeadm's", Want: harden.StatusManual, Says: "is off"},
		{Name: "on without a configuration", Edits: on, Want: harden.StatusFail, Says: "does not start"},
		{Name: "disabled", Edits: []hardentest.Edit{hardentest.Flag(disableFlag, "EventRateLimit")}, Want: harden.StatusFail, Says: "turned off"},
	}
	cases = append(cases, admissionVerdicts([]admissionCase{
		{"inline", inline, nil, on, harden.StatusPass, "Server 5000 a second, 20000 at once"},
		{"a file beside it", admissionHead + "plugins:\n- name: EventRateLimit\n  path: events.yaml\n", map[string]string{"events.yaml": limits}, on, harden.StatusPass, "Server 5000"},
		{"an absolute path", admissionHead + "plugins:\n- name: EventRateLimit\n  path: /etc/kubernetes/own/events.yaml\n", map[string]string{"events.yaml": limits}, on, harden.StatusPass, "Server 5000"},
		{"a file that is not there", admissionHead + "plugins:\n- name: EventRateLimit\n  path: events.yaml\n", nil, on, harden.StatusFail, "events.yaml does not exist"},
		{"a file that nothing mounts", admissionHead + "plugins:\n- name: EventRateLimit\n  path: /srv/events.yaml\n", nil, on, harden.StatusFail, "no mount"},
		{"another plugin only", admissionHead + "plugins:\n- name: PodSecurity\n  path: x.yaml\n", nil, on, harden.StatusFail, "without limits"},
		{"no limits", admissionHead + "plugins:\n- name: EventRateLimit\n  configuration: {limits: []}\n", nil, on, harden.StatusFail, "without limits"},
		{"another kind", "kind: Configuration\n", nil, on, harden.StatusManual, "no AdmissionConfiguration"},
		{"configured and off", inline, nil, nil, harden.StatusManual, "is off"},
	})...)
	table().Verdicts(t, "apiserver-admission-eventratelimit", cases)
}

func podSecurityText(enforce, warn string) string {
	return "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\ndefaults:\n  enforce: " + enforce + "\n  warn: " + warn + "\n"
}

func TestPodSecurityDefaults(t *testing.T) {
	file := func(text string) (string, map[string]string) {
		return admissionHead + "plugins:\n- name: PodSecurity\n  path: pods.yaml\n", map[string]string{"pods.yaml": text}
	}
	of := func(name, text string, want harden.Status, says string, edits ...hardentest.Edit) admissionCase {
		config, beside := file(text)
		return admissionCase{name, config, beside, edits, want, says}
	}
	cases := []hardentest.Verdict{{Name: "kubeadm's", Want: harden.StatusFail, Says: "there is no default"}}
	cases = append(cases, admissionVerdicts([]admissionCase{
		of("baseline", podSecurityText("baseline", "restricted"), harden.StatusPass, "have to keep baseline"),
		of("restricted", podSecurityText("restricted", "restricted"), harden.StatusPass, "have to keep restricted"),
		of("warns only", podSecurityText("privileged", "baseline"), harden.StatusManual, "decide when"),
		of("nothing", podSecurityText("privileged", "privileged"), harden.StatusFail, "enforces nothing"),
		of("another kind", "kind: Secret\n", harden.StatusManual, "no PodSecurityConfiguration"),
		of("plugin off", podSecurityText("baseline", "restricted"), harden.StatusFail, "is not on", hardentest.Flag(disableFlag, "PodSecurity")),
		of("plugin not in the exact list", podSecurityText("baseline", "restricted"), harden.StatusFail, "is not on", hardentest.NoFlag(enableFlag), hardentest.Flag(exactFlag, "NodeRestriction")),
		{"not configured", admissionHead + "plugins: []\n", nil, nil, harden.StatusFail, "enforces nothing"},
		{"no YAML", "a: b: c\n", nil, nil, harden.StatusManual, "not valid YAML"},
	})...)
	table().Verdicts(t, "apiserver-pod-security-defaults", cases)
}

// pods are a cluster with a namespace of every kind.
func pods(f *harden.Facts) {
	delete(f.Missing, harden.NeedWorkloads)
	level := func(l string) harden.PodSecurityFact {
		return harden.PodSecurityFact{Level: l, Why: []string{"privileged"}}
	}
	f.Cluster = &harden.ClusterFacts{
		Namespaces: []harden.NamespaceFact{
			{Name: "kube-system"}, {Name: "storage"}, {Name: "shop"}, {Name: "batch"},
			{Name: "labelled", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "privileged"}},
			{Name: "agents", Labels: map[string]string{"pod-security.kubernetes.io/warn": "baseline"}},
		},
		Pods: []harden.PodFact{
			{Namespace: "shop", Name: "web", PodSecurity: level("baseline")},
			{Namespace: "labelled", Name: "node-agent", PodSecurity: level("privileged")},
			{Namespace: "agents", Name: "log", PodSecurity: level("privileged")},
		},
		Templates: []harden.TemplateFact{
			{Namespace: "storage", Owner: "DaemonSet/csi", PodSecurity: level("privileged")},
			{Namespace: "batch", Owner: "CronJob/report", PodSecurity: level("restricted")},
		},
	}
}

func TestAdmissionConfigurationRemedies(t *testing.T) {
	const events, podSecurity = "apiserver-admission-eventratelimit", "apiserver-pod-security-defaults"
	fresh := []string{"make /etc/kubernetes/admission", "write /etc/kubernetes/admission/config.yaml"}
	flag := "+ - --admission-control-config-file=/etc/kubernetes/admission/config.yaml"
	mount := manifestLines("+ - mountPath: /etc/kubernetes/admission", "+ name: admission-config", "+ readOnly: true",
		"+ - hostPath:", "+ path: /etc/kubernetes/admission", "+ type: Directory", "+ name: admission-config")
	ofOthers, writeOthers := admission(admissionHead+"plugins:\n- name: PodSecurity # ours\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n"+
		"    kind: PodSecurityConfiguration\n    defaults:\n      enforce: privileged\n    exemptions:\n      namespaces: [mine]\n", nil)
	besides, writeBesides := admission(admissionHead+"plugins:\n- name: PodSecurity\n  path: pods.yaml\n", map[string]string{"pods.yaml": podSecurityText("privileged", "privileged")})
	table().Changes(t, []hardentest.Change{
		{Name: "events, fresh", Minor: "1.37", Choice: harden.Choice{Control: events},
			Want: slices.Concat(fresh, manifestLines(flag, "- - --enable-admission-plugins=NodeRestriction", "+ - --enable-admission-plugins=NodeRestriction,EventRateLimit"), mount)},
		{Name: "events, beside another plugin", Minor: "1.34", Edits: ofOthers, Change: writeOthers, Choice: harden.Choice{Control: events, Options: harden.Values{"user-qps": "20"}},
			Want: slices.Concat([]string{
				"admission.yaml: + - name: EventRateLimit", "admission.yaml: + configuration:", "admission.yaml: + apiVersion: eventratelimit.admission.k8s.io/v1alpha1", "admission.yaml: + kind: Configuration", "admission.yaml: + limits:",
				"admission.yaml: + - burst: 20000", "admission.yaml: + qps: 5000", "admission.yaml: + type: Server",
				"admission.yaml: + - burst: 100", "admission.yaml: + qps: 50", "admission.yaml: + type: Namespace",
				"admission.yaml: + - burst: 50", "admission.yaml: + qps: 20", "admission.yaml: + type: User",
			}, manifestLines("+ kubectl-harden.io/files-sha256: ...", "- - --enable-admission-plugins=NodeRestriction", "+ - --enable-admission-plugins=NodeRestriction,EventRateLimit"))},
		{Name: "pods, fresh", Minor: "1.30", Facts: pods, Choice: harden.Choice{Control: podSecurity}, Want: slices.Concat(fresh, manifestLines(flag), mount)},
		{Name: "pods, beside the file", Minor: "1.37", Edits: besides, Change: writeBesides, Facts: pods, Choice: harden.Choice{Control: podSecurity},
			Want: slices.Concat([]string{
				"pods.yaml: - enforce: privileged", "pods.yaml: - warn: privileged", "pods.yaml: + audit: restricted", "pods.yaml: + audit-version: latest",
				"pods.yaml: + enforce: baseline", "pods.yaml: + enforce-version: v1.37", "pods.yaml: + warn: restricted", "pods.yaml: + warn-version: latest",
				"pods.yaml: + exemptions:", "pods.yaml: + namespaces:", "pods.yaml: + - agents", "pods.yaml: + - kube-system", "pods.yaml: + - storage",
			}, manifestLines("+ kubectl-harden.io/files-sha256: ..."))},
		{Name: "pods, a list that cannot be edited", Minor: "1.37", Edits: ofOthers, Change: writeOthers, Facts: pods, Choice: harden.Choice{Control: podSecurity}, Skip: "flow style"},
		{Name: "pods, unread cluster", Minor: "1.37", Choice: harden.Choice{Control: podSecurity}, Skip: "--accept apiserver-pod-security-defaults"},
		{Name: "pods, rootless", Minor: "1.37", Facts: pods, Edits: []hardentest.Edit{hardentest.Replace("  securityContext:\n", "  securityContext:\n    runAsUser: 1000\n")},
			Choice: harden.Choice{Control: podSecurity}, Skip: "another user"},
		{Name: "keeps a file of another kind", Minor: "1.37", Change: func(n *hardentest.Node) { n.Write(admissionFile, "kind: Secret\n", 0o600) }, Choice: harden.Choice{Control: events}, Skip: "move it away first"},
	})
}

// written is the file after the choices.
func written(t *testing.T, n *hardentest.Node, file string, facts func(*harden.Facts), choices ...harden.Choice) string {
	t.Helper()
	f := n.Facts(t)
	if facts != nil {
		facts(f)
	}
	plans, err := harden.Build(harden.BuildInput{Facts: f, Areas: []harden.Area{Area()}, Choices: choices, Read: n.State, Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range plans.Node.Skipped {
		t.Errorf("skipped %s: %s", s.Control, s.Reason)
	}
	for _, c := range plans.Node.Preflight {
		if c.State == harden.Unmet {
			t.Errorf("%s: %s", c.Title, c.Message)
		}
	}
	n.Apply(plans.Node)
	return string(n.Files[file].Data)
}

// Both plugins share one file, and the standards' own loader takes what it says of pods.
func TestOneFileForAllAdmissionPlugins(t *testing.T) {
	n := hardentest.APIServer(t, "1.37")
	written(t, n, admissionFile, pods, harden.Choice{Control: "apiserver-pod-security-defaults", Options: harden.Values{"exempt": "later,shop"}}, harden.Choice{Control: "apiserver-admission-eventratelimit"})
	for _, id := range []string{"apiserver-pod-security-defaults", "apiserver-admission-eventratelimit"} {
		if found := table().Finding(t, n.Facts(t), id); found.Status != harden.StatusPass {
			t.Errorf("%s: %s %s", id, found.Status, found.Message)
		}
	}
	pc, _, ok := configOf(n.Facts(t), podSecurityPlugin)
	config, err := load.LoadFromData(pc.data)
	if err != nil || !ok {
		t.Fatalf("the plugin refuses it: %v", err)
	}
	if d := config.Defaults; d.Enforce != "baseline" || d.EnforceVersion != "v1.37" || d.Warn != "restricted" || d.WarnVersion != "latest" || d.Audit != "restricted" {
		t.Errorf("%+v", d)
	}
	if want := []string{"agents", "kube-system", "later", "shop", "storage"}; !slices.Equal(config.Exemptions.Namespaces, want) {
		t.Errorf("exempt are %v, want %v", config.Exemptions.Namespaces, want)
	}
}

// found are the options as a plan has them.
func found(f *harden.Facts, level string) harden.Values {
	v := harden.Values{"enforce": level}
	v[optNeedMore] = needingMore(f, v)
	return v
}

// A namespace with a level of its own is not exempt: its labels would count no more.
func TestExemptions(t *testing.T) {
	f := hardentest.APIServerFacts(t, "1.37")
	pods(f)
	for level, want := range map[string][]string{
		"privileged": nil, "baseline": {"agents", "kube-system", "storage"}, "restricted": {"agents", "kube-system", "shop", "storage"},
	} {
		if got := exemptions(f, found(f, level)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", level, got, want)
		}
	}
	pre := exemptionsCover(f, found(f, "baseline"))
	if pre.State != harden.Met || len(pre.Evidence) != 3 || !strings.Contains(pre.Evidence[0].Value, "own warn and audit labels") || !strings.Contains(pre.Evidence[2].Value, "DaemonSet/csi keeps only privileged") {
		t.Errorf("%+v", pre)
	}
	f.Cluster.Pods[0].PodSecurity = harden.PodSecurityFact{}
	if pre := exemptionsCover(f, found(f, "baseline")); pre.State != harden.PreconditionUnknown || !strings.Contains(pre.Message.String(), "shop/Pod/web") {
		t.Errorf("a pod that was not judged: %+v", pre)
	}
	if pre := exemptionsCover(f, harden.Values{"enforce": "baseline", optNeedMore: "kube-system,storage"}); pre.State != harden.Unmet || !strings.Contains(pre.Message.String(), "agents is not exempt") {
		t.Errorf("one that was said and is too few: %+v", pre)
	}
}

// What somebody has exempt stays exempt.
func TestExemptionsOfOthersStay(t *testing.T) {
	edits, write := admission(admissionHead+"plugins:\n- name: PodSecurity # ours\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n"+
		"    kind: PodSecurityConfiguration\n    defaults:\n      enforce: privileged\n    exemptions:\n      usernames: [root]\n      namespaces:\n      - mine\n", nil)
	n := hardentest.APIServer(t, "1.37", edits...)
	write(n)
	got := written(t, n, ownAdmission, pods, harden.Choice{Control: "apiserver-pod-security-defaults"})
	pc, _, _ := configOf(n.Facts(t), podSecurityPlugin)
	config, err := load.LoadFromData(pc.data)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"mine", "agents", "kube-system", "storage"}; !slices.Equal(config.Exemptions.Namespaces, want) || !slices.Equal(config.Exemptions.Usernames, []string{"root"}) || config.Defaults.Enforce != "baseline" {
		t.Errorf("%+v", config)
	}
	if !strings.Contains(got, "- name: PodSecurity # ours\n") {
		t.Error("the comment is gone")
	}
}
