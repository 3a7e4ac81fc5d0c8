package certificates

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Bits below which a key is weak (NIST SP 800-131A).
const (
	minRSA   = 2048
	minECDSA = 256
)

func describe(c harden.CertificateFact) string {
	return fmt.Sprintf("%s, signed with %s", key(c), c.Signature)
}

func weak(c harden.CertificateFact) bool {
	switch {
	case c.KeyKind == "RSA" && c.KeyBits < minRSA, c.KeyKind == "ECDSA" && c.KeyBits < minECDSA:
		return true
	case c.KeyKind != "RSA" && c.KeyKind != "ECDSA" && c.KeyKind != "Ed25519":
		return true
	case c.SelfSigned:
		return false // nobody checks the signature of what is trusted as it is
	}
	return strings.Contains(c.Signature, "MD") || strings.Contains(c.Signature, "SHA1")
}

var keyStrength = harden.Control{
	ID: "certificates-key-strength", Title: "Keys and signatures of certificates are strong", Severity: harden.High,
	Why: harden.Msg("Whoever finds the key to a certificate, or makes another one with the same signature, is whom it names. " +
		"RSA keys below 2048 bits and signatures with MD5 or SHA-1 are within reach. kubeadm makes RSA keys of 2048 bits, or what its encryptionAlgorithm says."),
	Refs:    harden.Refs{NSA: []string{nsaTLS}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		bad := some(f, weak)
		if len(bad) == 0 {
			return harden.Passed(harden.Msg("%d looked at; each has a strong key and signature", len(f.Certificates)), evidence(f.Certificates, describe)...)
		}
		return harden.Failed(harden.Msg("weak: %s (%s); %s", names(bad), describe(bad[0]), wayOut(f, bad[0])), evidence(bad, describe)...)
	},
}

// leaf says that a certificate is used to prove a server or a client.
func leaf(c harden.CertificateFact) bool { return c.Server || c.Client }

// asLeaf is what a certificate should be.
func asLeaf(c harden.CertificateFact) harden.CertificateFact {
	c.CA = false
	return c
}

var leafNotCA = harden.Control{
	ID: "certificates-leaf-not-ca", Title: "What proves a server or a client cannot sign certificates", Severity: harden.High,
	Why: harden.Msg("A certificate that may sign others lets its holder be anybody. " +
		"The CA's own key belongs to the CA; servers and clients have keys of their own."),
	Refs:    harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsPKI}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		value := func(c harden.CertificateFact) string {
			return fmt.Sprintf("CA: %t, server: %t, client: %t", c.CA, c.Server, c.Client)
		}
		bad := some(f, func(c harden.CertificateFact) bool { return c.CA && (leaf(c) || c.User != "" || servedBy(f, c)) })
		leaves := some(f, leaf)
		switch {
		case len(bad) > 0:
			return harden.Failed(harden.Msg("in use, and may sign other certificates: %s; %s", names(bad), wayOut(f, asLeaf(bad[0]))), evidence(bad, value)...)
		case len(leaves) == 0:
			return harden.NotFor(harden.Msg("no certificate of a server or client was found on this node"))
		}
		return harden.Passed(harden.Msg("none of %d may sign others", len(leaves)), evidence(leaves, value)...)
	},
}

// servedBy says that a component is told to prove itself with the certificate.
func servedBy(f *harden.Facts, c harden.CertificateFact) bool {
	for id, flags := range map[harden.ComponentID][]string{
		harden.APIServer: {"tls-cert-file", "kubelet-client-certificate", "etcd-certfile", "proxy-client-cert-file"},
		harden.Etcd:      {"cert-file", "peer-cert-file"},
	} {
		for _, flag := range flags {
			if c.User == "" && flagFile(f, id, flag) == c.Path {
				return true
			}
		}
	}
	return false
}

var keysMatch = harden.Control{
	ID: "certificates-keys-match", Title: "Each certificate has its own key", Severity: harden.High,
	Why: harden.Msg("A key that does not belong to its certificate shows only at the next start: the component ends with \"private key does not match public key\". " +
		"It happens when a renewal was interrupted, or one of the two was copied from another node."),
	Refs:    harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsPKI}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess: func(f *harden.Facts) harden.Verdict {
		value := func(c harden.CertificateFact) string { return fmt.Sprintf("its key in %s: %s", c.KeyPath, c.Key) }
		is := func(states ...harden.KeyState) []harden.CertificateFact {
			return some(f, func(c harden.CertificateFact) bool { return slices.Contains(states, c.Key) })
		}
		looked := some(f, func(c harden.CertificateFact) bool { return c.Key != harden.KeyUnlooked })
		switch differ, lost := is(harden.KeyDiffers), is(harden.KeyAbsent, harden.KeyUnreadable); {
		case len(looked) == 0:
			return harden.NotFor(harden.Msg("no certificate with a key of its own was found on this node"))
		case len(differ) > 0:
			return harden.Failed(harden.Msg("the key does not belong to it: %s; bring back the right one, or renew it with kubeadm certs renew", names(differ)), evidence(differ, value)...)
		case len(lost) > 0:
			return harden.NeedsPerson(harden.Msg("no key that can be read: %s", names(lost)), evidence(lost, value)...)
		}
		return harden.Passed(harden.Msg("%d keys looked at; each belongs to its certificate", len(looked)), evidence(looked, value)...)
	},
}

var etcdCA = harden.Control{
	ID: "certificates-etcd-ca", Title: "The CA that etcd trusts is its own", Severity: harden.High,
	Why: harden.Msg("The database lets in whoever has a certificate of the CA that it trusts, to read and write everything: it knows no roles here. " +
		"Were that the cluster's CA, every kubelet and every user with a client certificate could open the database."),
	Refs:  harden.Refs{CIS: []string{"2.7"}, Seed: []string{seedTLS}, Docs: []string{docsPKI}},
	Needs: []harden.Need{harden.NeedCertificates, harden.NeedEtcd, harden.NeedAPIServer},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return f.Component(harden.Etcd) != nil, harden.Msg("this node runs no etcd")
	},
	Assess: func(f *harden.Facts) harden.Verdict {
		trusted := f.EtcdSetting("trusted-ca-file")
		switch {
		case !trusted.Unknown.IsZero():
			return harden.NeedsPerson(trusted.Unknown, trusted.Seen)
		case trusted.Value == "":
			return harden.Failed(harden.Msg("etcd asks its clients for no certificate: trusted-ca-file is not set"), trusted.Seen)
		}
		clients := "/etc/kubernetes/pki/ca.crt"
		if p := flagFile(f, harden.APIServer, "client-ca-file"); p != "" {
			clients = p
		}
		own, ok := find(f, flagFile(f, harden.Etcd, "trusted-ca-file"))
		cluster, known := find(f, clients)
		if !ok || !known {
			return harden.NeedsPerson(harden.Msg("the CA of etcd or of the cluster could not be read: compare %s and %s", trusted.Value, clients), trusted.Seen)
		}
		seen := evidence([]harden.CertificateFact{own, cluster}, func(c harden.CertificateFact) string {
			return fmt.Sprintf("%s, public key sha256 %.16s", c.CommonName, c.PublicKey)
		})
		if own.PublicKey == cluster.PublicKey {
			return harden.Failed(harden.Msg("etcd trusts the cluster's CA: make one for etcd (kubeadm init phase certs etcd-ca) and give all members and API servers certificates of it, in a planned outage"), seen...)
		}
		return harden.Passed(harden.Msg("etcd's CA is another one than the cluster's"), seen...)
	},
}
