package certificates

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Days before its end at which a certificate counts. A CA's end needs a project, not a command; but for the one that the
// kubelet makes for its own serving certificate alone. In the last days whoever is to act has to act now.
const (
	soon   = 30
	urgent = 7
	caSoon = 365
)

// late is the part of its life after which a certificate that renews itself has not: the kubelet asks for a new one when 70 to 90 % of it
// have passed, however long it is.
const late = 0.9

// rotates says that the kubelet renews a certificate by itself.
func rotates(f *harden.Facts, c harden.CertificateFact) bool {
	return strings.HasPrefix(c.Path, kubeletPKI+"/kubelet-server") || strings.HasPrefix(c.Path, kubeletPKI+"/kubelet-client") && rotationOn(f)
}

func rotationOn(f *harden.Facts) bool {
	return f.Kubelet == nil || f.Kubelet.Field("rotateCertificates").Value == true
}

// endsSoon says that a certificate should have been renewed by now, or is to be.
func endsSoon(f *harden.Facts, c harden.CertificateFact) bool {
	if rotates(f, c) {
		return float64(f.CollectedAt.Sub(c.NotBefore)) > late*float64(c.NotAfter.Sub(c.NotBefore))
	}
	return days(f, c.NotAfter) < soon
}

// timeline are the ends of certificates.
func timeline(f *harden.Facts, takes func(*harden.Facts, harden.CertificateFact) bool) []harden.End {
	var out []harden.End
	for _, c := range some(f, func(c harden.CertificateFact) bool { return takes(f, c) }) {
		name := c.Name()
		if path.Dir(c.Path) == "/etc/kubernetes" {
			name = c.Path // its user is known by its name
		}
		out = append(out, harden.End{Name: name, Key: key(c), CA: c.CA, At: c.NotAfter, Days: days(f, c.NotAfter)})
	}
	return out
}

var expiry = harden.Control{
	ID: "certificates-expiry", Title: "No certificate ends soon", Severity: harden.High,
	Why: harden.Msg("A certificate that has ended stops what uses it: the API server without etcd, the scheduler without the API, kubectl for everybody. " +
		"Leaf certificates of kubeadm's are good for a year and are renewed by an upgrade or by hand; CAs are good for ten. " +
		"The kubelet renews its own, some weeks before their end."),
	Refs:    harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsCerts}},
	Needs:   []harden.Need{harden.NeedCertificates},
	Applies: certificatesHere,
	Assess:  func(f *harden.Facts) harden.Verdict { return assessEnds(f, notEtcds) },
	Ends:    func(f *harden.Facts) []harden.End { return timeline(f, notEtcds) },
	Remedies: []harden.Remedy{renewRemedy("certificates-expiry",
		harden.Msg("Those of kube-apiserver, kube-controller-manager and kube-scheduler whose certificates are renewed restart once each."),
		[]harden.Message{
			harden.Msg("Copies of admin.conf, as in ~/.kube/config, keep the certificate that they were made with. It works until its own end, for whoever has it: it cannot be called back. Copy the new file to where people use it before that."),
			harden.Msg("The kubelet's certificate is not among them, as the kubelet renews it by itself; CAs and the key of the service accounts stay as they are."),
		}, notEtcds)},
}

var etcdExpiry = harden.Control{
	ID: "certificates-etcd-expiry", Title: "No certificate of etcd's ends soon", Severity: harden.High,
	Why: harden.Msg("When the certificate that etcd serves with has ended, no API server talks to it any more, and the cluster stands still; " +
		"members of etcd do not talk to each other either. Leaf certificates of kubeadm's are good for a year and are renewed by an upgrade or by hand."),
	Refs:  harden.Refs{Seed: []string{seedTLS}, Docs: []string{docsCerts}},
	Needs: []harden.Need{harden.NeedCertificates, harden.NeedEtcd},
	Applies: func(f *harden.Facts) (bool, harden.Message) {
		return len(some(f, func(c harden.CertificateFact) bool { return etcds(f, c) })) > 0, harden.Msg("no certificate of etcd's was found on this node")
	},
	Assess: func(f *harden.Facts) harden.Verdict { return assessEnds(f, etcds) },
	Ends:   func(f *harden.Facts) []harden.End { return timeline(f, etcds) },
	Remedies: []harden.Remedy{renewRemedy("certificates-etcd-expiry",
		harden.Msg("A snapshot of etcd is saved, unless its certificate has ended and it gives none; then etcd restarts. Where it is the only member, the API answers nobody for one to two minutes, and the controller manager and the scheduler start again."),
		[]harden.Message{harden.Msg("Each member of etcd has certificates of its own: those of the others are renewed on their nodes.")}, etcds)},
}

// etcds says that a certificate is one of etcd's own: it serves with it, or it lies with those in kubeadm's folder for etcd.
func etcds(f *harden.Facts, c harden.CertificateFact) bool {
	return strings.HasPrefix(c.Path, etcdDir+"/") || c.Path == flagFile(f, harden.Etcd, "cert-file") || c.Path == flagFile(f, harden.Etcd, "peer-cert-file")
}

func notEtcds(f *harden.Facts, c harden.CertificateFact) bool { return !etcds(f, c) }

func assessEnds(f *harden.Facts, takes func(*harden.Facts, harden.CertificateFact) bool) harden.Verdict {
	sorted := some(f, func(c harden.CertificateFact) bool { return takes(f, c) })
	if len(sorted) == 0 {
		return harden.NotFor(harden.Msg("no certificate was found on this node"))
	}
	slices.SortStableFunc(sorted, func(a, b harden.CertificateFact) int { return a.NotAfter.Compare(b.NotAfter) })
	seen := evidence(sorted, func(c harden.CertificateFact) string {
		return fmt.Sprintf("%s; %s, signed by %s with %s, serial %s", ends(f, c), key(c), c.Issuer, c.Signature, c.Serial)
	})
	var ended, close, caClose, early []harden.CertificateFact
	for _, c := range sorted {
		switch {
		case !f.CollectedAt.Before(c.NotAfter):
			ended = append(ended, c)
		case f.CollectedAt.Before(c.NotBefore):
			early = append(early, c)
		case endsSoon(f, c):
			close = append(close, c)
		case c.CA && days(f, c.NotAfter) < caSoon && !strings.HasPrefix(c.Path, kubeletPKI+"/"):
			caClose = append(caClose, c)
		}
	}
	switch {
	case len(ended) > 0:
		return harden.Failed(harden.Msg("ended on %s: %s; %s", date(ended[0].NotAfter), names(ended), waysOut(f, ended)), seen...)
	case len(early) > 0:
		return harden.Failed(harden.Msg("good from %s on only: %s; is the clock of this node right?", date(early[0].NotBefore), names(early)), seen...)
	case len(close) > 0 && days(f, close[0].NotAfter) < urgent:
		return harden.Failed(harden.Msg("critical, less than a week is left: %s: %s; %s", ends(f, close[0]), names(close), wayOut(f, close[0])), seen...)
	case len(close) > 0:
		return harden.Failed(harden.Msg("%s: %s; %s", ends(f, close[0]), names(close), wayOut(f, close[0])), seen...)
	case len(caClose) > 0:
		return harden.NeedsPerson(harden.Msg("%s: %s; %s", ends(f, caClose[0]), names(caClose), wayOut(f, caClose[0])), seen...)
	}
	return harden.Passed(harden.Msg("the first one to end is %s, on %s", sorted[0].Name(), date(sorted[0].NotAfter)), seen...)
}

func ends(f *harden.Facts, c harden.CertificateFact) string {
	switch left := days(f, c.NotAfter); {
	case !f.CollectedAt.Before(c.NotAfter):
		return fmt.Sprintf("ended on %s", date(c.NotAfter))
	case left == 1:
		return fmt.Sprintf("ends on %s, in 1 day", date(c.NotAfter))
	default:
		return fmt.Sprintf("ends on %s, in %d days", date(c.NotAfter), left)
	}
}

// waysOut are those of several, each once.
func waysOut(f *harden.Facts, list []harden.CertificateFact) harden.Message {
	var out harden.Message
	var said []string
	for _, c := range list {
		way := wayOut(f, c)
		switch {
		case slices.Contains(said, way.String()):
			continue
		case len(said) == 0:
			out = way
		default:
			out = harden.Msg("%s; %s", out, way)
		}
		said = append(said, way.String())
	}
	return out
}

// wayOut says how to get a new one.
func wayOut(f *harden.Facts, c harden.CertificateFact) harden.Message {
	kubelets := c.Path == "/etc/kubernetes/kubelet.conf" || strings.HasPrefix(c.Path, kubeletPKI+"/kubelet-client")
	switch {
	case kubelets && !f.CollectedAt.Before(c.NotAfter):
		return harden.Msg("with one that has ended the kubelet cannot ask for a new one, and does not start: %s", kubeletByHand(f))
	case c.Path == "/etc/kubernetes/kubelet.conf":
		return harden.Msg("nobody renews a certificate inside of this file: have it name %s/kubelet-client-current.pem, which the kubelet renews (kubeadm init phase kubelet-finalize all)", kubeletPKI)
	case kubelets && !rotationOn(f):
		return harden.Msg("the kubelet renews none while rotateCertificates is off (control kubelet-rotate-certificates)")
	case kubelets:
		return harden.Msg("the kubelet renews this one by itself and has not: look at \"journalctl -u kubelet\" and \"kubectl get csr\"")
	case strings.HasPrefix(c.Path, kubeletPKI+"/kubelet-server"):
		return harden.Msg("the kubelet asks the cluster for a new one by itself, and nobody has approved it: look for its request with \"kubectl get csr\", approve it with \"kubectl certificate approve\", and have an approver that stays, such as kubelet-csr-approver")
	case strings.HasPrefix(c.Path, kubeletPKI+"/"):
		return harden.Msg("the kubelet makes this one at its start when there is none: move it away with its key and restart the kubelet")
	case c.CA:
		return harden.Msg("a CA's end is every certificate's, kubeconfig's and token's: plan its rotation by the steps of https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/")
	case copied(c):
		return harden.Msg("a copy keeps the certificate that it was made with: copy %s over it when that one has been renewed", adminConf)
	case kubeadmName(c) == "":
		return harden.Msg("kubeadm does not renew this one: ask whoever made it")
	case !caKeyHere(f, c):
		return harden.Msg("the key of the CA that signed it is not on this node: have it signed where that key is (kubeadm certs generate-csr)")
	case f.Identity.Offline:
		return harden.Msg("kubeadm renews it once the node runs")
	}
	if !f.CollectedAt.Before(c.NotAfter) {
		return harden.Msg("kubeadm renews it, also while the API server does not answer: the remedy takes etcd's first and does not ask for health before; by hand: %s", byHand)
	}
	return harden.Msg("kubeadm renews it")
}

// kubeletByHand is a new credential for a kubelet (kubernetes.io, troubleshooting kubeadm): signed where the CA's key is, taken once.
func kubeletByHand(f *harden.Facts) string {
	node := f.Identity.Node
	if node == "" {
		node = "NODE"
	}
	where := "on a control-plane node"
	if ca, ok := find(f, pkiDir+"/ca.crt"); ok && ca.Key == harden.KeyMatches {
		where = "on this node"
	}
	return fmt.Sprintf("%s run \"kubeadm kubeconfig user --org system:nodes --client-name system:node:%s\", write what it prints to /etc/kubernetes/kubelet.conf here, "+
		"restart the kubelet, and once %s/kubelet-client-current.pem is new, have the file name that again (kubeadm init phase kubelet-finalize all)", where, node, kubeletPKI)
}

// byHand is a renewal without this program.
const byHand = "back up with \"cp -a /etc/kubernetes /root/kubernetes-before\", run \"kubeadm certs renew all\", then restart etcd, kube-apiserver, " +
	"kube-controller-manager and kube-scheduler one after the other (move its file out of " + harden.StaticPodDir +
	", wait until \"crictl ps\" shows it gone, move it back, wait until it is ready)"

// copied says that a certificate is an administrator's of kubeadm's, in a kubeconfig elsewhere.
func copied(c harden.CertificateFact) bool {
	return c.User != "" && path.Dir(c.Path) != "/etc/kubernetes" && slices.Contains([]string{"kubernetes-admin", "kubernetes-super-admin"}, c.CommonName)
}
