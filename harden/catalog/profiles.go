package catalog

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/suites"
)

// cis is the profile of one level of a benchmark; the second contains the first.
func cis(id string, b harden.Benchmark, level int, refused ...harden.Refusal) harden.Profile {
	return harden.Profile{
		ID: id, Benchmark: b,
		Takes: func(r harden.Refs) bool {
			return slices.ContainsFunc(r.AskedBy(b), func(asked harden.Recommendation) bool { return asked.Level <= level })
		},
		// The benchmark names the kubelet's two ChaCha20 suites as Go no longer does.
		Choices: []harden.Choice{onlyAES("kubelet-tls-cipher-suites")},
		Refused: append([]harden.Refusal{anonymous("1.2.1"), etcdOwner, hostnameOverride}, refused...),
	}
}

// onlyAES leaves ChaCha20 out of the suites that a control's remedy offers.
func onlyAES(control string) harden.Choice {
	return harden.Choice{Control: control, Remedy: "strong-suites", Options: harden.Values{"suites": strings.Join(suites.AES, ",")}}
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

var publicCertificates = harden.Refusal{
	Asks: "1.1.20 and 4.1.7 (certificates are 0600)", Control: "files-pki-modes",
	Reason: harden.Msg("certificates are public, and programs that read them without being root would stop; newer benchmarks ask for 0644, as the control does"),
}

var kubeletAddresses = harden.Refusal{
	Asks: "4.2.15 (IPAddressDeny=any on the kubelet's unit)", Control: "ports-kubelet",
	Reason: harden.Msg("the node is cut off unless IPAddressAllow names everything that it needs, and newer benchmarks do not ask for it"),
}

// Profiles are the recommendations that can be followed as a whole: the CIS Kubernetes Benchmarks 1.10 to 1.12, the DISA Kubernetes STIG,
// the NSA/CISA Kubernetes Hardening Guide 1.2, and the document that this program grew from.
func Profiles() []harden.Profile {
	return []harden.Profile{
		cis("cis-l1", "1.12", 1),
		cis("cis-l2", "1.12", 2),
		cis("cis-1.11-l1", "1.11", 1),
		cis("cis-1.11-l2", "1.11", 2, kubeletAddresses),
		cis("cis-1.10-l1", "1.10", 1, publicCertificates),
		cis("cis-1.10-l2", "1.10", 2, publicCertificates),
		// V-242418 lists the suites of FIPS 140.
		{ID: "stig", Takes: func(r harden.Refs) bool { return len(r.STIG) > 0 }, Choices: []harden.Choice{onlyAES("apiserver-tls-cipher-suites")}, Refused: []harden.Refusal{
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
			{
				Asks:   "V-242396 (a kubectl whose cp writes only where it should: 1.12.9 or newer)",
				Reason: harden.Msg("every kubectl of a supported release is one; those on other machines are not seen from here (kubectl version --client)"),
			},
			{
				Asks:   "V-242442 (old components are removed after an update)",
				Reason: harden.Msg("which pods are left of an older release a person must say: look at the images that \"kubectl get pods -A -o yaml\" shows"),
			},
			{
				Asks:   "V-242443 (the updates that were ordered)",
				Reason: harden.Msg("nothing on a node knows what was ordered: compare the versions that \"kubectl get nodes -o wide\" shows"),
			},
			{
				Asks:   "V-242383 and V-242417 (users have namespaces of their own, apart from the cluster's)",
				Reason: harden.Msg("whose an object is cannot be seen: look that users have nothing in default, kube-system, kube-public and kube-node-lease"),
			},
			{
				Asks:   "V-242395 (no dashboard)",
				Reason: harden.Msg("workloads are not taken away here: \"kubectl get pods -A -l k8s-app=kubernetes-dashboard\" must find none"),
			},
			{
				Asks:   "V-242415 (no Secrets in environment variables)",
				Reason: harden.Msg("workloads are their owners' to change: have Secrets mounted as files where \"kubectl get pods -A -o yaml\" shows secretKeyRef or secretRef"),
			},
			{
				Asks:   "V-274883 (what is sensitive lies in Secrets, or in a store outside)",
				Reason: harden.Msg("what is sensitive only its owner knows: look at ConfigMaps, and at the values in environment variables"),
			},
			{
				Asks:   "V-274884 (Secrets are for those who need them)",
				Reason: harden.Msg("who needs them a person must say: look which roles let Secrets be read, and whom they are bound to"),
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
