package kubelet

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const nsaTLS = "Use of TLS 1.2 or later"

var tlsMinVersion = setting{
	id: "kubelet-tls-min-version", title: "The kubelet speaks TLS 1.2 or newer only", severity: harden.Medium,
	why: harden.Msg("TLS 1.0 and 1.1 rest on broken primitives. The kubelet's own floor is TLS 1.2 when nothing is set, so that this fails only where somebody lowered it. " +
		"TLS 1.3 alone is stricter, and shuts old clients out."),
	refs: harden.Refs{NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{docsConfig}},

	field: "tlsMinVersion", flag: "tls-min-version", preset: "VersionTLS12", zeroIsUnset: true,
	judge: func(_ *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		switch r.value {
		case "VersionTLS12", "VersionTLS13":
			if r.from == fromDefault {
				return harden.StatusPass, harden.Msg("nothing is set, and the kubelet's own floor is TLS 1.2")
			}
			return harden.StatusPass, harden.Msg("the lowest version is %s", r.value)
		case "VersionTLS10", "VersionTLS11":
			return harden.StatusFail, harden.Msg("clients may use %s", r.value)
		}
		return harden.StatusFail, harden.Msg("%s is not a version that the kubelet knows; it will not start with it", show(r.value))
	},
	want: func(v harden.Values) any { return v["version"] },
	remedy: harden.Remedy{
		ID: "floor", Title: harden.Msg("Set the lowest TLS version"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("With VersionTLS13: scrapers that speak TLS 1.2 only (old Java, Python and OpenSSL). They show \"protocol version not supported\"."),
		},
		Options: []harden.Option{{
			Name: "version", Title: harden.Msg("lowest version"), Kind: harden.OptionOneOf, Default: "VersionTLS12", Choices: []string{"VersionTLS12", "VersionTLS13"},
		}},
	},
}

// strongSuites are forward secret and authenticated, for both kinds of serving keys: the kubelet's self-signed
// certificate has an RSA key, one issued by the cluster an ECDSA key.
var strongSuites = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// oldNames are accepted by Kubernetes beside the names that crypto/tls has.
var oldNames = map[string]string{
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":   "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}

var tlsCipherSuites = setting{
	id: "kubelet-tls-cipher-suites", title: "The kubelet offers strong cipher suites only", severity: harden.Medium,
	why: harden.Msg("Without a list, TLS 1.2 clients may still agree on CBC suites, which have a history of padding attacks. A list of forward secret AEAD suites ends that. " +
		"It needs care: an unknown name stops the kubelet, a list without an ECDHE AES_128_GCM suite stops HTTP/2, and one that does not fit the certificate's key stops TLS 1.2. " +
		"TLS 1.3 has its own suites, which cannot be set."),
	refs: harden.Refs{CIS: []string{"4.2.12"}, NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{docsConfig}},

	field: "tlsCipherSuites", flag: "tls-cipher-suites", preset: []string(nil), zeroIsUnset: true,
	judge: func(k *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		return judgeSuites(r.value.([]string), tlsMinVersion.read(k).value == "VersionTLS13", k.ServingKey)
	},
	want: func(v harden.Values) any { return entries(v["suites"]) },
	remedy: harden.Remedy{
		ID: "strong-suites", Title: harden.Msg("Offer strong suites only"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("TLS 1.2 clients that know CBC or RSA key exchange only (older than about 2015): \"handshake failure\" on port 10250. The API server and current monitoring are not concerned."),
		},
		Options: []harden.Option{{
			Name: "suites", Title: harden.Msg("suites for TLS 1.2, by Go's names"), Kind: harden.OptionList, Default: strings.Join(strongSuites, ","),
			Check: func(s string) error { return lintSuites(entries(s)) },
		}},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{suitesFit(f.Kubelet.ServingKey, entries(v["suites"]))}
		},
	},
}

func judgeSuites(list []string, onlyTLS13 bool, key string) (harden.Status, harden.Message) {
	if onlyTLS13 {
		return harden.StatusPass, harden.Msg("only TLS 1.3 is spoken, whose suites cannot be set")
	}
	if len(list) == 0 {
		return harden.StatusFail, harden.Msg("no list is set: TLS 1.2 clients may agree on CBC suites")
	}
	if unknown := filter(list, func(s string) bool { return suite(s) == nil }); len(unknown) > 0 {
		return harden.StatusFail, harden.Msg("%s: no such suite; the kubelet will not start with it", show(unknown))
	}
	if !slices.ContainsFunc(list, forHTTP2) {
		return harden.StatusFail, harden.Msg("no ECDHE AES_128_GCM suite is in the list: Go refuses HTTP/2 without one, and the kubelet will not serve")
	}
	if weak := filter(list, isWeak); len(weak) > 0 {
		return harden.StatusFail, harden.Msg("weak suites are offered: %s", show(weak))
	}
	if !fits(list, key) {
		return harden.StatusFail, harden.Msg("no suite in the list fits the %s key of the serving certificate: TLS 1.2 clients cannot connect", key)
	}
	return harden.StatusPass, harden.Msg("TLS 1.2 clients are offered strong suites only")
}

// lintSuites refuses a list that would stop the kubelet, or that this control would fail.
func lintSuites(list []string) error {
	if len(list) == 0 {
		return fmt.Errorf("the list is empty")
	}
	for _, s := range list {
		switch {
		case suite(s) == nil:
			return fmt.Errorf("%s is not a suite that the kubelet knows", s)
		case isTLS13(s):
			return fmt.Errorf("%s belongs to TLS 1.3, whose suites cannot be set", s)
		case isWeak(s):
			return fmt.Errorf("%s is weak", s)
		}
	}
	if !slices.ContainsFunc(list, forHTTP2) {
		return fmt.Errorf("HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
	}
	return nil
}

// suitesFit is met by a list for both kinds of keys whatever the certificate is, and stays so when it is replaced.
func suitesFit(key string, list []string) harden.Precondition {
	p := harden.Precondition{ID: "suites-fit-key", Title: harden.Msg("the suites fit the serving certificate's key"), State: harden.Met}
	switch both := fits(list, "RSA") && fits(list, "ECDSA"); {
	case both:
	case key == "":
		p.State, p.Message = harden.PreconditionUnknown, harden.Msg("the kind of key is not known, and the list is for one kind only")
	case !fits(list, key):
		p.State, p.Message = harden.Unmet, harden.Msg("the serving certificate has an %s key, and no suite of the list is for it", key)
	}
	return p
}

func suite(name string) *tls.CipherSuite {
	if now, ok := oldNames[name]; ok {
		name = now
	}
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func forHTTP2(name string) bool {
	return name == "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" || name == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
}

func isTLS13(name string) bool {
	s := suite(name)
	return s != nil && slices.Equal(s.SupportedVersions, []uint16{tls.VersionTLS13})
}

// isWeak says that a suite is not one of the strong ones; those of TLS 1.3 are accepted and ignored.
func isWeak(name string) bool {
	s := suite(name)
	return s == nil || !slices.Contains(strongSuites, s.Name) && !isTLS13(name)
}

func fits(list []string, key string) bool {
	return key == "" || slices.ContainsFunc(list, func(s string) bool { return strings.HasPrefix(s, "TLS_ECDHE_"+key+"_") })
}

func filter(list []string, keep func(string) bool) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !keep(s) })
}
