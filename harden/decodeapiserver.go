package harden

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"
)

// These are the rules by which the API server refuses its configuration files (k8s.io/apiserver: pkg/apis/apiserver/validation),
// as far as they can be judged without compiling expressions or reading other files.

func authenticationProblems(c *apiserverv1.AuthenticationConfiguration, v Version) []Message {
	var out []Message
	if a := c.Anonymous; a != nil {
		if !a.Enabled && len(a.Conditions) > 0 {
			out = append(out, Msg("anonymous has conditions and is not enabled"))
		}
		if !v.IsZero() && v.AtLeast(1, 31) && !v.AtLeast(1, 32) {
			out = append(out, Msg("anonymous needs the feature gate AnonymousAuthConfigurableEndpoints, which is off by default in %s", v))
		}
	}
	seen := map[string]bool{}
	for i, j := range c.JWT {
		at := fmt.Sprintf("jwt[%d]", i)
		u, err := url.Parse(j.Issuer.URL)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
			out = append(out, Msg("%s: issuer.url is not an https address without user, query or fragment", at))
		case seen[j.Issuer.URL]:
			out = append(out, Msg("%s: issuer.url is there twice", at))
		}
		seen[j.Issuer.URL] = true
		if len(j.Issuer.Audiences) == 0 {
			out = append(out, Msg("%s: issuer.audiences is empty", at))
		}
		user := j.ClaimMappings.Username
		switch {
		case (user.Claim == "") == (user.Expression == ""):
			out = append(out, Msg("%s: claimMappings.username wants either claim or expression", at))
		case user.Claim != "" && user.Prefix == nil:
			out = append(out, Msg("%s: claimMappings.username.claim wants a prefix, which may be empty", at))
		}
	}
	return out
}

func authorizationProblems(c *apiserverv1.AuthorizationConfiguration, _ Version) []Message {
	var out []Message
	if len(c.Authorizers) == 0 {
		out = append(out, Msg("it has no authorizers"))
	}
	types, names := map[string]bool{}, map[string]bool{}
	for i, a := range c.Authorizers {
		at := fmt.Sprintf("authorizers[%d]", i)
		switch {
		case !slices.Contains(authorizationModes, a.Type):
			out = append(out, Msg("%s: there is no type %q", at, a.Type))
		case types[a.Type] && a.Type != "Webhook":
			out = append(out, Msg("%s: type %s is there twice", at, a.Type))
		}
		if len(validation.IsDNS1123Subdomain(a.Name)) > 0 || names[a.Name] {
			out = append(out, Msg("%s: name %q is no DNS name, or there twice", at, a.Name))
		}
		types[a.Type], names[a.Name] = true, true
		switch {
		case a.Type != "Webhook" && a.Webhook != nil:
			out = append(out, Msg("%s: webhook is for type Webhook only", at))
		case a.Type == "Webhook" && a.Webhook == nil:
			out = append(out, Msg("%s: webhook is missing", at))
		case a.Type == "Webhook":
			out = append(out, webhookProblems(at+".webhook", *a.Webhook)...)
		}
	}
	return out
}

func webhookProblems(at string, w apiserverv1.WebhookConfiguration) []Message {
	var out []Message
	wrong := func(ok bool, field, why string) {
		if !ok {
			out = append(out, Msg("%s.%s: %s", at, field, why))
		}
	}
	wrong(w.Timeout.Duration > 0 && w.Timeout.Duration <= 30*time.Second, "timeout", "more than 0s and at most 30s is wanted")
	wrong(slices.Contains([]string{"v1", "v1beta1"}, w.SubjectAccessReviewVersion), "subjectAccessReviewVersion", "v1 or v1beta1 is wanted")
	wrong(len(w.MatchConditions) == 0 || w.MatchConditionSubjectAccessReviewVersion == "v1", "matchConditionSubjectAccessReviewVersion", "v1 is wanted")
	wrong(slices.Contains([]string{"NoOpinion", "Deny"}, w.FailurePolicy), "failurePolicy", "NoOpinion or Deny is wanted")
	info := w.ConnectionInfo
	wrong(info.Type == "InClusterConfig" || info.Type == "KubeConfigFile" && info.KubeConfigFile != nil && strings.HasPrefix(*info.KubeConfigFile, "/"),
		"connectionInfo", "InClusterConfig, or KubeConfigFile with an absolute path, is wanted")
	return out
}

// notEncryptable are resources that have no storage of the usual kind, or another group's name for one.
var notEncryptable = []string{"*", "apiserveripinfo", "serviceipallocations", "servicenodeportallocations"}

func encryptionProblems(c *apiserverv1.EncryptionConfiguration, _ Version) []Message {
	var out []Message
	if len(c.Resources) == 0 {
		out = append(out, Msg("it has no resources"))
	}
	for i, r := range c.Resources {
		at := fmt.Sprintf("resources[%d]", i)
		out = append(out, encryptedProblems(at+".resources", r.Resources)...)
		if len(r.Providers) == 0 {
			out = append(out, Msg("%s: it has no providers", at))
		}
		for j, p := range r.Providers {
			out = append(out, providerProblems(fmt.Sprintf("%s.providers[%d]", at, j), p)...)
		}
	}
	return out
}

func encryptedProblems(at string, resources []string) []Message {
	var out []Message
	if len(resources) == 0 {
		out = append(out, Msg("%s: it is empty", at))
	}
	groups := map[string][]string{}
	for i, name := range resources {
		resource, group, _ := strings.Cut(name, ".")
		switch {
		case strings.ToLower(name) != name:
			out = append(out, Msg("%s: %s has capital letters", at, name))
		case slices.Contains(notEncryptable, name):
			out = append(out, Msg("%s: %s cannot be encrypted", at, name))
		case group == "events.k8s.io":
			out = append(out, Msg("%s: %s is stored as events", at, name))
		case group == "extensions":
			out = append(out, Msg("%s: the group extensions has been removed", at))
		case group == "*" && resource != "*":
			out = append(out, Msg("%s: %s would be a resource across groups", at, name))
		case slices.Contains(resources[:i], name):
			out = append(out, Msg("%s: %s is there twice", at, name))
		}
		groups[group] = append(groups[group], resource)
	}
	for group, names := range groups {
		if len(names) > 1 && slices.Contains(names, "*") || group == "*" && len(resources) > 1 {
			out = append(out, Msg("%s: a pattern covers others that are named", at))
			break
		}
	}
	return out
}

func providerProblems(at string, p apiserverv1.ProviderConfiguration) []Message {
	set := 0
	for _, is := range []bool{p.AESGCM != nil, p.AESCBC != nil, p.Secretbox != nil, p.Identity != nil, p.KMS != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return []Message{Msg("%s: exactly one kind of provider is wanted, and there are %d", at, set)}
	}
	switch {
	case p.AESGCM != nil:
		return keyProblems(at+".aesgcm", p.AESGCM.Keys, 16, 24, 32)
	case p.AESCBC != nil:
		return keyProblems(at+".aescbc", p.AESCBC.Keys, 16, 24, 32)
	case p.Secretbox != nil:
		return keyProblems(at+".secretbox", p.Secretbox.Keys, 32)
	case p.KMS != nil:
		return kmsProblems(at+".kms", *p.KMS)
	}
	return nil
}

// keyProblems never quote a key.
func keyProblems(at string, keys []apiserverv1.Key, lengths ...int) []Message {
	var out []Message
	if len(keys) == 0 {
		out = append(out, Msg("%s: it has no keys", at))
	}
	for i, k := range keys {
		secret, err := base64.StdEncoding.DecodeString(k.Secret)
		switch {
		case k.Name == "":
			out = append(out, Msg("%s.keys[%d]: it has no name", at, i))
		case err != nil:
			out = append(out, Msg("%s.keys[%d]: the secret is not base64", at, i))
		case !slices.Contains(lengths, len(secret)):
			out = append(out, Msg("%s.keys[%d]: the secret has %d bytes, and %v are possible", at, i, len(secret), lengths))
		}
	}
	return out
}

func kmsProblems(at string, k apiserverv1.KMSConfiguration) []Message {
	var out []Message
	u, err := url.Parse(k.Endpoint)
	if err != nil || u.Scheme != "unix" {
		out = append(out, Msg("%s: endpoint is no unix socket", at))
	}
	if k.Name == "" || strings.Contains(k.Name, ":") {
		out = append(out, Msg("%s: name is missing, or has a colon", at))
	}
	switch k.APIVersion {
	case "v2":
		if k.CacheSize != nil {
			out = append(out, Msg("%s: cachesize is not for apiVersion v2", at))
		}
	case "", "v1":
		out = append(out, Msg("%s: apiVersion v1 is off by default in all supported versions", at))
	default:
		out = append(out, Msg("%s: there is no apiVersion %q", at, k.APIVersion))
	}
	if k.Timeout != nil && k.Timeout.Duration <= 0 {
		out = append(out, Msg("%s: timeout is not positive", at))
	}
	return out
}

func admissionProblems(c *apiserverv1.AdmissionConfiguration, v Version) []Message {
	var out []Message
	names := map[string]bool{}
	for i, p := range c.Plugins {
		at := fmt.Sprintf("plugins[%d]", i)
		if !knownPlugin(p.Name, v) {
			out = append(out, Msg("%s: there is no admission plugin %q in %s", at, p.Name, v))
		}
		if names[p.Name] {
			out = append(out, Msg("%s: %s is there twice, and the first one counts", at, p.Name))
		}
		names[p.Name] = true
		if p.Configuration == nil {
			continue
		}
		problems := DecodeProblems(p.Configuration.Raw, v)
		if kind, ok := pluginKinds[p.Name]; ok {
			problems = ExpectKind(p.Configuration.Raw, kind, v)
		}
		for _, m := range problems {
			out = append(out, Msg("%s: %s: %s", at, p.Name, m))
		}
	}
	return out
}

// pluginKinds are the configurations that plugins take.
var pluginKinds = map[string]string{
	"EventRateLimit": "Configuration", "PodSecurity": "PodSecurityConfiguration",
	"ValidatingAdmissionWebhook": "WebhookAdmissionConfiguration", "MutatingAdmissionWebhook": "WebhookAdmissionConfiguration",
	"ValidatingAdmissionPolicy": "ValidatingAdmissionPolicyConfiguration", "MutatingAdmissionPolicy": "MutatingAdmissionPolicyConfiguration",
}

func anyValues[T any](*T, Version) []Message { return nil }

type webhookAdmission struct {
	metav1.TypeMeta    `json:",inline"`
	KubeConfigFile     string `json:"kubeConfigFile"`
	StaticManifestsDir string `json:"staticManifestsDir"`
}

type policyAdmission struct {
	metav1.TypeMeta    `json:",inline"`
	StaticManifestsDir string `json:"staticManifestsDir"`
}

type eventRateConfig struct {
	metav1.TypeMeta `json:",inline"`
	Limits          []struct {
		Type      string `json:"type"`
		QPS       int32  `json:"qps"`
		Burst     int32  `json:"burst"`
		CacheSize int32  `json:"cacheSize"`
	} `json:"limits"`
}

func eventRateProblems(c *eventRateConfig, _ Version) []Message {
	var out []Message
	if len(c.Limits) == 0 {
		out = append(out, Msg("it has no limits"))
	}
	for i, l := range c.Limits {
		switch {
		case !slices.Contains([]string{"Server", "Namespace", "User", "SourceAndObject"}, l.Type):
			out = append(out, Msg("limits[%d]: there is no type %q", i, l.Type))
		case l.QPS <= 0 || l.Burst <= 0:
			out = append(out, Msg("limits[%d]: qps and burst have to be positive", i))
		case l.CacheSize < 0 && l.Type != "Server":
			out = append(out, Msg("limits[%d]: cacheSize is negative", i))
		}
	}
	return out
}

type podSecurityConfig struct {
	metav1.TypeMeta `json:",inline"`
	Defaults        struct {
		Enforce        string `json:"enforce"`
		EnforceVersion string `json:"enforce-version"`
		Audit          string `json:"audit"`
		AuditVersion   string `json:"audit-version"`
		Warn           string `json:"warn"`
		WarnVersion    string `json:"warn-version"`
	} `json:"defaults"`
	Exemptions struct {
		Usernames      []string `json:"usernames"`
		Namespaces     []string `json:"namespaces"`
		RuntimeClasses []string `json:"runtimeClasses"`
	} `json:"exemptions"`
}

var podSecurityVersion = regexp.MustCompile(`^(latest|v1\.([0-9]|[1-9][0-9]*))?$`)

func podSecurityProblems(c *podSecurityConfig, _ Version) []Message {
	var out []Message
	d := c.Defaults
	for _, level := range []string{d.Enforce, d.Audit, d.Warn} {
		if !slices.Contains([]string{"", "privileged", "baseline", "restricted"}, level) {
			out = append(out, Msg("defaults: there is no level %q", level))
		}
	}
	for _, version := range []string{d.EnforceVersion, d.AuditVersion, d.WarnVersion} {
		if !podSecurityVersion.MatchString(version) {
			out = append(out, Msg("defaults: %q is neither latest nor a version such as v1.37", version))
		}
	}
	names := slices.Concat(c.Exemptions.Namespaces, c.Exemptions.RuntimeClasses)
	for _, name := range names {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			out = append(out, Msg("exemptions: %q is no name", name))
		}
	}
	for _, list := range [][]string{c.Exemptions.Namespaces, c.Exemptions.RuntimeClasses, c.Exemptions.Usernames} {
		if len(slices.Compact(slices.Sorted(slices.Values(list)))) < len(list) {
			out = append(out, Msg("exemptions: a name is there twice"))
		}
	}
	return out
}

// needsConfiguration says which admission plugins do not start without one in --admission-control-config-file.
func needsConfiguration(config []byte) func(plugin string) bool {
	var c apiserverv1.AdmissionConfiguration
	if yaml.Unmarshal(config, &c) != nil {
		return func(string) bool { return false }
	}
	return func(plugin string) bool {
		return slices.Contains([]string{"EventRateLimit", "ImagePolicyWebhook"}, plugin) &&
			!slices.ContainsFunc(c.Plugins, func(p apiserverv1.AdmissionPluginConfiguration) bool {
				return p.Name == plugin && (p.Path != "" || p.Configuration != nil)
			})
	}
}
