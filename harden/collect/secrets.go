package collect

import (
	"net/url"

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
	flag := c.Flag("encryption-provider-config")
	if !flag.Set {
		if s, err := n.State(harden.EncryptionFile); err == nil && s.Exists {
			f.UnusedEncryption = harden.EncryptionFile
		}
		return
	}
	fact := &harden.EncryptionFact{}
	f.Encryption = fact
	var data []byte
	if fact.Path, data, fact.Unread = mounted(n, c, flag.Last()); data == nil {
		return
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
		return
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
	fact := &harden.AuditWebhookFact{}
	f.AuditWebhook = fact
	var data []byte
	if fact.Path, data, fact.Unread = mounted(n, c, flag.Last()); data == nil {
		return
	}
	var k struct {
		Clusters []struct {
			Name    string `json:"name"`
			Cluster struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"clusters"`
		Contexts []struct {
			Name    string `json:"name"`
			Context struct {
				Cluster string `json:"cluster"`
			} `json:"context"`
		} `json:"contexts"`
		Current string `json:"current-context"`
	}
	// The error of a decoder may quote what it cannot read, which may be a credential here.
	if yaml.Unmarshal(data, &k) != nil {
		fact.Unread = harden.Msg("%s is no kubeconfig that can be read here", fact.Path)
		return
	}
	for _, ctx := range k.Contexts {
		for _, cl := range k.Clusters {
			if u, err := url.Parse(cl.Cluster.Server); ctx.Name == k.Current && cl.Name == ctx.Context.Cluster && err == nil {
				u.User, u.RawQuery, u.Fragment = nil, "", ""
				fact.Server = u.String()
			}
		}
	}
	if fact.Server == "" {
		fact.Unread = harden.Msg("%s has no current context with a server", fact.Path)
	}
}
