package backups_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

// tools makes a directory for PATH that has whatever scripts are given by name, and a setfattr if the system has none.
func tools(t testing.TB, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	must(t, err)
	if scripts == nil {
		scripts = map[string]string{}
	}
	if _, err := exec.LookPath("setfattr"); err != nil && scripts["setfattr"] == "" {
		scripts["setfattr"] = fmt.Sprintf("%s=setfattr exec '%s' \"$@\"\n", childVar, self)
	}
	if _, ok := scripts["sync"]; !ok {
		scripts["sync"] = "exit 0\n" // a real one waits for the whole machine
	}
	for name, text := range scripts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755))
	}
	return dir
}

// shells are those that are here: sh is never missing.
func shells() [][]string {
	list := [][]string{{"sh"}}
	for _, shell := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"ksh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			list = append(list, shell)
		}
	}
	return list
}

// restore runs the transaction's restore.sh on the node below root.
func restore(shell []string, path, root, id string) (string, error) {
	cmd := exec.Command(shell[0], append(shell[1:], filepath.Join(root, stateDir, "transactions", id, "restore.sh"))...)
	cmd.Env = append(os.Environ(), "ROOT="+root, "PATH="+path+":"+os.Getenv("PATH"), "LC_ALL=C")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestRestoreScript ends the process before every operation that changes something and lets restore.sh undo the rest,
// some twice; recover finds nothing left to do then.
func TestRestoreScript(t *testing.T) {
	base, path := scratch(t), tools(t, nil)
	real, s := realNode(t, filepath.Join(base, "count"))
	ops := watched(t, real, s.rollback)
	var points []int
	for _, op := range ops {
		if op.Writes() && op.N%every(9) == 0 {
			points = append(points, op.N)
		}
	}
	var scripts, none atomic.Int64
	each(t, len(points), func(i int) error {
		root := filepath.Join(base, strconv.Itoa(i))
		defer os.RemoveAll(root)
		real, s := realNode(t, root)
		dead := die(real, points[i])
		stop := dead.Before
		dead.Before = func(op backupstest.Op) error {
			if op.Name == "Unlock" {
				return nil // the lock of a process that only seems dead would stay
			}
			return stop(op)
		}
		_ = s.rollback(open(dead))
		list, err := open(real).List()
		if err != nil {
			return err
		}
		if len(list) == 0 {
			none.Add(1)
			_, err := s.check(real)
			return err
		}
		all := shells()
		for run := range 1 + i%3/2 { // one in three runs it twice
			shell := all[(i+run)%len(all)]
			out, err := restore(shell, path, root, list[0].ID)
			if err != nil {
				return fmt.Errorf("died at %d: %v, run %d: %w\n%s", points[i], shell, run, err, out)
			}
			got, err := snapshot(real)
			if err != nil {
				return err
			}
			if diff := differences(s.before(), got); diff != "" {
				return fmt.Errorf("died at %d: %v, run %d:\n%s\n%s", points[i], shell, run, diff, out)
			}
			scripts.Add(1)
		}
		if err := settle(open(real)); err != nil {
			return fmt.Errorf("died at %d, restored, then recovering: %w", points[i], err)
		}
		_, err = s.check(real)
		return err
	})
	t.Logf("%d runs of restore.sh by %v after deaths at %d operations, %d of them before there was a transaction",
		scripts.Load(), shells(), len(points), none.Load())
}

// A path that a shell would trip over.
const awkward = "-n $(touch pwned) `id` 'single' \"double\"\\ new\nline\ttab *? ; & |{a,b} ~\x1b[31m"

// changedNode is a node with one committed transaction, on awkward paths.
func changedNode(t *testing.T) (backupstest.OS, scenario, *backups.Record, map[string]backups.State) {
	t.Helper()
	real, s := realNode(t, filepath.Join(scratch(t), "it's a \"root\""))
	dir := "/etc/" + awkward
	must(t, place(real, dir, s.state(0o755, 0, "")))
	must(t, place(real, dir+"/"+awkward, s.state(0o640, 1, "old\n", "user.'quoted' $name", "\x00\n'")))
	before, err := snapshot(real)
	must(t, err)
	x, err := open(real).Lock(holder)
	must(t, err)
	tx, err := x.Begin(meta, plan, []backups.Target{
		{ID: "made", Path: dir + "/-made", After: s.state(0o700, 0, "")},
		{ID: "replaced", Path: dir + "/" + awkward, Before: before[dir+"/"+awkward], After: s.state(0o600, 0, "new\n")},
		{ID: "created", Path: dir + "/-made/" + awkward, After: s.state(0o600, 0, "created\n")},
	}, backups.Script{})
	must(t, err)
	for _, tg := range tx.Targets() {
		must(t, tx.Put(tg.ID))
	}
	must(t, tx.Close(backups.Committed))
	must(t, x.Unlock())
	rec, err := open(real).Load(tx.ID())
	must(t, err)
	return real, s, rec, before
}

func TestRestoreScriptQuotesEverything(t *testing.T) {
	for _, shell := range shells() {
		t.Run(shell[0], func(t *testing.T) {
			real, _, rec, before := changedNode(t)
			out, err := restore(shell, tools(t, nil), real.Root, rec.ID)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			got, err := snapshot(real)
			must(t, err)
			if diff := differences(before, got); diff != "" {
				t.Errorf("%s\n%s", diff, out)
			}
			if strings.ContainsAny(out, "\x1b\t") || !strings.Contains(out, "done: all is as before\n") {
				t.Errorf("said %q", out)
			}
			if _, err := os.Stat(filepath.Join(real.Root, "pwned")); err == nil {
				t.Error("the shell ran a path")
			}
		})
	}
}

// TestRestoreScriptKeepsWhatOthersWrote saves a foreign content before it is replaced, every one of them.
func TestRestoreScriptKeepsWhatOthersWrote(t *testing.T) {
	real, s, rec, before := changedNode(t)
	for _, text := range []string{"first\n", "second\n"} {
		for _, tg := range rec.Targets[1:] {
			if tg.ID == "created" && text == "second\n" {
				continue
			}
			must(t, os.WriteFile(filepath.Join(real.Root, tg.Path), []byte(text), 0o600))
		}
		out, err := restore([]string{"sh"}, tools(t, nil), real.Root, rec.ID)
		if err != nil || !strings.Contains(out, "was changed by someone else since: a copy is in ") {
			t.Fatalf("%v\n%s", err, out)
		}
		got, err := snapshot(real)
		must(t, err)
		if diff := differences(before, got); diff != "" {
			t.Fatalf("%s\n%s", diff, out)
		}
	}
	kept, err := filepath.Glob(filepath.Join(real.Root, stateDir, "transactions", rec.ID, "kept", "*"))
	must(t, err)
	var texts []string
	for _, file := range kept {
		data, err := os.ReadFile(file)
		must(t, err)
		texts = append(texts, string(data))
	}
	if got := strings.Join(texts, ""); len(kept) != 3 || strings.Count(got, "first") != 2 || strings.Count(got, "second") != 1 {
		t.Errorf("kept %q in %q", texts, kept)
	}
	// A directory that others use stays, and that is no failure.
	must(t, real.Mkdir(rec.Targets[0].Path, 0o700))
	must(t, place(real, rec.Targets[0].Path+"/theirs", s.state(0o600, 0, "x")))
	out, err := restore([]string{"sh"}, tools(t, nil), real.Root, rec.ID)
	if err != nil || !strings.Contains(out, "others use it") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRestoreScriptRefuses(t *testing.T) {
	apiserver := "etc/kubernetes/manifests/kube-apiserver.yaml"
	_, s := realNode(t, t.TempDir())
	original := fmt.Sprintf("before/%x", sha256.Sum256(s.before()["/"+apiserver].Data))
	for name, c := range map[string]struct {
		spoil func(root, dir string) error
		says  string
		only  []string // what it leaves; it changes nothing where that is not said
	}{
		"a damaged original": {func(_, dir string) error {
			return os.WriteFile(filepath.Join(dir, original), []byte("x"), 0o600)
		}, "/" + apiserver + " cannot be restored: its saved original " + original + " is missing or damaged", nil},
		"a missing original": {func(_, dir string) error {
			return os.Remove(filepath.Join(dir, original))
		}, "nothing was changed; to restore all else: PARTLY=yes ROOT=", nil},
		"a link": {func(root, _ string) error {
			file := filepath.Join(root, apiserver)
			return errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file))
		}, "unlike both  /" + apiserver + ": it is a symbolic link now", []string{"/" + apiserver}},
		"a link out of ROOT": {func(root, _ string) error {
			return errors.Join(os.Rename(filepath.Join(root, "etc/kubernetes"), filepath.Join(root, "elsewhere")),
				os.Mkdir(filepath.Join(root, "etc/kubernetes"), 0o700),
				os.Symlink("/etc", filepath.Join(root, "etc/kubernetes/manifests")))
		}, "unlike both  /" + apiserver + ": a link on the way leads out of", nil},
		"a directory": {func(root, _ string) error {
			file := filepath.Join(root, apiserver)
			return errors.Join(os.Remove(file), os.Mkdir(file, 0o700))
		}, "unlike both  /" + apiserver + ": it is not a regular file now", []string{"/" + apiserver}},
	} {
		t.Run(name, func(t *testing.T) {
			real, s := realNode(t, t.TempDir())
			must(t, s.commit(open(real)))
			list, err := open(real).List()
			must(t, err)
			must(t, c.spoil(real.Root, filepath.Join(real.Root, list[0].Dir)))
			was, err := snapshot(real)
			must(t, err)
			out, err := restore([]string{"sh"}, tools(t, nil), real.Root, list[0].ID)
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("%v\n%s", err, out)
			}
			got, err := snapshot(real)
			must(t, err)
			want := was
			if c.only != nil {
				want = s.before()
				for _, p := range c.only {
					want[p] = was[p]
				}
			} else if name == "a link out of ROOT" {
				return // what was moved away is not looked for
			}
			if diff := differences(want, got); diff != "" {
				t.Errorf("%s\n%s", diff, out)
			}
		})
	}
}

// TestAScriptThatRefusedOrStoppedMarkedItsTransactionAsUndone: only one that came to its end leaves the mark, as what is marked
// is taken for undone, and may be pruned.
func TestAScriptThatRefusedOrStoppedMarkedItsTransactionAsUndone(t *testing.T) {
	broken := map[string]string{"cp": "echo cp: no space left on device >&2\nexit 1\n"}
	for _, shell := range shells() {
		real, s := realNode(t, t.TempDir())
		must(t, s.commit(open(real)))
		list, err := open(real).List()
		must(t, err)
		dir := filepath.Join(real.Root, list[0].Dir)
		before := filepath.Join(dir, "before")
		for _, c := range []struct {
			name     string
			path     string
			lost     bool // the saved originals
			partly   string
			succeeds bool
		}{
			{"it refused", tools(t, nil), true, "", false},
			{"it could not bring all back", tools(t, broken), false, "", false},
			{"it left some as they are", tools(t, nil), true, "yes", false},
			{"all is as before", tools(t, nil), false, "", true},
		} {
			if c.lost {
				must(t, os.Rename(before, before+".away"))
			}
			t.Setenv("PARTLY", c.partly)
			out, err := restore(shell, c.path, real.Root, list[0].ID)
			if c.lost {
				must(t, os.Rename(before+".away", before))
			}
			_, unmarked := os.Stat(filepath.Join(dir, "restored"))
			if (err == nil) != c.succeeds || (unmarked == nil) != c.succeeds {
				t.Errorf("%v: %s: %v, the mark: %v\n%s", shell, c.name, err, unmarked, out)
			}
		}
	}
}

// One damaged original made of the way out by hand a dead end for all the others.
func TestRestoreScriptRestoresTheOthersWhereAnOriginalIsDamaged(t *testing.T) {
	const apiserver = "/etc/kubernetes/manifests/kube-apiserver.yaml"
	for _, shell := range shells() {
		real, s := realNode(t, t.TempDir())
		must(t, s.commit(open(real)))
		list, err := open(real).List()
		must(t, err)
		was, err := snapshot(real)
		must(t, err)
		original := fmt.Sprintf("before/%x", sha256.Sum256(s.before()[apiserver].Data))
		must(t, os.WriteFile(filepath.Join(real.Root, list[0].Dir, original), []byte("x"), 0o600))
		t.Setenv("PARTLY", "yes")
		out, err := restore(shell, tools(t, nil), real.Root, list[0].ID)
		if err == nil || !strings.Contains(out, "as planned   "+apiserver+": its saved original is missing or damaged\n") || !strings.Contains(out, "all is as before, except for what is said above") {
			t.Errorf("%v: %v\n%s", shell, err, out)
		}
		want := s.before()
		want[apiserver] = was[apiserver]
		got, err := snapshot(real)
		must(t, err)
		if diff := differences(want, got); diff != "" {
			t.Errorf("%v:\n%s", shell, diff)
		}
	}
}

// TestRestoreScriptCommands runs the extra lines only on the running system, which a bind of ROOT is not.
func TestRestoreScriptCommands(t *testing.T) {
	real, s := realNode(t, t.TempDir())
	must(t, s.commit(open(real)))
	list, err := open(real).List()
	must(t, err)
	if _, err := restore([]string{"sh"}, tools(t, nil), real.Root, list[0].ID); err != nil {
		t.Fatal(err)
	}
	commands := filepath.Join(real.Root, list[0].Dir, "commands")
	if _, err := os.Stat(commands); err == nil {
		t.Error("commands ran although ROOT was set")
	}
	if out, err := restoreRunning(t, real, s, list[0].Dir, nil); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, err := os.ReadFile(commands); err != nil || string(got) != "before\nafter\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// restoreRunning runs a script with ROOT unset, as on the running system: its paths are made to begin below the temporary root.
func restoreRunning(t *testing.T, real backupstest.OS, s scenario, dir string, edit func(script []byte) []byte) (string, error) {
	t.Helper()
	script := filepath.Join(real.Root, dir, "restore.sh")
	text, err := os.ReadFile(script)
	must(t, err)
	for p := range s.before() {
		text = bytes.ReplaceAll(text, []byte("'"+p+"'"), []byte("'"+real.Root+p+"'"))
	}
	for _, tg := range s.targets() {
		text = bytes.ReplaceAll(text, []byte("ROOT'"+filepath.Dir(tg.Path)+"/"), []byte("ROOT'"+real.Root+filepath.Dir(tg.Path)+"/"))
	}
	if edit != nil {
		text = edit(text)
	}
	must(t, os.WriteFile(script, text, 0o700))
	cmd := exec.Command("sh", "-c", `cd "${1%/*}" && sh restore.sh`, "-", script)
	cmd.Env = append(os.Environ(), "PATH="+tools(t, nil)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// An attribute of ours that could not be removed stayed, and all was said to be as before.
func TestRestoreScriptSaidDoneWhereAnAttributeStayed(t *testing.T) {
	const key = "/etc/kubernetes/pki/ca.key"
	self, err := os.Executable()
	must(t, err)
	for _, shell := range shells() {
		real, s := realNode(t, t.TempDir())
		if !s.xattrs {
			t.Skip("this file system has no extended attributes")
		}
		must(t, s.commit(open(real)))
		list, err := open(real).List()
		must(t, err)
		path := tools(t, map[string]string{"setfattr": fmt.Sprintf(
			"[ \"$1 $2\" != '-x user.added' ] || { echo \"setfattr: $3: Operation not permitted\" >&2; exit 1; }\n%s=setfattr exec '%s' \"$@\"\n", childVar, self)})
		out, err := restore(shell, path, real.Root, list[0].ID)
		if err == nil || strings.Contains(out, "done") ||
			!strings.Contains(out, "extended attribute user.added of "+key+" cannot be removed: Operation not permitted\n") ||
			!strings.Contains(out, "all is as before, except for what is said above") {
			t.Errorf("%v: %v\n%s", shell, err, out)
		}
		want := s.before()
		want[key].XAttrs["user.added"] = []byte("5")
		got, err := snapshot(real)
		must(t, err)
		if diff := differences(want, got); diff != "" {
			t.Errorf("%v:\n%s\n%s", shell, diff, out)
		}
	}
}

// TestRestoreScriptWithoutSetfattr restores all but the attributes, and fails so that nobody takes it for done.
func TestRestoreScriptWithoutSetfattr(t *testing.T) {
	real, s := realNode(t, t.TempDir())
	must(t, s.commit(open(real)))
	list, err := open(real).List()
	must(t, err)
	bin := t.TempDir()
	for _, name := range strings.Fields("sh cat cp mv rm rmdir mkdir chmod chown dirname cut sha256sum true") {
		file, err := exec.LookPath(name)
		must(t, err)
		if name == "true" {
			name = "sync" // a real one waits for the whole machine
		}
		must(t, os.Symlink(file, filepath.Join(bin, name)))
	}
	cmd := exec.Command("sh", filepath.Join(real.Root, list[0].Dir, "restore.sh"))
	cmd.Env = []string{"ROOT=" + real.Root, "PATH=" + bin}
	out, err := cmd.CombinedOutput()
	if s.xattrs && (err == nil || !bytes.Contains(out, []byte("setfattr is not installed: extended attribute user.note of /etc/"))) {
		t.Errorf("%v\n%s", err, out)
	}
	want, got := s.before(), map[string]backups.State{}
	after, err := snapshot(real)
	must(t, err)
	for p, st := range want {
		st.XAttrs = nil
		want[p] = st
	}
	for p, st := range after {
		st.XAttrs = nil
		got[p] = st
	}
	if diff := differences(want, got); diff != "" {
		t.Errorf("%s\n%s", diff, out)
	}
}
