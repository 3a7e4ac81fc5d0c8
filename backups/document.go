package backups

import (
	"errors"
	"fmt"
	"path"
)

// Document returns what SaveDocument kept under a name; nothing where there is none.
func (s *Store) Document(name string) ([]byte, error) {
	if wrongName(name) {
		return nil, fmt.Errorf("reading %s: it cannot be the name of a document", printable(name))
	}
	data, err := s.fs.ReadFile(path.Join(s.o.Dir, name))
	if isMissing(err) {
		return nil, nil
	}
	return data, err
}

// SaveDocument keeps a small text beside the transactions, readable by its owner only: the old one or the new one is there at
// any moment, and the new one is durable when it returns.
func (x *Session) SaveDocument(name string, data []byte) error {
	wrap := func(err error) error { return fmt.Errorf("saving %s: %w", printable(name), err) }
	if wrongName(name) {
		return wrap(errors.New("it cannot be the name of a document"))
	}
	if err := x.held(); err != nil {
		return wrap(err)
	}
	if err := x.prepare(); err != nil {
		return wrap(err)
	}
	fsys, file := x.s.fs, path.Join(x.s.o.Dir, name)
	draft := path.Join(x.s.o.Dir, halfMade+name)
	if err := removeTree(fsys, draft); err != nil {
		return wrap(err)
	}
	if err := writeFile(fsys, draft, 0o600, data); err != nil {
		return wrap(errors.Join(err, removeTree(fsys, draft)))
	}
	if err := fsys.Rename(draft, file); err != nil {
		return wrap(errors.Join(err, removeTree(fsys, draft)))
	}
	return fsys.SyncDir(x.s.o.Dir)
}
