package harden

import (
	"net"
	"net/netip"
	"net/url"
)

// AuditWebhookDir is where the operator puts the kubeconfig of whoever is to receive audit events, with the files that it names.
const AuditWebhookDir = "/etc/kubernetes/audit-webhook"

// AuditWebhookFact is where the API server sends audit events, or could, without the credentials for it.
type AuditWebhookFact struct {
	Path   string  `json:"path"`
	Unread Message `json:"unread,omitzero"`
	Server string  `json:"server,omitempty"`
	// Files are those that it names, on the host: CA, certificate, key, token.
	Files []string `json:"files,omitempty"`
	// Runs says that a program gives the credentials.
	Runs bool `json:"runs,omitempty"`
}

func (w AuditWebhookFact) url() *url.URL {
	u, err := url.Parse(w.Server)
	if err != nil {
		return &url.URL{}
	}
	return u
}

// Host is the receiver's name or address; empty where the kubeconfig has none that is one.
func (w AuditWebhookFact) Host() string { return w.url().Hostname() }

// HostPort is the same with the port.
func (w AuditWebhookFact) HostPort() string { return net.JoinHostPort(w.Host(), w.url().Port()) }

// Plain says that events leave the node unencrypted.
func (w AuditWebhookFact) Plain() bool {
	at, err := netip.ParseAddr(w.Host())
	local := err == nil && at.IsLoopback() || w.Host() == "localhost"
	return w.url().Scheme != "https" && !local
}
