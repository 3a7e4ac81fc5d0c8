package harden

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/patches"
)

// configKind is a kind of configuration file: the newest type, since when each of its versions and fields exists, and the
// rules that its reader has beyond syntax.
type configKind struct {
	group, kind string
	versions    map[string]int // the first minor of 1 that reads it, by version; 0: all that are supported
	fields      map[string]int // the first minor that knows a field, of those that came later than the first supported one
	check       func(data []byte, v Version) []Message
}

// configKinds are the files that components read. It is a function because configurations hold others.
func configKinds() []configKind {
	return []configKind{
		{
			group: "kubelet.config.k8s.io", kind: "KubeletConfiguration", versions: map[string]int{"v1beta1": 0}, fields: kubeletFields,
			check: checkedAs(kubeletProblems),
		},
		{
			group: "audit.k8s.io", kind: "Policy", versions: map[string]int{"v1": 0},
			check: checkedAs(func(p *auditv1.Policy, v Version) []Message { return AuditPolicyProblems(*p, v) }),
		},
		{
			group: "apiserver.config.k8s.io", kind: "AuthenticationConfiguration", versions: map[string]int{"v1": 34, "v1beta1": 30, "v1alpha1": 0},
			fields: map[string]int{
				"anonymous": 31, "jwt.issuer.discoveryURL": 30, "jwt.issuer.audienceMatchPolicy": 30, "jwt.issuer.egressSelectorType": 34,
			},
			check: checkedAs(authenticationProblems),
		},
		{
			group: "apiserver.config.k8s.io", kind: "AuthorizationConfiguration", versions: map[string]int{"v1": 32, "v1beta1": 30, "v1alpha1": 0},
			fields: map[string]int{"authorizers.webhook.cacheAuthorizedRequests": 34, "authorizers.webhook.cacheUnauthorizedRequests": 34},
			check:  checkedAs(authorizationProblems),
		},
		{
			group: "apiserver.config.k8s.io", kind: "EncryptionConfiguration", versions: map[string]int{"v1": 0},
			check: checkedAs(encryptionProblems),
		},
		{
			group: "apiserver.config.k8s.io", kind: "AdmissionConfiguration", versions: map[string]int{"v1": 0, "v1alpha1": 0},
			check: checkedAs(admissionProblems),
		},
		{group: "eventratelimit.admission.k8s.io", kind: "Configuration", versions: map[string]int{"v1alpha1": 0}, check: checkedAs(eventRateProblems)},
		{
			group: "pod-security.admission.config.k8s.io", kind: "PodSecurityConfiguration", versions: map[string]int{"v1": 0, "v1beta1": 0, "v1alpha1": 0},
			check: checkedAs(podSecurityProblems),
		},
		{
			group: "apiserver.config.k8s.io", kind: "WebhookAdmissionConfiguration", versions: map[string]int{"v1": 0},
			fields: map[string]int{"staticManifestsDir": 36}, check: checkedAs(anyValues[webhookAdmission]),
		},
		{
			group: "apiserver.config.k8s.io", kind: "ValidatingAdmissionPolicyConfiguration", versions: map[string]int{"v1": 36},
			check: checkedAs(anyValues[policyAdmission]),
		},
		{
			group: "apiserver.config.k8s.io", kind: "MutatingAdmissionPolicyConfiguration", versions: map[string]int{"v1": 36},
			check: checkedAs(anyValues[policyAdmission]),
		},
		{group: "", kind: "Pod", versions: map[string]int{"v1": 0}, check: checkedAs(podProblems)},
	}
}

// kubeletFields are those of KubeletConfiguration that came after 1.29.
var kubeletFields = map[string]int{
	"containerLogMaxWorkers": 30, "containerLogMonitorInterval": 30, "podLogsDir": 30, "logging.options.text": 30,
	"failCgroupV1":     31,
	"crashLoopBackOff": 32, "singleProcessOOMKill": 32,
	"imagePullCredentialsVerificationPolicy": 33, "mergeDefaultEvictionSettings": 33, "preloadedImagesVerificationAllowlist": 33, "userNamespaces": 33,
	"memoryReservationPolicy": 36, "tlsCurvePreferences": 36,
	"defaultPodSysctls": 37,
}

// checkedAs decodes strictly, with the case of names, and then applies the rules.
func checkedAs[T any](rules func(*T, Version) []Message) func([]byte, Version) []Message {
	return func(data []byte, v Version) []Message {
		var into T
		strict, err := kjson.UnmarshalStrict(data, &into)
		if err != nil {
			return []Message{Msg("it cannot be decoded: %s", err)}
		}
		var out []Message
		for _, err := range strict {
			out = append(out, Msg("%s", err))
		}
		return append(out, rules(&into, v)...)
	}
}

// DecodeProblems says why a reader of a version would not take a configuration file, or would ignore a part of it. The kind is
// read from the file; nothing is said of kinds that are not known here.
func DecodeProblems(data []byte, v Version) []Message {
	j, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return []Message{Msg("it is not YAML: %s", plainYAML(err))}
	}
	var generic map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(j, &generic); err != nil {
		return []Message{Msg("it is no object")}
	}
	apiVersion, _ := generic["apiVersion"].(string)
	kind, _ := generic["kind"].(string)
	k, known := kindOf(apiVersion, kind)
	if !known {
		return nil
	}
	out := k.ageProblems(apiVersion, generic, v)
	return append(out, k.check(j, v)...)
}

// ExpectKind is DecodeProblems of a file that has to be of a kind.
func ExpectKind(data []byte, kind string, v Version) []Message {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := ReadYAML(data, &head); err != nil {
		return []Message{Msg("it cannot be read: %s", err)}
	}
	if k, known := kindOf(head.APIVersion, head.Kind); !known || k.kind != kind {
		return []Message{Msg("it is %q of %q, and %s is wanted", head.Kind, head.APIVersion, kind)}
	}
	return DecodeProblems(data, v)
}

func kindOf(apiVersion, kind string) (configKind, bool) {
	group, version, ok := strings.Cut(apiVersion, "/")
	if !ok {
		group, version = "", apiVersion
	}
	kinds := configKinds()
	i := slices.IndexFunc(kinds, func(k configKind) bool {
		_, has := k.versions[version]
		return k.group == group && k.kind == kind && has
	})
	if i < 0 {
		return configKind{}, false
	}
	return kinds[i], true
}

// ageProblems are what came with later versions. A version that is not known counts as the newest.
func (k configKind) ageProblems(apiVersion string, generic map[string]any, v Version) []Message {
	if v.IsZero() {
		return nil
	}
	var out []Message
	_, version, _ := strings.Cut(apiVersion, "/")
	if since := k.versions[version]; since > 0 && !v.AtLeast(1, since) {
		out = append(out, Msg("%s of %s is known from 1.%d on, and here is %s", k.kind, apiVersion, since, v))
	}
	paths := map[string]bool{}
	fieldPaths(generic, "", paths)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if since := k.fields[p]; since > 0 && !v.AtLeast(1, since) {
			out = append(out, Msg("field %s is known from 1.%d on, and here is %s", p, since, v))
		}
	}
	return out
}

// fieldPaths are the dotted paths of all fields; those of a list's elements are like the list's.
func fieldPaths(v any, prefix string, into map[string]bool) {
	switch x := v.(type) {
	case map[string]any:
		for key, value := range x {
			into[prefix+key] = true
			fieldPaths(value, prefix+key+".", into)
		}
	case []any:
		for _, e := range x {
			fieldPaths(e, prefix, into)
		}
	}
}

// ReadYAML reads as Kubernetes does. Where it cannot, the error says what is wrong in which line, and what to do by hand about
// it, as far as that can be told.
func ReadYAML(data []byte, into any) error {
	err := yaml.Unmarshal(data, into)
	if err == nil {
		return nil
	}
	if why := patches.Check(data); why != nil {
		return fmt.Errorf("%s; what to do: %s", why, patches.Hint(why))
	}
	return errors.New(plainYAML(err))
}

// plainYAML keeps a parser's complaint to one line.
func plainYAML(err error) string {
	return strings.ReplaceAll(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "), "\n", " ")
}

// sysctlProblems says what is wrong with a file of sysctl.d: each line sets a value, or nothing.
func sysctlProblems(data []byte) []Message {
	var out []Message
	for n, line := range strings.Split(string(data), "\n") {
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(text, "-"), "=")
		if !ok || strings.TrimSpace(key) == "" || strings.TrimSpace(value) == "" || strings.ContainsAny(strings.TrimSpace(key), " \t") {
			out = append(out, Msg("line %d sets nothing: %.40q", n+1, text))
		}
	}
	return out
}
