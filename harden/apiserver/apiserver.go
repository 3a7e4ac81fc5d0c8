// Package apiserver holds the controls of the API server's flags, as data.
package apiserver

import (
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Area is the API server's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "apiserver",
		Title: "API server",
		About: harden.Msg("Every request to the cluster passes the API server. These controls look at the flags that it runs with: who may ask, what they may do, and what is served besides the API."),
		Controls: slices.Concat(
			manifestControls,
			[]harden.Control{authorizationMode, anonymousAuth},
			admissionControls(),
			flagControls,
		),
	}
}

const (
	seed      = "API server"
	nsaAccess = "Authentication and authorization"
	flagsPage = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/"
)

var (
	needs   = []harden.Need{harden.NeedAPIServer}
	applies = harden.RunsHere(harden.APIServer)
	restart = harden.Msg("The API server of this node restarts once; with a single control-plane node the API is away for about a minute.")
)

// flagIs says whether a boolean flag is in force as wanted; byDefault is what counts when it is not set.
func flagIs(f harden.FlagFact, want, byDefault bool) bool {
	if !f.Set {
		return byDefault == want
	}
	got, err := strconv.ParseBool(f.Last())
	return err == nil && got == want
}
