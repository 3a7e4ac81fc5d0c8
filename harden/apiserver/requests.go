package apiserver

import (
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
)

const (
	timeoutFlag = "request-timeout"
	lookupFlag  = "service-account-lookup"
	runtimeFlag = "runtime-config"
	gatesFlag   = "feature-gates"
)

// requestControls are about how long requests may take, whose tokens count and which APIs are served.
var requestControls = []harden.Control{
	{
		ID:    "apiserver-request-timeout",
		Title: "Requests end after a while",
		Why: harden.Msg("A request that is never ended holds memory and a place in the queue, and slow clients can use up both. " +
			"Without the flag requests end after 60 seconds, watches and shells excepted. " +
			"With 0 every request is over before it begins; much longer times help whoever wants to exhaust the server."),
		Refs:     harden.Refs{CIS: []string{"1.2.20"}, STIG: []string{"V-242438"}, Docs: []string{flagsPage}},
		Severity: harden.Medium, Component: harden.APIServer, Flags: []string{timeoutFlag},
		Needs: needs, Applies: applies, Assess: assessTimeout,
		Remedies: []harden.Remedy{{
			ID: "default", Title: harden.Msg("Take the flag away, so that the default of 60 seconds counts"), Risk: harden.RiskNode, Impact: restart,
			Breaks: []harden.Message{harden.Msg("Requests that take longer than 60 seconds fail with 504: very large lists, slow webhooks behind them.")},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.RemoveFlag(harden.APIServer, timeoutFlag)}, nil
			},
		}},
	},
	{
		ID:    "apiserver-service-account-lookup",
		Title: "Tokens of deleted service accounts are refused",
		Why: harden.Msg("The API server looks up whether the service account and the Secret of a token still exist. " +
			"With the lookup turned off a token stays good after both were deleted, and nobody can take it back."),
		Refs:     harden.Refs{CIS: []string{"1.2.21"}, NSA: []string{nsaAccess}, Docs: []string{flagsPage}},
		Severity: harden.High, Component: harden.APIServer, Flags: []string{lookupFlag},
		Needs: needs, Applies: applies,
		Assess: func(f *harden.Facts) harden.Verdict {
			flag := f.Component(harden.APIServer).Flag(lookupFlag)
			if flagIs(flag, true, true) {
				return harden.Passed(harden.Msg("tokens are looked up"), flag.Evidence(lookupFlag))
			}
			return harden.Failed(harden.Msg("tokens of deleted service accounts are accepted"), flag.Evidence(lookupFlag))
		},
		Remedies: []harden.Remedy{{
			ID: "default", Title: harden.Msg("Take the flag away, so that tokens are looked up"), Risk: harden.RiskWorkloads, Impact: restart,
			Breaks: []harden.Message{harden.Msg("Whoever uses a token whose service account or Secret was deleted gets 401 Unauthorized.")},
			Intents: func(*harden.Facts, harden.Values) ([]harden.Intent, error) {
				return []harden.Intent{harden.RemoveFlag(harden.APIServer, lookupFlag)}, nil
			},
		}},
	},
	{
		ID:    "apiserver-alpha-apis",
		Title: "Alpha features and APIs are not turned on wholesale",
		Why: harden.Msg("Alpha features are untested, may be removed at any release, and may have holes that nobody looked for. " +
			"AllAlpha and api/alpha turn on all of them, also those that a later release brings. " +
			"One that is needed can be turned on by its own name."),
		Refs:     harden.Refs{STIG: []string{"V-242400"}, Docs: []string{flagsPage, "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/"}},
		Severity: harden.Medium, Component: harden.APIServer, Flags: []string{gatesFlag, runtimeFlag},
		Needs: needs, Applies: applies, Assess: assessAlpha,
		Remedies: []harden.Remedy{{
			ID: "off", Title: harden.Msg("Take AllAlpha, api/alpha and api/all away"), Risk: harden.RiskWorkloads, Impact: restart,
			Breaks: []harden.Message{
				harden.Msg("Workloads and controllers that use an alpha API get 404 for it; objects stored in an alpha version only cannot be reached until it is on again."),
			},
			Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
				c := f.Component(harden.APIServer)
				var out []harden.Intent
				for _, name := range []string{gatesFlag, runtimeFlag} {
					flag := c.FileFlag(name)
					drop := alpha(flag)
					switch {
					case len(drop) == 0:
					case len(drop) == len(flag.List()):
						out = append(out, harden.RemoveFlag(harden.APIServer, name))
					default:
						out = append(out, harden.MergeList(harden.APIServer, name, nil, drop))
					}
				}
				return out, nil
			},
		}},
	},
}

// How long a request may take without a person having to look at it. Webhooks alone may take 10 seconds, unless they are told otherwise,
// and below a second even lists of small clusters fail.
const (
	longest  = 5 * time.Minute
	shortest = 10 * time.Second
	useless  = time.Second
)

func assessTimeout(f *harden.Facts) harden.Verdict {
	flag := f.Component(harden.APIServer).Flag(timeoutFlag)
	seen := flag.Evidence(timeoutFlag)
	if !flag.Set {
		return harden.Passed(harden.Msg("requests end after 60 seconds, the default"), seen)
	}
	d, err := time.ParseDuration(flag.Last())
	switch {
	case err != nil || d < 0:
		return harden.Failed(harden.Msg("%q is no duration; the API server does not start with it", flag.Last()), seen)
	case d == 0:
		return harden.Failed(harden.Msg("requests are over before they begin"), seen)
	case d < useless:
		return harden.Failed(harden.Msg("requests are ended after %s, before most of them can be answered", d), seen)
	case d < shortest:
		return harden.NeedsPerson(harden.Msg("requests are ended after %s: lists and requests that wait for a webhook may need longer; decide whether that is meant", d), seen)
	case d > longest:
		return harden.NeedsPerson(harden.Msg("requests may take %s; decide whether that is needed", d), seen)
	}
	return harden.Passed(harden.Msg("requests end after %s", d), seen)
}

// alpha are the entries of a list of switches that turn on everything that is alpha.
func alpha(flag harden.FlagFact) []string {
	var out []string
	for _, entry := range flag.List() {
		name, value := gates.Entry(entry)
		if name != gates.AllAlpha && name != "api/alpha" && name != "api/all" {
			continue
		}
		if !strings.Contains(entry, "=") || flagIs(harden.FlagFact{Set: true, Values: []string{value}}, true, false) {
			out = append(out, entry)
		}
	}
	return out
}

func assessAlpha(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	gates, served := c.Flag(gatesFlag), c.Flag(runtimeFlag)
	seen := []harden.Evidence{gates.Evidence(gatesFlag), served.Evidence(runtimeFlag)}
	if found := append(alpha(gates), alpha(served)...); len(found) > 0 {
		return harden.Failed(harden.Msg("%s turns on everything that is alpha", found[0]), seen...)
	}
	return harden.Passed(harden.Msg("nothing turns on everything that is alpha"), seen...)
}
