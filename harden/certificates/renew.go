package certificates

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// kubeadms are the leaf certificates that "kubeadm certs renew" knows, by its names for them.
var kubeadms = []struct{ name, path string }{
	{"apiserver", pkiDir + "/apiserver.crt"},
	{"apiserver-etcd-client", pkiDir + "/apiserver-etcd-client.crt"},
	{"apiserver-kubelet-client", pkiDir + "/apiserver-kubelet-client.crt"},
	{"front-proxy-client", pkiDir + "/front-proxy-client.crt"},
	{"admin.conf", adminConf},
	{"super-admin.conf", "/etc/kubernetes/super-admin.conf"},
	{"controller-manager.conf", "/etc/kubernetes/controller-manager.conf"},
	{"scheduler.conf", "/etc/kubernetes/scheduler.conf"},
	{"etcd-server", etcdDir + "/server.crt"},
	{"etcd-peer", etcdDir + "/peer.crt"},
	{"etcd-healthcheck-client", etcdDir + "/healthcheck-client.crt"},
}

const (
	adminConf = "/etc/kubernetes/admin.conf"
	etcdDir   = pkiDir + "/etcd"
)

// kubeadmName is kubeadm's name for a certificate; "" for one that it does not renew.
func kubeadmName(c harden.CertificateFact) string {
	for _, k := range kubeadms {
		if k.path == c.Path && !c.CA && !c.SelfSigned {
			return k.name
		}
	}
	return ""
}

// withinOption is how early a renewal takes a certificate.
var withinOption = harden.Option{
	Name: "within", Title: harden.Msg("Renew what ends within so many days"), Kind: harden.OptionNumber, Default: strconv.Itoa(soon), Unit: "days",
	Check: func(text string) error {
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > 3650 {
			return errors.New("it is a number of days from 1 to 3650")
		}
		return nil
	},
}

// renewRemedy lets kubeadm renew some of its certificates.
func renewRemedy(control string, impact harden.Message, breaks []harden.Message, takes func(*harden.Facts, harden.CertificateFact) bool) harden.Remedy {
	ending := func(f *harden.Facts, v harden.Values) []harden.CertificateFact {
		within, _ := strconv.Atoi(v[withinOption.Name])
		return some(f, func(c harden.CertificateFact) bool {
			return takes(f, c) && kubeadmName(c) != "" && c.NotAfter.Sub(f.CollectedAt) < time.Duration(within)*24*time.Hour
		})
	}
	return harden.Remedy{
		ID: "renew", Title: harden.Msg("Have kubeadm renew them, and let each component that reads them restart once"),
		Impact: impact, Breaks: breaks, Risk: harden.RiskNode, NodeOnly: true, Options: []harden.Option{withinOption},
		Preconditions: func(f *harden.Facts, v harden.Values) []harden.Precondition {
			return []harden.Precondition{nodeRuns(f), signersHere(f, ending(f, v)), clockRight(f)}
		},
		Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
			var out []harden.Intent
			for _, c := range ending(f, v) {
				if caKeyHere(f, c) {
					out = append(out, renewal(f, c)...)
				}
			}
			if len(out) == 0 {
				return nil, fmt.Errorf("kubeadm has none to renew of those that end within %s days", v[withinOption.Name])
			}
			return out, nil
		},
		Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof {
			var out []harden.Proof
			for _, c := range ending(f, v) {
				if p, ok := served(f, c); ok && caKeyHere(f, c) {
					p.Control = control
					out = append(out, p)
				}
			}
			return out
		},
	}
}

// renewal asks for a certificate and its key, which restart who reads them.
func renewal(f *harden.Facts, c harden.CertificateFact) []harden.Intent {
	name := kubeadmName(c)
	out := []harden.Intent{harden.RenewCertificate(name, c.Path, f.Reader(c.Path))}
	if c.User == "" {
		out = append(out, harden.RenewCertificate(name, strings.TrimSuffix(c.Path, ".crt")+".key", f.Reader(c.Path)))
	}
	return out
}

// served wants a server to show its renewed certificate.
func served(f *harden.Facts, c harden.CertificateFact) (harden.Proof, bool) {
	proof := harden.Proof{Kind: harden.ProofServed, Path: c.Path}
	switch c.Path {
	case flagFile(f, harden.APIServer, "tls-cert-file"):
		proof.Component = harden.APIServer
		return proof, true
	case flagFile(f, harden.Etcd, "cert-file"):
		proof.Component, proof.Request = harden.Etcd, f.EtcdServes("listen-client-urls")
	case flagFile(f, harden.Etcd, "peer-cert-file"):
		proof.Component, proof.Request = harden.Etcd, f.EtcdServes("listen-peer-urls")
	}
	return proof, proof.Request != ""
}

// nodeRuns is wanted as kubeadm is the node's own program.
func nodeRuns(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "runs", Title: harden.Msg("the node runs, so that its kubeadm can be run"), State: harden.Met}
	if f.Identity.Offline {
		p.State, p.Message = harden.Unmet, harden.Msg("nothing runs from this root; renew them when it does")
	}
	return p
}

// signersHere wants the keys of the CAs: kubeadm signs on this node or not at all.
func signersHere(f *harden.Facts, list []harden.CertificateFact) harden.Precondition {
	p := harden.Precondition{ID: "ca-keys", Title: harden.Msg("the key of the CA that signs is on this node"), State: harden.Met}
	without := slices.DeleteFunc(slices.Clone(list), func(c harden.CertificateFact) bool { return caKeyHere(f, c) })
	if len(without) == 0 {
		return p
	}
	p.Evidence = evidence(without, func(c harden.CertificateFact) string { return "of " + signer(c) })
	p.Message = harden.Msg("not for %s: have it signed where that key is (kubeadm certs generate-csr)", names(without))
	if len(without) == len(list) {
		p.State = harden.Unmet
	}
	return p
}

// clockRight refuses to sign by a clock that is behind: the new ones would end too early, and be good too early.
func clockRight(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "clock", Title: harden.Msg("the clock of this node is not behind"), State: harden.Met}
	if early := some(f, func(c harden.CertificateFact) bool { return f.CollectedAt.Before(c.NotBefore) }); len(early) > 0 {
		p.State = harden.Unmet
		p.Message = harden.Msg("%s is good from %s on only: see \"timedatectl\"", early[0].Name(), date(early[0].NotBefore))
	}
	return p
}

// signer is the file of the CA that has signed a certificate, as far as is known.
func signer(c harden.CertificateFact) string {
	if c.SignedBy != "" {
		return c.SignedBy
	}
	return path.Join(pkiDir, "ca.crt")
}

// caKeyHere says that the CA of a certificate can sign on this node. Where the CA itself is not here, nobody knows.
func caKeyHere(f *harden.Facts, c harden.CertificateFact) bool {
	ca, ok := find(f, signer(c))
	return ok && ca.Key == harden.KeyMatches
}
