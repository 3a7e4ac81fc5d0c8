// Package catalog is the list of areas, in walking order.
package catalog

import (
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apiserver"
	"kubectl-harden.io/kubectl-harden/harden/audit"
	"kubectl-harden.io/kubectl-harden/harden/certificates"
	"kubectl-harden.io/kubectl-harden/harden/controllermanager"
	"kubectl-harden.io/kubectl-harden/harden/etcd"
	"kubectl-harden.io/kubectl-harden/harden/files"
	"kubectl-harden.io/kubectl-harden/harden/kubelet"
	"kubectl-harden.io/kubectl-harden/harden/networkpolicy"
	"kubectl-harden.io/kubectl-harden/harden/ports"
	"kubectl-harden.io/kubectl-harden/harden/runtime"
	"kubectl-harden.io/kubectl-harden/harden/scheduler"
	"kubectl-harden.io/kubectl-harden/harden/upgrade"
)

// Areas are all areas, in the order in which an operator walks through them.
func Areas() []harden.Area {
	return []harden.Area{
		apiserver.Area(),
		audit.Area(),
		controllermanager.Area(),
		scheduler.Area(),
		etcd.Area(),
		kubelet.Area(),
		files.Area(),
		certificates.Area(),
		ports.Area(),
		runtime.Area(),
		networkpolicy.Area(),
		upgrade.Area(),
	}
}
