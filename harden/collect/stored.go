package collect

import (
	"context"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Stored is the etcd in which the API server keeps objects. Of a value, which is secret, its beginning alone is told.
type Stored interface {
	Beginnings(ctx context.Context, resource string, see func(begins string)) error
}

// What looking may take: etcd sends whole values, which may be large.
const (
	maxStored  = 500
	storedTime = time.Second
)

// AddStored looks how Secrets lie in etcd, where an encryption configuration is in force, and gives facts with it; f stays as it is.
func AddStored(ctx context.Context, f *harden.Facts, s Stored) *harden.Facts {
	if f.Encryption == nil || len(f.Encryption.Rules) == 0 {
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, storedTime)
	defer cancel()
	found := &harden.StoredFact{}
	err := s.Beginnings(ctx, "secrets", func(begins string) {
		if found.Looked == maxStored {
			found.More = true
			cancel()
			return
		}
		found.Looked++
		if !strings.HasPrefix(begins, harden.Encrypted) {
			found.Plain++
		}
	})
	switch {
	case err == nil:
	case found.Looked > 0:
		found.More = true // what was seen stands
	default:
		found.Unread = harden.Msg("%s", err.Error())
	}
	out, encryption := *f, *f.Encryption
	encryption.Secrets = found
	out.Encryption = &encryption
	return &out
}
