package apiserver

import (
	"errors"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

var authorizationMode = harden.Control{
	ID:    "apiserver-authorization-mode",
	Title: "Authorization is by Node and RBAC, and never AlwaysAllow",
	Why: harden.Msg("AlwaysAllow, which is also what counts when the flag is missing, lets every authenticated request do everything. " +
		"RBAC gives people and workloads only what a role grants them. " +
		"The Node authorizer limits each kubelet to the pods, secrets and volumes of its own node, so that one broken node does not open the rest."),
	Refs: harden.Refs{
		CIS:  []string{"1.2.6", "1.2.7", "1.2.8"},
		STIG: []string{"V-242382"},
		NSA:  []string{nsaAccess},
		Seed: []string{seed},
		Docs: []string{"https://kubernetes.io/docs/reference/access-authn-authz/authorization/"},
	},
	Severity:  harden.Critical,
	Component: harden.APIServer, Flags: []string{"authorization-mode", "authorization-config"},
	Needs:   needs,
	Applies: applies,
	Assess:  assessAuthorization,
	Remedies: []harden.Remedy{{
		ID:     "node-and-rbac",
		Title:  harden.Msg("Add Node and RBAC to the authorization modes, and take AlwaysAllow away"),
		Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Where AlwaysAllow was in force, everybody without a matching role binding is refused at once: people, controllers, network plugins. It shows as 403 Forbidden in their logs."),
			harden.Msg("The API server refuses to start with a mode that it does not know, or one that is there twice; the plan's flags are checked before."),
		},
		Risk:          harden.RiskLockOut,
		Preconditions: authorizationPreconditions,
		Intents:       authorizationIntents,
		Proofs: func(f *harden.Facts, _ harden.Values) []harden.Proof {
			// AlwaysAllow answers the administrator too: what tells them apart is who is refused.
			return append([]harden.Proof{
				{Control: "apiserver-authorization-mode", Kind: harden.ProofAdmin, Path: "/api/v1/namespaces", Status: 200},
				{Control: "apiserver-authorization-mode", Kind: harden.ProofRefused, Path: "list secrets"},
			}, grantProofs(f)...)
		},
	}},
}

const alwaysAllow = "AlwaysAllow"

func assessAuthorization(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	if file := c.Flag("authorization-config"); file.Set {
		return assessAuthorizationConfig(f, file)
	}
	flag := c.Flag("authorization-mode")
	if !flag.Set {
		return harden.Failed(harden.Msg("--authorization-mode is not set, which means AlwaysAllow"), flag.Evidence("authorization-mode"))
	}
	return judgeModes(flag.List(), flag.Evidence("authorization-mode"))
}

func judgeModes(modes []string, seen harden.Evidence) harden.Verdict {
	var missing []string
	for _, m := range []string{"Node", "RBAC"} {
		if !slices.Contains(modes, m) {
			missing = append(missing, m)
		}
	}
	switch {
	case slices.Contains(modes, alwaysAllow):
		return harden.Failed(harden.Msg("AlwaysAllow is among the authorization modes: every request is granted"), seen)
	case len(missing) > 0:
		return harden.Failed(harden.Msg("%s is missing from the authorization modes", strings.Join(missing, " and ")), seen)
	}
	return harden.Passed(harden.Msg("authorization is by %s", strings.Join(modes, ", ")), seen)
}

// authorizationConfig is what counts here of an AuthorizationConfiguration.
type authorizationConfig struct {
	Kind        string `json:"kind"`
	Authorizers []struct {
		Type string `json:"type"`
	} `json:"authorizers"`
}

func assessAuthorizationConfig(f *harden.Facts, flag harden.FlagFact) harden.Verdict {
	seen := flag.Evidence("authorization-config")
	data, v, ok := configFile(f, flag, seen)
	if !ok {
		return v
	}
	var config authorizationConfig
	if err := yaml.Unmarshal(data.State.Data, &config); err != nil || config.Kind != "AuthorizationConfiguration" {
		return harden.NeedsPerson(harden.Msg("%s is not an AuthorizationConfiguration that can be read here; look at its authorizers", data.Path), seen)
	}
	var types []string
	for _, a := range config.Authorizers {
		types = append(types, a.Type)
	}
	return judgeModes(types, harden.Evidence{Source: data.Path, Value: "authorizers: " + strings.Join(types, ", ")})
}

// configFile finds the file that a flag names. When it cannot be judged, the verdict says why.
func configFile(f *harden.Facts, flag harden.FlagFact, seen harden.Evidence) (harden.Referred, harden.Verdict, bool) {
	file := f.Referred(harden.APIServer, flag.Last())
	switch {
	case !file.Mounted:
		return file, harden.Failed(harden.Msg("no mount shows %s to the API server, which needs it to start", flag.Last()), seen), false
	case !file.Unread.IsZero():
		return file, harden.NeedsPerson(harden.Msg("%s could not be read: %s", file.Path, file.Unread), seen), false
	case !file.Known:
		return file, harden.NeedsPerson(harden.Msg("what %s says is not known here; look at it", file.Path), seen), false
	case !file.State.Exists:
		return file, harden.Failed(harden.Msg("%s does not exist, and the API server needs it to start", file.Path), seen), false
	}
	return file, harden.Verdict{}, true
}

func authorizationPreconditions(f *harden.Facts, _ harden.Values) []harden.Precondition {
	flag := f.Component(harden.APIServer).Flag("authorization-mode")
	pre := harden.Precondition{
		ID:       "grants-exist",
		Title:    harden.Msg("nobody depends on AlwaysAllow"),
		State:    harden.Met,
		Message:  harden.Msg("AlwaysAllow is not in force, so nothing is taken away"),
		Evidence: []harden.Evidence{flag.Evidence("authorization-mode")},
	}
	if !flag.Set || flag.Has(alwaysAllow) {
		pre.State = harden.PreconditionUnknown
		pre.Message = harden.Msg("whether people, controllers and add-ons have the role bindings that they need cannot be seen while everything is allowed; " +
			"of the administrator, the control plane, this node and kubeadm's add-ons a second API server with the planned modes is asked, before the live one restarts")
		return []harden.Precondition{pre, administratorGranted(f)}
	}
	return []harden.Precondition{pre}
}

func authorizationIntents(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
	if file := f.Component(harden.APIServer).Flag("authorization-config"); file.Set {
		return nil, errors.New("authorization is configured in " + file.Last() + "; give it authorizers of type Node and RBAC, and none of type AlwaysAllow, by hand")
	}
	return []harden.Intent{harden.MergeList(harden.APIServer, "authorization-mode", []string{"Node", "RBAC"}, []string{alwaysAllow})}, nil
}
