package kubelet

import (
	"fmt"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	docsBootstrap  = "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/"
	servingCurrent = "/var/lib/kubelet/pki/kubelet-server-current.pem"
)

// serverTLSBootstrap, tlsCertFile and tlsPrivateKeyFile are read as settings, and judged together.
var (
	serverTLSBootstrap = setting{
		id: "kubelet-serving-certificate", field: "serverTLSBootstrap", flag: "rotate-server-certificates", preset: false,
		want: always(true),
	}
	tlsCertFile       = setting{field: "tlsCertFile", flag: "tls-cert-file", preset: "", zeroIsUnset: true}
	tlsPrivateKeyFile = setting{field: "tlsPrivateKeyFile", flag: "tls-private-key-file", preset: "", zeroIsUnset: true}
)

var servingCertificate = harden.Control{
	ID: "kubelet-serving-certificate", Title: "The kubelet serves with a certificate that the API server can check", Severity: harden.Medium,
	Fields: []string{serverTLSBootstrap.field, tlsCertFile.field, tlsPrivateKeyFile.field},
	Why: harden.Msg("Left alone, the kubelet signs its own serving certificate. The API server then cannot tell a kubelet from somebody in between, " +
		"who reads what passes through exec and logs, and metrics-server runs with --kubelet-insecure-tls. " +
		"Certificates from the cluster's CA end that, but each request has to be approved by somebody who checks the names in it, at every renewal."),
	Refs:  harden.Refs{CIS: []string{"4.2.9"}, STIG: []string{"V-242424", "V-242425"}, Seed: []string{seedTLS}, Docs: []string{docsBootstrap}},
	Needs: []harden.Need{harden.NeedKubelet, harden.NeedCertificates}, Applies: applies,
	Assess: func(f *harden.Facts) harden.Verdict {
		k := f.Kubelet
		bootstrap, cert, key := serverTLSBootstrap.read(k), tlsCertFile.read(k), tlsPrivateKeyFile.read(k)
		seen := slices.Concat(bootstrap.evidence, cert.evidence, key.evidence)
		if !bootstrap.valid || !cert.valid || !key.valid {
			return harden.Failed(harden.Msg("the kubelet does not accept one of these values and will not start with it"), seen...)
		}
		switch file, own := cert.value.(string), key.value.(string); {
		case (file == "") != (own == ""):
			return harden.Failed(harden.Msg("only one of tlsCertFile and tlsPrivateKeyFile is set; the kubelet needs both"), seen...)
		case file != "":
			return givenCertificate(f, file, seen)
		case bootstrap.value == true:
			return bootstrapped(f, seen)
		}
		return harden.NeedsPerson(harden.Msg("the kubelet signs its own certificate, and nobody can check it; before that is changed, an approver for requests must be there that stays"), seen...)
	},
	Remedies: []harden.Remedy{askCluster},
}

// askCluster restarts the kubelet, which has no serving certificate from then on until its request is approved: that is a proof of the
// change, so what cannot be approved is undone.
var askCluster = harden.Remedy{
	ID: "ask-cluster", Title: harden.Msg("Let the kubelet ask the cluster for its certificate, and approve the first request"), Risk: harden.RiskWorkloads,
	Impact: harden.Msg("The kubelet restarts once and asks for a certificate. The request is approved once it was checked: made by this node, for its own name and the addresses of its Node, and for nothing else. Until the certificate is there, logs, exec and port-forward on this node fail for some seconds."),
	Breaks: []harden.Message{
		harden.Msg("The kubelet asks again when most of the certificate's life (a year) is over, and nobody approves that unless an approver stays in the cluster, such as kubelet-csr-approver. Without one, logs, exec, port-forward and metrics of this node fail when the certificate ends."),
		harden.Msg("Kept in kubelet-config, it reaches every other node at its next kubeadm upgrade, and new nodes: each of them then waits for its request to be approved."),
	},
	Preconditions: func(f *harden.Facts, _ harden.Values) []harden.Precondition {
		return []harden.Precondition{decodes(f.Kubelet), addressesKnown(f), approverStays(f)}
	},
	Intents: func(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
		for _, s := range []setting{tlsCertFile, tlsPrivateKeyFile} {
			if s.read(f.Kubelet).value != "" {
				return nil, fmt.Errorf("%s is set: the kubelet serves with that certificate and asks for none; take it out first", s.field)
			}
		}
		if serverTLSBootstrap.read(f.Kubelet).value == true {
			return nil, fmt.Errorf("the kubelet has asked already: look at its request with \"kubectl get csr\" and approve it with \"kubectl certificate approve\"")
		}
		return serverTLSBootstrap.intents(f, v)
	},
	Proofs: func(f *harden.Facts, v harden.Values) []harden.Proof {
		return append([]harden.Proof{{Control: "kubelet-serving-certificate", Kind: harden.ProofServing, Path: "of node " + f.Identity.Node}}, serverTLSBootstrap.proofs(f, v)...)
	},
}

// addressesKnown: a request can be checked against what the Node shows, and nothing else.
func addressesKnown(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{ID: "node-has-addresses", Title: harden.Msg("the Node object shows this node's addresses"), State: harden.Unmet}
	if why, missing := f.Missing[harden.NeedNodes]; missing || f.Cluster == nil {
		p.State = harden.PreconditionUnknown
		p.Message = harden.Msg("the API is needed to approve the request: %s", why)
		return p
	}
	for _, n := range f.Cluster.Nodes {
		if n.Name == f.Identity.Node && len(n.Addresses) > 0 {
			p.State, p.Message = harden.Met, harden.Msg("it is known as %s", strings.Join(n.Addresses, ", "))
			return p
		}
	}
	p.Message = harden.Msg("node %s shows none", f.Identity.Node)
	return p
}

func approverStays(f *harden.Facts) harden.Precondition {
	p := harden.Precondition{
		ID: "an-approver-stays", Title: harden.Msg("an approver for kubelets' requests stays in the cluster"), State: harden.PreconditionUnknown,
		Message: harden.Msg("none was recognised: this run approves one request, and at its renewal somebody else has to"),
	}
	if seen, ok := approver(f); ok {
		p.State, p.Message = harden.Met, harden.Msg("%s runs", seen.Value)
		p.Evidence = append(p.Evidence, seen)
	}
	return p
}

// approver goes by the images that run: what approves has no other mark.
func approver(f *harden.Facts) (harden.Evidence, bool) {
	if f.Cluster == nil {
		return harden.Evidence{}, false
	}
	for _, pod := range f.Cluster.Pods {
		for _, i := range pod.Images {
			if strings.Contains(i.Image, "csr-approver") {
				return harden.Evidence{Source: "Pod " + pod.Namespace + "/" + pod.Name, Value: i.Image}, true
			}
		}
	}
	return harden.Evidence{}, false
}

func certificateAt(f *harden.Facts, path string) (harden.CertificateFact, bool) {
	i := slices.IndexFunc(f.Certificates, func(c harden.CertificateFact) bool { return c.Path == path && c.User == "" })
	if i < 0 {
		return harden.CertificateFact{}, false
	}
	return f.Certificates[i], true
}

func issuer(c harden.CertificateFact) harden.Evidence {
	return harden.Evidence{Source: c.Path, Value: fmt.Sprintf("for %s, issued by %s, ends on %s", c.CommonName, c.Issuer, c.NotAfter.Format("2006-01-02"))}
}

func givenCertificate(f *harden.Facts, file string, seen []harden.Evidence) harden.Verdict {
	c, ok := certificateAt(f, file)
	switch {
	case !ok:
		return harden.Failed(harden.Msg("%s holds no certificate that can be read; the kubelet does not serve without it", file), seen...)
	case !f.CollectedAt.Before(c.NotAfter):
		return harden.Failed(harden.Msg("%s ended on %s; no client takes it any more: put a new one there", file, c.NotAfter.Format("2006-01-02")), append(seen, issuer(c))...)
	case c.SelfSigned:
		return harden.NeedsPerson(harden.Msg("%s is signed by itself: have it issued by a CA that the API server is told to trust", file), append(seen, issuer(c))...)
	}
	return harden.Passed(harden.Msg("it serves with %s, issued by %s", file, c.Issuer), append(seen, issuer(c))...)
}

// bootstrapped goes by what the kubelet was seen to serve with, where it was asked, and by the file that it keeps its certificate in.
func bootstrapped(f *harden.Facts, seen []harden.Evidence) harden.Verdict {
	const approve = "look for its request with \"kubectl get csr\", approve it with \"kubectl certificate approve\", and have an approver that stays, such as kubelet-csr-approver"
	c, ok := certificateAt(f, servingCurrent)
	served, asked := servedHere(f)
	if ok {
		seen = append(seen, issuer(c))
	}
	switch proven := asked && served.Unread.IsZero() && served.Problem.IsZero(); {
	case ok && !f.CollectedAt.Before(c.NotAfter):
		return harden.Failed(harden.Msg("its certificate ended on %s and nobody has approved another one: logs and exec on this node fail; %s", c.NotAfter.Format("2006-01-02"), approve), seen...)
	case ok && f.CollectedAt.Before(c.NotBefore):
		return harden.Failed(harden.Msg("its certificate is good from %s on only; is the clock of this node right?", c.NotBefore.Format("2006-01-02")), seen...)
	case !ok && !proven:
		return harden.Failed(harden.Msg("the kubelet asked the cluster for a certificate and has none: logs and exec on this node fail until its request is approved; %s", approve),
			append(seen, harden.Evidence{Source: servingCurrent, Value: "there is none"})...)
	case asked && !served.Problem.IsZero():
		return harden.Failed(harden.Msg("it serves with another certificate than the one that the cluster has issued, and whoever trusts the cluster's CA refuses it (%s): restart the kubelet", served.Problem),
			append(seen, harden.Evidence{Source: served.Address, Value: served.Problem.String()})...)
	case asked && !served.Unread.IsZero():
		return harden.NeedsPerson(harden.Msg("a certificate is there, and what the kubelet serves with could not be seen (%s): look at \"journalctl -u kubelet\"", served.Unread),
			append(seen, harden.Evidence{Source: served.Address, Value: served.Unread.String()})...)
	case proven:
		seen = append(seen, harden.Evidence{Source: served.Address, Value: "proves itself"})
	}
	serves := harden.Msg("it serves with a certificate that the cluster's CA has issued")
	if ok {
		serves = harden.Msg("it serves with a certificate issued by %s", c.Issuer)
	}
	return staysApproved(f, serves, seen)
}

// staysApproved: the next certificate has to be approved as the first one was, and a year is long enough to forget that.
func staysApproved(f *harden.Facts, serves harden.Message, seen []harden.Evidence) harden.Verdict {
	by, found := approver(f)
	_, missing := f.Missing[harden.NeedWorkloads]
	switch {
	case found:
		return harden.Passed(serves, append(seen, by)...)
	case missing || f.Cluster == nil:
		return harden.Passed(harden.Msg("%s; whether an approver for the next one stays was not seen", serves), seen...)
	}
	return harden.NeedsPerson(harden.Msg("%s, and no approver for the next one was recognised: have one that stays, such as kubelet-csr-approver, or logs and exec on this node fail when this one ends", serves), seen...)
}

// servedHere is what this node's kubelet was seen to serve with.
func servedHere(f *harden.Facts) (harden.KubeletServingFact, bool) {
	if f.Cluster == nil {
		return harden.KubeletServingFact{}, false
	}
	i := slices.IndexFunc(f.Cluster.KubeletServing, func(k harden.KubeletServingFact) bool { return k.Node == f.Identity.Node })
	if i < 0 {
		return harden.KubeletServingFact{}, false
	}
	return f.Cluster.KubeletServing[i], true
}
