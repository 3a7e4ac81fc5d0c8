package backups

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Script is what restore.sh does besides bringing the files back: shell lines before and after. Head and Tail are left out
// when ROOT names another disk than the running system's. Check comes before everything else, whatever ROOT is. Check and Head
// say "stop WHY" where nothing may be done. A command of Tail that may fail is given to "run", so that the rest is done all the
// same; "stays PATH" says that a target could not be brought back, and "tell STATE WHY" what state $now is in.
type Script struct {
	Check []string
	Head  []string
	Tail  []string
}

// Begin makes a transaction durable: the targets as they are, which must be as their Before says, the plan, the
// journal and restore.sh. It touches no target. A transaction whose Begin fails does not exist.
func (x *Session) Begin(m Meta, plan []byte, targets []Target, script Script) (*Tx, error) {
	if err := x.held(); err != nil {
		return nil, err
	}
	s := x.s
	if err := s.validate(targets); err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	for _, t := range targets {
		now, err := observe(s.fs, t.Path)
		if err != nil {
			return nil, fmt.Errorf("beginning a transaction: %w", err)
		}
		if !now.matches(recordOf(t.Before)) {
			return nil, &DriftError{Target: t.ID, Path: t.Path, Wanted: []State{t.Before}, Found: now.state(), Kind: now.kind}
		}
	}
	if err := x.prepare(); err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	now := s.now()
	id, err := s.nextID(now)
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	t := &Tx{x: x, id: id, dir: s.dir(id), sum: id, status: map[string]string{}, damage: map[string]error{}}
	begin := beginData{Format: format, Meta: m, Plan: digest(plan)}
	for _, tg := range targets {
		tr := targetRecord{
			ID: tg.ID, Path: tg.Path, Temp: path.Join(path.Dir(tg.Path), tempPrefix+random(8)),
			Before: recordOf(tg.Before), After: recordOf(tg.After),
		}
		begin.Targets = append(begin.Targets, tr)
		t.targets = append(t.targets, target{targetRecord: tr, before: tg.Before.Data, after: tg.After.Data})
	}
	data, err := json.Marshal(begin)
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	line, err := t.next(KindBegin, "", data, now)
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	if err := x.write(t, line, plan, restoreScript(id, t.targets, script)); err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	x.keep(t)
	return t, nil
}

// validate refuses what could not be undone exactly, or would change the store below itself.
func (s *Store) validate(targets []Target) error {
	ids, paths := map[string]bool{}, map[string]bool{}
	for _, t := range targets {
		wrong := func(why string) error { return fmt.Errorf("target %q: %s: %s", t.ID, printable(t.Path), why) }
		switch {
		case t.ID == "" || ids[t.ID]:
			return wrong("ids must be unique and not empty")
		case paths[t.Path]:
			return wrong("two targets have this path")
		case !path.IsAbs(t.Path) || path.Clean(t.Path) != t.Path || t.Path == "/":
			return wrong("the path is not absolute and clean")
		case !utf8.ValidString(t.ID + t.Path):
			return wrong("not valid UTF-8")
		case strings.ContainsRune(t.Path, 0):
			return wrong("the path contains a zero byte")
		case s.inside(t.Path) || t.Path == s.o.LockPath:
			return wrong("what the state directory holds cannot be a target")
		case t.Before.Exists && t.After.Exists && t.Before.Dir != t.After.Dir:
			return wrong("a file cannot become a directory, or the reverse")
		}
		for _, state := range []State{t.Before, t.After} {
			for name := range state.XAttrs {
				if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
					return wrong("the name of an extended attribute is not valid UTF-8")
				}
			}
			if state.Mode&^0o7777 != 0 {
				return wrong(fmt.Sprintf("mode %o has bits that chmod does not know", state.Mode))
			}
		}
		ids[t.ID], paths[t.Path] = true, true
	}
	return nil
}

// prepare makes the directories down to transactions, which a killed run may have made without a sync.
func (x *Session) prepare() error {
	s := x.s
	for _, p := range []string{s.o.Dir, s.transactions()} {
		if err := ensureDir(s.fs, p, 0o700); err != nil {
			return err
		}
		info, err := s.checkDir(p)
		if err != nil {
			return err
		}
		if info.Mode&0o077 != 0 {
			if err := s.fs.Chmod(p, 0o700); err != nil {
				return err
			}
		}
		if err := s.fs.SyncDir(path.Dir(p)); err != nil {
			return err
		}
	}
	return x.clear()
}

// nextID is later than every id there is, also after the clock went back: undo goes by this order.
func (s *Store) nextID(now time.Time) (string, error) {
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	newest := ""
	for _, id := range slices.Backward(ids) {
		// What only has the name of a transaction is none, whatever it sorts behind.
		if sum, _, _, _ := s.read(id); !sum.Began.IsZero() {
			newest = id
			break
		}
	}
	// Doubling steps reach beyond any date in about forty tries.
	for ahead := time.Duration(0); ahead >= 0; ahead = 2*ahead + time.Millisecond {
		id := s.o.NewID(now.Add(ahead))
		if wrongID(id) {
			return "", fmt.Errorf("%q cannot be an id", id)
		}
		if id > newest {
			return id, nil
		}
	}
	return "", fmt.Errorf("no id follows %s", printable(newest))
}

// write makes the transaction's directory under a hidden name and shows it, complete, by one rename.
func (x *Session) write(t *Tx, line, plan, script []byte) error {
	fsys, parent := x.s.fs, x.s.transactions()
	draft := path.Join(parent, halfMade+t.id)
	if err := fsys.Mkdir(draft, 0o700); err != nil {
		return err
	}
	if err := fill(fsys, draft, t.targets, line, plan, script); err != nil {
		return errors.Join(err, removeTree(fsys, draft))
	}
	if err := fsys.Rename(draft, t.dir); err != nil {
		return errors.Join(err, removeTree(fsys, draft))
	}
	t.size = int64(len(line))
	err := fsys.SyncDir(parent)
	if err == nil {
		t.journal, err = fsys.Append(journalPath(t.dir))
	}
	if err == nil {
		return nil
	}
	// Where it cannot be removed, it says itself that nothing was done.
	aborted, gone := t.end(Aborted), x.discard(t.id)
	if aborted == nil {
		gone = nil
	}
	return errors.Join(err, gone)
}

func fill(fsys FS, dir string, targets []target, line, plan, script []byte) error {
	for _, sub := range []string{beforePath(dir), afterPath(dir)} {
		if err := fsys.Mkdir(sub, 0o700); err != nil {
			return err
		}
	}
	saved := map[string]bool{}
	save := func(parent string, r record, data []byte) error {
		if !r.Exists || r.Dir || saved[r.SHA256] {
			return nil
		}
		saved[r.SHA256] = true
		return writeFile(fsys, contentPath(parent, r.SHA256), 0o600, data)
	}
	for _, t := range targets {
		if err := save(beforePath(dir), t.Before, t.before); err != nil {
			return err
		}
	}
	for _, t := range targets {
		if err := save(afterPath(dir), t.After, t.after); err != nil {
			return err
		}
	}
	if err := writeFile(fsys, planPath(dir), 0o600, plan); err != nil {
		return err
	}
	if err := writeFile(fsys, scriptPath(dir), 0o700, script); err != nil {
		return err
	}
	if err := writeFile(fsys, journalPath(dir), 0o600, line); err != nil {
		return err
	}
	for _, p := range []string{beforePath(dir), afterPath(dir), dir} {
		if err := fsys.SyncDir(p); err != nil {
			return err
		}
	}
	return nil
}
