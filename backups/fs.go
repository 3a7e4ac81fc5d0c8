package backups

import "io/fs"

// FS is every file operation that the store performs, and nothing else: tests inject faults, crashes and
// lost writes here, host implements it inside a root. Paths are absolute, clean and slash separated, as seen
// inside that root. No operation follows a symbolic link in the last element. Missing paths are reported so that
// errors.Is(err, fs.ErrNotExist) holds. Errors say what was done to which path.
type FS interface {
	// Stat describes path itself (lstat).
	Stat(path string) (Info, error)
	// ReadFile returns the whole content of a regular file.
	ReadFile(path string) ([]byte, error)
	// ReadDir lists the names in a directory, sorted.
	ReadDir(path string) ([]string, error)
	// XAttrs returns all extended attributes, nil where the file system has none.
	XAttrs(path string) (map[string][]byte, error)

	// Create makes a new regular file (O_EXCL) with exactly mode, whatever the umask.
	Create(path string, mode uint32) (File, error)
	// Append opens an existing regular file for appending.
	Append(path string) (File, error)
	// Truncate cuts an existing regular file to size bytes.
	Truncate(path string, size int64) error
	Mkdir(path string, mode uint32) error
	Chmod(path string, mode uint32) error
	Chown(path string, uid, gid int) error
	SetXAttr(path, name string, value []byte) error
	RemoveXAttr(path, name string) error
	// Rename replaces newpath atomically; both lie on one file system.
	Rename(oldpath, newpath string) error
	// Remove removes a file or an empty directory.
	Remove(path string) error
	// SyncDir makes the entries of a directory durable.
	SyncDir(path string) error

	// Lock takes an exclusive lock on the file, which it makes if needed (0600), and writes content into it. When
	// another process holds it the error wraps ErrLocked, and holder is what that process wrote. unlock empties the
	// file; the end of the process unlocks too, without that. With nil as content both leave in the file what is there.
	Lock(path string, content []byte) (unlock func() error, holder []byte, err error)
}

// File is an open file of an FS.
type File interface {
	Write(p []byte) (int, error)
	Sync() error
	Close() error
}

// Info describes a path.
type Info struct {
	Kind fs.FileMode // type bits only: 0 for a regular file, fs.ModeDir, fs.ModeSymlink, ...
	Mode uint32      // permission, setuid, setgid and sticky bits as in chmod(2)
	UID  int
	GID  int
	Size int64
}
