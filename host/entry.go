package host

import (
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Entry is a path as it is, links not followed.
type Entry struct {
	Name string // in its directory
	backups.Info
	Modified time.Time // its content
}
