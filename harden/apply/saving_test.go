package apply_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

// database is what etcd gives as a snapshot, in the world's own files. A Secret of it begins as it says.
type database struct {
	w       *world
	size    uint64
	secrets []string
	asked   error  // of asking etcd
	unread  error  // of looking at Secrets
	full    error  // of saving it
	half    func() // called when half of the file is written
	saved   []string
}

func (d *database) Size(context.Context) (uint64, error) { return d.size, d.asked }

func (d *database) Snapshot(_ context.Context, file string) error {
	if d.full != nil {
		return d.full
	}
	must(d.w.t, d.Discard(file))
	f, err := d.w.fsys.Create(file+".part", 0o600)
	must(d.w.t, err)
	_, err = f.Write([]byte("half of "))
	must(d.w.t, err)
	if d.half != nil {
		d.half()
	}
	_, err = f.Write([]byte("etcd"))
	must(d.w.t, errors.Join(err, f.Close(), d.w.fsys.Rename(file+".part", file)))
	d.saved = append(d.saved, file)
	return nil
}

func (d *database) Discard(file string) error {
	for _, p := range []string{file + ".part", file} {
		if err := d.w.fsys.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (d *database) Beginnings(_ context.Context, _ string, see func(string)) error {
	for _, begins := range d.secrets {
		see(begins)
	}
	return d.unread
}

// snapshotFiles are the files of a transaction that a snapshot has made.
func (w *world) snapshotFiles(id string) string {
	w.t.Helper()
	names, err := w.fsys.ReadDir(stateDir + "/transactions/" + id)
	must(w.t, err)
	var out []string
	for _, n := range names {
		if strings.HasPrefix(n, "etcd-snapshot.db") {
			out = append(out, n)
		}
	}
	return strings.Join(out, " ")
}

// TestEtcdIsSavedBeforeItsManifestIsWritten: a change of etcd was made without a snapshot, which only encryption had.
func TestEtcdIsSavedBeforeItsManifestIsWritten(t *testing.T) {
	w := newWorld(t)
	w.etcdDB.half = func() {
		if left := w.changes(); len(left) > 0 {
			t.Errorf("written before etcd was saved: %q", left)
		}
	}
	res := w.apply(w.plan("etcd"))
	if res.Outcome != harden.OutcomeApplied || len(w.etcdDB.saved) != 1 || w.snapshotFiles(res.Transaction) != "etcd-snapshot.db" {
		t.Fatalf("%s: %s; saved in %q", res.Outcome, res.Message, w.etcdDB.saved)
	}
	info, err := w.fsys.Stat(w.etcdDB.saved[0])
	must(t, err)
	if info.Mode != 0o600 {
		t.Errorf("mode %o", info.Mode)
	}
	if back := w.apply(w.undo(res.Transaction, "")); back.Outcome != harden.OutcomeApplied || len(w.etcdDB.saved) != 1 {
		t.Errorf("%s: %s; an undo saves etcd: %q", back.Outcome, back.Message, w.etcdDB.saved)
	}
	if other := w.apply(w.plan("profiling", "scheduler")); other.Outcome != harden.OutcomeApplied || len(w.etcdDB.saved) != 1 {
		t.Errorf("%s: %s; what does not restart etcd saves it: %q", other.Outcome, other.Message, w.etcdDB.saved)
	}
}

func TestSnapshotOfEtcd(t *testing.T) {
	one := []string{"etcd"}
	runRows(t, []row{
		{name: "with Secrets in plain text", controls: one, outcome: harden.OutcomeApplied, event: "/etcd-snapshot.db; it holds Secrets in plain text",
			arrange: func(w *world, _ func()) { w.etcdDB.secrets = []string{encrypted, plainly} }},
		{name: "with encrypted Secrets", controls: one, outcome: harden.OutcomeApplied, event: "its Secrets are encrypted and can be read with their key only",
			arrange: func(w *world, _ func()) { w.etcdDB.secrets = []string{encrypted} }},
		{name: "without Secrets", controls: one, outcome: harden.OutcomeApplied, event: "it holds no Secret"},
		{name: "whose Secrets could not be looked at", controls: one, outcome: harden.OutcomeApplied, event: "it may hold Secrets in plain text (no leader)",
			arrange: func(w *world, _ func()) { w.etcdDB.unread = errors.New("no leader") }},
		{name: "no room for it", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "a snapshot of etcd needs", hint: "df -h",
			arrange: func(w *world, _ func()) { w.etcdDB.size = 1 << 30 }},
		{name: "etcd cannot be asked", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "connection refused", hint: "crictl ps",
			arrange: func(w *world, _ func()) { w.etcdDB.asked = errors.New("connection refused") }},
		{name: "nobody knows how to ask etcd", controls: one, outcome: harden.OutcomeRefused, refuses: true, says: "how etcd can be asked is not known here",
			arrange: func(w *world, _ func()) { w.etcdDB = nil }},
		{name: "interrupted meanwhile", controls: one, outcome: harden.OutcomeRolledBack, says: "interrupted",
			arrange: func(w *world, stop func()) { w.etcdDB.half, w.etcdDB.full = stop, nil }},
	})
}

// TestEtcdGivesNoSnapshotInTheEnd: what nothing reads yet is written by then, and goes again; nothing has restarted.
func TestEtcdGivesNoSnapshotInTheEnd(t *testing.T) {
	for _, row := range []struct {
		name, says, hint string
		arrange          func(w *world)
	}{
		{"no room any more", "a snapshot of etcd needs", "df -h", func(w *world) { w.on("Write", "restore.sh", 1, func() { w.etcdDB.size = 1 << 30 }) }},
		{"the file system fills up", "no space left on device", "kubectl-harden history --prune", func(w *world) { w.etcdDB.full = syscall.ENOSPC }},
		{"it is cut short", "cut short", "crictl ps", func(w *world) { w.etcdDB.full = errors.New("cut short") }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			was := w.node.pods[harden.Etcd].running.ID
			p := w.plan("etcd")
			row.arrange(w)
			res := w.apply(p)
			said := res.Message.String()
			if res.Outcome != harden.OutcomeRefused || !strings.HasPrefix(said, "saving a snapshot of etcd: ") || !strings.Contains(said, row.says) ||
				!strings.HasSuffix(said, "nothing was restarted, and everything is as before") || !strings.Contains(strings.Join(res.Hints, "; "), row.hint) {
				t.Errorf("%s: %s; hints %q", res.Outcome, said, res.Hints)
			}
			if left := w.changes(); len(left) > 0 || w.outcome() != backups.RolledBack || w.node.pods[harden.Etcd].running.ID != was || w.snapshotFiles(res.Transaction) != "" {
				t.Errorf("otherwise than before: %q; stored as %q; left %q", left, w.outcome(), w.snapshotFiles(res.Transaction))
			}
		})
	}
}

// TestOfflineNobodySavesEtcd: nothing runs from such a root that could give a snapshot.
func TestOfflineNobodySavesEtcd(t *testing.T) {
	w := newWorld(t)
	w.offline, w.etcdDB = true, nil
	if res := w.apply(w.plan("etcd")); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// TestKilledWhileEtcdIsSaved: half of a file with Secrets was left with the transaction.
func TestKilledWhileEtcdIsSaved(t *testing.T) {
	for _, finish := range []bool{false, true} {
		w := newWorld(t)
		id := w.killApply(w.plan("etcd"), func() { w.etcdDB.half = func() { panic(killed{}) } })
		if got := w.snapshotFiles(id); got != "etcd-snapshot.db.part" {
			t.Fatalf("the killed one left %q", got)
		}
		w.etcdDB.half = nil
		want, files := harden.OutcomeRolledBack, ""
		if finish {
			want, files = harden.OutcomeApplied, "etcd-snapshot.db"
		}
		if res := w.recover(id, finish); res.Outcome != want || w.snapshotFiles(id) != files {
			t.Errorf("finish %v: %s: %s; left %q", finish, res.Outcome, res.Message, w.snapshotFiles(id))
		}
		if left := w.changes(); !finish && len(left) > 0 {
			t.Errorf("otherwise than before: %q", left)
		}
	}
}

// TestAWholeSnapshotOutlivesTheUndo: it is what there is to go by when etcd does not get well.
func TestAWholeSnapshotOutlivesTheUndo(t *testing.T) {
	w := newWorld(t)
	id := w.killApply(w.plan("etcd"), func() { w.die("Rename", etcdManifest, 1) })
	if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || w.snapshotFiles(id) != "etcd-snapshot.db" || len(w.changes()) > 0 {
		t.Errorf("%s: %s; files %q, otherwise %q", res.Outcome, res.Message, w.snapshotFiles(id), w.changes())
	}
}

// TestEndedCertificatesAreRenewedWithoutASnapshot: etcd answers nobody with a certificate that has ended. Where it does, or does once the
// renewed one lies there, it is saved like any other.
func TestEndedCertificatesAreRenewedWithoutASnapshot(t *testing.T) {
	expired := errors.New("x509: certificate has expired or is not yet valid")
	renewed := func(w *ended) bool {
		s, err := w.State(etcdServer + ".crt")
		must(t, err)
		return string(s.Data) == string(w.renewed.Files[etcdServer+".crt"])
	}
	for _, row := range []struct {
		name    string
		since   bool // it has ended
		arrange func(w *ended)
		outcome harden.Outcome
		says    string // in an event, or the message
		saved   int
	}{
		{name: "etcd never answers", since: true, outcome: harden.OutcomeApplied, says: "no snapshot of etcd could be taken before its certificates are renewed: x509",
			arrange: func(w *ended) { w.etcdDB.asked = expired }},
		{name: "nobody knows how to ask", since: true, outcome: harden.OutcomeApplied, says: "no snapshot of etcd could be taken",
			arrange: func(w *ended) { w.etcdDB = nil }},
		{name: "it gives none", since: true, outcome: harden.OutcomeApplied, says: "no snapshot of etcd could be taken",
			arrange: func(w *ended) { w.etcdDB.full = expired }},
		{name: "it answers with the renewed one", since: true, outcome: harden.OutcomeApplied, says: "a snapshot of etcd is in", saved: 1,
			arrange: func(w *ended) {
				w.etcdDB.asked = expired
				w.on("Rename", etcdServer+".crt", 1, func() { w.etcdDB.asked = nil })
			}},
		{name: "it answers and there is no room", since: true, outcome: harden.OutcomeRefused, says: "a snapshot of etcd needs",
			arrange: func(w *ended) { w.etcdDB.size = 1 << 30 }},
		{name: "it ends soon, and etcd does not answer", outcome: harden.OutcomeRefused, says: "x509",
			arrange: func(w *ended) { w.etcdDB.asked = expired }},
		{name: "it ends soon", outcome: harden.OutcomeApplied, says: "a snapshot of etcd is in", saved: 1, arrange: func(*ended) {}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newEnded(t, map[bool]time.Duration{true: time.Hour, false: -time.Hour}[row.since])
			db := w.etcdDB
			row.arrange(w)
			p := w.plans("etcds")[0]
			told := false
			for _, c := range p.Preflight {
				told = told || c.ID == "snapshot" && c.State == harden.PreconditionUnknown && !c.Blocks
			}
			if told != row.since {
				t.Errorf("the plan tells that there may be none: %v", told)
			}
			res := w.apply(p)
			said := res.Message.String() + w.said(harden.EventUnproven) + w.said(harden.EventPassed)
			if res.Outcome != row.outcome || !strings.Contains(said, row.says) || len(db.saved) != row.saved || renewed(w) != (row.outcome == harden.OutcomeApplied) {
				t.Errorf("%s: %s; saved in %q", res.Outcome, said, db.saved)
			}
		})
	}
}
