package host

import (
	"errors"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Entry describes path itself, with the time of its last change, not what a link there leads to.
func (r *Root) Entry(path string) (Entry, error) {
	dir, base, err := r.parent(path)
	if err != nil {
		return Entry{}, failed("looking at", path, err)
	}
	defer unix.Close(dir)
	st, err := statAt(dir, base)
	if err != nil {
		return Entry{}, failed("looking at", path, err)
	}
	return entryOf(base, st), nil
}

// Entries describes what the directory that path leads to holds, by name: one look each, nothing is opened.
func (r *Root) Entries(path string) ([]Entry, error) {
	dir, _, err := r.follow(path, unix.S_IFDIR)
	if err != nil {
		return nil, failed("listing", path, err)
	}
	defer unix.Close(dir)
	names, err := sortedNames(dir)
	if err != nil {
		return nil, failed("listing", path, err)
	}
	var out []Entry
	for _, name := range names {
		st, err := statAt(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, failed("looking into", path, err)
		}
		out = append(out, entryOf(name, st))
	}
	return out, nil
}

func entryOf(name string, st unix.Statx_t) Entry {
	return Entry{
		Name:     name,
		Info:     backups.Info{Kind: kind(st.Mode), Mode: uint32(st.Mode) & 0o7777, UID: int(st.Uid), GID: int(st.Gid), Size: int64(st.Size)},
		Modified: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)).UTC(),
	}
}
