// Package certificates holds the controls of the certificates on a node, as data: how long they are good, how strong they
// are, whom they speak for. Keys are made by kubeadm, not here.
package certificates

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Area is the certificates of one node, control plane or worker.
func Area() harden.Area {
	return harden.Area{
		ID:    "certificates",
		Title: "Certificates",
		About: harden.Msg("Every component of the cluster proves with a certificate who it is. They end after a year, and what has ended stops the cluster. " +
			"New ones are made by kubeadm, and the components that read them at their start are restarted one by one."),
		Controls: []harden.Control{expiry, etcdExpiry, inUse, keyStrength, leafNotCA, keysMatch, apiserverNames, etcdCA, kubeletClientRights, mastersGroup},
	}
}

const (
	docsPKI    = "https://kubernetes.io/docs/setup/best-practices/certificates/"
	docsCerts  = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/"
	docsRBAC   = "https://kubernetes.io/docs/concepts/security/rbac-good-practices/"
	seedTLS    = "TLS and certificates"
	nsaTLS     = "Use of TLS 1.2 or later"
	nsaAuth    = "Authentication and authorization"
	pkiDir     = "/etc/kubernetes/pki"
	kubeletPKI = "/var/lib/kubelet/pki"
)

// certificatesHere is every control's Applies that needs any.
func certificatesHere(f *harden.Facts) (bool, harden.Message) {
	return len(f.Certificates) > 0, harden.Msg("no certificate was found on this node")
}

// some are the certificates that a rule takes.
func some(f *harden.Facts, take func(harden.CertificateFact) bool) []harden.CertificateFact {
	return slices.DeleteFunc(slices.Clone(f.Certificates), func(c harden.CertificateFact) bool { return !take(c) })
}

// find is the certificate of a file.
func find(f *harden.Facts, path string) (harden.CertificateFact, bool) {
	for _, c := range f.Certificates {
		if c.Path == path && c.User == "" {
			return c, true
		}
	}
	return harden.CertificateFact{}, false
}

// flagFile is the host's file that a flag of a component names, or etcd's configuration file and its environment instead of one.
func flagFile(f *harden.Facts, id harden.ComponentID, flag string) string {
	if id == harden.Etcd {
		return f.EtcdPath(flag)
	}
	c := f.Component(id)
	if c == nil {
		return ""
	}
	host, _ := c.HostPath(c.Flag(flag).Last())
	return host
}

func evidence(list []harden.CertificateFact, value func(harden.CertificateFact) string) []harden.Evidence {
	var out []harden.Evidence
	for _, c := range list {
		out = append(out, harden.Evidence{Source: c.Name(), Value: value(c)})
	}
	return out
}

// key is its kind and size: "RSA 2048".
func key(c harden.CertificateFact) string { return fmt.Sprintf("%s %d", c.KeyKind, c.KeyBits) }

func names(list []harden.CertificateFact) string {
	var out []string
	for _, c := range list {
		out = append(out, c.Name())
	}
	if len(out) > 3 {
		return strings.Join(out[:3], ", ") + fmt.Sprintf(" and %d more", len(out)-3)
	}
	return strings.Join(out, ", ")
}

// days are whole days from the time of the facts.
func days(f *harden.Facts, until time.Time) int {
	return int(until.Sub(f.CollectedAt).Hours()) / 24
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02") }
