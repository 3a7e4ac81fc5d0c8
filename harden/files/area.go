// Package files holds the controls of who may read and write the files of a node, as data: groups of files, what their
// modes and owners should be, and credentials that lie where they need not.
package files

import "kubectl-harden.io/kubectl-harden/harden"

// Area is the files of one node, control plane or worker.
func Area() harden.Area {
	var controls []harden.Control
	for _, g := range groups {
		controls = append(controls, g.modeControl(), g.ownerControl())
	}
	controls = append(controls, strayManifests, auditLog, superAdmin, adminCredentials)
	return harden.Area{
		ID:    "files",
		Title: "Files",
		About: harden.Msg("Whoever can write a static pod's manifest runs code as root, and whoever can read a key is whom the key stands for. " +
			"Modes and owners are set file by file: never a whole tree, never through a link, and nothing restarts."),
		Controls: controls,
	}
}

const (
	docsPKI     = "https://kubernetes.io/docs/setup/best-practices/certificates/"
	docsKubeadm = "https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/"
	docsKubelet = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/"
	docsAudit   = "https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/"
	docsGood    = "https://kubernetes.io/docs/concepts/security/rbac-good-practices/"
	seedTLS     = "TLS and certificates"
	seedAudit   = "Audit log"
	nsaAuth     = "Authentication and authorization"
	nsaAudit    = "Audit logging"
)
