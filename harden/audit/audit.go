// Package audit holds the controls of the API server's audit log, as data: one change that several controls ask for.
package audit

import (
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Area is the audit log's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "audit",
		Title: "Audit log",
		About: harden.Msg("The audit log says who asked the API server for what, and when. The policy, the log file, its rotation and the mounts that both need are one change: each control here brings along what it needs of the others."),
		Controls: slices.Concat(
			[]harden.Control{policyControl, pathControl},
			limitControls(),
			backendControls,
		),
	}
}

const (
	// PolicyFile is where the audit policy goes when there is none yet.
	PolicyFile = "/etc/kubernetes/policies/audit-policy.yaml"
	// LogFile is where the log goes unless another path is set.
	LogFile = "/var/log/kubernetes/audit/audit.log"

	policyFlag = "audit-policy-file"
	pathFlag   = "audit-log-path"

	stdout = "-" // as a path

	seed     = "Audit log"
	nsaTopic = "Audit Logging and Threat Detection"
	docsPage = "https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/"
)

var (
	needs   = []harden.Need{harden.NeedAPIServer}
	applies = harden.RunsHere(harden.APIServer)
)
