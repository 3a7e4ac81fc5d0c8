package backups

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
)

// Put changes a target from Before to After, durably. A target that is no longer as Before says is refused with a
// DriftError and left alone. It may be repeated, also after Resume.
func (t *Tx) Put(id string) error {
	t.op.Lock()
	defer t.op.Unlock()
	tg, step, err := t.target(id)
	if err != nil {
		return fmt.Errorf("changing target %q: %w", id, err)
	}
	wrap := func(err error) error { return fmt.Errorf("changing %s: %w", printable(tg.Path), err) }
	now, err := observe(t.x.s.fs, tg.Path)
	if err != nil {
		return wrap(err)
	}
	begun := (put(step) || step == KindKept) && now.kind == ""
	ours := begun && (tg.After.is(now.record) || between(tg.Before, tg.After, now.record))
	if !ours && !now.matches(tg.Before) {
		return wrap(t.drift(tg, now, tg.Before))
	}
	if !intact(tg.After, tg.after) && !sameContent(now.record, tg.After) {
		return wrap(t.damage[id])
	}
	if err := t.log(KindPut, id, nil); err != nil {
		return wrap(err)
	}
	if touched, err := t.change(tg, now, tg.After, tg.after); err != nil {
		err = errors.Join(err, t.removeTemp(tg))
		if !touched && !begun {
			// Without this entry Revert would take what others wrote meanwhile for its own affair.
			err = errors.Join(err, t.log(KindFailed, id, nil))
		}
		return wrap(err)
	}
	if err := t.log(KindDone, id, nil); err != nil {
		return wrap(err)
	}
	return nil
}

// Revert brings a target back to Before, durably. It does nothing to a target that was never put, or is back
// already. What is neither Before nor After is refused with a DriftError. A directory that we made and others use is
// left, with ErrNotEmpty, and noted as kept: it is theirs from then on, and the transaction can be closed as rolled
// back. A journal that cannot be written does not keep it from bringing the target back: Close fails then.
func (t *Tx) Revert(id string) error {
	t.op.Lock()
	defer t.op.Unlock()
	tg, step, err := t.target(id)
	if err != nil {
		return fmt.Errorf("bringing back target %q: %w", id, err)
	}
	wrap := func(err error) error { return fmt.Errorf("bringing back %s: %w", printable(tg.Path), err) }
	if err := t.removeTemp(tg); err != nil {
		return wrap(err)
	}
	if !put(step) && step != KindKept {
		return nil
	}
	now, err := observe(t.x.s.fs, tg.Path)
	if err != nil {
		return wrap(err)
	}
	if !now.matches(tg.Before) && !ownedBy(tg, now) {
		return wrap(t.drift(tg, now, tg.Before, tg.After))
	}
	if !intact(tg.Before, tg.before) && !sameContent(now.record, tg.Before) {
		return wrap(t.damage[id])
	}
	if err := t.logAnyway(KindRevert, id); err != nil {
		return wrap(err)
	}
	if _, err := t.change(tg, now, tg.Before, tg.before); err != nil {
		err = errors.Join(err, t.removeTemp(tg))
		if errors.Is(err, ErrNotEmpty) {
			err = errors.Join(err, t.logAnyway(KindKept, id))
		}
		return wrap(err)
	}
	if err := t.logAnyway(KindReverted, id); err != nil {
		return wrap(err)
	}
	return nil
}

// intact reports whether data is the content that r tells of: Resume goes on without one that it cannot read.
func intact(r record, data []byte) bool { return !r.Exists || r.Dir || digest(data) == r.SHA256 }

// ownedBy reports whether what is there may be replaced by Before. It goes by content: attributes decide only where
// they are all that was changed, and what we made is ours whatever its attributes became.
func ownedBy(tg target, now observed) bool {
	switch {
	case now.kind != "":
		return false
	case sameContent(tg.Before, tg.After) && tg.Before.Exists:
		return between(tg.Before, tg.After, now.record)
	default:
		return sameContent(tg.After, now.record) || sameContent(tg.Before, now.record)
	}
}

func (t *Tx) target(id string) (target, string, error) {
	if err := t.x.held(); err != nil {
		return target{}, "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return target{}, "", fmt.Errorf("%w: %s", ErrSettled, t.id)
	}
	for _, tg := range t.targets {
		if tg.ID == id {
			return tg, t.status[id], nil
		}
	}
	return target{}, "", fmt.Errorf("transaction %s has no such target", t.id)
}

// logAnyway notes a step of an undo, which goes on when that fails: unless a failed Close may have left an outcome
// behind that the undo would make a lie.
func (t *Tx) logAnyway(kind, id string) error {
	err := t.log(kind, id, nil)
	if err == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending {
		return err
	}
	t.logged = errors.Join(t.logged, err)
	t.status[id] = kind
	return nil
}

func (t *Tx) drift(tg target, now observed, wanted ...record) error {
	e := &DriftError{Target: tg.ID, Path: tg.Path, Found: now.state(), Kind: now.kind}
	for _, r := range wanted {
		data := tg.before
		if r.SHA256 == tg.After.SHA256 {
			data = tg.after
		}
		e.Wanted = append(e.Wanted, r.state(data))
	}
	return e
}

// change makes want of what is at the target now. touched is false when it failed before it changed the target.
func (t *Tx) change(tg target, now observed, want record, data []byte) (touched bool, err error) {
	fsys, dir := t.x.s.fs, path.Dir(tg.Path)
	switch {
	case want.is(now.record):
		return true, t.settle(tg, now.record)
	case want.Exists && sameContent(now.record, want):
		if err := t.compare(tg, now); err != nil {
			return false, err
		}
		if err := setAttrs(fsys, tg.Path, now.record, want); err != nil {
			return true, err
		}
		if err := verify(fsys, tg.Path, want); err != nil {
			return true, err
		}
		return true, t.settle(tg, want)
	case want.Exists:
		if err := t.stage(tg, want, data); err != nil {
			return false, err
		}
		if err := t.compare(tg, now); err != nil {
			return false, err
		}
		if err := fsys.Rename(tg.Temp, tg.Path); err != nil {
			return true, err
		}
	default:
		if now.Dir {
			if err := emptyDir(fsys, tg.Path); err != nil {
				return false, err
			}
		}
		if err := t.compare(tg, now); err != nil {
			return false, err
		}
		if err := fsys.Remove(tg.Path); err != nil {
			return true, err
		}
	}
	return true, fsys.SyncDir(dir)
}

// compare looks a last time before a change whether the target is still as it was seen.
func (t *Tx) compare(tg target, seen observed) error {
	now, err := observe(t.x.s.fs, tg.Path)
	if err != nil {
		return err
	}
	if !now.matches(seen.record) {
		return t.drift(tg, now, seen.record)
	}
	return nil
}

// settle makes durable what is at the target already: an earlier run may have died between change and sync.
func (t *Tx) settle(tg target, r record) error {
	fsys := t.x.s.fs
	switch {
	case r.Exists && r.Dir:
		if err := fsys.SyncDir(tg.Path); err != nil {
			return err
		}
	case r.Exists && sameContent(tg.Before, tg.After):
		f, err := fsys.Append(tg.Path)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(path.Dir(tg.Path)); err != nil && !isMissing(err) {
		return err
	}
	return nil
}

func emptyDir(fsys FS, p string) error {
	names, err := fsys.ReadDir(p)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	shown := make([]string, 0, 3)
	for _, name := range names[:min(len(names), cap(shown))] {
		shown = append(shown, printable(name))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: it holds %s", ErrNotEmpty, strings.Join(shown, ", "))
}

// stage makes the new content beside its target, complete and durable, under a name that nothing reads.
func (t *Tx) stage(tg target, want record, data []byte) error {
	fsys := t.x.s.fs
	if err := t.removeTemp(tg); err != nil {
		return err
	}
	if want.Dir {
		if err := fsys.Mkdir(tg.Temp, 0o700); err != nil {
			return err
		}
		if err := t.dress(tg, want); err != nil {
			return err
		}
		return fsys.SyncDir(tg.Temp)
	}
	// The content goes in while nobody else can open the file, and before owner and mode: writing drops some bits.
	f, err := fsys.Create(tg.Temp, 0o600)
	if err != nil {
		return err
	}
	err = writeAll(f, tg.Temp, data)
	if err == nil {
		err = t.dress(tg, want)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// dress gives the dot-file its attributes.
func (t *Tx) dress(tg target, want record) error {
	fsys := t.x.s.fs
	fresh, err := observe(fsys, tg.Temp)
	if err != nil {
		return err
	}
	if err := setAttrs(fsys, tg.Temp, fresh.record, want); err != nil {
		return err
	}
	return verify(fsys, tg.Temp, want)
}

// verify proves that the file system took everything as asked.
func verify(fsys FS, p string, want record) error {
	made, err := observe(fsys, p)
	if err != nil {
		return err
	}
	if !made.matches(want) {
		return fmt.Errorf("%s: the file system made %v of %v", printable(p), made.record, want)
	}
	return nil
}

// setAttrs changes mode, owner and extended attributes. Chown comes first because it drops mode bits and
// capabilities, and while it happens the mode grants no more than both the old and the new one do.
func setAttrs(fsys FS, p string, have, want record) error {
	chown := have.UID != want.UID || have.GID != want.GID
	mode := have.Mode
	if chown {
		if narrow := have.Mode & want.Mode; narrow != mode {
			if err := fsys.Chmod(p, narrow); err != nil {
				return err
			}
			mode = narrow
		}
		if err := fsys.Chown(p, want.UID, want.GID); err != nil {
			return err
		}
	}
	if mode != want.Mode || chown {
		if err := fsys.Chmod(p, want.Mode); err != nil {
			return err
		}
	}
	xattrs := have.XAttrs
	if chown {
		var err error
		if xattrs, err = fsys.XAttrs(p); err != nil {
			return err
		}
	}
	for _, name := range strayXAttrs(want.XAttrs, xattrs) {
		if err := fsys.RemoveXAttr(p, name); err != nil {
			return err
		}
	}
	for _, name := range xattrNames(want.XAttrs) {
		if value, ok := xattrs[name]; ok && bytes.Equal(value, want.XAttrs[name]) {
			continue
		}
		if err := fsys.SetXAttr(p, name, want.XAttrs[name]); err != nil {
			return err
		}
	}
	return nil
}
