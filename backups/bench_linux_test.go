package backups_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// benchNode has five files and a store, with real syncs.
func benchNode(b *testing.B) (backupstest.OS, []backups.Target) {
	b.Helper()
	real := backupstest.OS{Root: b.TempDir()}
	must(b, os.MkdirAll(filepath.Join(real.Root, "var/lib"), 0o755))
	s := onDisk(real)
	must(b, place(real, "/etc", s.state(0o755, 0, "")))
	var targets []backups.Target
	for i := range 5 {
		p := fmt.Sprintf("/etc/%d.yaml", i)
		before := s.state(0o600, 0, fmt.Sprintf("%4096d", i))
		must(b, place(real, p, before))
		targets = append(targets, backups.Target{ID: p, Path: p, Before: before, After: s.state(0o600, 0, fmt.Sprintf("%4097d", i))})
	}
	return real, targets
}

// BenchmarkTransaction begins, puts and closes five files of 4 KiB.
func BenchmarkTransaction(b *testing.B) {
	real, targets := benchNode(b)
	x, err := backups.Open(real, backups.Options{Dir: stateDir}).Lock(holder)
	must(b, err)
	for b.Loop() {
		tx, err := x.Begin(meta, plan, targets, backups.Script{})
		must(b, err)
		for i, t := range targets {
			must(b, tx.Put(t.ID))
			targets[i].Before, targets[i].After = t.After, t.Before
		}
		must(b, tx.Close(backups.Committed))
	}
	must(b, x.Unlock())
}

// BenchmarkList lists 1,000 transactions of five files.
func BenchmarkList(b *testing.B) {
	real, targets := benchNode(b)
	real.NoSync = true
	store := backups.Open(real, backups.Options{Dir: stateDir})
	x, err := store.Lock(holder)
	must(b, err)
	for range 1000 {
		tx, err := x.Begin(meta, plan, targets, backups.Script{})
		must(b, err)
		for i, t := range targets {
			must(b, tx.Put(t.ID))
			targets[i].Before, targets[i].After = t.After, t.Before
		}
		must(b, tx.Close(backups.Committed))
	}
	for b.Loop() {
		list, err := store.List()
		must(b, err)
		if len(list) != 1000 {
			b.Fatal(len(list))
		}
	}
	must(b, x.Unlock())
}
