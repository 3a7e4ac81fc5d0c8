package kubelet

import (
	"net"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/suites"
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
	shows: func(f *harden.Facts, v harden.Values) []harden.Proof {
		return suites.ProveFloor("kubelet-tls-min-version", harden.Kubelet, servesAt(f.Kubelet), v["version"])
	},
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

var tlsCipherSuites = setting{
	id: "kubelet-tls-cipher-suites", title: "The kubelet offers strong cipher suites only", severity: harden.Medium,
	why: harden.Msg("Without a list, TLS 1.2 clients may still agree on CBC suites, which have a history of padding attacks. A list of forward secret AEAD suites ends that. " +
		"It needs care: an unknown name stops the kubelet, a list without an ECDHE AES_128_GCM suite stops HTTP/2, and one that does not fit the certificate's key stops TLS 1.2. " +
		"TLS 1.3 has its own suites, which cannot be set."),
	refs: harden.Refs{CIS: []string{"4.2.12"}, NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{docsConfig}},

	field: "tlsCipherSuites", flag: "tls-cipher-suites", preset: []string(nil), zeroIsUnset: true,
	judge: func(k *harden.KubeletFacts, r reading) (harden.Status, harden.Message) {
		return suites.Judge("the kubelet", r.value.([]string), tlsMinVersion.read(k).value == "VersionTLS13", k.ServingKey)
	},
	want: func(v harden.Values) any { return entries(v["suites"]) },
	shows: func(f *harden.Facts, v harden.Values) []harden.Proof {
		floor, _ := tlsMinVersion.read(f.Kubelet).value.(string)
		return suites.ProveList("kubelet-tls-cipher-suites", harden.Kubelet, servesAt(f.Kubelet), floor, entries(v["suites"]))
	},
	remedy: harden.Remedy{
		ID: "strong-suites", Title: harden.Msg("Offer strong suites only"), Risk: harden.RiskNode, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("TLS 1.2 clients that know CBC or RSA key exchange only (older than about 2015): \"handshake failure\" on port 10250. The API server and current monitoring are not concerned."),
		},
		Options: []harden.Option{{
			Name: "suites", Title: harden.Msg("suites for TLS 1.2, by Go's names"), Kind: harden.OptionList, Default: strings.Join(suites.Strong, ","),
			Check: func(s string) error { return suites.Lint(entries(s)) },
		}},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{suites.Fit(f.Kubelet.ServingKey, entries(v["suites"]))}
		},
	},
}

// servesAt is where the kubelet serves over TLS, as this node reaches it.
func servesAt(k *harden.KubeletFacts) string {
	host, port := k.ServesAt()
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
