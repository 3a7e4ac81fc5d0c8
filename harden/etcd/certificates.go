package etcd

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// side is one of the two that etcd talks to: clients, and its peers.
type side struct {
	cert, key, ca, auth, auto, urls string // flags
	certFile, keyFile, caFile       string // that kubeadm writes
}

var (
	clients = side{certFlag, keyFlag, caFlag, authFlag, autoFlag, clientURLFlag,
		"/etc/kubernetes/pki/etcd/server.crt", "/etc/kubernetes/pki/etcd/server.key", "/etc/kubernetes/pki/etcd/ca.crt"}
	peers = side{peerCertFlag, peerKeyFlag, peerCAFlag, peerAuthFlag, peerAutoFlag, peerURLFlag,
		"/etc/kubernetes/pki/etcd/peer.crt", "/etc/kubernetes/pki/etcd/peer.key", "/etc/kubernetes/pki/etcd/ca.crt"}
)

var certificateControls = []harden.Control{
	{
		ID:    "etcd-server-certificate",
		Title: "Clients reach etcd over TLS, with a certificate of its own",
		Why: harden.Msg("Without a certificate etcd serves everything, Secrets included, in plain text on its client port. " +
			"With one the API server knows that it talks to etcd, and nobody in between reads along. kubeadm sets it."),
		Refs:     harden.Refs{CIS: []string{"2.1"}, STIG: []string{"V-242427", "V-242428"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.Critical, Component: harden.Etcd, Flags: []string{certFlag, keyFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return clients.assessCertificate(f) },
		Remedies: []harden.Remedy{clients.certificateRemedy()},
	},
	{
		ID:    "etcd-client-cert-auth",
		Title: "Etcd serves only clients with a certificate",
		Why: harden.Msg("Whoever can open a connection to etcd can read and change every object, past all permissions of the API. " +
			"With client certificates only those get in whom etcd's own CA has certified: the API server and the health checks. kubeadm sets it."),
		Refs:     harden.Refs{CIS: []string{"2.2"}, STIG: []string{"V-242423"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.Critical, Component: harden.Etcd, Flags: []string{authFlag, caFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return clients.assessAuth(f) },
		Remedies: []harden.Remedy{clients.authRemedy(apiServerHasCertificate)},
	},
	{
		ID:    "etcd-auto-tls",
		Title: "Etcd makes no certificates for itself",
		Why: harden.Msg("With auto-tls etcd signs its own certificate, which no client can check: whoever stands in between can pass for etcd. " +
			"It is for trying things out."),
		Refs:     harden.Refs{CIS: []string{"2.3"}, STIG: []string{"V-242379"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.High, Component: harden.Etcd, Flags: []string{autoFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return clients.assessAuto(f) },
		Remedies: []harden.Remedy{clients.autoRemedy()},
	},
	{
		ID:    "etcd-peer-certificate",
		Title: "Members of etcd talk over TLS",
		Why: harden.Msg("Members send each other every change, Secrets included. " +
			"Without certificates that travels in plain text between the control-plane nodes, and anybody may pass for a member. kubeadm sets them."),
		Refs:     harden.Refs{CIS: []string{"2.4"}, STIG: []string{"V-242432", "V-242433"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.High, Component: harden.Etcd, Flags: []string{peerCertFlag, peerKeyFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return peers.assessCertificate(f) },
		Remedies: []harden.Remedy{peers.certificateRemedy()},
	},
	{
		ID:    "etcd-peer-client-cert-auth",
		Title: "Etcd takes only peers with a certificate",
		Why: harden.Msg("Without it whoever reaches the peer port may join the conversation of the members, read every change and feed them others. " +
			"With kubeadm each member has a certificate of etcd's own CA, and shows it."),
		Refs:     harden.Refs{CIS: []string{"2.5"}, STIG: []string{"V-242426"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.High, Component: harden.Etcd, Flags: []string{peerAuthFlag, peerCAFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return peers.assessAuth(f) },
		Remedies: []harden.Remedy{peers.authRemedy(membersHaveCertificates)},
	},
	{
		ID:    "etcd-peer-auto-tls",
		Title: "Members of etcd make no certificates for themselves",
		Why: harden.Msg("With peer-auto-tls each member signs its own certificate, and none can tell another member from an impostor. " +
			"It is for trying things out."),
		Refs:     harden.Refs{CIS: []string{"2.6"}, STIG: []string{"V-242380"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
		Severity: harden.High, Component: harden.Etcd, Flags: []string{peerAutoFlag},
		Needs: needs, Applies: applies,
		Assess:   func(f *harden.Facts) harden.Verdict { return peers.assessAuto(f) },
		Remedies: []harden.Remedy{peers.autoRemedy()},
	},
}

func (s side) assessCertificate(f *harden.Facts) harden.Verdict {
	cert, key, urls := f.EtcdSetting(s.cert), f.EtcdSetting(s.key), f.EtcdSetting(s.urls)
	seen := []harden.Evidence{cert.Seen, key.Seen}
	switch {
	case !cert.Unknown.IsZero():
		return harden.NeedsPerson(cert.Unknown, cert.Seen)
	case cert.Value == "" || key.Value == "":
		return harden.Failed(harden.Msg("certificate and key are not both given"), seen...)
	}
	for _, u := range urls.List() {
		if strings.HasPrefix(u, "http://") {
			return harden.Failed(harden.Msg("it listens on %s too, in plain text", u), append(seen, urls.Seen)...)
		}
	}
	return harden.Passed(harden.Msg("the certificate is %s", cert.Value), seen...)
}

// certificateRemedy gives the files that kubeadm makes. Where etcd listens in plain text, clients would have to change at the
// same time, on this node and on others: that is not one transaction of this node.
func (s side) certificateRemedy() harden.Remedy {
	return harden.Remedy{
		ID: "kubeadm-files", Title: harden.Msg("Give etcd the certificate and key that kubeadm made"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Clients and members that trust another CA than etcd's in /etc/kubernetes/pki/etcd are refused with \"certificate signed by unknown authority\"; the API server is one of them where its --etcd-cafile is another."),
		},
		Preconditions: preconditions(),
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			for _, u := range f.EtcdSetting(s.urls).List() {
				if strings.HasPrefix(u, "http://") {
					return nil, fmt.Errorf("etcd listens on %s, so who talks to it must change at the same time; see %s for the order", u, securityPage)
				}
			}
			if err := mounted(f, s.certFile, s.keyFile); err != nil {
				return nil, err
			}
			return putAll(f, map[string]any{s.cert: s.certFile, s.key: s.keyFile}, s.cert, s.key)
		},
	}
}

func mounted(f *harden.Facts, paths ...string) error {
	for _, p := range paths {
		if _, ok := f.Component(harden.Etcd).HostPath(p); !ok {
			return fmt.Errorf("%s is not mounted into etcd; mount it in the manifest by hand first", p)
		}
	}
	return nil
}

func (s side) assessAuth(f *harden.Facts) harden.Verdict {
	auth, ca := f.EtcdSetting(s.auth), f.EtcdSetting(s.ca)
	switch {
	case !auth.Unknown.IsZero():
		return harden.NeedsPerson(auth.Unknown, auth.Seen)
	case !auth.Is(true):
		return harden.Failed(harden.Msg("certificates are not asked for"), auth.Seen, ca.Seen)
	case ca.Value == "":
		return harden.Failed(harden.Msg("certificates are asked for, and no CA says whose count: every CA that the system trusts does"), auth.Seen, ca.Seen)
	}
	return harden.Passed(harden.Msg("only certificates of %s are taken", ca.Value), auth.Seen, ca.Seen)
}

func (s side) authRemedy(ready func(*harden.Facts, harden.Values) harden.Precondition) harden.Remedy {
	return harden.Remedy{
		ID: "on", Title: harden.Msg("Ask for certificates of etcd's own CA"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Whoever has no certificate of that CA is cut off at once: backup jobs, monitoring, an API server without --etcd-certfile, and with it the whole API."),
		},
		Preconditions: preconditions(ready),
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			values := map[string]any{s.auth: true}
			order := []string{s.auth}
			if f.EtcdSetting(s.ca).Value == "" {
				if err := mounted(f, s.caFile); err != nil {
					return nil, err
				}
				values[s.ca], order = s.caFile, append(order, s.ca)
			}
			return putAll(f, values, order...)
		},
	}
}

func (s side) assessAuto(f *harden.Facts) harden.Verdict {
	auto := f.EtcdSetting(s.auto)
	switch {
	case !auto.Unknown.IsZero():
		return harden.NeedsPerson(auto.Unknown, auto.Seen)
	case auto.Is(false):
		return harden.Passed(harden.Msg("it is off"), auto.Seen)
	}
	return harden.Failed(harden.Msg("it is on"), auto.Seen)
}

func (s side) autoRemedy() harden.Remedy {
	return harden.Remedy{
		ID: "off", Title: harden.Msg("Turn it off; the certificate that is given counts"), Risk: harden.RiskLockOut, Impact: restart,
		Breaks: []harden.Message{
			harden.Msg("Where no certificate is given, etcd does not start without it. Where one is given, nothing changes: that one was used already."),
		},
		Preconditions: preconditions(func(f *harden.Facts, _ harden.Values) harden.Precondition {
			cert, key := f.EtcdSetting(s.cert), f.EtcdSetting(s.key)
			pre := harden.Precondition{
				ID: "certificate-given", Title: harden.Msg("a certificate and its key are given"), State: harden.Met,
				Message: harden.Msg("they are"), Evidence: []harden.Evidence{cert.Seen, key.Seen},
			}
			if cert.Value == "" || key.Value == "" {
				pre.State, pre.Message = harden.Unmet, harden.Msg("etcd would have none to serve with")
			}
			return pre
		}),
		Intents: func(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
			c := f.Component(harden.Etcd)
			if _, byVariable := c.EtcdVariable(s.auto); c.EtcdConfigFile() != "" || byVariable {
				i, err := put(f, s.auto, false)
				return []harden.Intent{i}, err
			}
			return []harden.Intent{harden.RemoveFlag(harden.Etcd, s.auto)}, nil
		},
	}
}

// apiServerHasCertificate: etcd's only client that must not be cut off.
func apiServerHasCertificate(f *harden.Facts, _ harden.Values) harden.Precondition {
	pre := harden.Precondition{
		ID: "api-server-has-certificate", Title: harden.Msg("the API server shows etcd a certificate"), State: harden.PreconditionUnknown,
		Message: harden.Msg("no API server of this node is known"),
	}
	c := f.Component(harden.APIServer)
	if c == nil {
		return pre
	}
	cert, key := c.Flag("etcd-certfile"), c.Flag("etcd-keyfile")
	pre.Evidence = []harden.Evidence{cert.Evidence("etcd-certfile"), key.Evidence("etcd-keyfile")}
	pre.State, pre.Message = harden.Met, harden.Msg("it does")
	if cert.Last() == "" || key.Last() == "" {
		pre.State, pre.Message = harden.Unmet, harden.Msg("it would be cut off: give it --etcd-certfile and --etcd-keyfile first")
	}
	return pre
}

func membersHaveCertificates(f *harden.Facts, _ harden.Values) harden.Precondition {
	pre := harden.Precondition{
		ID: "members-have-certificates", Title: harden.Msg("every other member shows a certificate"), State: harden.PreconditionUnknown,
		Message: harden.Msg("what other members are given is not known here"),
	}
	if q := quorum(f); q.State == harden.Met {
		pre.State, pre.Message, pre.Evidence = harden.Met, harden.Msg("there is no other member"), q.Evidence
	}
	return pre
}

var uniqueCA = harden.Control{
	ID:    "etcd-unique-ca",
	Title: "Etcd trusts a CA that certifies nobody else",
	Why: harden.Msg("Etcd lets everybody in who has a certificate of the CA that it trusts. " +
		"Where that is the cluster's CA, each kubelet and each user with a client certificate may read and write everything. kubeadm makes a CA for etcd alone."),
	Refs:     harden.Refs{CIS: []string{"2.7"}, NSA: []string{nsaEtcd}, Docs: []string{securityPage}},
	Severity: harden.High, Component: harden.Etcd, Flags: []string{caFlag},
	Needs: []harden.Need{harden.NeedEtcd, harden.NeedAPIServer}, Applies: applies, Assess: assessCA,
}

func assessCA(f *harden.Facts) harden.Verdict {
	ca := f.EtcdSetting(caFlag)
	api := f.Component(harden.APIServer)
	switch {
	case !ca.Unknown.IsZero():
		return harden.NeedsPerson(ca.Unknown, ca.Seen)
	case ca.Value == "":
		return harden.Failed(harden.Msg("no CA is given"), ca.Seen)
	case api == nil:
		return harden.NeedsPerson(harden.Msg("no API server of this node is known, whose CA to compare with %s", ca.Value), ca.Seen)
	}
	flag := api.Flag("client-ca-file")
	seen := []harden.Evidence{ca.Seen, flag.Evidence("client-ca-file")}
	own, err := publicKeys(f.Referred(harden.Etcd, ca.Value))
	if err != nil {
		return harden.NeedsPerson(harden.Msg("%s: %s; compare it with the cluster's CA", ca.Value, err), seen...)
	}
	cluster, err := publicKeys(f.Referred(harden.APIServer, flag.Last()))
	if err != nil {
		return harden.NeedsPerson(harden.Msg("%s: %s; compare it with etcd's CA", flag.Last(), err), seen...)
	}
	for _, a := range own {
		for _, b := range cluster {
			if bytes.Equal(a, b) {
				return harden.Failed(harden.Msg("etcd trusts the CA that certifies the cluster's clients; make a CA for etcd, and certificates of it for its clients and members"), seen...)
			}
		}
	}
	return harden.Passed(harden.Msg("etcd's CA is not the one that certifies the cluster's clients"), seen...)
}

// publicKeys of the certificates in a file: a CA that was renewed with its key is the same CA.
func publicKeys(file harden.Referred) ([][]byte, error) {
	if !file.Known || !file.State.Exists {
		return nil, errors.New("it was not read")
	}
	var out [][]byte
	for rest := file.State.Data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("it holds something else than certificates: %w", err)
		}
		out = append(out, c.RawSubjectPublicKeyInfo)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no certificate")
	}
	return out, nil
}
