package backups

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
)

// rebaseData is the journal of a target that others have changed since it was put.
type rebaseData struct {
	Before record `json:"before"`
	After  record `json:"after"`
}

// Rebase is for a target that others have changed since it was put, where it is known what it would hold without our
// change: what is there now is taken for what we have written, and Revert brings back that instead of the original. It is
// durable, with its contents, when Rebase returns, so that whoever recovers goes by it too. restore.sh does not: it has the
// original only, and keeps a copy of what it finds. A target that was brought back already can only stay as it is.
func (t *Tx) Rebase(id string, now, back State) error {
	t.op.Lock()
	defer t.op.Unlock()
	tg, step, err := t.target(id)
	if err != nil {
		return fmt.Errorf("rebasing target %q: %w", id, err)
	}
	wrap := func(err error) error { return fmt.Errorf("rebasing %s: %w", printable(tg.Path), err) }
	seen, err := observe(t.x.s.fs, tg.Path)
	switch {
	case err != nil:
		return wrap(err)
	case !put(step) && (step != KindReverted || !recordOf(back).is(recordOf(now))):
		return wrap(errors.New("it was not changed"))
	case now.Exists && back.Exists && now.Dir != back.Dir:
		return wrap(errors.New("a file cannot become a directory, or the reverse"))
	case !seen.matches(recordOf(now)):
		return wrap(t.drift(tg, seen, recordOf(now)))
	}
	data := rebaseData{Before: recordOf(back), After: recordOf(now)}
	if err := errors.Join(t.save(data.Before, back.Data), t.save(data.After, now.Data)); err != nil {
		return wrap(err)
	}
	if err := t.log(KindRebase, id, data); err != nil {
		return wrap(err)
	}
	for i := range t.targets {
		if t.targets[i].ID == id {
			t.targets[i].Before, t.targets[i].After = data.Before, data.After
			t.targets[i].before, t.targets[i].after = back.Data, now.Data
			t.damage[id] = nil
		}
	}
	return nil
}

// save puts a content among the originals, durably. One of the same name may be there, and be half of it only.
func (t *Tx) save(r record, data []byte) error {
	if !r.Exists || r.Dir {
		return nil
	}
	fsys, dir := t.x.s.fs, beforePath(t.dir)
	draft := path.Join(dir, halfMade+r.SHA256)
	if err := fsys.Remove(draft); err != nil && !isMissing(err) {
		return err
	}
	if err := writeFile(fsys, draft, 0o600, data); err != nil {
		return err
	}
	if err := fsys.Rename(draft, contentPath(dir, r.SHA256)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// rebased are the targets as the journal has them in the end. What cannot be read of it is as if it were not there: the
// target then has drifted, as it had before.
func rebased(targets []targetRecord, entries []Entry) []targetRecord {
	for _, e := range entries {
		var data rebaseData
		if e.Kind != KindRebase || json.Unmarshal(e.Data, &data) != nil {
			continue
		}
		for i := range targets {
			if targets[i].ID == e.Target {
				targets[i].Before, targets[i].After = data.Before, data.After
			}
		}
	}
	return targets
}
