package catalog

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// levelTwo are the recommendations of CIS 1.12 that are of its second level only. Where published mappings disagree, the first
// level is taken: the second contains it.
var levelTwo = []string{
	"1.3.6", "2.7", "3.2.2", "4.2.8",
	"5.2.7", "5.2.9", "5.3.2", "5.4.1", "5.4.2", "5.5.1", "5.6.2", "5.6.3", "5.6.4",
}

func inCIS(level int) func(harden.Refs) bool {
	return func(r harden.Refs) bool {
		return slices.ContainsFunc(r.CIS, func(id string) bool { return level > 1 || !slices.Contains(levelTwo, id) })
	}
}

// anonymous is asked for by CIS and STIG alike, and stops the API server by its own probes.
func anonymous(id string) harden.Refusal {
	return harden.Refusal{
		Asks: id + " (--anonymous-auth=false on the API server)", Control: "apiserver-anonymous-auth",
		Reason: harden.Msg("the kubelet's probes come without credentials, so that the API server would be killed again and again; the control's default remedy closes all but the health endpoints"),
		Here:   func(f *harden.Facts) bool { return f.Component(harden.APIServer) != nil },
	}
}

var etcdOwner = harden.Refusal{
	Asks: "1.1.12 (etcd's data belongs to etcd:etcd)", Control: "files-etcd-data-owners",
	Reason: harden.Msg("kubeadm makes no user etcd and runs etcd as root, whose files these rightly are"),
	Here:   func(f *harden.Facts) bool { return f.Component(harden.Etcd) != nil },
}

var hostnameOverride = harden.Refusal{
	Asks: "the absence of --hostname-override", Control: "kubelet-hostname-override",
	Reason: harden.Msg("without the flag this node would come back under another name, and its certificate would not fit; accept the deviation with a waiver"),
	Here:   func(f *harden.Facts) bool { return f.Kubelet != nil && f.Kubelet.Flag("hostname-override").Set },
}

// Profiles are the recommendations that can be followed as a whole: the CIS Kubernetes Benchmark 1.12, the DISA Kubernetes STIG,
// the NSA/CISA Kubernetes Hardening Guide 1.2, and the document that this program grew from.
func Profiles() []harden.Profile {
	return []harden.Profile{
		{ID: "cis-l1", Takes: inCIS(1), Refused: []harden.Refusal{anonymous("1.2.1"), etcdOwner, hostnameOverride}},
		{ID: "cis-l2", Takes: inCIS(2), Refused: []harden.Refusal{anonymous("1.2.1"), etcdOwner, hostnameOverride}},
		{ID: "stig", Takes: func(r harden.Refs) bool { return len(r.STIG) > 0 }, Refused: []harden.Refusal{
			anonymous("V-242390"), hostnameOverride,
			{
				Asks:   "V-242393 and V-242394 (no sshd on worker nodes)",
				Reason: harden.Msg("it would take away the operator's way in; limit who reaches port 22 instead"),
			},
			{
				Asks: "V-242397 (no static pods)", Control: "kubelet-static-pods",
				Reason: harden.Msg("this node's control plane is made of static pods; the rule is meant for workers"),
				Here:   func(f *harden.Facts) bool { return len(f.Components) > 0 },
			},
			{
				Asks: "V-242403 (RequestResponse for everything)", Control: "audit-policy",
				Reason: harden.Msg("the log would hold every Secret in plain text; the policy of the control records bodies where they do no harm"),
				Here:   func(f *harden.Facts) bool { return f.Component(harden.APIServer) != nil },
			},
		}},
		{ID: "nsa", Takes: func(r harden.Refs) bool { return len(r.NSA) > 0 }},
		{ID: "seed", Takes: func(r harden.Refs) bool { return len(r.Seed) > 0 }, Refused: []harden.Refusal{anonymous("--anonymous-auth=false")}},
	}
}

// Profile finds a profile.
func Profile(id string) (harden.Profile, error) {
	var known []string
	for _, p := range Profiles() {
		if p.ID == strings.TrimSpace(id) {
			return p, nil
		}
		known = append(known, p.ID)
	}
	return harden.Profile{}, &harden.UnknownNameError{What: "profile", Name: id, Known: known}
}
