package backupstest

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"sort"
	"strings"
	"sync"
	"syscall"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Disk is a file system in memory that keeps apart what is durable and what a loss of power may take. It promises
// less than real ones do:
//
//   - a file holds, after a loss, what it held at its last sync or after any later change; of unsynced data only a
//     part may be there, or zeros instead;
//   - an entry that was made, removed or renamed in a directory since that was synced may be as before or as after,
//     each by itself and in any combination, but a rename is never half done;
//   - a directory's own attributes become durable when it is synced.
type Disk struct {
	mu    sync.Mutex
	nodes map[int]*node // 1 is the root directory
	next  int
	locks map[string]bool
}

var _ backups.FS = (*Disk)(nil)

// inode is all of a file, and a directory without its entries. It is never changed, only replaced.
type inode struct {
	kind   fs.FileMode
	data   []byte
	mode   uint32
	uid    int
	gid    int
	xattrs map[string][]byte
}

type node struct {
	inode
	versions []inode // what a loss may leave: the last synced one, then each later one

	entries map[string]int // of a directory: its nodes by name
	durable map[string]int // the entries at the last sync
	pending []entryOp      // what was done to the entries since
}

// entryOp is one change of a directory, undone or done as a whole.
type entryOp struct {
	remove string // "" for none
	add    string // "" for none
	node   int
}

func (o entryOp) apply(entries map[string]int) {
	if o.remove != "" {
		delete(entries, o.remove)
	}
	if o.add != "" {
		entries[o.add] = o.node
	}
}

// NewDisk returns a disk with an empty root directory of the given owner.
func NewDisk(uid, gid int) *Disk {
	d := &Disk{nodes: map[int]*node{}, locks: map[string]bool{}}
	d.make(inode{kind: fs.ModeDir, mode: 0o755, uid: uid, gid: gid})
	return d
}

func (d *Disk) make(i inode) int {
	d.next++
	n := &node{inode: i, versions: []inode{i}}
	if i.kind == fs.ModeDir {
		n.entries, n.durable = map[string]int{}, map[string]int{}
	}
	d.nodes[d.next] = n
	return d.next
}

// Clone returns a copy that shares nothing that changes. Locks are not cloned: they die with their process.
func (d *Disk) Clone() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &Disk{nodes: make(map[int]*node, len(d.nodes)), next: d.next, locks: map[string]bool{}}
	for id, n := range d.nodes {
		cn := *n
		cn.versions = append([]inode(nil), n.versions...)
		cn.pending = append([]entryOp(nil), n.pending...)
		cn.entries, cn.durable = maps.Clone(n.entries), maps.Clone(n.durable)
		c.nodes[id] = &cn
	}
	return c
}

func failedAt(op, p string, err error) error { return fmt.Errorf("%s %q: %w", op, p, err) }

func (d *Disk) lookup(p string) (*node, error) {
	n := d.nodes[1]
	if p == "/" {
		return n, nil
	}
	for name := range strings.SplitSeq(strings.TrimPrefix(p, "/"), "/") {
		if n.kind != fs.ModeDir {
			return nil, syscall.ENOTDIR
		}
		id, ok := n.entries[name]
		if !ok {
			return nil, syscall.ENOENT
		}
		n = d.nodes[id]
	}
	return n, nil
}

func (d *Disk) lookupKind(p string, kind fs.FileMode) (*node, error) {
	n, err := d.lookup(p)
	switch {
	case err != nil:
		return nil, err
	case n.kind == kind:
		return n, nil
	case kind == fs.ModeDir:
		return nil, syscall.ENOTDIR
	case n.kind == fs.ModeSymlink:
		return nil, syscall.ELOOP
	}
	return nil, syscall.EISDIR
}

// change replaces a node's inode; the old one may come back at a loss.
func (n *node) change(edit func(*inode)) {
	i := n.inode
	edit(&i)
	n.inode = i
	n.versions = append(n.versions, i)
}

func (n *node) sync() { n.versions = []inode{n.inode} }

func (n *node) enter(o entryOp) {
	o.apply(n.entries)
	n.pending = append(n.pending, o)
}

// Stat describes path itself.
func (d *Disk) Stat(p string) (backups.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(p)
	if err != nil {
		return backups.Info{}, failedAt("reading", p, err)
	}
	return backups.Info{Kind: n.kind, Mode: n.mode, UID: n.uid, GID: n.gid, Size: int64(len(n.data))}, nil
}

// ReadFile returns the content of a file.
func (d *Disk) ReadFile(p string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, 0)
	if err != nil {
		return nil, failedAt("reading", p, err)
	}
	return bytes.Clone(n.data), nil
}

// ReadDir lists a directory.
func (d *Disk) ReadDir(p string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, fs.ModeDir)
	if err != nil {
		return nil, failedAt("listing", p, err)
	}
	names := make([]string, 0, len(n.entries))
	for name := range n.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	return names, nil
}

// XAttrs returns the extended attributes.
func (d *Disk) XAttrs(p string) (map[string][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(p)
	if err != nil {
		return nil, failedAt("reading extended attributes of", p, err)
	}
	return maps.Clone(n.xattrs), nil
}

// add makes a node under a new name, owned like the directory.
func (d *Disk) add(p string, i inode) (*node, error) {
	dir, err := d.lookupKind(path.Dir(p), fs.ModeDir)
	if err != nil {
		return nil, err
	}
	if _, ok := dir.entries[path.Base(p)]; ok {
		return nil, syscall.EEXIST
	}
	i.uid, i.gid = d.nodes[1].uid, d.nodes[1].gid
	id := d.make(i)
	dir.enter(entryOp{add: path.Base(p), node: id})
	return d.nodes[id], nil
}

// Create makes a file.
func (d *Disk) Create(p string, mode uint32) (backups.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.add(p, inode{mode: mode})
	if err != nil {
		return nil, failedAt("creating", p, err)
	}
	return &diskFile{d, n, p}, nil
}

// Append opens a file.
func (d *Disk) Append(p string) (backups.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, 0)
	if err != nil {
		return nil, failedAt("opening", p, err)
	}
	return &diskFile{d, n, p}, nil
}

// Truncate cuts a file.
func (d *Disk) Truncate(p string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, 0)
	if err != nil {
		return failedAt("truncating", p, err)
	}
	n.change(func(i *inode) {
		cut := make([]byte, size)
		copy(cut, i.data)
		i.data = cut
	})
	return nil
}

// Mkdir makes a directory.
func (d *Disk) Mkdir(p string, mode uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.add(p, inode{kind: fs.ModeDir, mode: mode}); err != nil {
		return failedAt("making directory", p, err)
	}
	return nil
}

// Symlink makes a symbolic link, which no operation follows.
func (d *Disk) Symlink(p string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.add(p, inode{kind: fs.ModeSymlink, mode: 0o777}); err != nil {
		return failedAt("making link", p, err)
	}
	return nil
}

func (d *Disk) edit(op, p string, edit func(*inode)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(p)
	if err != nil {
		return failedAt(op, p, err)
	}
	n.change(edit)
	return nil
}

// Chmod sets the mode.
func (d *Disk) Chmod(p string, mode uint32) error {
	return d.edit("changing the mode of", p, func(i *inode) { i.mode = mode })
}

// Chown sets the owner and, as Linux does, drops setuid and setgid of files.
func (d *Disk) Chown(p string, uid, gid int) error {
	return d.edit("changing the owner of", p, func(i *inode) {
		i.uid, i.gid = uid, gid
		if i.kind == 0 {
			i.mode &^= 0o6000
		}
	})
}

// SetXAttr sets an extended attribute.
func (d *Disk) SetXAttr(p, name string, value []byte) error {
	return d.edit("setting an extended attribute of", p, func(i *inode) {
		i.xattrs = maps.Clone(i.xattrs)
		if i.xattrs == nil {
			i.xattrs = map[string][]byte{}
		}
		i.xattrs[name] = bytes.Clone(value)
	})
}

// RemoveXAttr removes an extended attribute.
func (d *Disk) RemoveXAttr(p, name string) error {
	return d.edit("removing an extended attribute of", p, func(i *inode) {
		i.xattrs = maps.Clone(i.xattrs)
		delete(i.xattrs, name)
		if len(i.xattrs) == 0 {
			i.xattrs = nil
		}
	})
}

// Rename replaces newpath, in the same directory only.
func (d *Disk) Rename(oldpath, newpath string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if path.Dir(oldpath) != path.Dir(newpath) {
		return failedAt("replacing", newpath, syscall.EXDEV)
	}
	n, err := d.lookup(oldpath)
	if err != nil {
		return failedAt("renaming", oldpath, err)
	}
	if old, err := d.lookup(newpath); err == nil && (old.kind != n.kind || len(old.entries) > 0) {
		return failedAt("replacing", newpath, syscall.ENOTEMPTY)
	}
	dir, err := d.lookupKind(path.Dir(oldpath), fs.ModeDir)
	if err != nil {
		return failedAt("renaming", oldpath, err)
	}
	from, to := path.Base(oldpath), path.Base(newpath)
	dir.enter(entryOp{remove: from, add: to, node: dir.entries[from]})
	return nil
}

// Remove removes a file or an empty directory.
func (d *Disk) Remove(p string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(p)
	if err != nil {
		return failedAt("removing", p, err)
	}
	if len(n.entries) > 0 {
		return failedAt("removing", p, syscall.ENOTEMPTY)
	}
	dir, err := d.lookupKind(path.Dir(p), fs.ModeDir)
	if err != nil {
		return failedAt("removing", p, err)
	}
	dir.enter(entryOp{remove: path.Base(p)})
	return nil
}

// SyncDir makes a directory durable, not what its entries lead to.
func (d *Disk) SyncDir(p string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, fs.ModeDir)
	if err != nil {
		return failedAt("syncing", p, err)
	}
	n.sync()
	n.durable, n.pending = maps.Clone(n.entries), nil
	return nil
}

// Lock takes a lock that ends with the process: a Clone does not have it.
func (d *Disk) Lock(p string, content []byte) (unlock func() error, holder []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookupKind(p, 0)
	if err != nil {
		if n, err = d.add(p, inode{mode: 0o600}); err != nil {
			return nil, nil, failedAt("locking", p, err)
		}
	}
	if d.locks[p] {
		return nil, bytes.Clone(n.data), failedAt("locking", p, backups.ErrLocked)
	}
	d.locks[p] = true
	write := func(data []byte) {
		if content != nil {
			n.change(func(i *inode) { i.data = bytes.Clone(data) })
			n.sync()
		}
	}
	write(content)
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.locks, p)
		write(nil)
		return nil
	}, nil, nil
}

// diskFile follows its file through renames.
type diskFile struct {
	d *Disk
	n *node
	p string
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.n.change(func(i *inode) { i.data = append(i.data[:len(i.data):len(i.data)], p...) })
	return len(p), nil
}

func (f *diskFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.n.sync()
	return nil
}

func (f *diskFile) Close() error { return nil }
