package harden

// ServerConfigurationFlags name the files that configure the API server and hold what is for root alone.
var ServerConfigurationFlags = []string{
	"audit-policy-file", "audit-webhook-config-file", "authentication-config", "authorization-config", AdmissionFlag,
	"authentication-token-webhook-config-file", "authorization-webhook-config-file", "authorization-policy-file",
	"egress-selector-config-file", "encryption-provider-config", "tracing-config-file", "token-auth-file",
}

// NamedFile is a file of the host that a configuration of this node's API server names: the configuration of an admission plugin, a
// kubeconfig for a webhook, or what such a kubeconfig names in turn. Certificates are not among them: they are public.
type NamedFile struct {
	Path string    `json:"path"`
	By   string    `json:"by"` // the host's file that names it
	Kind NamedKind `json:"kind"`
}

// NamedKind is what such a file holds.
type NamedKind string

const (
	NamedConfiguration NamedKind = "configuration"
	NamedToken         NamedKind = "token"
	NamedKey           NamedKind = "key"
)

// NamedBy is the file that names one, "" where none does.
func (f *Facts) NamedBy(path string) string {
	for _, n := range f.NamedFiles {
		if n.Path == path {
			return n.By
		}
	}
	return ""
}
