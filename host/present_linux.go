package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"reflect"

	"golang.org/x/sys/unix"
)

// ErrChanged says that somebody else changed a file at the same moment. It is as they have left it.
var ErrChanged = errors.New("somebody else changed it at this moment")

// Present lets whoever watches a file's directory see it go and come again, while its name leads to the same content, mode,
// owner and attributes all the time: a copy and the file change places in one step, and the file is removed under the copy's
// name, which starts with a dot.
func (r *Root) Present(file string) error {
	const doing = "presenting"
	was, err := r.State(file)
	if err != nil {
		return err
	}
	if !was.Exists || was.Dir {
		return failed(doing, file, fs.ErrNotExist)
	}
	draft := copyOf(file)
	if err := r.TidyPresent(file); err != nil {
		return err
	}
	f, err := r.Create(draft, was.Mode)
	if err != nil {
		return err
	}
	_, err = f.Write(was.Data)
	err = errors.Join(err, f.Sync(), f.Close(), r.Chown(draft, was.UID, was.GID), r.Chmod(draft, was.Mode))
	for name, value := range was.XAttrs {
		err = errors.Join(err, r.SetXAttr(draft, name, value))
	}
	if err == nil {
		err = r.exchange(file, draft)
	}
	if err != nil {
		return errors.Join(err, r.Remove(draft))
	}
	displaced, err := r.State(draft)
	if err == nil && !reflect.DeepEqual(displaced, was) {
		err = failed(doing, file, ErrChanged)
		if back := r.exchange(file, draft); back != nil {
			return errors.Join(err, back, fmt.Errorf("what somebody else has written is at %s", draft))
		}
	}
	return errors.Join(err, r.Remove(draft), r.SyncDir(path.Dir(file)))
}

func copyOf(file string) string {
	return path.Join(path.Dir(file), ".kubectl-harden-"+path.Base(file))
}

// TidyPresent removes the copy that a process has left which was killed while it presented a file.
func (r *Root) TidyPresent(file string) error {
	switch err := r.Remove(copyOf(file)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return r.SyncDir(path.Dir(file))
}

// exchange lets two files of one directory change their names. Watchers are told that the first one's name went and came.
func (r *Root) exchange(a, b string) error {
	const doing = "exchanging"
	t, first, err := r.entry(a)
	if err != nil {
		return failed(doing, a, err)
	}
	defer t.close()
	for _, base := range []string{first, path.Base(b)} {
		if _, err := t.check(base, unix.S_IFREG); err != nil {
			return failed(doing, path.Join(path.Dir(a), base), err)
		}
	}
	// The kernel tells of the names in this order; the other way round the one that stays would be told of as gone.
	return failed(doing, a, unix.Renameat2(t.top().fd, first, t.top().fd, path.Base(b), unix.RENAME_EXCHANGE))
}
