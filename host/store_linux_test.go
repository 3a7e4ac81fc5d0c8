package host

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// A transaction of the real store on a real root: what is put is there exactly, and what is reverted is as before.
func TestTransactionOnARoot(t *testing.T) {
	asRoot(t)
	r, dir := newRoot(t)
	full := put(t, dir, manifest, "kind: Pod\n")
	must(t, unix.Chmod(full, 0o600))
	must(t, os.Chown(full, 0, 7))
	must(t, unix.Setxattr(full, "user.note", []byte("kept"), 0))
	must(t, unix.Setxattr(full, "security.test", []byte("label\x00"), 0))
	before := fingerprint(t, filepath.Join(dir, "etc"))

	old, err := r.State(manifest)
	must(t, err)
	changed := old
	changed.Data = []byte("kind: Pod\nspec: {}\n")
	const policies = "/etc/kubernetes/policies"
	targets := []backups.Target{
		{ID: "dir", Path: policies, After: backups.State{Exists: true, Dir: true, Mode: 0o750, GID: 7}},
		{ID: "new", Path: policies + "/audit-policy.yaml", After: backups.State{Exists: true, Data: []byte("kind: Policy\n"), Mode: 0o600}},
		{ID: "manifest", Path: manifest, Before: old, After: changed},
	}
	store := backups.Open(r, backups.Options{Dir: "/var/lib/kubectl-harden"})
	session, err := store.Lock(backups.Holder{PID: os.Getpid()})
	must(t, err)
	tx, err := session.Begin(backups.Meta{Command: "apply"}, nil, targets, backups.Script{})
	must(t, err)
	for _, target := range targets {
		must(t, tx.Put(target.ID))
		if got, err := r.State(target.Path); err != nil || !reflect.DeepEqual(got, target.After) {
			t.Errorf("%s is %+v, %v; want %+v", target.Path, got, err, target.After)
		}
	}
	if names, err := r.ReadDir(filepath.Dir(manifest)); err != nil || len(names) != 1 {
		t.Errorf("beside the manifest lies %q, %v", names, err)
	}

	must(t, os.Link(full, filepath.Join(dir, "etc/another-name")))
	var refused *UnsafeError
	if err := tx.Revert("manifest"); !errors.As(err, &refused) {
		t.Errorf("a file that got a second name is written to: %v", err)
	}
	must(t, os.Remove(filepath.Join(dir, "etc/another-name")))
	for _, target := range slices.Backward(targets) {
		must(t, tx.Revert(target.ID))
	}
	if after := fingerprint(t, filepath.Join(dir, "etc")); after != before {
		t.Errorf("the tree changed from\n%s\nto\n%s", before, after)
	}
	must(t, tx.Close(backups.RolledBack))
	must(t, session.Unlock())
}
