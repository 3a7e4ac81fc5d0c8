package staticpod

import (
	"errors"
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/suites"
)

const (
	minVersionFlag = "tls-min-version"
	suitesFlag     = "tls-cipher-suites"
	tls12, tls13   = "VersionTLS12", "VersionTLS13"
)

// TLS are the controls of the least version and of the suites that the component serves with.
func (p Pod) TLS(minVersion, cipherSuites harden.Refs) []harden.Control {
	return []harden.Control{p.minVersion(minVersion), p.cipherSuites(cipherSuites)}
}

func (p Pod) minVersion(refs harden.Refs) harden.Control {
	return harden.Control{
		ID:    p.id("tls-min-version"),
		Title: p.title("%s speaks TLS 1.2 or newer only, and says so"),
		Why: harden.Msg("TLS 1.0 and 1.1 rest on broken primitives. "+
			"Without the flag the floor is TLS 1.2 already, so writing it down changes nothing but that audits, which read flags, find it. "+
			"Where somebody lowered it, what clients say to %s can be listened to.", p.Name),
		Refs: refs, Severity: harden.Low,
		Component: p.Component, Flags: []string{minVersionFlag},
		Needs: p.needs(), Applies: harden.RunsHere(p.Component),
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(p.Component).Flag(minVersionFlag)
			seen := flag.Evidence(minVersionFlag)
			switch flag.Last() {
			case tls12, tls13:
				return harden.Passed(harden.Msg("the lowest version is %s", flag.Last()), seen)
			case "":
				return harden.Failed(harden.Msg("nothing is written down: the program's own floor of TLS 1.2 counts, and audits report the missing flag"), seen)
			case "VersionTLS10", "VersionTLS11":
				return harden.Failed(harden.Msg("clients may use %s", flag.Last()), seen)
			}
			return harden.Failed(harden.Msg("%q is no version that %s knows; it does not start with it", flag.Last(), p.Name), seen)
		},
		Remedies: []harden.Remedy{{
			ID: "write-down", Title: harden.Msg("Write down the floor of TLS 1.2 that counts already"), Risk: harden.RiskNode, Impact: p.Restarts(),
			Breaks: []harden.Message{harden.Msg("Nothing is refused that is accepted now.")},
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				if flag := f.Component(p.Component).Flag(minVersionFlag); flag.Last() != "" && flag.Last() != tls12 {
					return nil, fmt.Errorf("the floor is %s, and clients that need it would be cut off; take --remedy %s=raise", flag.Last(), p.id("tls-min-version"))
				}
				return []harden.Intent{harden.SetFlag(p.Component, minVersionFlag, tls12)}, nil
			},
			Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
				return suites.ProveFloor(p.id("tls-min-version"), p.Component, "", tls12)
			},
		}, {
			ID: "raise", Title: harden.Msg("Raise the floor"), Risk: p.tlsRisk(), Impact: p.Restarts(),
			Breaks: []harden.Message{
				harden.Msg("Clients that speak nothing newer than what is accepted now are refused: \"protocol version not supported\". With VersionTLS13 those are old Java, Python and OpenSSL, load balancers' health checks and old monitoring."),
			},
			Options: []harden.Option{{
				Name: "version", Title: harden.Msg("lowest version"), Kind: harden.OptionOneOf, Default: tls12, Choices: []string{tls12, tls13},
			}},
			Preconditions: func(*harden.Facts, harden.Values) []harden.Precondition {
				return []harden.Precondition{p.clientsFollow()}
			},
			Intents: func(_ *harden.Facts, v harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(p.Component, minVersionFlag, v["version"])}, nil
			},
			Proofs: func(_ *harden.Facts, v harden.Values) []harden.Proof {
				return suites.ProveFloor(p.id("tls-min-version"), p.Component, "", v["version"])
			},
		}},
	}
}

func (p Pod) cipherSuites(refs harden.Refs) harden.Control {
	return harden.Control{
		ID:    p.id("tls-cipher-suites"),
		Title: p.title("%s offers strong cipher suites only"),
		Why: harden.Msg("Without a list, TLS 1.2 clients may still agree on CBC suites, which have a history of padding attacks. A list of forward secret AEAD suites ends that. "+
			"It needs care: an unknown name stops %s, a list without an ECDHE AES_128_GCM suite stops HTTP/2, and one that does not fit the certificate's key stops TLS 1.2. "+
			"TLS 1.3 has its own suites, which cannot be set.", p.Name),
		Refs: refs, Severity: harden.Medium,
		Component: p.Component, Flags: []string{suitesFlag, minVersionFlag},
		Needs: p.needs(), Applies: harden.RunsHere(p.Component),
		Assess: func(f *harden.Facts) harden.Verdict {
			c := f.Component(p.Component)
			list, floor := c.Flag(suitesFlag), c.Flag(minVersionFlag)
			status, m := suites.Judge(p.Name, list.List(), floor.Last() == tls13, p.servingKey(f))
			return harden.Verdict{Status: status, Message: m, Evidence: []harden.Evidence{list.Evidence(suitesFlag)}}
		},
		Remedies: []harden.Remedy{{
			ID: "strong-suites", Title: harden.Msg("Offer strong suites only"), Risk: p.tlsRisk(), Impact: p.Restarts(),
			Breaks: []harden.Message{
				harden.Msg("TLS 1.2 clients that know CBC or RSA key exchange only (older than about 2015) are refused: \"handshake failure\". Kubernetes' own components and current monitoring are not concerned."),
			},
			Options: []harden.Option{{
				Name: "suites", Title: harden.Msg("suites for TLS 1.2, by Go's names"), Kind: harden.OptionList, Default: strings.Join(suites.Strong, ","),
				Check: func(s string) error { return suites.Lint(suites.Split(s)) },
			}},
			Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
				out := []harden.Precondition{suites.Fit(p.servingKey(f), suites.Split(v["suites"]))}
				if p.Component == harden.APIServer {
					out = append(out, p.clientsFollow())
				}
				return out
			},
			Intents: func(_ *harden.Facts, v harden.Values) ([]harden.Intent, error) {
				list := suites.Split(v["suites"])
				if len(list) == 0 {
					return nil, errors.New("the list of suites is empty")
				}
				return []harden.Intent{harden.SetFlag(p.Component, suitesFlag, strings.Join(list, ","))}, nil
			},
			Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof {
				floor := f.Component(p.Component).Flag(minVersionFlag).Last()
				return suites.ProveList(p.id("tls-cipher-suites"), p.Component, "", floor, suites.Split(v["suites"]))
			},
		}},
	}
}

// tlsRisk: the API server has clients everywhere; the others are asked by the kubelet's probes and by monitoring.
func (p Pod) tlsRisk() harden.Risk {
	if p.Component == harden.APIServer {
		return harden.RiskLockOut
	}
	return harden.RiskNode
}

func (p Pod) clientsFollow() harden.Precondition {
	return harden.Precondition{
		ID:      "clients-follow",
		Title:   harden.Msg("every client of %s speaks what stays", p.Name),
		State:   harden.PreconditionUnknown,
		Message: harden.Msg("which versions and suites clients agree on cannot be seen from here"),
	}
}

// servingKey is "" where the component makes its own certificate, or where its file is not known.
func (p Pod) servingKey(f *harden.Facts) string {
	return suites.Key(f.Referred(p.Component, f.Component(p.Component).Flag("tls-cert-file").Last()).State.Data)
}
