package apiserver

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// authenticated is the group of everybody who has proven who they are.
const authenticated = "system:authenticated"

// credentials are the kubeconfigs of those without whom a control plane stands still, and what each of them asks for all the time.
var credentials = []struct{ file, access string }{
	{"/etc/kubernetes/admin.conf", "list secrets"},
	{"/etc/kubernetes/controller-manager.conf", "create serviceaccounts/token"},
	{"/etc/kubernetes/scheduler.conf", "create pods/binding"},
	{"/etc/kubernetes/kubelet.conf", "patch nodes/status"}, // its own node's
}

// addons are kubeadm's, by what runs them; their service accounts have the same names.
var addons = []struct{ owner, access string }{
	{"DaemonSet/kube-proxy", "watch endpointslices.discovery.k8s.io"},
	{"Deployment/coredns", "list services"},
}

// grantProofs want those to be allowed what they need who can be told from the node's kubeconfigs and the cluster's workloads. What
// an API server with AlwaysAllow says of them is no proof; the rehearsal's and the changed one's are asked.
func grantProofs(f *harden.Facts) []harden.Proof {
	var out []harden.Proof
	want := func(user, access string, groups ...string) {
		out = append(out, harden.Proof{
			Control: "apiserver-authorization-mode", Kind: harden.ProofGranted, Path: user, Request: access, Want: append(groups, authenticated),
		})
	}
	for _, c := range credentials {
		user, ok := certified(f, c.file)
		if !ok {
			continue
		}
		if node, isNode := strings.CutPrefix(user.CommonName, "system:node:"); isNode {
			c.access += " " + node
		}
		want(user.CommonName, c.access, slices.Clone(user.Organizations)...)
	}
	if f.Cluster == nil {
		return out
	}
	for _, a := range addons {
		runs := func(t harden.TemplateFact) bool { return t.Namespace == "kube-system" && t.Owner == a.owner }
		if slices.ContainsFunc(f.Cluster.Templates, runs) {
			_, name, _ := strings.Cut(a.owner, "/")
			want("system:serviceaccount:kube-system:"+name, a.access, "system:serviceaccounts", "system:serviceaccounts:kube-system")
		}
	}
	return out
}

// certified is the first user of a kubeconfig who has a certificate.
func certified(f *harden.Facts, file string) (harden.CredentialFact, bool) {
	for _, k := range f.Kubeconfigs {
		for _, u := range k.Users {
			if k.Path == file && u.CommonName != "" {
				return u, true
			}
		}
	}
	return harden.CredentialFact{}, false
}

// administratorGranted goes by the groups in the administrator's certificate. What roles are bound to is not among the facts.
func administratorGranted(f *harden.Facts) harden.Precondition {
	const masters, admins = "system:masters", "kubeadm:cluster-admins"
	p := harden.Precondition{ID: "administrator-granted", Title: harden.Msg("the administrator keeps every right"), State: harden.PreconditionUnknown}
	user, ok := certified(f, credentials[0].file)
	if !ok {
		p.Message = harden.Msg("who %s lets its holder be is not known", credentials[0].file)
		return p
	}
	p.Evidence = []harden.Evidence{{Source: credentials[0].file, Value: user.CommonName + " in " + strings.Join(user.Organizations, ", ")}}
	switch {
	case slices.Contains(user.Organizations, masters):
		p.State, p.Message = harden.Met, harden.Msg("%s is in %s, which needs no role", user.CommonName, masters)
	case slices.Contains(user.Organizations, admins):
		p.Message = harden.Msg("%s is in %s: the binding of that name grants it, and whether it is there is not known here", user.CommonName, admins)
		p.Hints = []string{"kubectl get clusterrolebinding " + admins}
	default:
		p.Message = harden.Msg("%s is in neither %s nor %s, and which roles it has is not known here", user.CommonName, masters, admins)
	}
	return p
}
