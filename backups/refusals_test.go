package backups_test

import (
	"errors"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

func TestRefusedWords(t *testing.T) {
	d := inMemory.disk(t)
	_, tx, err := inMemory.begin(open(d))
	must(t, err)
	for _, err := range []error{tx.Log("put", nil), tx.Log("", nil), tx.Log("x", func() {}), tx.Close("done"), tx.Put("nobody"), tx.Revert("")} {
		if err == nil {
			t.Error("accepted")
		}
	}
	if n := len(tx.Entries()); n != 1 {
		t.Errorf("%d entries", n)
	}
}

// TestMessages keeps terminal control out of errors, and paths in them.
func TestMessages(t *testing.T) {
	d := inMemory.disk(t)
	p := "/etc/\x1b[2J\u202e"
	x, err := open(d).Lock(holder)
	must(t, err)
	_, err = x.Begin(meta, nil, []backups.Target{{ID: "a", Path: p, Before: inMemory.state(0o600, 0, "x")}}, backups.Script{})
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\u202e") || !strings.Contains(err.Error(), `/etc/\x1b[2J\u202e`) {
		t.Errorf("%q", err)
	}
	_, err = open(d).Lock(holder)
	want := `locking /var/lib/kubectl-harden/lock: another run holds the lock: pid 4711, "kubectl-harden apply", started by "root", since 2026-11-23T10:11:12Z`
	if err == nil || err.Error() != want {
		t.Errorf("%q", err)
	}
}

// TestUnsafeDirectories refuses a state directory that others could have prepared.
func TestUnsafeDirectories(t *testing.T) {
	for name, spoil := range map[string]func(d *backupstest.Disk) error{
		"link": func(d *backupstest.Disk) error { return d.Symlink(stateDir) },
		"file": func(d *backupstest.Disk) error { return place(d, stateDir, inMemory.state(0o600, 0, "x")) },
		"others": func(d *backupstest.Disk) error {
			return place(d, stateDir, backups.State{Dir: true, Mode: 0o700, UID: 12345})
		},
		"writable": func(d *backupstest.Disk) error { return place(d, stateDir, backups.State{Dir: true, Mode: 0o770}) },
		"below": func(d *backupstest.Disk) error {
			if err := place(d, stateDir, backups.State{Dir: true, Mode: 0o700}); err != nil {
				return err
			}
			return d.Symlink(stateDir + "/transactions")
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := inMemory.disk(t)
			must(t, d.Mkdir("/var", 0o755))
			must(t, d.Mkdir("/var/lib", 0o755))
			must(t, spoil(d))
			store := open(d)
			_, errList := store.List()
			_, _, errBegin := inMemory.begin(store)
			for _, err := range []error{errList, errBegin} {
				if !errors.Is(err, backups.ErrUnsafe) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	t.Run("readable", func(t *testing.T) {
		d := inMemory.disk(t)
		must(t, d.Mkdir("/var", 0o755))
		must(t, d.Mkdir("/var/lib", 0o755))
		must(t, d.Mkdir(stateDir, 0o755))
		must(t, inMemory.commit(open(d)))
		if info, err := d.Stat(stateDir); err != nil || info.Mode != 0o700 {
			t.Errorf("mode %04o, %v", info.Mode, err)
		}
	})
}
