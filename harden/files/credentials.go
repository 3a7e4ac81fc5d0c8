package files

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Groups that may do everything: the first in spite of RBAC, the second by a binding of kubeadm's (from 1.29 on).
const (
	masters = "system:masters"
	admins  = "kubeadm:cluster-admins"
)

const superAdminConf = kubernetesDir + "/super-admin.conf"

var superAdmin = harden.Control{
	ID: "files-super-admin", Title: "The credentials that no RBAC rule binds are kept off the node", Severity: harden.High,
	Why: harden.Msg("A certificate in the group system:masters may do everything, whatever RBAC says, until it expires. " +
		"kubeadm leaves one in super-admin.conf on the first control-plane node (in admin.conf before 1.29). " +
		"It is meant for the day when RBAC is broken, and belongs in a safe rather than on a machine that is online."),
	Refs:    harden.Refs{CIS: []string{"5.1.7"}, NSA: []string{nsaAuth}, Docs: []string{docsGood}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: kubernetesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		var seen []harden.Evidence
		for _, k := range f.Kubeconfigs {
			if k.Path != superAdminConf && k.Path != kubernetesDir+"/admin.conf" {
				continue
			}
			for _, u := range k.Users {
				if slices.Contains(u.Organizations, masters) {
					seen = append(seen, credential(k, u))
				}
			}
		}
		if len(seen) == 0 {
			return harden.Passed(harden.Msg("no kubeconfig of kubeadm's on this node has a certificate in %s", masters),
				harden.Evidence{Source: kubernetesDir, Value: "admin.conf and super-admin.conf looked at"})
		}
		return harden.NeedsPerson(harden.Msg("%s is on this node: copy it to a safe place offline, then remove it here; kubeadm renews and upgrades without it", seen[0].Source), seen...)
	},
}

// own are the kubeconfigs that kubeadm makes and that belong where they are.
var own = []string{
	kubernetesDir + "/admin.conf", superAdminConf, kubernetesDir + "/kubelet.conf",
	kubernetesDir + "/controller-manager.conf", kubernetesDir + "/scheduler.conf",
}

var adminCredentials = harden.Control{
	ID: "files-admin-credentials", Title: "No copies of an administrator's credentials lie about", Severity: harden.High,
	Why: harden.Msg("At its end, kubeadm init suggests to copy admin.conf to one's home directory. Each such copy is the whole cluster, in a place that is backed up, shared and forgotten, " +
		"and the log cannot tell who used it. People should have credentials of their own, which can be told apart and end."),
	Refs:    harden.Refs{CIS: []string{"5.1.7", "3.1.1"}, NSA: []string{nsaAuth}, Docs: []string{docsGood}},
	Needs:   []harden.Need{harden.NeedCertificates, harden.NeedFiles},
	Applies: kubernetesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		found := copies(f)
		var seen []harden.Evidence
		for _, c := range found {
			seen = append(seen, c.evidence())
		}
		first := func(which func(adminCopy) bool) *adminCopy {
			if i := slices.IndexFunc(found, which); i >= 0 {
				return &found[i]
			}
			return nil
		}
		switch loose, master := first(adminCopy.loose), first(adminCopy.master); {
		case len(found) == 0:
			return harden.Passed(harden.Msg("no copy was found in people's home directories or beside kubeadm's own"),
				harden.Evidence{Source: "/root, /home, " + kubernetesDir, Value: "kubeconfigs looked at"})
		case loose != nil:
			return harden.Failed(harden.Msg("others than its owner can read %s (mode %04o)", loose.stat.Path, loose.stat.Mode), seen...)
		case master != nil:
			return harden.Failed(harden.Msg("%s is in %s, which RBAC cannot bind: remove it, and give its user credentials of their own (kubeadm kubeconfig user)", master.stat.Path, masters), seen...)
		}
		return harden.NeedsPerson(harden.Msg("%d found, for their owners alone: give their users credentials of their own (kubeadm kubeconfig user), then remove them", len(found)), seen...)
	},
	Remedies: []harden.Remedy{{
		ID: "owner-only", Title: harden.Msg("Let only its owner read a copy"), Risk: harden.RiskWorkloads, NodeOnly: true,
		Impact: harden.Msg("Nothing restarts. The copies stay; whoever reads them through a group or as somebody else cannot any more."),
		Breaks: []harden.Message{
			harden.Msg("Scripts and people that use the copy without owning it: kubectl says \"permission denied\"."),
		},
		Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
			p := harden.Precondition{ID: "copy-is-open", Title: harden.Msg("a copy can be read by others"), State: harden.Met}
			if !slices.ContainsFunc(copies(f), adminCopy.loose) {
				p.State, p.Message = harden.Unmet, harden.Msg("all copies are for their owners alone: what is left is to remove them, which is for a person to do")
			}
			return []harden.Precondition{p}
		},
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, c := range copies(f) {
				if c.loose() {
					out = append(out, harden.SetMode(c.stat.Path, c.stat.Mode&private))
				}
			}
			return out, nil
		},
	}},
}

func kubernetesHere(f *harden.Facts) (bool, harden.Message) {
	_, ok := f.Stat(kubernetesDir)
	return ok, harden.Msg("there is no %s on this node", kubernetesDir)
}

// adminCopy is a kubeconfig that is not where kubeadm put it and may do everything.
type adminCopy struct {
	stat harden.StatFact
	file harden.KubeconfigFact
	user harden.CredentialFact
}

func copies(f *harden.Facts) []adminCopy {
	var out []adminCopy
	for _, k := range f.Kubeconfigs {
		s, ok := f.Stat(k.Path)
		if !ok || slices.Contains(own, k.Path) {
			continue
		}
		for _, u := range k.Users {
			if slices.Contains(u.Organizations, masters) || slices.Contains(u.Organizations, admins) {
				out = append(out, adminCopy{s, k, u})
				break
			}
		}
	}
	return out
}

func (c adminCopy) loose() bool { return c.stat.Mode&0o077 != 0 }

func (c adminCopy) master() bool { return slices.Contains(c.user.Organizations, masters) }

func (c adminCopy) evidence() harden.Evidence {
	e := credential(c.file, c.user)
	e.Value += "; " + c.stat.Evidence().Value
	return e
}

func credential(k harden.KubeconfigFact, u harden.CredentialFact) harden.Evidence {
	return harden.Evidence{Source: k.Path, Value: "a certificate for " + u.CommonName + " in " + strings.Join(u.Organizations, ", ")}
}
