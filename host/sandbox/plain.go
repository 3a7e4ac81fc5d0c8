package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"kubectl-harden.io/kubectl-harden/backups"
)

// plainRoot is a root for systems that package host has none for. Modes are kept in memory, as not every system knows them;
// there are no extended attributes, and the lock holds within this process.
type plainRoot struct {
	dir *os.Root

	mu     sync.Mutex
	modes  map[string]uint32
	locked map[string][]byte
}

func openPlain(dir string) (root, error) {
	d, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &plainRoot{dir: d, modes: map[string]uint32{"/": 0o700}, locked: map[string][]byte{}}, nil
}

func (r *plainRoot) Close() error { return r.dir.Close() }

func local(p string) string { return path.Join(".", p) }

func (r *plainRoot) mode(p string) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.modes[p]
}

func (r *plainRoot) setMode(p string, mode uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.modes[p] = mode
}

// move takes the modes of a path, and of all below it, to another; to "" they are gone.
func (r *plainRoot) move(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p, mode := range r.modes {
		if rest, ok := strings.CutPrefix(p, from); ok && (rest == "" || rest[0] == '/') {
			delete(r.modes, p)
			if to != "" {
				r.modes[to+rest] = mode
			}
		}
	}
}

func (r *plainRoot) Stat(p string) (backups.Info, error) {
	info, err := r.dir.Lstat(local(p))
	if err != nil {
		return backups.Info{}, err
	}
	return backups.Info{Kind: info.Mode().Type(), Mode: r.mode(p), Size: info.Size()}, nil
}

func (r *plainRoot) ReadFile(p string) ([]byte, error) { return r.dir.ReadFile(local(p)) }

func (r *plainRoot) ReadDir(p string) ([]string, error) {
	d, err := r.dir.Open(local(p))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (r *plainRoot) List(p string) ([]string, error)             { return r.ReadDir(p) }
func (r *plainRoot) XAttrs(p string) (map[string][]byte, error)  { _, err := r.Stat(p); return nil, err }
func (r *plainRoot) SetXAttr(p, name string, value []byte) error { return noXAttrs("setting", p) }
func (r *plainRoot) RemoveXAttr(p, name string) error            { return noXAttrs("removing", p) }

func noXAttrs(op, p string) error {
	return &fs.PathError{Op: op + " an extended attribute of", Path: p, Err: errors.ErrUnsupported}
}

func (r *plainRoot) Create(p string, mode uint32) (backups.File, error) {
	f, err := r.dir.OpenFile(local(p), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	r.setMode(p, mode)
	return f, nil
}

func (r *plainRoot) Append(p string) (backups.File, error) {
	return r.dir.OpenFile(local(p), os.O_WRONLY|os.O_APPEND, 0)
}

func (r *plainRoot) Truncate(p string, size int64) error {
	f, err := r.dir.OpenFile(local(p), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

func (r *plainRoot) Mkdir(p string, mode uint32) error {
	if err := r.dir.Mkdir(local(p), 0o700); err != nil {
		return err
	}
	r.setMode(p, mode)
	return nil
}

func (r *plainRoot) Chmod(p string, mode uint32) error {
	if _, err := r.Stat(p); err != nil {
		return err
	}
	r.setMode(p, mode)
	return nil
}

func (r *plainRoot) Chown(p string, _, _ int) error {
	_, err := r.Stat(p)
	return err
}

func (r *plainRoot) Rename(from, to string) error {
	if err := r.dir.Rename(local(from), local(to)); err != nil {
		return err
	}
	r.move(from, to)
	return nil
}

func (r *plainRoot) Remove(p string) error {
	if err := r.dir.Remove(local(p)); err != nil {
		return err
	}
	r.move(p, "")
	return nil
}

func (r *plainRoot) SyncDir(p string) error { return errors.ErrUnsupported }

func (r *plainRoot) Lock(p string, content []byte) (unlock func() error, holder []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if holder, held := r.locked[p]; held {
		return nil, holder, &fs.PathError{Op: "locking", Path: p, Err: backups.ErrLocked}
	}
	write := func(data []byte) error {
		if content == nil {
			return nil
		}
		return r.dir.WriteFile(local(p), data, 0o600)
	}
	if err := write(content); err != nil {
		return nil, nil, err
	}
	r.modes[p], r.locked[p] = 0o600, content
	return func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.locked, p)
		return write(nil)
	}, nil, nil
}

func (r *plainRoot) Resolve(p string) (string, error) {
	// The sandbox has no links of its own, and nobody else makes any there.
	if _, err := r.dir.Lstat(local(path.Dir(p))); err != nil {
		return "", err
	}
	return p, nil
}

// Nobody else can change the sandbox's directory.
func (r *plainRoot) CheckReplace(string) error    { return nil }
func (r *plainRoot) CheckAttributes(string) error { return nil }

func (r *plainRoot) State(p string) (backups.State, error) {
	info, err := r.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return backups.State{}, nil
	}
	if err != nil {
		return backups.State{}, err
	}
	s := backups.State{Exists: true, Dir: info.Kind.IsDir(), Mode: info.Mode}
	if !s.Dir {
		s.Data, err = r.ReadFile(p)
	}
	return s, err
}
