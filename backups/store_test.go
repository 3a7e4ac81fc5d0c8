package backups_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

func one(t *testing.T, store *backups.Store) backups.Summary {
	t.Helper()
	list, err := store.List()
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d transactions, want 1", len(list))
	}
	return list[0]
}

func TestARecordHoldsEverything(t *testing.T) {
	d := inMemory.disk(t)
	store := open(d)
	if list, err := store.List(); len(list) > 0 || err != nil {
		t.Errorf("an absent store lists %v, %v", list, err)
	}
	if _, err := store.Load("20261123T101113.000Z-0000"); !errors.Is(err, backups.ErrUnknown) {
		t.Errorf("loading from an absent store: %v", err)
	}
	must(t, inMemory.commit(store))
	sum := one(t, store)
	if sum.Outcome != backups.Committed || !reflect.DeepEqual(sum.Meta, meta) || sum.Damage != nil || !sum.Ended.After(sum.Began) {
		t.Errorf("summary %+v", sum)
	}
	rec, err := store.Load(sum.ID)
	must(t, err)
	if !bytes.Equal(rec.Plan, plan) || !reflect.DeepEqual(rec.Targets, inMemory.targets()) {
		t.Errorf("plan %q, targets %+v", rec.Plan, rec.Targets)
	}
	var kinds []string
	for _, e := range rec.Entries {
		kinds = append(kinds, e.Kind)
	}
	want := []string{"begin", "stage"}
	for i := range inMemory.targets() {
		want = append(want, "put", "done")
		if i == 3 {
			want = append(want, "object")
		}
	}
	if want = append(want, "end"); !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
	if i := slices.Index(kinds, "object"); string(rec.Entries[i].Data) != `"networkpolicy"` {
		t.Errorf("the entry between two puts holds %s", rec.Entries[i].Data)
	}
	for _, mode := range []struct {
		name string
		mode uint32
	}{{"", 0o700}, {"plan.json", 0o600}, {"journal.jsonl", 0o600}, {"restore.sh", 0o700}, {"before", 0o700}, {"after", 0o700}} {
		if info, err := d.Stat(strings.TrimSuffix(sum.Dir+"/"+mode.name, "/")); err != nil || info.Mode != mode.mode {
			t.Errorf("%s: mode %04o, %v", mode.name, info.Mode, err)
		}
	}
	names, err := d.ReadDir(sum.Dir + "/before")
	must(t, err)
	for _, name := range names {
		if info, err := d.Stat(sum.Dir + "/before/" + name); err != nil || info.Mode != 0o600 {
			t.Errorf("original %s: mode %04o, %v", name, info.Mode, err)
		}
	}
}

func TestFollowingAJournal(t *testing.T) {
	d := inMemory.disk(t)
	store := open(d)
	x, tx, err := inMemory.begin(store)
	must(t, err)
	var got []backups.Entry
	var at int64
	poll := func() {
		t.Helper()
		entries, next, err := store.Entries(tx.ID(), at)
		must(t, err)
		got, at = append(got, entries...), next
	}
	poll()
	for _, tg := range tx.Targets() {
		must(t, tx.Put(tg.ID))
		poll()
		poll()
	}
	// Half a line is no entry yet.
	f, err := d.Append(tx.Dir() + "/journal.jsonl")
	must(t, err)
	_, err = f.Write([]byte(`{"seq":99,"kind":"ha`))
	must(t, err)
	before := at
	poll()
	if at != before {
		t.Errorf("moved from %d to %d over half a line", before, at)
	}
	if !reflect.DeepEqual(got, tx.Entries()) {
		t.Errorf("followed %d entries, the transaction has %d", len(got), len(tx.Entries()))
	}
	if _, _, err := store.Entries(tx.ID(), 3); err == nil {
		t.Error("an offset inside a line was accepted")
	}
	if _, _, err := store.Entries("../x", 0); !errors.Is(err, backups.ErrUnknown) {
		t.Errorf("an id with a path in it: %v", err)
	}
	must(t, x.Unlock())
	if err := tx.Put("create"); !errors.Is(err, backups.ErrUnlocked) {
		t.Errorf("put without the lock: %v", err)
	}
	if err := tx.Log("x", nil); !errors.Is(err, backups.ErrUnlocked) {
		t.Errorf("log without the lock: %v", err)
	}
}

func TestBeginRefuses(t *testing.T) {
	file := func(id, p string) backups.Target {
		return backups.Target{ID: id, Path: p, After: inMemory.state(0o600, 0, "x")}
	}
	const manifest = "/etc/kubernetes/manifests/etcd.yaml"
	for name, c := range map[string]struct {
		targets []backups.Target
		says    string
	}{
		"relative":       {[]backups.Target{file("a", "etc/x")}, "not absolute and clean"},
		"not clean":      {[]backups.Target{file("a", "/etc/../x")}, "not absolute and clean"},
		"no id":          {[]backups.Target{file("", "/etc/x")}, "ids must be unique"},
		"same id":        {[]backups.Target{file("a", "/etc/x"), file("a", "/etc/y")}, "ids must be unique"},
		"same path":      {[]backups.Target{file("a", "/etc/x"), file("b", "/etc/x")}, "two targets"},
		"state":          {[]backups.Target{file("a", stateDir+"/lock")}, "state directory"},
		"state itself":   {[]backups.Target{file("a", stateDir)}, "state directory"},
		"bytes":          {[]backups.Target{file("a", "/etc/\xff")}, "not valid UTF-8"},
		"mode":           {[]backups.Target{{ID: "a", Path: "/etc/x", After: backups.State{Exists: true, Mode: 0o100600}}}, "mode 100600"},
		"other kind":     {[]backups.Target{{ID: "a", Path: manifest, Before: inMemory.state(0o600, 0, "x"), After: inMemory.state(0o700, 0, "")}}, "cannot become"},
		"is there":       {[]backups.Target{file("a", manifest)}, "expected nothing, found a file of 17 bytes"},
		"is not there":   {[]backups.Target{{ID: "a", Path: "/etc/x", Before: inMemory.state(0o600, 0, "x")}}, "found nothing"},
		"other mode":     {[]backups.Target{{ID: "a", Path: manifest, Before: inMemory.state(0o644, 0, "kind: Pod # etcd\n")}}, "found a file of 17 bytes"},
		"other contents": {[]backups.Target{{ID: "a", Path: manifest, Before: inMemory.state(0o600, 0, "kind: Pod # ETCD\n")}}, "changed by someone else"},
		"a link":         {[]backups.Target{file("a", "/etc/link")}, "found a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			d := inMemory.disk(t)
			must(t, d.Symlink("/etc/link"))
			store := open(d)
			x, err := store.Lock(holder)
			must(t, err)
			_, err = x.Begin(meta, plan, c.targets, backups.Script{})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
			if list, err := store.List(); len(list) > 0 || err != nil {
				t.Errorf("left %v, %v", list, err)
			}
		})
	}
}

// TestResumeFinishes puts the rest of an interrupted transaction and commits it.
func TestResumeFinishes(t *testing.T) {
	ops := watched(t, inMemory.disk(t), inMemory.commit)
	finished := 0
	for _, op := range ops {
		d := inMemory.disk(t)
		_ = inMemory.commit(open(die(d, op.N)))
		d = d.Clone()
		store := open(d)
		interrupted, err := store.Interrupted()
		must(t, err)
		if len(interrupted) == 0 {
			continue
		}
		x, err := store.Lock(holder)
		must(t, err)
		tx, err := x.Resume(interrupted[0].ID)
		must(t, err)
		for _, tg := range tx.Targets() {
			if err := tx.Put(tg.ID); err != nil {
				t.Fatalf("died at %d (%s %s): %v", op.N, op.Name, op.Path, err)
			}
		}
		must(t, tx.Close(backups.Committed))
		after, _ := d.Losses(1)
		for lost := range after {
			if outcome, err := inMemory.check(lost); err != nil || outcome != backups.Committed {
				t.Fatalf("died at %d (%s %s), finished, lost power: %q, %v", op.N, op.Name, op.Path, outcome, err)
			}
		}
		finished++
		if _, err := x.Resume(tx.ID()); !errors.Is(err, backups.ErrSettled) {
			t.Fatalf("resumed a settled transaction: %v", err)
		}
	}
	t.Logf("%d interrupted transactions were finished", finished)
}

// TestDamage spoils one file of a transaction at a time: it is named, listed, and nothing is touched.
func TestDamage(t *testing.T) {
	flip := func(line int) func([]byte) []byte {
		return func(b []byte) []byte {
			lines := bytes.SplitAfter(b, []byte("\n"))
			lines[line][20] ^= 1
			return bytes.Join(lines, nil)
		}
	}
	for name, c := range map[string]struct {
		file    string
		spoil   func([]byte) []byte
		commit  bool
		outcome string
		says    string
		resumes bool
	}{
		"a flipped bit in the middle":       {"journal.jsonl", flip(4), false, "", "line 5: checksum does not match", false},
		"the same, with a readable outcome": {"journal.jsonl", flip(4), true, backups.Committed, "line 5: checksum does not match", false},
		"a flipped bit at the end":          {"journal.jsonl", flip(21), true, "", "line 22: checksum does not match", false},
		"no journal":                        {"journal.jsonl", nil, false, "", "no such file", false},
		"an empty journal":                  {"journal.jsonl", func([]byte) []byte { return nil }, false, "", "it has no first entry", false},
		"a missing line": {"journal.jsonl", func(b []byte) []byte {
			return bytes.Join(slices.Delete(bytes.SplitAfter(b, []byte("\n")), 3, 4), nil)
		}, false, "", "line 4: checksum does not match", false},
		"a plan that is another": {"plan.json", func([]byte) []byte { return []byte("{}") }, false, "", "plan.json: damaged", true},
		"an original":            {"before/" + originalOf("apiserver"), func(b []byte) []byte { return b[1:] }, false, "", "damaged", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := inMemory.disk(t)
			x, tx, err := inMemory.begin(open(d))
			must(t, err)
			must(t, putAll(tx))
			if c.commit {
				must(t, tx.Close(backups.Committed))
			}
			must(t, x.Unlock())
			file := tx.Dir() + "/" + c.file
			data, err := d.ReadFile(file)
			must(t, err)
			must(t, d.Remove(file))
			if c.spoil != nil {
				must(t, place(d, file, backups.State{Mode: 0o600}))
				f, err := d.Append(file)
				must(t, err)
				must(t, d.Truncate(file, 0))
				_, err = f.Write(c.spoil(data))
				must(t, err)
			}
			was, err := snapshot(d)
			must(t, err)

			store := open(d)
			if _, err := store.Load(tx.ID()); !errors.Is(err, backups.ErrDamaged) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("load: %v", err)
			}
			sum := one(t, store)
			if (sum.Damage == nil) != c.resumes || sum.Outcome != c.outcome {
				t.Errorf("listed with outcome %q, damage %v", sum.Outcome, sum.Damage)
			}
			x, err = store.Lock(holder)
			must(t, err)
			if pruned, err := x.Prune(0, all); len(pruned) > 0 || err != nil {
				t.Errorf("pruned %v, %v", pruned, err)
			}
			again, err := x.Resume(tx.ID())
			if (err == nil) != c.resumes {
				t.Fatalf("resume: %v", err)
			}
			if err != nil {
				got, err := snapshot(d)
				must(t, err)
				if diff := differences(was, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			// What is whole is brought back; what is not says so.
			for _, tg := range slices.Backward(again.Targets()) {
				err := again.Revert(tg.ID)
				if broken := c.file != "plan.json" && tg.ID == "apiserver"; broken != errors.Is(err, backups.ErrDamaged) {
					t.Errorf("revert of %s: %v", tg.ID, err)
				}
			}
		})
	}
}

// originalOf is the name under which a target's original is kept.
func originalOf(id string) string {
	d := backupstest.NewDisk(0, 0)
	err := inMemory.build(d)
	if err == nil {
		_, _, err = inMemory.begin(open(d))
	}
	if err != nil {
		panic(err)
	}
	list, _ := open(d).List()
	names, _ := d.ReadDir(list[0].Dir + "/before")
	for _, tg := range inMemory.targets() {
		for _, name := range names {
			if data, _ := d.ReadFile(list[0].Dir + "/before/" + name); tg.ID == id && bytes.Equal(data, tg.Before.Data) {
				return name
			}
		}
	}
	panic("no original of " + id)
}

func TestPrune(t *testing.T) {
	d := inMemory.disk(t)
	store := open(d)
	x, err := store.Lock(holder)
	must(t, err)
	var ids []string
	for _, outcome := range []string{backups.Committed, "", backups.RolledBack, backups.Mixed, backups.Aborted, backups.Committed, backups.Committed} {
		tx, err := x.Begin(meta, plan, nil, backups.Script{})
		must(t, err)
		ids = append(ids, tx.ID())
		if outcome != "" {
			must(t, tx.Close(outcome))
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids are not sorted: %v", ids)
	}
	pruned, err := x.Prune(2, all)
	if want := []string{ids[0], ids[2], ids[4]}; err != nil || !slices.Equal(pruned, want) {
		t.Errorf("pruned %v, %v, want %v", pruned, err, want)
	}
	list, err := store.List()
	must(t, err)
	var left []string
	for _, sum := range list {
		left = append(left, sum.ID)
	}
	if want := []string{ids[6], ids[5], ids[3], ids[1]}; !slices.Equal(left, want) {
		t.Errorf("left %v, want %v", left, want)
	}
	if _, err := x.Resume(ids[0]); !errors.Is(err, backups.ErrUnknown) {
		t.Errorf("resumed a pruned one: %v", err)
	}
	names, err := d.ReadDir(stateDir + "/transactions")
	must(t, err)
	if len(names) != 4 {
		t.Errorf("in the directory: %v", names)
	}
}

// TestIDsSortWhateverTheClockDoes begins transactions while the clock goes back and stands still.
func TestIDsSortWhateverTheClockDoes(t *testing.T) {
	d := inMemory.disk(t)
	const made = "20990101T000000.000Z-abcd"
	var ids []string
	for _, year := range []int{2026, 2026, 1970, 2031, 2027, 2027} {
		store := backups.Open(d, backups.Options{Dir: stateDir, Now: func() time.Time {
			return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		}})
		x, err := store.Lock(holder)
		must(t, err)
		tx, err := x.Begin(meta, nil, nil, backups.Script{})
		must(t, err)
		ids = append(ids, tx.ID())
		must(t, tx.Close(backups.Aborted))
		must(t, x.Unlock())
		// What somebody made with such a name does not count, but is seen.
		if len(ids) == 1 {
			must(t, d.Mkdir(stateDir+"/transactions/"+made, 0o700))
		}
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Errorf("ids %v", ids)
	}
	list, err := open(d).List()
	must(t, err)
	if len(list) != len(ids)+1 || list[0].ID != made || list[0].Damage == nil {
		t.Errorf("list %+v", list)
	}
}

// TestForeignDirectoriesWereTakenForInterruptedTransactions: what is no transaction is named, and neither listed, counted nor
// pruned.
func TestForeignDirectoriesWereTakenForInterruptedTransactions(t *testing.T) {
	d := inMemory.disk(t)
	must(t, inMemory.commit(open(d)))
	list, err := open(d).List()
	must(t, err)
	foreign := []string{list[0].ID + ".bak", "foo", "lost+found"}
	for _, name := range foreign {
		must(t, d.Mkdir(stateDir+"/transactions/"+name, 0o700))
	}
	if list, err = open(d).List(); err != nil || len(list) != 1 {
		t.Errorf("listed %+v, %v", list, err)
	}
	if open, err := open(d).Interrupted(); err != nil || len(open) != 0 {
		t.Errorf("interrupted %+v, %v", open, err)
	}
	x, err := open(d).Lock(holder)
	must(t, err)
	gone, err := x.Prune(0, func(string) bool { return true })
	must(t, errors.Join(err, x.Unlock()))
	if !slices.Equal(gone, []string{list[0].ID}) {
		t.Errorf("pruned %q", gone)
	}
	if got, err := open(d).Foreign(); err != nil || !slices.Equal(got, foreign) {
		t.Errorf("foreign %q, %v", got, err)
	}
}

func TestPutAndRevertMayBeRepeated(t *testing.T) {
	d := inMemory.disk(t)
	_, tx, err := inMemory.begin(open(d))
	must(t, err)
	for range 2 {
		for _, tg := range tx.Targets() {
			must(t, tx.Put(tg.ID))
			must(t, tx.Put(tg.ID))
		}
		must(t, revertAll(tx))
		must(t, revertAll(tx))
	}
	must(t, tx.Close(backups.RolledBack))
	if _, err := inMemory.check(d); err != nil {
		t.Error(err)
	}
	for _, err := range []error{tx.Put("create"), tx.Revert("create"), tx.Log("x", 1), tx.Close(backups.Committed)} {
		if !errors.Is(err, backups.ErrSettled) {
			t.Errorf("after the end: %v", err)
		}
	}
}

func all(string) bool { return true }
