package certificates

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

var apiserverNames = harden.Control{
	ID: "certificates-apiserver-names", Title: "The API server's certificate has the names that it is called by", Severity: harden.Medium,
	Why: harden.Msg("A client that finds another name in the certificate than the one it called refuses, and people then turn the check off (insecure-skip-tls-verify). " +
		"Pods call the API server by its Service, nodes by its address, people by the load balancer's name."),
	Refs:  harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsPKI}},
	Needs: []harden.Need{harden.NeedCertificates, harden.NeedAPIServer},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Component(harden.APIServer) != nil, harden.Msg("this node runs no API server")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		p := flagFile(f, harden.APIServer, "tls-cert-file")
		cert, ok := find(f, p)
		if !ok {
			return harden.NeedsPerson(harden.Msg("the certificate that the API server serves with could not be read"),
				f.Component(harden.APIServer).Flag("tls-cert-file").Evidence("tls-cert-file"))
		}
		seen := []harden.Evidence{{Source: cert.Name(), Value: strings.Join(slices.Concat(cert.DNSNames, cert.Addresses), ", ")}}
		var missing []string
		for _, name := range calledBy(f) {
			if !cert.For(name) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return harden.Failed(harden.Msg("it is called by names that its certificate does not have: %s; add them to apiServer.certSANs in kubeadm-config, move %s and its key away, and run \"kubeadm init phase certs apiserver\" with that configuration",
				strings.Join(missing, ", "), cert.Path), seen...)
		}
		return harden.Passed(harden.Msg("the names of its Service, its address and what kubeadm's kubeconfigs call it are in it"), seen...)
	},
}

// calledBy are the names and addresses that clients of this node's API server use, as far as the node knows them.
func calledBy(f *harden.Facts) []string {
	c := f.Component(harden.APIServer)
	domain := "cluster.local"
	if f.Kubelet != nil {
		if d, ok := f.Kubelet.Field("clusterDomain").Value.(string); ok && d != "" {
			domain = d
		}
	}
	out := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain}
	if c.Flag("advertise-address").Set {
		out = append(out, c.Flag("advertise-address").Last())
	}
	// The Service "kubernetes" has one address, of the first range; kubeadm puts no other into the certificate.
	if ranges := c.Flag("service-cluster-ip-range").List(); len(ranges) > 0 {
		if prefix, err := netip.ParsePrefix(ranges[0]); err == nil {
			out = append(out, prefix.Masked().Addr().Next().String())
		}
	}
	for _, k := range f.Kubeconfigs {
		if path.Dir(k.Path) == "/etc/kubernetes" {
			out = append(out, k.Servers...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// kubeletClient is the certificate that the API server shows to kubelets.
func kubeletClient(f *harden.Facts) (harden.CertificateFact, bool) {
	return find(f, flagFile(f, harden.APIServer, "kubelet-client-certificate"))
}

const admins = "kubeadm:cluster-admins"

var kubeletClientRights = harden.Control{
	ID: "certificates-kubelet-client-rights", Title: "The API server's certificate for kubelets is no administrator's", Severity: harden.Medium,
	Why: harden.Msg("The API server shows this certificate to kubelets, for logs and exec. Up to 1.35 kubeadm made it a member of the administrators' group, so that its key is worth the whole cluster. " +
		"Newer versions give it the one role that it needs, but a renewal keeps what was in the old certificate."),
	Refs:     harden.Refs{CIS: []string{"5.1.1"}, NSA: []string{nsaAuth}, Docs: []string{docsPKI}},
	Versions: harden.Since(36),
	Needs:    []harden.Need{harden.NeedCertificates, harden.NeedAPIServer},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		_, ok := kubeletClient(f)
		return ok, harden.Msg("this node has no certificate of an API server for kubelets")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		c, _ := kubeletClient(f)
		seen := harden.Evidence{Source: c.Name(), Value: fmt.Sprintf("for %s in %s", c.CommonName, group(c))}
		if slices.Contains(c.Organizations, admins) || slices.Contains(c.Organizations, masters) {
			return harden.NeedsPerson(harden.Msg("it is in %s; once \"kubectl get clusterrolebinding kubeadm:apiserver-kubelet-client\" shows the binding that replaces this, move it and its key away, run \"kubeadm init phase certs apiserver-kubelet-client\" (1.36.1 or newer), and restart the API server",
				strings.Join(c.Organizations, ", ")), seen)
		}
		return harden.Passed(harden.Msg("it is in no group of administrators"), seen)
	},
}

func group(c harden.CertificateFact) string {
	if len(c.Organizations) == 0 {
		return "no group"
	}
	return strings.Join(c.Organizations, ", ")
}

const masters = "system:masters"

var mastersGroup = harden.Control{
	ID: "certificates-masters-group", Title: "No certificate in use is above RBAC", Severity: harden.High,
	Why: harden.Msg("The API server lets members of the group system:masters do everything before it asks RBAC. No rule can bind them, and a certificate cannot be taken back. " +
		"Outside of super-admin.conf nothing needs it since 1.29; kubeadm's administrators have a group that a binding gives its rights."),
	Refs:    harden.Refs{CIS: []string{"5.1.7"}, NSA: []string{nsaAuth}, Docs: []string{docsRBAC}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		value := func(c harden.CertificateFact) string { return fmt.Sprintf("for %s in %s", c.CommonName, group(c)) }
		all := some(f, func(c harden.CertificateFact) bool { return slices.Contains(c.Organizations, masters) })
		// etcd knows no groups: what its CA signed is no user of the API.
		foreign := slices.DeleteFunc(slices.Clone(all), func(c harden.CertificateFact) bool {
			return c.Path == "/etc/kubernetes/super-admin.conf" || c.SignedBy != "" && c.SignedBy == flagFile(f, harden.Etcd, "trusted-ca-file")
		})
		switch {
		case len(foreign) > 0:
			return harden.Failed(harden.Msg("in %s: %s; have them issued for a group that RBAC binds, such as %s", masters, names(foreign), admins), evidence(foreign, value)...)
		case len(all) == 0:
			return harden.Passed(harden.Msg("none of %d is in %s", len(f.Certificates), masters),
				harden.Evidence{Source: "certificates on this node", Value: fmt.Sprintf("%d looked at", len(f.Certificates))})
		}
		return harden.Passed(harden.Msg("only %s is in %s", names(all), masters), evidence(all, value)...)
	},
}
