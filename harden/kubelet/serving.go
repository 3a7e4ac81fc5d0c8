package kubelet

import (
	"fmt"
	"slices"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	docsBootstrap  = "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/"
	servingCurrent = "/var/lib/kubelet/pki/kubelet-server-current.pem"
)

// serverTLSBootstrap, tlsCertFile and tlsPrivateKeyFile are read as settings, and judged together.
var (
	serverTLSBootstrap = setting{field: "serverTLSBootstrap", flag: "rotate-server-certificates", preset: false}
	tlsCertFile        = setting{field: "tlsCertFile", flag: "tls-cert-file", preset: "", zeroIsUnset: true}
	tlsPrivateKeyFile  = setting{field: "tlsPrivateKeyFile", flag: "tls-private-key-file", preset: "", zeroIsUnset: true}
)

// bySteps is why there is no remedy: from the kubelet's restart until somebody approves its request it has no serving
// certificate, and without an approver that stays the same happens again at each renewal.
const bySteps = "1. install an approver that stays and checks names against the Node's addresses (such as kubelet-csr-approver); " +
	"2. set serverTLSBootstrap: true in ConfigMap kube-system/kubelet-config and in %s; 3. run \"systemctl restart kubelet\"; " +
	"4. check with \"kubectl get csr\" that the request for kubernetes.io/kubelet-serving was approved, and with \"kubectl logs\" that logs of this node still come"

// servingCertificate has no remedy; see bySteps.
var servingCertificate = harden.Control{
	ID: "kubelet-serving-certificate", Title: "The kubelet serves with a certificate that the API server can check", Severity: harden.Medium,
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
		return harden.NeedsPerson(harden.Msg("the kubelet signs its own certificate, and nobody can check it: "+bySteps, k.Config.Path), seen...)
	},
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
	case c.SelfSigned:
		return harden.NeedsPerson(harden.Msg("%s is signed by itself: have it issued by a CA that the API server is told to trust", file), append(seen, issuer(c))...)
	}
	return harden.Passed(harden.Msg("it serves with %s, issued by %s", file, c.Issuer), append(seen, issuer(c))...)
}

func bootstrapped(f *harden.Facts, seen []harden.Evidence) harden.Verdict {
	c, ok := certificateAt(f, servingCurrent)
	if !ok {
		return harden.Failed(harden.Msg("the kubelet asked the cluster for a certificate and has none: logs and exec on this node fail until its request is approved (kubectl get csr)"),
			append(seen, harden.Evidence{Source: servingCurrent, Value: "there is none"})...)
	}
	return harden.Passed(harden.Msg("it serves with a certificate issued by %s", c.Issuer), append(seen, issuer(c))...)
}
