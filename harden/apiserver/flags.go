package apiserver

import (
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// flagControls are the controls that one flag decides.
var flagControls = []harden.Control{
	{
		ID:    "apiserver-profiling",
		Title: "Profiling is off",
		Why: harden.Msg("Profiles under /debug/pprof show what the API server does and holds in memory, and taking one costs it processor time. " +
			"They are for debugging the API server itself, yet they are on by default. " +
			"A debug socket serves the same profiles to whoever can reach it, without authentication."),
		Refs:      harden.Refs{CIS: []string{"1.2.15"}, Docs: []string{flagsPage}},
		Severity:  harden.Low,
		Component: harden.APIServer, Flags: []string{"profiling", "debug-socket-path"},
		Needs:   needs,
		Applies: applies,
		Assess:  assessProfiling,
		Remedies: []harden.Remedy{{
			ID:     "off",
			Title:  harden.Msg("Turn profiling off"),
			Impact: restart,
			Breaks: []harden.Message{harden.Msg("Profilers that read /debug/pprof of the API server, continuous ones too, get 404 Not Found. Nothing else uses it.")},
			Risk:   harden.RiskNode,
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				out := []harden.Intent{harden.SetFlag(harden.APIServer, "profiling", "false")}
				if f.Component(harden.APIServer).Flag("debug-socket-path").Set {
					out = append(out, harden.RemoveFlag(harden.APIServer, "debug-socket-path"))
				}
				return out, nil
			},
			Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
				return []harden.Proof{harden.NoProfiles("apiserver-profiling", harden.APIServer)}
			},
		}},
	},
	{
		ID:    "apiserver-service-account-extend-token-expiration",
		Title: "Tokens of pods expire when they say so",
		Why: harden.Msg("Pods ask for tokens of about one hour, which the kubelet renews. " +
			"While expiration is extended, as it is by default, such a token is really good for a year, and so is a stolen one. " +
			"The extension was made for clients that read their token only once; current ones read it again."),
		Refs: harden.Refs{
			CIS:  []string{"1.2.30"},
			Docs: []string{flagsPage, "https://github.com/kubernetes/enhancements/tree/master/keps/sig-auth/1205-bound-service-account-tokens"},
		},
		Severity:  harden.Medium,
		Component: harden.APIServer, Flags: []string{extendFlag},
		Needs:   needs,
		Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.APIServer).Flag(extendFlag)
			if flagIs(flag, false, true) {
				return harden.Passed(harden.Msg("tokens are not extended"), flag.Evidence(extendFlag))
			}
			return harden.Failed(harden.Msg("tokens that pods ask for an hour are good for a year"), flag.Evidence(extendFlag))
		},
		Remedies: []harden.Remedy{{
			ID:     "off",
			Title:  harden.Msg("Do not extend the tokens of service accounts"),
			Impact: harden.Msg("The API server of this node restarts once. From then on new tokens of pods are refused after about an hour, unless the pod reads the renewed one."),
			Breaks: []harden.Message{
				harden.Msg("Workloads that read their token only at their start are refused with 401 Unauthorized about an hour after their next start. Old client libraries do so; restarting the pod helps for another hour only."),
				harden.Msg("Tokens that were issued before keep their long life until they expire."),
			},
			Risk:          harden.RiskWorkloads,
			Preconditions: staleTokens,
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.SetFlag(harden.APIServer, extendFlag, "false")}, nil
			},
			Proofs: func(*harden.Facts, harden.Values) []harden.Proof {
				return []harden.Proof{{Control: "apiserver-service-account-extend-token-expiration", Kind: harden.ProofTokenLife, Path: "for a pod"}}
			},
		}},
	},
	{
		ID:    "apiserver-token-auth-file",
		Title: "No static token file",
		Why: harden.Msg("A token file holds passwords in plain text that never expire, and changing one needs a restart of the API server. " +
			"Client certificates, OpenID Connect and service account tokens expire and can be told apart. " +
			"Everybody who can read the file is everybody in it."),
		Refs: harden.Refs{
			CIS:  []string{"1.2.2"},
			STIG: []string{"V-245543"},
			NSA:  []string{nsaAccess},
			Docs: []string{"https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file"},
		},
		Severity:  harden.High,
		Component: harden.APIServer, Flags: []string{tokenFileFlag},
		Needs:   needs,
		Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.APIServer).Flag(tokenFileFlag)
			if !flag.Set || flag.Last() == "" {
				return harden.Passed(harden.Msg("no token file is in use"), flag.Evidence(tokenFileFlag))
			}
			return harden.Failed(harden.Msg("the tokens in %s let people in, and never expire", flag.Last()), flag.Evidence(tokenFileFlag))
		},
		Remedies: []harden.Remedy{{
			ID:     "remove",
			Title:  harden.Msg("Stop accepting the tokens of the file"),
			Impact: harden.Msg("The API server of this node restarts once, and everybody who uses a token of the file is locked out of it."),
			Breaks: []harden.Message{
				harden.Msg("Whoever uses one of the tokens gets 401 Unauthorized: give them certificates or OpenID Connect first. The names are in the second column of the file; the file itself is left where it is."),
				harden.Msg("Components set up long ago may use such a token: look for 401 in the logs of kubelets, controllers and add-ons."),
			},
			Risk:          harden.RiskLockOut,
			Preconditions: tokenUsers,
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.RemoveFlag(harden.APIServer, tokenFileFlag)}, nil
			},
			Proofs: oldTokenProof,
		}},
	},
}

const (
	extendFlag    = "service-account-extend-token-expiration"
	tokenFileFlag = "token-auth-file"
)

func assessProfiling(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag, socket := c.Flag("profiling"), c.Flag("debug-socket-path")
	switch {
	case !flagIs(flag, false, true):
		return harden.Failed(harden.Msg("profiles are served under /debug/pprof"), flag.Evidence("profiling"))
	case socket.Set && socket.Last() != "":
		return harden.Failed(harden.Msg("profiles are served on a socket, without authentication"), flag.Evidence("profiling"), socket.Evidence("debug-socket-path"))
	}
	return harden.Passed(harden.Msg("profiling is off"), flag.Evidence("profiling"))
}

// tokenWatch is how long no stale token must have been seen.
const tokenWatch = 24 * time.Hour

func staleTokens(f *harden.Facts, _ harden.Values) []harden.Precondition {
	pre := harden.Precondition{
		ID:    "no-stale-tokens",
		Title: harden.Msg("no client has used a token beyond its hour for a day"),
		State: harden.PreconditionUnknown,
	}
	c := f.Component(harden.APIServer)
	switch {
	case f.Cluster == nil || f.Cluster.StaleTokens == nil:
		pre.Message = harden.Msg("the API server's metric serviceaccount_stale_tokens_total was not read")
		if why, missing := f.Missing[harden.NeedTokens]; missing {
			pre.Message = harden.Msg("the API server's metric serviceaccount_stale_tokens_total was not read: %s", why)
		}
		return []harden.Precondition{pre}
	case *f.Cluster.StaleTokens > 0:
		pre.State = harden.Unmet
		pre.Message = harden.Msg("%.0f requests came with such a token since the API server started; the audit annotation authentication.k8s.io/stale-token names who", *f.Cluster.StaleTokens)
	case c.Process == nil || f.CollectedAt.Sub(c.Process.Started) < tokenWatch:
		pre.Message = harden.Msg("none was seen, but the API server has not been counting for a day yet")
	default:
		pre.State = harden.Met
		pre.Message = harden.Msg("none was seen since the API server of this node started")
	}
	pre.Evidence = []harden.Evidence{{Source: "API server metrics", Value: harden.Msg("serviceaccount_stale_tokens_total %.0f", *f.Cluster.StaleTokens).String()}}
	return []harden.Precondition{pre}
}

// oldTokenProof tries a token of the file, where that can be read on the host.
func oldTokenProof(f *harden.Facts, _ harden.Values) []harden.Proof {
	c := f.Component(harden.APIServer)
	file, ok := c.HostPath(c.Flag(tokenFileFlag).Last())
	if !ok {
		return nil
	}
	return []harden.Proof{{Control: "apiserver-token-auth-file", Kind: harden.ProofOldToken, Path: file, Request: "/api", Status: 401}}
}

func tokenUsers(f *harden.Facts, _ harden.Values) []harden.Precondition {
	flag := f.Component(harden.APIServer).Flag(tokenFileFlag)
	return []harden.Precondition{{
		ID:       "token-users-moved",
		Title:    harden.Msg("everybody in the token file has another way in"),
		State:    harden.PreconditionUnknown,
		Message:  harden.Msg("who uses the tokens cannot be seen from here"),
		Evidence: []harden.Evidence{flag.Evidence(tokenFileFlag)},
	}}
}
