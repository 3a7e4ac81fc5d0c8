// Package apiserver holds the controls of the API server's flags, as data.
package apiserver

import (
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/staticpod"
)

// Area is the API server's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "apiserver",
		Title: "API server",
		About: harden.Msg("Every request to the cluster passes the API server. These controls look at the flags that it runs with: who may ask, what they may do, and what is served besides the API."),
		Controls: slices.Concat(
			pod.Manifest(),
			[]harden.Control{authorizationMode, anonymousAuth},
			admissionControls(),
			flagControls,
			requestControls,
			listenControls,
			fileFlagControls(),
			[]harden.Control{kubeletCA, encryption},
			pod.TLS(
				harden.Refs{STIG: []string{"V-242378", "V-242468"}, NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{flagsPage}},
				harden.Refs{
					CIS:  []string{"1.2.29"},
					STIG: []string{"V-242418"}, NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{flagsPage},
				},
			),
			pod.Removed(
				harden.Refs{STIG: []string{"V-242386", "V-242388", "V-245542"}, Docs: []string{flagsPage}},
				harden.Refs{STIG: []string{"V-242398", "V-242399"}},
			),
		),
	}
}

var pod = staticpod.Pod{Component: harden.APIServer, Area: "apiserver", Name: "the API server"}

const (
	seed      = "API server"
	seedTLS   = "TLS and certificates"
	nsaTLS    = "Use of TLS 1.2 or later"
	nsaAccess = "Authentication and authorization"
	flagsPage = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/"
)

var (
	needs   = []harden.Need{harden.NeedAPIServer}
	applies = harden.RunsHere(harden.APIServer)
	restart = pod.Restarts()
)

// flagIs says whether a boolean flag is in force as wanted; byDefault is what counts when it is not set.
func flagIs(f harden.FlagFact, want, byDefault bool) bool {
	if !f.Set {
		return byDefault == want
	}
	got, err := strconv.ParseBool(f.Last())
	return err == nil && got == want
}
