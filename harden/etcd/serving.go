package etcd

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/suites"
	"kubectl-harden.io/kubectl-harden/patches"
)

var metricsAddress = harden.Control{
	ID:    "etcd-metrics-address",
	Title: "Etcd's metrics are served on the loopback address only",
	Why: harden.Msg("Metrics and health are served without a certificate on this address, for the kubelet's probes. " +
		"Metrics tell the sizes and names of what is stored, and on an address that others reach they are one more thing to ask a node about. kubeadm sets the loopback address."),
	Refs:     harden.Refs{NSA: []string{nsaEtcd}, Docs: []string{configPage}},
	Severity: harden.Medium, Component: harden.Etcd, Flags: []string{metricsFlag},
	Needs: needs, Applies: applies, Assess: assessMetrics,
	Remedies: []harden.Remedy{{
		ID: "loopback", Title: harden.Msg("Serve metrics on http://127.0.0.1:2381, and let the probes ask there"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Monitoring that reads etcd's metrics over the network loses its target. An agent on the node, in the host's network, can still read them; so can a client with a certificate, on port 2379."),
		},
		Preconditions: preconditions(),
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			i, err := put(f, metricsFlag, "http://127.0.0.1:2381")
			return []harden.Intent{i, harden.ProbeHost(harden.Etcd, "127.0.0.1")}, err
		},
	}},
}

func assessMetrics(f *harden.Facts) harden.Verdict {
	urls := f.EtcdSetting(metricsFlag)
	if !urls.Unknown.IsZero() {
		return harden.NeedsPerson(urls.Unknown, urls.Seen)
	}
	for _, u := range urls.List() {
		parsed, err := url.Parse(u)
		if err != nil || !slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, parsed.Hostname()) {
			return harden.Failed(harden.Msg("metrics are served on %s", u), urls.Seen)
		}
	}
	if len(urls.List()) == 0 {
		return harden.Passed(harden.Msg("metrics are served to clients with a certificate only"), urls.Seen)
	}
	return harden.Passed(harden.Msg("metrics are served on %s", urls.Value), urls.Seen)
}

var tlsMinVersion = harden.Control{
	ID:    "etcd-tls-min-version",
	Title: "Etcd speaks TLS 1.2 or newer only",
	Why: harden.Msg("Etcd's own floor is TLS 1.2, and it takes no lower one. " +
		"TLS 1.3 alone is stricter; the API server and etcdctl speak it."),
	Refs:     harden.Refs{NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{configPage}},
	Severity: harden.Low, Component: harden.Etcd, Flags: []string{minFlag},
	Needs: needs, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		floor := f.EtcdSetting(minFlag)
		switch {
		case !floor.Unknown.IsZero():
			return harden.NeedsPerson(floor.Unknown, floor.Seen)
		case floor.Value == "":
			return harden.Passed(harden.Msg("nothing is set, and etcd's own floor is TLS 1.2"), floor.Seen)
		case floor.Value == "TLS1.2" || floor.Value == "TLS1.3":
			return harden.Passed(harden.Msg("the lowest version is %s", floor.Value), floor.Seen)
		}
		return harden.Failed(harden.Msg("%q is no version that etcd knows; it does not start with it", floor.Value), floor.Seen)
	},
	Remedies: []harden.Remedy{{
		ID: "floor", Title: harden.Msg("Set the lowest version"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{harden.Msg("With TLS1.3, clients that speak TLS 1.2 only are refused: old backup tools and monitoring. Suites cannot be set then.")},
		Options: []harden.Option{{
			Name: "version", Title: harden.Msg("lowest version"), Kind: harden.OptionOneOf, Default: "TLS1.2", Choices: []string{"TLS1.2", "TLS1.3"},
		}},
		Preconditions: preconditions(),
		Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
			if s := f.EtcdSetting(suitesFlag); v["version"] == "TLS1.3" && s.Set {
				return nil, errors.New("etcd does not start with TLS 1.3 alone and a list of suites; remove the list first")
			}
			i, err := put(f, minFlag, v["version"])
			return []harden.Intent{i}, err
		},
		Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof {
			if f.EtcdSetting(maxFlag).Set {
				return nil // a handshake with what is newer may be refused, and rightly
			}
			return listeners(f, func(address string) []harden.Proof {
				return suites.ProveFloor("etcd-tls-min-version", harden.Etcd, address, v["version"])
			})
		},
	}},
}

var cipherSuites = harden.Control{
	ID:    "etcd-cipher-suites",
	Title: "Etcd offers strong cipher suites only",
	Why: harden.Msg("Without a list, TLS 1.2 clients may still agree on CBC suites, which have a history of padding attacks. " +
		"It needs care: an unknown name stops etcd, and a list without an ECDHE AES_128_GCM suite stops HTTP/2, which all its clients speak."),
	Refs:     harden.Refs{NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{securityPage}},
	Severity: harden.Low, Component: harden.Etcd, Flags: []string{suitesFlag, minFlag},
	Needs: needs, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		list, floor := f.EtcdSetting(suitesFlag), f.EtcdSetting(minFlag)
		if !list.Unknown.IsZero() {
			return harden.NeedsPerson(list.Unknown, list.Seen)
		}
		if floor.Value == "TLS1.3" && list.Set {
			return harden.Failed(harden.Msg("etcd does not start with TLS 1.3 alone and a list of suites"), list.Seen, floor.Seen)
		}
		status, m := suites.Judge("etcd", list.List(), floor.Value == "TLS1.3", servingKey(f))
		return harden.Verdict{Status: status, Message: m, Evidence: []harden.Evidence{list.Seen}}
	},
	Remedies: []harden.Remedy{{
		ID: "strong-suites", Title: harden.Msg("Offer strong suites only"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("TLS 1.2 clients that know CBC or RSA key exchange only are refused: \"handshake failure\". The API server, members and etcdctl are not concerned."),
		},
		Options: []harden.Option{{
			Name: "suites", Title: harden.Msg("suites for TLS 1.2, by Go's names"), Kind: harden.OptionList, Default: strings.Join(suites.Strong, ","),
			Check: func(s string) error { return suites.Lint(suites.Split(s)) },
		}},
		Preconditions: preconditions(func(f *harden.Facts, v harden.Values) harden.Precondition {
			return suites.Fit(servingKey(f), suites.Split(v["suites"]))
		}),
		Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
			i, err := put(f, suitesFlag, suites.Split(v["suites"]))
			return []harden.Intent{i}, err
		},
		Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof {
			return listeners(f, func(address string) []harden.Proof {
				return suites.ProveList("etcd-cipher-suites", harden.Etcd, address, f.EtcdSetting(minFlag).Value, suites.Split(v["suites"]))
			})
		},
	}},
}

// listeners are proven each: what etcd sets for its clients it sets for its peers too. Its probes are asked without TLS.
func listeners(f *harden.Facts, prove func(address string) []harden.Proof) []harden.Proof {
	var out []harden.Proof
	for _, flag := range []string{clientURLFlag, peerURLFlag} {
		if address := f.EtcdServes(flag); address != "" {
			out = append(out, prove(address)...)
		}
	}
	return out
}

func servingKey(f *harden.Facts) string {
	return suites.Key(f.Referred(harden.Etcd, f.EtcdSetting(certFlag).Value).State.Data)
}

// kubeadmsOwn are flags of old names that kubeadm writes itself, for the releases of etcd that know them.
var kubeadmsOwn = []string{"experimental-initial-corrupt-check", "experimental-watch-progress-notify-interval"}

var removedFlags = harden.Control{
	ID:    "etcd-removed-flags",
	Title: "No flag is left behind that newer releases of etcd refuse",
	Why: harden.Msg("Etcd 3.7, which kubeadm 1.37 brings, knows no flag any more that begins with experimental, and does not start with one. " +
		"Those that kubeadm writes itself it changes; those among the extra arguments of its configuration it keeps, and the upgrade fails on etcd, which cannot go back to an older release by its manifest."),
	Refs:     harden.Refs{Docs: []string{configPage}},
	Severity: harden.High, Component: harden.Etcd,
	Needs: needs, Applies: applies, Assess: assessRemoved,
	Remedies: []harden.Remedy{{
		ID: "remove", Title: harden.Msg("Remove the flags from the manifest"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("What a flag does in this release stops; most have a new name without experimental, from 3.6 on."),
		},
		Preconditions: preconditions(),
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, name := range leftFlags(f.Component(harden.Etcd)) {
				out = append(out, harden.RemoveFlag(harden.Etcd, name))
			}
			if len(out) > 0 {
				return out, nil // kubeadm's configuration follows the node
			}
			for _, name := range keptFlags(f) {
				i := harden.RemoveFlag(harden.Etcd, name)
				i.Object = &harden.KubeadmConfig
				out = append(out, i)
			}
			return out, nil
		},
	}},
}

// leftFlags of the manifest are those that etcd 3.7 refuses and that kubeadm does not take away itself.
func leftFlags(c *harden.ComponentFacts) []string {
	var out []string
	for _, flag := range patches.ParseArgs(c.Args) {
		if strings.HasPrefix(flag.Name, "experimental-") && !slices.Contains(kubeadmsOwn, flag.Name) && !slices.Contains(out, flag.Name) {
			out = append(out, flag.Name)
		}
	}
	return out
}

// keptFlags are those among the extra arguments of kubeadm's configuration.
func keptFlags(f *harden.Facts) []string {
	var out []string
	if f.Cluster == nil || f.Cluster.Kubeadm == nil {
		return nil
	}
	for _, arg := range f.Cluster.Kubeadm.ExtraArgs[harden.Etcd] {
		if strings.HasPrefix(arg.Name, "experimental-") && !slices.Contains(out, arg.Name) {
			out = append(out, arg.Name)
		}
	}
	return out
}

func assessRemoved(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.Etcd)
	var seen []harden.Evidence
	for _, name := range leftFlags(c) {
		seen = append(seen, c.FileFlag(name).Evidence(name))
	}
	for _, name := range keptFlags(f) {
		kept, _ := f.Cluster.Kubeadm.Flag(harden.Etcd, name)
		seen = append(seen, kept.Evidence(name))
	}
	if len(seen) == 0 {
		return harden.Passed(harden.Msg("no flag stands in the way of etcd 3.7"),
			harden.Evidence{Source: c.Effective, Value: fmt.Sprintf("%d flags", len(patches.ParseArgs(c.Args)))})
	}
	return harden.Failed(harden.Msg("etcd 3.7 does not start with %s", seen[0].Value), seen...)
}
