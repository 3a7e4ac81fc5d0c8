// Package controllermanager holds the controls of the controller manager, as data.
package controllermanager

import (
	"slices"
	"strconv"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
	"kubectl-harden.io/kubectl-harden/harden/staticpod"
)

// Area is the controller manager's controls in walking order.
func Area() harden.Area {
	return harden.Area{
		ID:    "controllermanager",
		Title: "Controller manager",
		About: harden.Msg("The controller manager runs the loops that make the cluster what its objects say, and signs the tokens and certificates that others trust. These controls look at the flags that it runs with."),
		Controls: slices.Concat(
			pod.Manifest(),
			flagControls,
			[]harden.Control{pod.Bind(10257, harden.Refs{CIS: []string{"1.3.7"}, STIG: []string{"V-242385"}, Docs: []string{flagsPage}})},
			pod.TLS(
				harden.Refs{STIG: []string{"V-242376"}, NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{flagsPage}},
				harden.Refs{NSA: []string{"Use of TLS 1.2 or later"}, Docs: []string{flagsPage}},
			),
			[]harden.Control{pod.Alpha(harden.Refs{STIG: []string{"V-242400"}, Docs: []string{gatesPage}})},
			pod.Removed(harden.Refs{Docs: []string{flagsPage}}, harden.Refs{}),
		),
	}
}

var pod = staticpod.Pod{Component: harden.ControllerManager, Area: "controllermanager", Name: "the controller manager"}

const (
	flagsPage = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/"

	gatesPage = "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/"

	gcFlag      = "terminated-pod-gc-threshold"
	accountFlag = "use-service-account-credentials"
	keyFlag     = "service-account-private-key-file"
	rootCAFlag  = "root-ca-file"
	gatesFlag   = "feature-gates"
	rotateGate  = gates.RotateKubeletServerCertificate

	// What kubeadm writes.
	keyFile    = "/etc/kubernetes/pki/sa.key"
	rootCAFile = "/etc/kubernetes/pki/ca.crt"
)

var (
	needs   = []harden.Need{harden.NeedControllerManager}
	applies = harden.RunsHere(harden.ControllerManager)
)

// flagIs says whether a boolean flag is in force as wanted; byDefault is what counts when it is not set.
func flagIs(f harden.FlagFact, want, byDefault bool) bool {
	if !f.Set {
		return byDefault == want
	}
	got, err := strconv.ParseBool(f.Last())
	return err == nil && got == want
}
