package apiserver

import (
	"fmt"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// fileControl is a control of flags that name files which kubeadm makes. One row is one control.
type fileControl struct {
	id, title string
	why       harden.Message
	refs      harden.Refs
	severity  harden.Severity
	flags     []string // in order, each with the file that kubeadm gives it
	files     []string
	without   harden.Message // what it means that they are missing
	breaks    harden.Message
}

const (
	pki            = "/etc/kubernetes/pki/"
	accountKeyFlag = "service-account-key-file"
)

var fileControls = []fileControl{
	{
		id: "apiserver-kubelet-client-certificate", title: "The API server proves itself to kubelets with a certificate",
		why: harden.Msg("The API server asks kubelets for logs, and opens shells in pods through them. " +
			"Without a certificate it asks anonymously, and kubelets have to let everybody in to let it in. kubeadm sets it."),
		refs:     harden.Refs{CIS: []string{"1.2.4"}, STIG: []string{"V-245544"}, NSA: []string{nsaAccess}, Docs: []string{flagsPage}},
		severity: harden.High,
		flags:    []string{"kubelet-client-certificate", "kubelet-client-key"}, files: []string{pki + "apiserver-kubelet-client.crt", pki + "apiserver-kubelet-client.key"},
		without: harden.Msg("kubelets are asked without a certificate"),
		breaks:  harden.Msg("Kubelets that trust another CA refuse it: kubectl logs and exec then say \"Unauthorized\"."),
	},
	{
		id: "apiserver-etcd-files", title: "The API server and etcd prove themselves to each other",
		why: harden.Msg("Everything that the cluster stores goes over this connection. " +
			"With etcd's CA the API server cannot be made to talk to an impostor, and with a certificate of its own etcd can refuse everybody else. kubeadm sets the three files."),
		refs:     harden.Refs{CIS: []string{"1.2.23", "1.2.26"}, STIG: []string{"V-242429", "V-242430", "V-242431"}, Docs: []string{flagsPage}},
		severity: harden.High,
		flags:    []string{"etcd-cafile", "etcd-certfile", "etcd-keyfile"}, files: []string{pki + "etcd/ca.crt", pki + "apiserver-etcd-client.crt", pki + "apiserver-etcd-client.key"},
		without: harden.Msg("the connection to etcd is not protected on both sides"),
		breaks:  harden.Msg("Where etcd is another than kubeadm's, its CA is another too, and the API server does not start: set the files that its operator gave out by hand."),
	},
	{
		id: "apiserver-client-ca-file", title: "Client certificates are checked against the cluster's CA",
		why: harden.Msg("Administrators, kubelets and the control plane prove themselves by certificates of this CA. " +
			"Without the flag no client certificate counts, and what is left are tokens. kubeadm sets it."),
		refs:     harden.Refs{CIS: []string{"1.2.25"}, STIG: []string{"V-242419"}, NSA: []string{nsaAccess}, Docs: []string{flagsPage}},
		severity: harden.High,
		flags:    []string{"client-ca-file"}, files: []string{pki + "ca.crt"},
		without: harden.Msg("no client certificate counts"),
		breaks:  harden.Msg("Whoever holds a certificate of the cluster's CA is let in, with the rights that its name and groups have."),
	},
	{
		id: "apiserver-tls-cert-file", title: "The API server serves with a certificate that clients can check",
		why: harden.Msg("Without the flags the API server makes a certificate that it signs itself, and clients that accept it accept everybody's. " +
			"The one that kubeadm makes is of the cluster's CA, with the names and addresses of the node. Clients check it against that CA."),
		refs:     harden.Refs{CIS: []string{"1.2.24"}, STIG: []string{"V-242422"}, Seed: []string{seedTLS}, Docs: []string{flagsPage}},
		severity: harden.High,
		flags:    []string{"tls-cert-file", "tls-private-key-file"}, files: []string{pki + "apiserver.crt", pki + "apiserver.key"},
		without: harden.Msg("it serves with a certificate that it signs itself"),
		breaks:  harden.Msg("Clients that were made to trust the certificate that it signed itself refuse the new one: \"certificate signed by unknown authority\"."),
	},
	{
		id: "apiserver-service-account-key-file", title: "Tokens of service accounts are checked with a key of their own",
		why: harden.Msg("Without the flag tokens of service accounts are checked with the key that the API server serves with, so that whoever renews that certificate locks every pod out. " +
			"kubeadm makes a pair of keys for tokens alone. Never replace them in place: add the new key first."),
		refs:     harden.Refs{CIS: []string{"1.2.22"}, Docs: []string{flagsPage}},
		severity: harden.Medium,
		flags:    []string{accountKeyFlag}, files: []string{pki + "sa.pub"},
		without: harden.Msg("tokens are checked with the serving key"),
		breaks:  harden.Msg("Tokens that were signed with another key are refused with 401 Unauthorized: all pods have to be restarted then."),
	},
}

func fileFlagControls() []harden.Control {
	var out []harden.Control
	for _, fc := range fileControls {
		out = append(out, harden.Control{
			ID: fc.id, Title: fc.title, Why: fc.why, Refs: fc.refs, Severity: fc.severity, Component: harden.APIServer, Flags: fc.flags,
			Needs: needs, Applies: applies, Assess: fc.assess,
			Remedies: []harden.Remedy{{
				ID: "kubeadm-files", Title: harden.Msg("Set the files that kubeadm made for it"), Impact: restart, Risk: harden.RiskLockOut,
				Breaks: []harden.Message{fc.breaks}, Preconditions: fc.preconditions, Intents: fc.intents,
			}},
		})
	}
	return out
}

func (fc fileControl) assess(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	var seen []harden.Evidence
	missing, hidden := false, ""
	for _, name := range fc.flags {
		flag := c.Flag(name)
		seen = append(seen, flag.Evidence(name))
		if flag.Last() == "" {
			missing = true
		} else if _, mounted := c.HostPath(flag.Last()); !mounted {
			hidden = flag.Last()
		}
	}
	if fc.flags[0] == "etcd-cafile" {
		servers := c.Flag("etcd-servers")
		for _, s := range servers.List() {
			if strings.HasPrefix(s, "http://") {
				return harden.Failed(harden.Msg("etcd is reached at %s, in plain text", s), append(seen, servers.Evidence("etcd-servers"))...)
			}
		}
	}
	switch {
	case missing:
		return harden.Failed(fc.without, seen...)
	case hidden != "":
		return harden.Failed(harden.Msg("no mount shows %s to the API server, which needs it to start", hidden), seen...)
	case fc.flags[0] == accountKeyFlag && servingKey(f) != "":
		return harden.Failed(harden.Msg("%s holds the key that the API server serves with: whoever renews that locks every pod out; add the key of kubeadm's pair, wait until all tokens are of it, and take this one away", servingKey(f)), seen...)
	}
	return harden.Passed(harden.Msg("it is %s", c.Flag(fc.flags[0]).Last()), seen...)
}

// servingKey is the file among those for tokens that is the serving certificate, its key, or a certificate with the same key; "" for none.
func servingKey(f *harden.Facts) string {
	c := f.Component(harden.APIServer)
	cert, named := c.HostPath(c.Flag("tls-cert-file").Last())
	key, _ := c.HostPath(c.Flag("tls-private-key-file").Last())
	serving := publicKey(f, cert)
	for _, at := range c.Flag(accountKeyFlag).List() {
		host, ok := c.HostPath(at)
		if ok && (host == key || named && host == cert || serving != "" && publicKey(f, host) == serving) {
			return at
		}
	}
	return ""
}

// publicKey is that of the certificate at a path, as far as one was read there.
func publicKey(f *harden.Facts, at string) string {
	for _, c := range f.Certificates {
		if c.Path == at {
			return c.PublicKey
		}
	}
	return ""
}

// preconditions want the files to be there: without them the API server does not start.
func (fc fileControl) preconditions(f *harden.Facts, _ harden.Values) []harden.Precondition {
	pre := harden.Precondition{ID: "files-there", Title: harden.Msg("the files that kubeadm makes are on this node"), State: harden.Met, Message: harden.Msg("they are")}
	for _, p := range fc.files {
		s, known := f.Stat(p)
		switch {
		case known && s.Kind == harden.StatFile:
			pre.Evidence = append(pre.Evidence, s.Evidence())
		case pre.State == harden.Met:
			pre.State, pre.Message = harden.PreconditionUnknown, harden.Msg("whether %s is there is not known", p)
		}
	}
	return []harden.Precondition{pre}
}

func (fc fileControl) intents(f *harden.Facts, _ harden.Values) ([]harden.Intent, error) {
	c := f.Component(harden.APIServer)
	var out []harden.Intent
	for i, name := range fc.flags {
		if v := c.FileFlag(name).Last(); v != "" && v != fc.files[i] {
			return nil, fmt.Errorf("--%s names %s, which is not kubeadm's; complete the others, or its mount, by hand", name, v)
		}
		if _, mounted := c.HostPath(fc.files[i]); !mounted {
			return nil, fmt.Errorf("%s is not mounted into the API server; mount it in the manifest by hand first", fc.files[i])
		}
		out = append(out, harden.SetFlag(harden.APIServer, name, fc.files[i]))
	}
	return out, nil
}
