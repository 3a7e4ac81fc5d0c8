package backups_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// operations runs a script undisturbed and returns what it did to the file system.
func operations(t *testing.T, job string) []backupstest.Op {
	t.Helper()
	real, s := realNode(t, t.TempDir())
	return watched(t, real, func(store *backups.Store) error { return script(job, s, store) })
}

type kill struct {
	job  string
	when string
	op   backupstest.Op
}

func (k kill) String() string {
	return fmt.Sprintf("%s killed %s operation %d (%s %s)", k.job, k.when, k.op.N, k.op.Name, k.op.Path)
}

// kills are all the moments at which a run of these operations can be killed.
func kills(job string, ops []backupstest.Op) []kill {
	var list []kill
	for _, op := range ops {
		if op.N%every(5) != 0 {
			continue
		}
		list = append(list, kill{job, "before", op}, kill{job, "after", op})
		if op.Name == "Write" {
			list = append(list, kill{job, "half", op})
		}
	}
	return list
}

// each calls do for every number below n, in a few goroutines, until the test has failed.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// TestKilled kills a real process at every operation and recovers in another one.
func TestKilled(t *testing.T) {
	base := scratch(t)
	for _, job := range []string{"commit", "rollback"} {
		ops := operations(t, job)
		list := kills(job, ops)
		end := 0
		for _, op := range ops {
			if op.Name == "Write" {
				end = op.N
			}
		}
		var committed atomic.Int64
		each(t, len(list), func(i int) error {
			k := list[i]
			root := filepath.Join(base, fmt.Sprintf("%s-%d", job, i))
			defer os.RemoveAll(root)
			real, s := realNode(t, root)
			if killed, err := startChild(job, root, k.when, strconv.Itoa(k.op.N)); err != nil || !killed {
				return fmt.Errorf("%v: killed %v: %w", k, killed, err)
			}
			if err := settle(open(real)); err != nil {
				return fmt.Errorf("%v: recovering: %w", k, err)
			}
			outcome, err := s.check(real)
			if err != nil {
				return fmt.Errorf("%v: %w", k, err)
			}
			done := k.op.N > end || k.op.N == end && k.when == "after"
			if job == "commit" && done != (outcome == backups.Committed) {
				return fmt.Errorf("%v: outcome %q", k, outcome)
			}
			if outcome == backups.Committed {
				committed.Add(1)
			}
			return nil
		})
		_, s := realNode(t, filepath.Join(base, "as-"+job))
		t.Logf("%s: %d kills at %d operations, %d of them after the end; owners %v, extended attributes %v",
			job, len(list), len(ops), committed.Load(), s.odd, s.xattrs)
	}
}

// TestKilledInRecovery kills the process that recovers, too, and recovers once more.
func TestKilledInRecovery(t *testing.T) {
	base := scratch(t)
	ops := operations(t, "commit")
	list := kills("commit", ops)
	var count atomic.Int64
	each(t, len(list), func(i int) error {
		k := list[i]
		root := filepath.Join(base, strconv.Itoa(i))
		defer os.RemoveAll(root)
		real, s := realNode(t, root)
		if killed, err := startChild("commit", root, k.when, strconv.Itoa(k.op.N)); err != nil || !killed {
			return fmt.Errorf("%v: killed %v: %w", k, killed, err)
		}
		// The moments wander, so that all of a recovery's operations have their turn; each recovery is killed anew.
		for m := 5 + i%41; ; m += 41 {
			killed, err := startChild("settle", root, []string{"before", "half", "after"}[(i+m)%3], strconv.Itoa(m))
			if err != nil {
				return fmt.Errorf("%v: recovering: %w", k, err)
			}
			if !killed {
				break
			}
			count.Add(1)
		}
		if _, err := s.check(real); err != nil {
			return fmt.Errorf("%v, then in recovery: %w", k, err)
		}
		return nil
	})
	t.Logf("%d kills of recoveries after %d kills", count.Load(), len(list))
}
