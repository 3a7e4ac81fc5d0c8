package collect_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
)

// etcd tells these beginnings, then its error. Like the real one it goes on until its context ends.
type etcd struct {
	begins []string
	err    error
	asked  int
}

func (e *etcd) Beginnings(ctx context.Context, resource string, see func(string)) error {
	if resource != "secrets" {
		return errors.New("another resource")
	}
	e.asked++
	for _, b := range e.begins {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		see(b)
	}
	return e.err
}

func TestSecretsInEtcd(t *testing.T) {
	const plain, encrypted = "k8s\x00\n\x0c\n\x02v1", "k8s:enc:secretbox:v1:key1:"
	many := make([]string, 2000)
	for i := range many {
		many[i] = encrypted
	}
	many[1], many[1999] = plain, plain
	for name, tt := range map[string]struct {
		etcd etcd
		want harden.StoredFact
	}{
		"none":           {etcd{}, harden.StoredFact{}},
		"some in plain":  {etcd{begins: []string{plain, encrypted, "", "{\"kind\":"}}, harden.StoredFact{Looked: 4, Plain: 3}},
		"many":           {etcd{begins: many}, harden.StoredFact{Looked: 500, Plain: 1, More: true}},
		"cut short":      {etcd{begins: []string{plain}, err: errors.New("it is away")}, harden.StoredFact{Looked: 1, Plain: 1, More: true}},
		"cannot be read": {etcd{err: errors.New("it is away")}, harden.StoredFact{Unread: harden.Msg("%s", "it is away")}},
	} {
		f := &harden.Facts{Encryption: &harden.EncryptionFact{Rules: []harden.EncryptionRule{{Resources: []string{"secrets"}}}}}
		got := collect.AddStored(t.Context(), f, &tt.etcd)
		if f.Encryption.Secrets != nil || !reflect.DeepEqual(*got.Encryption.Secrets, tt.want) {
			t.Errorf("%s: %+v", name, got.Encryption.Secrets)
		}
	}
	for _, none := range []*harden.EncryptionFact{nil, {Unread: harden.Msg("it does not exist")}} {
		e := &etcd{}
		if collect.AddStored(t.Context(), &harden.Facts{Encryption: none}, e); e.asked > 0 {
			t.Error("etcd is asked where nothing is encrypted")
		}
	}
}
