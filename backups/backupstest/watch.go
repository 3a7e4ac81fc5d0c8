package backupstest

import (
	"sync"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Op is one operation of a file system.
type Op struct {
	N    int    // from 1, in the order in which they began
	Name string // "Stat", "Create", ... and "Write", "Sync", "Close" of a file
	Path string
	Size int // of what is to be written
}

// Writes reports whether the operation can change what is on disk or what is durable.
func (o Op) Writes() bool {
	switch o.Name {
	case "Stat", "ReadFile", "ReadDir", "XAttrs", "Append", "Close":
		return false
	}
	return true
}

// Partly is an error for Before: a write stops after N bytes, Then is called if set, and Err is the answer, which may
// be nil.
type Partly struct {
	N    int
	Then func()
	Err  error
}

func (Partly) Error() string { return "written partly" }

// Watch is a file system that tells of every operation of another. Before may keep it from being performed.
type Watch struct {
	FS     backups.FS
	Before func(Op) error
	After  func(Op)

	mu sync.Mutex
	n  int
}

var _ backups.FS = (*Watch)(nil)

// Count is how many operations there were.
func (w *Watch) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func (w *Watch) do(name, path string, size int, op func() error) error {
	w.mu.Lock()
	w.n++
	o := Op{N: w.n, Name: name, Path: path, Size: size}
	w.mu.Unlock()
	if w.Before != nil {
		if err := w.Before(o); err != nil {
			return err
		}
	}
	err := op()
	if w.After != nil {
		w.After(o)
	}
	return err
}

// Stat watches Stat.
func (w *Watch) Stat(path string) (info backups.Info, err error) {
	err = w.do("Stat", path, 0, func() (err error) { info, err = w.FS.Stat(path); return })
	return info, err
}

// ReadFile watches ReadFile.
func (w *Watch) ReadFile(path string) (data []byte, err error) {
	err = w.do("ReadFile", path, 0, func() (err error) { data, err = w.FS.ReadFile(path); return })
	return data, err
}

// ReadDir watches ReadDir.
func (w *Watch) ReadDir(path string) (names []string, err error) {
	err = w.do("ReadDir", path, 0, func() (err error) { names, err = w.FS.ReadDir(path); return })
	return names, err
}

// XAttrs watches XAttrs.
func (w *Watch) XAttrs(path string) (m map[string][]byte, err error) {
	err = w.do("XAttrs", path, 0, func() (err error) { m, err = w.FS.XAttrs(path); return })
	return m, err
}

// Create watches Create and the file.
func (w *Watch) Create(path string, mode uint32) (f backups.File, err error) {
	err = w.do("Create", path, 0, func() (err error) { f, err = w.FS.Create(path, mode); return })
	return w.file(f, path, err)
}

// Append watches Append and the file.
func (w *Watch) Append(path string) (f backups.File, err error) {
	err = w.do("Append", path, 0, func() (err error) { f, err = w.FS.Append(path); return })
	return w.file(f, path, err)
}

func (w *Watch) file(f backups.File, path string, err error) (backups.File, error) {
	if err != nil {
		return nil, err
	}
	return &watchedFile{f, w, path}, nil
}

// Truncate watches Truncate.
func (w *Watch) Truncate(path string, size int64) error {
	return w.do("Truncate", path, 0, func() error { return w.FS.Truncate(path, size) })
}

// Mkdir watches Mkdir.
func (w *Watch) Mkdir(path string, mode uint32) error {
	return w.do("Mkdir", path, 0, func() error { return w.FS.Mkdir(path, mode) })
}

// Chmod watches Chmod.
func (w *Watch) Chmod(path string, mode uint32) error {
	return w.do("Chmod", path, 0, func() error { return w.FS.Chmod(path, mode) })
}

// Chown watches Chown.
func (w *Watch) Chown(path string, uid, gid int) error {
	return w.do("Chown", path, 0, func() error { return w.FS.Chown(path, uid, gid) })
}

// SetXAttr watches SetXAttr.
func (w *Watch) SetXAttr(path, name string, value []byte) error {
	return w.do("SetXAttr", path, 0, func() error { return w.FS.SetXAttr(path, name, value) })
}

// RemoveXAttr watches RemoveXAttr.
func (w *Watch) RemoveXAttr(path, name string) error {
	return w.do("RemoveXAttr", path, 0, func() error { return w.FS.RemoveXAttr(path, name) })
}

// Rename watches Rename.
func (w *Watch) Rename(oldpath, newpath string) error {
	return w.do("Rename", newpath, 0, func() error { return w.FS.Rename(oldpath, newpath) })
}

// Remove watches Remove.
func (w *Watch) Remove(path string) error {
	return w.do("Remove", path, 0, func() error { return w.FS.Remove(path) })
}

// SyncDir watches SyncDir.
func (w *Watch) SyncDir(path string) error {
	return w.do("SyncDir", path, 0, func() error { return w.FS.SyncDir(path) })
}

// Lock watches Lock and, as "Unlock", what it returns; nothing that they do to the file.
func (w *Watch) Lock(path string, content []byte) (unlock func() error, holder []byte, err error) {
	err = w.do("Lock", path, 0, func() (err error) { unlock, holder, err = w.FS.Lock(path, content); return })
	if err != nil {
		return nil, holder, err
	}
	release := unlock
	return func() error { return w.do("Unlock", path, 0, release) }, nil, nil
}

type watchedFile struct {
	f    backups.File
	w    *Watch
	path string
}

func (f *watchedFile) Write(p []byte) (n int, err error) {
	err = f.w.do("Write", f.path, len(p), func() (err error) { n, err = f.f.Write(p); return })
	if part, ok := err.(Partly); ok {
		n, err = f.f.Write(p[:min(part.N, len(p))])
		if part.Then != nil {
			part.Then()
		}
		if err == nil {
			err = part.Err
		}
	}
	return n, err
}

func (f *watchedFile) Sync() error { return f.w.do("Sync", f.path, 0, f.f.Sync) }

// Close always closes, also when it is made to fail: the system does so too.
func (f *watchedFile) Close() error {
	closed := false
	err := f.w.do("Close", f.path, 0, func() error { closed = true; return f.f.Close() })
	if !closed {
		f.f.Close()
	}
	return err
}
