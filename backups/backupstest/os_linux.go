package backupstest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// OS is the real file system below Root. It trusts Root's content: it is for tests only.
type OS struct {
	Root string
	// NoSync leaves syncs out, for tests that end processes and not machines.
	NoSync bool
}

var _ backups.FS = OS{}

func (o OS) at(path string) string { return filepath.Join(o.Root, filepath.FromSlash(path)) }

func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %q: %w", op, path, err)
}

// Stat describes path itself.
func (o OS) Stat(path string) (backups.Info, error) {
	var st unix.Stat_t
	if err := unix.Lstat(o.at(path), &st); err != nil {
		return backups.Info{}, failed("reading", path, err)
	}
	kind := fs.ModeIrregular
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		kind = 0
	case unix.S_IFDIR:
		kind = fs.ModeDir
	case unix.S_IFLNK:
		kind = fs.ModeSymlink
	}
	return backups.Info{Kind: kind, Mode: st.Mode & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Size: st.Size}, nil
}

// ReadFile returns the content of a file.
func (o OS) ReadFile(path string) ([]byte, error) {
	f, err := os.OpenFile(o.at(path), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, failed("reading", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	return data, failed("reading", path, err)
}

// ReadDir lists a directory.
func (o OS) ReadDir(path string) ([]string, error) {
	entries, err := os.ReadDir(o.at(path))
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, failed("listing", path, err)
}

// XAttrs returns the extended attributes.
func (o OS) XAttrs(path string) (map[string][]byte, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(o.at(path), buf)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, failed("reading extended attributes of", path, err)
	}
	m := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(o.at(path), name, value)
		if err != nil {
			return nil, failed("reading extended attributes of", path, err)
		}
		m[name] = bytes.Clone(value[:n])
	}
	return m, nil
}

// Create makes a file.
func (o OS) Create(path string, mode uint32) (backups.File, error) {
	f, err := os.OpenFile(o.at(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, failed("creating", path, err)
	}
	if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
		f.Close()
		return nil, failed("creating", path, err)
	}
	return osFile{f, o.NoSync}, nil
}

// Append opens a file.
func (o OS) Append(path string) (backups.File, error) {
	f, err := os.OpenFile(o.at(path), os.O_WRONLY|os.O_APPEND|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, failed("opening", path, err)
	}
	return osFile{f, o.NoSync}, nil
}

// Truncate cuts a file.
func (o OS) Truncate(path string, size int64) error {
	return failed("truncating", path, unix.Truncate(o.at(path), size))
}

// Mkdir makes a directory.
func (o OS) Mkdir(path string, mode uint32) error {
	if err := unix.Mkdir(o.at(path), 0o700); err != nil {
		return failed("making directory", path, err)
	}
	return failed("making directory", path, unix.Chmod(o.at(path), mode))
}

// Chmod sets the mode.
func (o OS) Chmod(path string, mode uint32) error {
	return failed("changing the mode of", path, unix.Chmod(o.at(path), mode))
}

// Chown sets the owner.
func (o OS) Chown(path string, uid, gid int) error {
	return failed("changing the owner of", path, unix.Lchown(o.at(path), uid, gid))
}

// SetXAttr sets an extended attribute.
func (o OS) SetXAttr(path, name string, value []byte) error {
	return failed("setting an extended attribute of", path, unix.Lsetxattr(o.at(path), name, value, 0))
}

// RemoveXAttr removes an extended attribute.
func (o OS) RemoveXAttr(path, name string) error {
	return failed("removing an extended attribute of", path, unix.Lremovexattr(o.at(path), name))
}

// Rename replaces newpath.
func (o OS) Rename(oldpath, newpath string) error {
	return failed("replacing", newpath, unix.Rename(o.at(oldpath), o.at(newpath)))
}

// Remove removes a file or an empty directory.
func (o OS) Remove(path string) error {
	err := os.Remove(o.at(path))
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return failed("removing", path, err)
}

// SyncDir makes a directory's entries durable.
func (o OS) SyncDir(path string) error {
	f, err := os.Open(o.at(path))
	if err != nil {
		return failed("syncing", path, err)
	}
	defer f.Close()
	if o.NoSync {
		return nil
	}
	return failed("syncing", path, f.Sync())
}

// Lock takes the lock.
func (o OS) Lock(path string, content []byte) (unlock func() error, holder []byte, err error) {
	f, err := os.OpenFile(o.at(path), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, failed("locking", path, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil, failed("locking", path, err)
		}
		holder, _ := io.ReadAll(f)
		return nil, holder, failed("locking", path, backups.ErrLocked)
	}
	if content == nil {
		return f.Close, nil, nil
	}
	if err := fill(f, content); err != nil {
		return nil, nil, failed("locking", path, errors.Join(err, f.Close()))
	}
	return func() error { return errors.Join(fill(f, nil), f.Close()) }, nil, nil
}

func fill(f *os.File, content []byte) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(content, 0)
	return err
}

type osFile struct {
	*os.File
	noSync bool
}

func (f osFile) Sync() error {
	if f.noSync {
		return nil
	}
	return f.File.Sync()
}
