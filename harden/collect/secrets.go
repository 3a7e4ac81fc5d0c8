package collect

import (
	"net/url"
	"path"

	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
)

// mounted reads a file that the API server is given by its path in the container: where that is on the host, and what it holds.
// data is nil where it could not be read; unread says why then.
func mounted(n Node, c *harden.ComponentFacts, inside string) (host string, data []byte, unread harden.Message) {
	host, ok := c.HostPath(inside)
	if !ok {
		return inside, nil, harden.Msg("no mount shows %s to the API server", inside)
	}
	file := readFile(n, host)
	switch {
	case !file.Unread.IsZero():
		return host, nil, file.Unread
	case !file.State.Exists:
		return host, nil, harden.Msg("%s does not exist", host)
	}
	return host, append([]byte{}, file.State.Data...), harden.Message{}
}

// collectEncryption reads which providers the encryption configuration names, in their order, and none of its keys.
func collectEncryption(n Node, f *harden.Facts) {
	c := f.Component(harden.APIServer)
	if c == nil {
		return
	}
	if file := readFile(n, harden.EncryptionIncoming); file.State.Exists || !file.Unread.IsZero() {
		f.IncomingEncryption = encryptionFact(harden.EncryptionIncoming, file.State.Data, file.Unread)
		f.IncomingEncryption.Open = file.State.Mode&0o077 != 0 || file.State.UID != 0
	}
	flag := c.Flag("encryption-provider-config")
	if !flag.Set {
		if s, err := n.State(harden.EncryptionFile); err == nil && s.Exists {
			f.UnusedEncryption = harden.EncryptionFile
		}
		return
	}
	f.Encryption = encryptionFact(mounted(n, c, flag.Last()))
}

// encryptionFact is of a file that holds data, or could not be read.
func encryptionFact(path string, data []byte, unread harden.Message) *harden.EncryptionFact {
	fact := &harden.EncryptionFact{Path: path, Unread: unread}
	if data == nil {
		return fact
	}
	fact.SHA256 = harden.State{Exists: true, Data: data}.Digest()
	if ours, ok := harden.ParseEncryption(data); ok {
		bare := ours.WithoutSecrets()
		fact.Ours = &bare
	}
	var config struct {
		Kind      string `json:"kind"`
		Resources []struct {
			Resources []string         `json:"resources"`
			Providers []map[string]any `json:"providers"`
		} `json:"resources"`
	}
	// The error of a decoder may quote what it cannot read, which is secret here.
	if yaml.Unmarshal(data, &config) != nil || config.Kind != "EncryptionConfiguration" {
		fact.Unread = harden.Msg("%s is no EncryptionConfiguration that can be read here", fact.Path)
		return fact
	}
	for _, r := range config.Resources {
		rule := harden.EncryptionRule{Resources: r.Resources}
		for _, p := range r.Providers {
			for kind := range p {
				rule.Providers = append(rule.Providers, kind)
			}
		}
		fact.Rules = append(fact.Rules, rule)
	}
	return fact
}

// collectAuditWebhook reads where audit events are sent, and none of the credentials for it.
func collectAuditWebhook(n Node, f *harden.Facts) {
	c := f.Component(harden.APIServer)
	if c == nil {
		return
	}
	flag := c.Flag("audit-webhook-config-file")
	if flag.Last() == "" {
		return
	}
	f.AuditWebhook = &harden.AuditWebhookFact{}
	var data []byte
	if f.AuditWebhook.Path, data, f.AuditWebhook.Unread = mounted(n, c, flag.Last()); data != nil {
		*f.AuditWebhook = auditWebhook(f.AuditWebhook.Path, data)
	}
}

// maxReceivers bounds how many files of the directory are read.
const maxReceivers = 20

// collectAuditReceivers reads the kubeconfigs that the operator has put where they can be chosen from.
func collectAuditReceivers(n Node, f *harden.Facts) {
	if f.Component(harden.APIServer) == nil {
		return
	}
	names, err := n.List(harden.AuditWebhookDir)
	if err != nil {
		return // a precondition says that there is none
	}
	for _, name := range names[:min(len(names), maxReceivers)] {
		if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" && ext != ".conf" && ext != ".kubeconfig" {
			continue
		}
		p := path.Join(harden.AuditWebhookDir, name)
		file := readFile(n, p)
		switch {
		case !file.Unread.IsZero():
			f.AuditReceivers = append(f.AuditReceivers, harden.AuditWebhookFact{Path: p, Unread: file.Unread})
		case file.State.Exists && !file.State.Dir:
			f.AuditReceivers = append(f.AuditReceivers, auditWebhook(p, file.State.Data))
		}
	}
}

// auditWebhook reads of a kubeconfig, which is at a path of the host, where its current context leads to.
func auditWebhook(at string, data []byte) harden.AuditWebhookFact {
	fact := harden.AuditWebhookFact{Path: at}
	var k struct {
		Clusters []struct {
			Name    string `json:"name"`
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority"`
			} `json:"cluster"`
		} `json:"clusters"`
		Contexts []struct {
			Name    string `json:"name"`
			Context struct {
				Cluster string `json:"cluster"`
				User    string `json:"user"`
			} `json:"context"`
		} `json:"contexts"`
		Users []struct {
			Name string `json:"name"`
			User struct {
				Certificate string         `json:"client-certificate"`
				Key         string         `json:"client-key"`
				TokenFile   string         `json:"tokenFile"`
				Exec        map[string]any `json:"exec"`
				Provider    map[string]any `json:"auth-provider"`
			} `json:"user"`
		} `json:"users"`
		Current string `json:"current-context"`
	}
	// The error of a decoder may quote what it cannot read, which may be a credential here.
	if yaml.Unmarshal(data, &k) != nil {
		fact.Unread = harden.Msg("%s is no kubeconfig that can be read here", fact.Path)
		return fact
	}
	named := func(files ...string) {
		for _, p := range files {
			if p != "" && !path.IsAbs(p) {
				p = path.Join(path.Dir(at), p) // as the API server takes it
			}
			if p != "" {
				fact.Files = append(fact.Files, p)
			}
		}
	}
	for _, ctx := range k.Contexts {
		if ctx.Name != k.Current {
			continue
		}
		for _, cl := range k.Clusters {
			if u, err := url.Parse(cl.Cluster.Server); cl.Name == ctx.Context.Cluster && err == nil {
				u.User, u.RawQuery, u.Fragment = nil, "", ""
				fact.Server = u.String()
				named(cl.Cluster.CA)
			}
		}
		for _, u := range k.Users {
			if u.Name == ctx.Context.User {
				named(u.User.Certificate, u.User.Key, u.User.TokenFile)
				fact.Runs = len(u.User.Exec)+len(u.User.Provider) > 0
			}
		}
	}
	if fact.Server == "" {
		fact.Unread = harden.Msg("%s has no current context with a server", fact.Path)
	}
	return fact
}
