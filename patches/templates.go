package patches

import (
	"bytes"
	_ "embed"
)

//go:embed templates/audit-policy.yaml
var auditPolicy []byte

// AuditPolicy is an audit policy for the API server: who changed what, never the contents of secrets, little noise.
// It is valid for Kubernetes 1.29 and newer.
func AuditPolicy() []byte { return bytes.Clone(auditPolicy) }
