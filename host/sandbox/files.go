package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

// root is the file system of a node, as host.Root is.
type root interface {
	backups.FS
	State(path string) (backups.State, error)
	Resolve(path string) (string, error)
	List(path string) ([]string, error)
	CheckReplace(path string) error
	CheckAttributes(path string) error
	Close() error
}

// Files are the node's, for facts and for transactions. Whoever runs the sandbox is root in it. Nothing is made durable: the
// root goes with the process, and disks are slow.
type Files struct {
	root
	uid, gid int // who stands for root
}

func newFiles(r root) (*Files, error) {
	f := &Files{root: r}
	top, err := r.Stat("/")
	if err != nil {
		return nil, err
	}
	// Where new files get the group of their directory, that is not always the user's own one.
	f.uid, f.gid = max(os.Geteuid(), 0), top.GID
	return f, nil
}

func (f *Files) seen(uid, gid int) (int, int) {
	if uid == f.uid {
		uid = 0
	}
	if gid == f.gid || gid == os.Getegid() {
		gid = 0
	}
	return uid, gid
}

// Stat gives the owner as seen in the sandbox.
func (f *Files) Stat(path string) (backups.Info, error) {
	info, err := f.root.Stat(path)
	info.UID, info.GID = f.seen(info.UID, info.GID)
	return info, err
}

// Chown takes root's own files for granted and gives nothing away.
func (f *Files) Chown(path string, uid, gid int) error {
	if uid != 0 || gid != 0 {
		return fmt.Errorf("changing the owner of %q to %d:%d: %w", path, uid, gid, fs.ErrPermission)
	}
	_, err := f.root.Stat(path)
	return err
}

// SyncDir has nothing to do.
func (f *Files) SyncDir(path string) error {
	_, err := f.root.Stat(path)
	return err
}

// Create makes a new regular file.
func (f *Files) Create(path string, mode uint32) (backups.File, error) {
	return unsynced(f.root.Create(path, mode))
}

// Append opens an existing regular file for appending.
func (f *Files) Append(path string) (backups.File, error) { return unsynced(f.root.Append(path)) }

type unsyncedFile struct{ backups.File }

func (unsyncedFile) Sync() error { return nil }

func unsynced(f backups.File, err error) (backups.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// Exact is what path itself holds, following no link in its last element.
func (f *Files) Exact(path string) (harden.State, error) {
	s, err := f.root.State(path)
	s.UID, s.GID = f.seen(s.UID, s.GID)
	return harden.State(s), err
}

// State follows links inside the root.
func (f *Files) State(path string) (harden.State, error) {
	real, err := f.Resolve(path)
	if errors.Is(err, fs.ErrNotExist) {
		return harden.State{}, nil
	}
	if err != nil {
		return harden.State{}, err
	}
	return f.Exact(real)
}

// List names the entries of a directory; a missing one has none.
func (f *Files) List(dir string) ([]string, error) {
	names, err := f.root.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// Look describes a path. The sandbox has no links.
func (f *Files) Look(path string) (harden.StatFact, error) {
	info, err := f.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return harden.StatFact{}, nil
	}
	if err != nil {
		return harden.StatFact{}, err
	}
	out := harden.StatFact{Path: path, Kind: harden.StatOther, Mode: info.Mode, UID: info.UID, GID: info.GID, Size: info.Size}
	switch info.Kind {
	case 0:
		out.Kind = harden.StatFile
	case fs.ModeDir:
		out.Kind = harden.StatDir
	}
	return out, nil
}

// LookInto describes what a directory holds; a missing one holds nothing.
func (f *Files) LookInto(dir string) ([]harden.StatFact, error) {
	names, err := f.List(dir)
	var out []harden.StatFact
	for _, name := range names {
		s, err := f.Look(path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, err
}

// FreeBytes is plenty: what the temporary directory has left is no fact of the node.
func (f *Files) FreeBytes(string) (uint64, error) { return 64 << 30, nil }

// ReadOnlyFS is never so.
func (f *Files) ReadOnlyFS(string) (bool, error) { return false, nil }
