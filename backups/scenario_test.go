package backups_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

const stateDir = "/var/lib/kubectl-harden"

// A scenario is a small node and a transaction on it that does every kind of change in three directories.
type scenario struct {
	uid, gid int  // of everything, where odd is not set
	odd      bool // owners differ: only root can make them
	xattrs   bool
}

func (s scenario) state(mode uint32, owner int, data string, xattrs ...string) backups.State {
	st := backups.State{Exists: true, Mode: mode, UID: s.uid, GID: s.gid}
	if s.odd {
		st.UID, st.GID = s.uid+owner, s.gid+2*owner
	}
	if data == "" {
		st.Dir = true
	} else {
		st.Data = []byte(data)
	}
	if s.xattrs && len(xattrs) > 0 {
		st.XAttrs = map[string][]byte{}
		for i := 0; i < len(xattrs); i += 2 {
			st.XAttrs[xattrs[i]] = []byte(xattrs[i+1])
		}
	}
	return st
}

type item struct {
	path  string
	state backups.State
}

func (s scenario) node() []item {
	return []item{
		{"/etc", s.state(0o755, 0, "")},
		{"/etc/kubernetes", s.state(0o755, 0, "")},
		{"/etc/kubernetes/manifests", s.state(0o700, 0, "")},
		{"/etc/kubernetes/manifests/etcd.yaml", s.state(0o600, 0, "kind: Pod # etcd\n")},
		{"/etc/kubernetes/manifests/kube-apiserver.yaml",
			s.state(0o600, 0, "kind: Pod\nspec:\n- --profiling=true\n", "user.note", "kept\x00by\xffhand")},
		{"/etc/kubernetes/manifests/kube-scheduler.yaml", s.state(0o644, 1, "kind: Pod # scheduler\r\n")},
		{"/etc/kubernetes/pki", s.state(0o755, 0, "")},
		{"/etc/kubernetes/pki/ca.key", s.state(0o644, 3, "secret", "user.gone", "1", "user.same", "2", "user.changed", "3")},
		{"/etc/kubernetes/pki/odd", s.state(0o4711, 7, "no final newline", "user.empty", "", "user.old", "x")},
		{"/etc/kubernetes/spool", s.state(0o2750, 5, "", "user.dir", "d")},
	}
}

// targets are in the order in which they are put.
func (s scenario) targets() []backups.Target {
	before := map[string]backups.State{}
	for _, i := range s.node() {
		before[i.path] = i.state
	}
	target := func(id, p string, after backups.State) backups.Target {
		return backups.Target{ID: id, Path: p, Before: before[p], After: after}
	}
	const k = "/etc/kubernetes/"
	return []backups.Target{
		target("mkdir", k+"policies", s.state(0o2751, 4, "", "user.dir", "new")),
		target("create", k+"policies/audit policy.yaml", s.state(0o640, 6, "kind: Policy\n", "user.new", "n")),
		target("replace", k+"pki/odd", s.state(0o2750, 8, "new content", "user.old", "y")),
		target("chmod", k+"pki/ca.key", s.state(0o600, 0, "secret", "user.same", "2", "user.changed", "4", "user.added", "5")),
		target("chmod dir", k+"pki", s.state(0o700, 0, "")),
		target("rmdir", k+"spool", backups.State{}),
		target("delete", k+"manifests/kube-scheduler.yaml", backups.State{}),
		target("extra", k+"manifests/extra.yaml", s.state(0o600, 0, "kind: Pod # extra\n")),
		target("apiserver", k+"manifests/kube-apiserver.yaml",
			s.state(0o600, 0, "kind: Pod\nspec:\n- --profiling=false\n", "user.note", "kept\x00by\xffhand")),
	}
}

// after is what the node holds once the transaction is done.
func (s scenario) after() map[string]backups.State {
	m := map[string]backups.State{}
	for _, i := range s.node() {
		m[i.path] = i.state
	}
	for _, t := range s.targets() {
		m[t.Path] = t.After
		if !t.After.Exists {
			delete(m, t.Path)
		}
	}
	return m
}

func (s scenario) before() map[string]backups.State {
	m := map[string]backups.State{}
	for _, i := range s.node() {
		m[i.path] = i.state
	}
	return m
}

// build makes the node.
func (s scenario) build(fsys backups.FS) error {
	for _, i := range s.node() {
		if err := place(fsys, i.path, i.state); err != nil {
			return err
		}
	}
	return nil
}

// place makes p as st says.
func place(fsys backups.FS, p string, st backups.State) error {
	if st.Dir {
		if err := fsys.Mkdir(p, 0o700); err != nil {
			return err
		}
	} else {
		f, err := fsys.Create(p, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(st.Data)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if err := fsys.Chown(p, st.UID, st.GID); err != nil {
		return err
	}
	if err := fsys.Chmod(p, st.Mode); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(st.XAttrs)) {
		if err := fsys.SetXAttr(p, name, st.XAttrs[name]); err != nil {
			return err
		}
	}
	return nil
}

// look reads what is at p.
func look(fsys backups.FS, p string) (backups.State, error) {
	info, err := fsys.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return backups.State{}, nil
	}
	if err != nil {
		return backups.State{}, err
	}
	st := backups.State{Exists: true, Dir: info.Kind == fs.ModeDir, Mode: info.Mode, UID: info.UID, GID: info.GID}
	if info.Kind == 0 {
		if st.Data, err = fsys.ReadFile(p); err != nil {
			return st, err
		}
	}
	st.XAttrs, err = fsys.XAttrs(p)
	return st, err
}

// snapshot reads everything below /etc, dot-files included.
func snapshot(fsys backups.FS) (map[string]backups.State, error) {
	m := map[string]backups.State{}
	var walk func(p string) error
	walk = func(p string) error {
		st, err := look(fsys, p)
		if err != nil {
			return err
		}
		m[p] = st
		if !st.Dir {
			return nil
		}
		names, err := fsys.ReadDir(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := walk(path.Join(p, name)); err != nil {
				return err
			}
		}
		return nil
	}
	return m, walk("/etc")
}

// differences says in what two snapshots differ, "" for nothing.
func differences(want, got map[string]backups.State) string {
	var b strings.Builder
	for p, w := range want {
		g, ok := got[p]
		if !ok {
			fmt.Fprintf(&b, "%s is missing\n", p)
			continue
		}
		if !bytes.Equal(w.Data, g.Data) || w.Dir != g.Dir {
			fmt.Fprintf(&b, "%s: content %q, want %q\n", p, g.Data, w.Data)
		}
		if w.Mode != g.Mode || w.UID != g.UID || w.GID != g.GID {
			fmt.Fprintf(&b, "%s: %04o %d:%d, want %04o %d:%d\n", p, g.Mode, g.UID, g.GID, w.Mode, w.UID, w.GID)
		}
		for _, name := range labels(w.XAttrs, g.XAttrs) {
			wv, wok := w.XAttrs[name]
			gv, gok := g.XAttrs[name]
			if wok != gok || !bytes.Equal(wv, gv) {
				fmt.Fprintf(&b, "%s: %s is %q (%v), want %q (%v)\n", p, name, gv, gok, wv, wok)
			}
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			fmt.Fprintf(&b, "%s is too much\n", p)
		}
	}
	return b.String()
}

// labels are the names of attributes that either has, without those that the system gives by itself.
func labels(a, b map[string][]byte) []string {
	var names []string
	for _, m := range []map[string][]byte{a, b} {
		for name := range m {
			if strings.HasPrefix(name, "user.") {
				names = append(names, name)
			}
		}
	}
	return names
}

var start = time.Date(2026, 11, 23, 10, 11, 12, 0, time.UTC)

// open returns the store with a clock that ticks a second per look.
func open(fsys backups.FS) *backups.Store {
	now := start
	return backups.Open(fsys, backups.Options{Dir: stateDir, Now: func() time.Time {
		now = now.Add(time.Second)
		return now
	}})
}

var (
	holder = backups.Holder{PID: 4711, Who: "root", Command: "kubectl-harden apply", Since: start}
	meta   = backups.Meta{
		Scope: "node", Command: "kubectl-harden apply --all", Reason: "audit", Controls: []string{"apiserver-profiling"},
		Who:    backups.Who{User: "root", SudoUser: "alice", LoginUID: "1000"},
		Binary: backups.Binary{Version: "v0", SHA256: "00"},
	}
	plan = []byte(`{"stages":[]}` + "\n")
)

// begin starts the scenario's transaction under a lock that ends with the caller's defer.
func (s scenario) begin(store *backups.Store) (*backups.Session, *backups.Tx, error) {
	x, err := store.Lock(holder)
	if err != nil {
		return nil, nil, err
	}
	tx, err := x.Begin(meta, plan, s.targets(), backups.Script{
		Head: []string{"echo before >>\"$here/commands\""}, Tail: []string{"echo after >>\"$here/commands\""},
	})
	if err != nil {
		return nil, nil, errors.Join(err, x.Unlock())
	}
	return x, tx, nil
}

// putAll puts every target, with entries in between.
func putAll(tx *backups.Tx) error {
	if err := tx.Log("stage", map[string]int{"number": 1}); err != nil {
		return err
	}
	for i, t := range tx.Targets() {
		if err := tx.Put(t.ID); err != nil {
			return err
		}
		if i == 3 {
			if err := tx.Log("object", "networkpolicy"); err != nil {
				return err
			}
		}
	}
	return nil
}

// revertAll reverts as far as it can, in reverse.
func revertAll(tx *backups.Tx) error {
	var errs []error
	for _, t := range slices.Backward(tx.Targets()) {
		errs = append(errs, tx.Revert(t.ID))
	}
	return errors.Join(errs...)
}

// commit runs the transaction to its end. A failure leaves it interrupted.
func (s scenario) commit(store *backups.Store) error {
	x, tx, err := s.begin(store)
	if err != nil {
		return err
	}
	if err = putAll(tx); err == nil {
		err = tx.Close(backups.Committed)
	}
	return errors.Join(err, x.Unlock())
}

// rollback puts everything and reverts it.
func (s scenario) rollback(store *backups.Store) error {
	x, tx, err := s.begin(store)
	if err != nil {
		return err
	}
	if err = putAll(tx); err == nil {
		err = revertAll(tx)
	}
	if err == nil {
		err = tx.Close(backups.RolledBack)
	}
	return errors.Join(err, x.Unlock())
}

// settle undoes what is interrupted, as recover does.
func settle(store *backups.Store) error {
	x, err := store.Lock(holder)
	if err != nil {
		return err
	}
	open, err := store.Interrupted()
	for _, sum := range open {
		if err == nil {
			err = undo(x, sum.ID)
		}
	}
	return errors.Join(err, x.Unlock())
}

func undo(x *backups.Session, id string) error {
	tx, err := x.Resume(id)
	if err != nil {
		return err
	}
	if err := revertAll(tx); err != nil {
		return err
	}
	return tx.Close(backups.RolledBack)
}

// check compares the node with what the store says became of the one transaction there may be, and returns that.
func (s scenario) check(fsys backups.FS) (outcome string, err error) {
	list, err := open(fsys).List()
	if err != nil {
		return "", err
	}
	if len(list) > 1 {
		return "", fmt.Errorf("%d transactions", len(list))
	}
	want := s.before()
	for _, sum := range list {
		if sum.Damage != nil {
			return "", fmt.Errorf("damaged: %w", sum.Damage)
		}
		if outcome = sum.Outcome; outcome == "" {
			return "", errors.New("still interrupted")
		}
		if _, err := open(fsys).Load(sum.ID); err != nil {
			return "", err
		}
	}
	if outcome == backups.Committed {
		want = s.after()
	}
	got, err := snapshot(fsys)
	if err != nil {
		return "", err
	}
	if diff := differences(want, got); diff != "" {
		return "", fmt.Errorf("outcome %q:\n%s", outcome, diff)
	}
	return outcome, nil
}

// every is the step through the operations of a run: 1, but for -short and for the race detector, which is slow and
// looks for something else.
func every(sparse int) int {
	if testing.Short() || raced {
		return sparse
	}
	return 1
}

// must stops the test at an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// watched runs a script undisturbed and returns what it did to the file system.
func watched(t *testing.T, fsys backups.FS, run func(*backups.Store) error) []backupstest.Op {
	t.Helper()
	var ops []backupstest.Op
	w := &backupstest.Watch{FS: fsys, Before: func(op backupstest.Op) error {
		ops = append(ops, op)
		return nil
	}}
	must(t, run(open(w)))
	return ops
}
