package backups

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"
)

// tempPrefix begins the names of the dot-files that new contents are made in.
const tempPrefix = ".kubectl-harden-"

// Tx is a transaction that is being run, undone or settled. Put, Revert and Close are for one goroutine at a time;
// the rest may be called meanwhile.
type Tx struct {
	x       *Session
	id      string
	dir     string
	targets []target
	damage  map[string]error // contents that could not be read, by target

	op sync.Mutex // held by Put, Revert and Close

	mu      sync.Mutex // guards what follows
	entries []Entry
	status  map[string]string // the last of put, done, failed, revert, reverted, kept of each target
	journal File
	size    int64  // of the journal, up to the last entry that is durable
	sum     string // of that entry
	dirty   bool   // something unacknowledged may lie behind size
	ending  bool   // and that may be an outcome
	logged  error  // the first entry that could not be written while reverting
	closed  bool
}

type target struct {
	targetRecord
	before, after []byte
}

// ID is the transaction's name: ids sort by time.
func (t *Tx) ID() string { return t.id }

// Dir is where the transaction is kept.
func (t *Tx) Dir() string { return t.dir }

// ScriptPath is the restore.sh that undoes this transaction by hand.
func (t *Tx) ScriptPath() string { return scriptPath(t.dir) }

// Restored reports that restore.sh was run and has brought everything back. One that refused or stopped does not count.
func (t *Tx) Restored() bool {
	_, err := t.x.s.fs.Stat(restoredPath(t.dir))
	return err == nil
}

// Targets returns the targets with their contents, as Rebase has left them. After Resume, a content that is damaged is nil: Put or Revert of
// that target says so.
func (t *Tx) Targets() []Target {
	list := make([]Target, len(t.targets))
	for i, tg := range t.targets {
		list[i] = Target{ID: tg.ID, Path: tg.Path, Before: tg.Before.state(tg.before), After: tg.After.state(tg.after)}
	}
	return list
}

// Entries returns the journal so far.
func (t *Tx) Entries() []Entry {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries)
}

// Resume takes over a transaction that has no outcome, or a mixed one, to settle it. A torn last line and the
// dot-files of a killed run are removed.
func (x *Session) Resume(id string) (*Tx, error) {
	if err := x.held(); err != nil {
		return nil, err
	}
	s := x.s
	if err := s.find(id); err != nil {
		return nil, err
	}
	// Its maker may have died between showing it and making that durable.
	if err := s.fs.SyncDir(s.transactions()); err != nil {
		return nil, fmt.Errorf("resuming %s: %w", id, err)
	}
	sum, begin, d, err := s.read(id)
	if err != nil {
		return nil, fmt.Errorf("resuming %s: %w", id, err)
	}
	if sum.Outcome != "" && sum.Outcome != Mixed {
		return nil, fmt.Errorf("resuming %s: %w: %s", id, ErrSettled, sum.Outcome)
	}
	t := &Tx{
		x: x, id: id, dir: sum.Dir, entries: d.entries, size: d.size(), sum: d.entries[len(d.entries)-1].Sum, dirty: true,
		status: map[string]string{}, damage: map[string]error{},
	}
	for _, tr := range begin.Targets {
		resolved, err := s.resolve(sum.Dir, tr)
		t.targets = append(t.targets, target{targetRecord: tr, before: resolved.Before.Data, after: resolved.After.Data})
		t.damage[tr.ID] = err
	}
	for _, e := range d.entries {
		t.note(e)
	}
	if err := t.log(KindResume, "", nil); err != nil {
		return nil, fmt.Errorf("resuming %s: %w", id, err)
	}
	// One directory that cannot be cleaned must not keep the others from being brought back: Close insists.
	_ = t.sweep()
	x.keep(t)
	return t, nil
}

// note keeps the last step of each target.
func (t *Tx) note(e Entry) {
	switch e.Kind {
	case KindPut, KindDone, KindFailed, KindRevert, KindReverted, KindKept:
		t.status[e.Target] = e.Kind
	}
}

// Log writes an entry of the caller's own kind. It is durable when Log returns.
func (t *Tx) Log(kind string, data any) error {
	switch kind {
	case "", KindBegin, KindPut, KindDone, KindFailed, KindRevert, KindReverted, KindKept, KindRebase, KindResume, KindEnd:
		return fmt.Errorf("logging in %s: kind %q is the store's own", t.id, kind)
	}
	return t.log(kind, "", data)
}

func (t *Tx) log(kind, target string, data any) error {
	if err := t.x.held(); err != nil {
		return fmt.Errorf("logging %s in %s: %w", kind, t.id, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return fmt.Errorf("logging %s in %s: %w", kind, t.id, ErrSettled)
	}
	var raw json.RawMessage
	if data != nil {
		var err error
		if raw, err = json.Marshal(data); err != nil {
			return fmt.Errorf("logging %s in %s: %w", kind, t.id, err)
		}
	}
	if err := t.append(kind, target, raw); err != nil {
		return fmt.Errorf("logging %s in %s: %w", kind, t.id, err)
	}
	return nil
}

// next makes the line that follows, and takes it as written.
func (t *Tx) next(kind, target string, data json.RawMessage, now time.Time) ([]byte, error) {
	e := Entry{Seq: len(t.entries) + 1, Time: now, Kind: kind, Target: target, Data: data}
	line, sum, err := encode(e, t.sum)
	if err != nil {
		return nil, err
	}
	e.Sum, t.sum = sum, sum
	t.entries = append(t.entries, e)
	t.note(e)
	return line, nil
}

// append writes one entry. After a failure the journal ends, for this process and any later one, where it did.
func (t *Tx) append(kind, target string, data json.RawMessage) (err error) {
	if t.dirty || t.journal == nil {
		if err := t.mend(); err != nil {
			return err
		}
	}
	entries, sum, before := t.entries, t.sum, t.status[target]
	line, err := t.next(kind, target, data, t.x.s.now())
	if err != nil {
		return err
	}
	if err = writeAll(t.journal, journalPath(t.dir), line); err == nil {
		err = t.journal.Sync()
	}
	if err != nil {
		t.entries, t.sum, t.dirty, t.ending = entries, sum, true, kind == KindEnd
		t.status[target] = before
		return errors.Join(err, t.shut())
	}
	t.size += int64(len(line))
	return nil
}

// mend cuts off what was never acknowledged and opens the journal again.
func (t *Tx) mend() error {
	file := journalPath(t.dir)
	if err := t.x.s.fs.Truncate(file, t.size); err != nil {
		return err
	}
	f, err := t.x.s.fs.Append(file) // the cut becomes durable with the next entry
	if err != nil {
		return err
	}
	t.journal, t.dirty, t.ending = f, false, false
	return nil
}

func (t *Tx) shut() error {
	f := t.journal
	t.journal = nil
	if f == nil {
		return nil
	}
	return f.Close()
}

// release lets go of the journal without an outcome. Its entries are durable already.
func (t *Tx) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.shut()
	t.closed = true
}

// Close gives the transaction its outcome. It refuses one that the journal contradicts, and insists that none of the
// transaction's dot-files is left, except for Mixed. A Close that fails can be tried again.
func (t *Tx) Close(outcome string) error {
	if !isOutcome(outcome) {
		return fmt.Errorf("closing %s: unknown outcome %q", t.id, outcome)
	}
	t.op.Lock()
	defer t.op.Unlock()
	if err := t.sweep(); err != nil && outcome != Mixed {
		return fmt.Errorf("closing %s: %w", t.id, err)
	}
	if outcome == RolledBack || outcome == Aborted {
		if tg, ok := t.changed(); ok {
			return fmt.Errorf("closing %s: not %s: %s was not brought back", t.id, outcome, printable(tg.Path))
		}
	}
	return t.end(outcome)
}

func (t *Tx) end(outcome string) error {
	if err := t.log(KindEnd, "", endData{Outcome: outcome}); err != nil {
		return errors.Join(err, t.logged)
	}
	t.release()
	return nil
}

// changed finds a target that was put and not brought back since. A directory that is kept is others' by now.
func (t *Tx) changed() (target, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, tg := range t.targets {
		if put(t.status[tg.ID]) {
			return tg, true
		}
	}
	return target{}, false
}

// put reports whether a target with this last step is ours to bring back.
func put(step string) bool { return step == KindPut || step == KindDone || step == KindRevert }

// sweep removes the dot-files that are left of the transaction.
func (t *Tx) sweep() error {
	var errs []error
	for _, tg := range t.targets {
		errs = append(errs, t.removeTemp(tg))
	}
	return errors.Join(errs...)
}

func (t *Tx) removeTemp(tg target) error {
	fsys := t.x.s.fs
	_, err := fsys.Stat(tg.Temp)
	if isMissing(err) {
		return nil
	}
	if err == nil {
		err = fsys.Remove(tg.Temp)
	}
	if err == nil {
		err = fsys.SyncDir(path.Dir(tg.Temp))
	}
	return err
}
