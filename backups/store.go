// Package backups keeps transactions: what a run is about to change is saved and journaled durably first, so that
// whatever interrupts it, every file comes back to its exact prior bytes, mode, owner, extended attributes or absence.
//
// # On disk
//
//	transactions/<id>/plan.json       the plan, as it was shown
//	transactions/<id>/journal.jsonl   JSON lines, each with a checksum that continues the one before
//	transactions/<id>/before/<sha256> contents as they were found
//	transactions/<id>/after/<sha256>  contents as they were planned
//	transactions/<id>/restore.sh      undoes the transaction by hand
//	transactions/<id>/kept/           what restore.sh found that was neither, and objects as it found them
//	transactions/<id>/restored        restore.sh has brought everything back
//
// A transaction appears under its id by one rename, complete. Names that begin with a dot are half made or half
// removed; the next run that takes the lock clears them.
//
// # Order
//
// An entry is durable before what it announces happens. A new content is complete, with mode, owner and extended
// attributes, in a dot-file beside its target before one rename puts it there. The names of those dot-files are in the
// first entry, so that a later run finds what a killed one left.
//
// One process may change the store, under its lock. Reading needs no lock.
package backups

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// Options say where a Store is. Only Dir must be set.
type Options struct {
	Dir      string                 // the state directory
	LockPath string                 // Dir/lock, unless set
	Now      func() time.Time       // time.Now, unless set
	NewID    func(time.Time) string // must sort by time
}

// Store is the transactions below one state directory.
type Store struct {
	fs FS
	o  Options
}

// Open returns the store. It touches nothing.
func Open(fsys FS, o Options) *Store {
	if o.LockPath == "" {
		o.LockPath = path.Join(o.Dir, "lock")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = newID
	}
	return &Store{fs: fsys, o: o}
}

func newID(t time.Time) string { return t.UTC().Format("20060102T150405.000Z") + "-" + random(2) }

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// Meta is what a transaction is, in the words of whoever began it.
type Meta struct {
	Scope    string   `json:"scope,omitempty"`
	Command  string   `json:"command,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Who      Who      `json:"who"`
	Binary   Binary   `json:"binary"`
	Undoes   string   `json:"undoes,omitempty"` // the id of the transaction that this one undoes
	Controls []string `json:"controls,omitempty"`
}

// Who began a transaction.
type Who struct {
	User     string `json:"user,omitempty"`
	SudoUser string `json:"sudoUser,omitempty"`
	LoginUID string `json:"loginUID,omitempty"`
}

// Binary is the program that wrote a transaction.
type Binary struct {
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
}

// Target is one path of a transaction and what it holds before and after.
type Target struct {
	ID     string
	Path   string
	Before State
	After  State
}

// Summary is a transaction in a list.
type Summary struct {
	ID      string
	Dir     string
	Began   time.Time
	Ended   time.Time // zero while there is no outcome
	Outcome string    // empty while there is none
	Meta    Meta
	Paths   []string // of its targets, in order
	Damage  error    // why the rest may be missing
}

// Record is a transaction with everything it holds.
type Record struct {
	Summary
	Plan    []byte
	Targets []Target
	Entries []Entry
}

// format is raised when an older program could misread what this one writes.
const format = 1

type beginData struct {
	Format  int            `json:"format"`
	Meta    Meta           `json:"meta"`
	Plan    string         `json:"plan"` // sha256
	Targets []targetRecord `json:"targets"`
}

type targetRecord struct {
	ID     string `json:"id"`
	Path   string `json:"path"`
	Temp   string `json:"temp"` // the dot-file that its new contents are made in
	Before record `json:"before"`
	After  record `json:"after"`
}

func (s *Store) transactions() string       { return path.Join(s.o.Dir, "transactions") }
func (s *Store) dir(id string) string       { return path.Join(s.transactions(), id) }
func journalPath(dir string) string         { return path.Join(dir, "journal.jsonl") }
func planPath(dir string) string            { return path.Join(dir, "plan.json") }
func scriptPath(dir string) string          { return path.Join(dir, "restore.sh") }
func restoredPath(dir string) string        { return path.Join(dir, "restored") }
func beforePath(dir string) string          { return path.Join(dir, "before") }
func afterPath(dir string) string           { return path.Join(dir, "after") }
func contentPath(parent, sha string) string { return path.Join(parent, sha) }
func isMissing(err error) bool              { return errors.Is(err, fs.ErrNotExist) }
func hidden(name string) bool               { return strings.HasPrefix(name, ".") }
func wrongID(id string) bool                { return !idForm.MatchString(id) }
func wrongName(name string) bool {
	return name == "" || hidden(name) || strings.ContainsFunc(name, outsideName)
}
func outsideName(r rune) bool         { return !strings.ContainsRune(nameRunes, r) }
func (s *Store) now() time.Time       { return s.o.Now().UTC() }
func (s *Store) inside(p string) bool { return p == s.o.Dir || strings.HasPrefix(p, s.o.Dir+"/") }
func unsafeDir(p, why string) error   { return fmt.Errorf("%s: %w: %s", p, ErrUnsafe, why) }
func damaged(file string, why string) error {
	return fmt.Errorf("reading %s: %w: %s", file, ErrDamaged, why)
}
func unknown(id string) error { return fmt.Errorf("transaction %s: %w", printable(id), ErrUnknown) }

const nameRunes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_"

// idForm is what newID makes, in any year.
var idForm = regexp.MustCompile(`^\d{8,}T\d{6}\.\d{3}Z-[0-9a-f]{4}$`)

// checkDir refuses a directory that others could have prepared: what is in it decides what is written as root.
func (s *Store) checkDir(p string) (Info, error) {
	info, err := s.fs.Stat(p)
	switch {
	case err != nil:
		return info, err
	case info.Kind&fs.ModeSymlink != 0:
		return info, unsafeDir(p, "it is a symbolic link")
	case info.Kind != fs.ModeDir:
		return info, unsafeDir(p, "it is not a directory")
	case info.UID != 0 && info.UID != os.Geteuid():
		return info, unsafeDir(p, fmt.Sprintf("it belongs to uid %d", info.UID))
	case info.Mode&0o022 != 0:
		return info, unsafeDir(p, fmt.Sprintf("mode %04o lets others write", info.Mode))
	}
	return info, nil
}

// check looks at the directories down to transactions. exist is false when there is nothing to read yet.
func (s *Store) check() (exist bool, err error) {
	for _, p := range []string{s.o.Dir, s.transactions()} {
		if _, err := s.checkDir(p); isMissing(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// List returns all transactions, newest first.
func (s *Store) List() ([]Summary, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	list := make([]Summary, 0, len(ids))
	for _, id := range slices.Backward(ids) {
		sum, _, _, _ := s.read(id)
		list = append(list, sum)
	}
	return list, nil
}

// ids are the names of all transactions, oldest first.
func (s *Store) ids() ([]string, error) {
	names, err := s.names()
	return slices.DeleteFunc(names, wrongID), err
}

// Foreign are the names among the transactions that no transaction has, such as somebody's copy of one. Nothing here reads,
// counts or removes them.
func (s *Store) Foreign() ([]string, error) {
	names, err := s.names()
	return slices.DeleteFunc(names, func(name string) bool { return !wrongID(name) }), err
}

// names are what is among the transactions and not hidden, in order.
func (s *Store) names() ([]string, error) {
	if exist, err := s.check(); err != nil || !exist {
		return nil, err
	}
	names, err := s.fs.ReadDir(s.transactions())
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, hidden)
	sort.Strings(names)
	return names, nil
}

// Interrupted returns the transactions that have no outcome, newest first: their process was killed, or still runs.
// A damaged one is among them unless its outcome can still be read.
func (s *Store) Interrupted() ([]Summary, error) {
	list, err := s.List()
	return slices.DeleteFunc(list, func(sum Summary) bool { return sum.Outcome != "" }), err
}

// read decodes a transaction's journal. The error is also in the summary.
func (s *Store) read(id string) (sum Summary, begin beginData, d decoded, err error) {
	sum = Summary{ID: id, Dir: s.dir(id)}
	defer func() { sum.Damage = err }()
	file := journalPath(sum.Dir)
	data, err := s.fs.ReadFile(file)
	if err != nil {
		return sum, begin, d, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	d, err = decode(data, id, file)
	sum.Outcome, sum.Ended = d.outcome, d.ended
	if err != nil {
		sum.Outcome, sum.Ended = lastOutcome(data), time.Time{}
	}
	if len(d.entries) == 0 {
		return sum, begin, d, errors.Join(err, damaged(file, "it has no first entry"))
	}
	sum.Began = d.entries[0].Time
	if e := json.Unmarshal(d.entries[0].Data, &begin); e != nil {
		return sum, begin, d, errors.Join(err, &JournalError{File: file, Line: 1, Err: e})
	}
	if begin.Format != format {
		return sum, begin, d, errors.Join(err,
			damaged(file, fmt.Sprintf("format %d is unknown: another version of the program wrote it", begin.Format)))
	}
	sum.Meta, begin.Targets = begin.Meta, rebased(begin.Targets, d.entries)
	for _, t := range begin.Targets {
		sum.Paths = append(sum.Paths, t.Path)
	}
	return sum, begin, d, err
}

// Load returns a transaction with all that it holds, or what is damaged in it.
func (s *Store) Load(id string) (*Record, error) {
	if err := s.find(id); err != nil {
		return nil, err
	}
	sum, begin, d, err := s.read(id)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", id, err)
	}
	r := &Record{Summary: sum, Entries: d.entries}
	if r.Plan, err = s.plan(sum.Dir, begin); err != nil {
		return nil, fmt.Errorf("transaction %s: %w", id, err)
	}
	for _, tr := range begin.Targets {
		t, err := s.resolve(sum.Dir, tr)
		if err != nil {
			return nil, fmt.Errorf("transaction %s: the saved content of %s: %w", id, printable(tr.Path), err)
		}
		r.Targets = append(r.Targets, t)
	}
	return r, nil
}

// Plan returns the plan of a transaction, also where saved contents are damaged.
func (s *Store) Plan(id string) ([]byte, error) {
	if err := s.find(id); err != nil {
		return nil, err
	}
	sum, begin, _, err := s.read(id)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", id, err)
	}
	data, err := s.plan(sum.Dir, begin)
	if err != nil {
		return nil, fmt.Errorf("transaction %s: %w", id, err)
	}
	return data, nil
}

func (s *Store) plan(dir string, begin beginData) ([]byte, error) {
	file := planPath(dir)
	data, err := s.fs.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if digest(data) != begin.Plan {
		return nil, damaged(file, "checksum does not match")
	}
	return data, nil
}

// find answers whether there is a transaction with this id, which may be what somebody typed.
func (s *Store) find(id string) error {
	if wrongID(id) {
		return unknown(id)
	}
	if exist, err := s.check(); err != nil {
		return err
	} else if !exist {
		return unknown(id)
	}
	if _, err := s.checkDir(s.dir(id)); isMissing(err) {
		return unknown(id)
	} else if err != nil {
		return err
	}
	return nil
}

// resolve reads the contents of a target. What is missing stays nil, and the error says why.
func (s *Store) resolve(dir string, tr targetRecord) (Target, error) {
	before, errBefore := s.content(dir, tr.Before)
	after, errAfter := s.content(dir, tr.After)
	t := Target{ID: tr.ID, Path: tr.Path, Before: tr.Before.state(before), After: tr.After.state(after)}
	return t, errors.Join(errBefore, errAfter)
}

func (s *Store) content(dir string, r record) ([]byte, error) {
	if !r.Exists || r.Dir {
		return nil, nil
	}
	return s.blob(dir, r.SHA256)
}

// blob reads a saved content and proves that it is what was saved.
func (s *Store) blob(dir, sha string) ([]byte, error) {
	file := contentPath(beforePath(dir), sha)
	data, err := s.fs.ReadFile(file)
	if isMissing(err) {
		file = contentPath(afterPath(dir), sha)
		data, err = s.fs.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if digest(data) != sha {
		return nil, damaged(file, "checksum does not match")
	}
	return data, nil
}

// Entries returns the journal's entries behind offset, which is 0 or what an earlier call returned as next. It is
// how a running transaction is followed: an entry appears once it is complete.
func (s *Store) Entries(id string, offset int64) (entries []Entry, next int64, err error) {
	if wrongID(id) {
		return nil, offset, unknown(id)
	}
	file := journalPath(s.dir(id))
	data, err := s.fs.ReadFile(file)
	if isMissing(err) {
		return nil, offset, unknown(id)
	}
	if err != nil {
		return nil, offset, err
	}
	if offset != 0 && (offset < 0 || offset > int64(len(data)) || data[offset-1] != '\n') {
		return nil, offset, fmt.Errorf("reading %s: %d is not between two entries", file, offset)
	}
	if offset == int64(len(data)) {
		return nil, offset, nil
	}
	d, err := decode(data, id, file)
	first := len(d.ends)
	for i, end := range d.ends {
		if end > offset {
			first = i
			break
		}
	}
	return d.entries[first:], max(offset, d.size()), err
}

// writeFile makes a new file, durable but for its name.
func writeFile(fsys FS, file string, mode uint32, data []byte) error {
	f, err := fsys.Create(file, mode)
	if err != nil {
		return err
	}
	err = writeAll(f, file, data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func writeAll(f File, file string, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	n, err := f.Write(data)
	if err == nil && n < len(data) {
		err = fmt.Errorf("writing %s: %w: %d of %d bytes", printable(file), io.ErrShortWrite, n, len(data))
	}
	return err
}

// removeTree removes what may be left of a transaction's directory.
func removeTree(fsys FS, p string) error {
	info, err := fsys.Stat(p)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Kind == fs.ModeDir {
		names, err := fsys.ReadDir(p)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := removeTree(fsys, path.Join(p, name)); err != nil {
				return err
			}
		}
	}
	return fsys.Remove(p)
}

// ensureDir makes a directory and its missing parents, which become durable before anything is in them: the directory
// itself does once its maker syncs the one that it lies in.
func ensureDir(fsys FS, p string, mode uint32) error {
	_, err := fsys.Stat(p)
	parent := path.Dir(p)
	if err == nil || !isMissing(err) || parent == p {
		return err
	}
	if err := ensureDir(fsys, parent, 0o755); err != nil {
		return err
	}
	if names, err := fsys.ReadDir(parent); err != nil {
		return err
	} else if len(names) == 0 {
		// Somebody just made it, perhaps a run that was killed before it came to this.
		if err := fsys.SyncDir(path.Dir(parent)); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(p, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
