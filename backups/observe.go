package backups

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strconv"
)

// record is a State as the journal keeps it: the content by its digest.
type record struct {
	Exists bool              `json:"exists"`
	Dir    bool              `json:"dir,omitempty"`
	SHA256 string            `json:"sha256,omitempty"`
	Size   int64             `json:"size,omitempty"`
	Mode   uint32            `json:"mode,omitempty"`
	UID    int               `json:"uid,omitempty"`
	GID    int               `json:"gid,omitempty"`
	XAttrs map[string][]byte `json:"xattrs,omitempty"`
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func recordOf(s State) record {
	if !s.Exists {
		return record{}
	}
	r := record{Exists: true, Dir: s.Dir, Mode: s.Mode, UID: s.UID, GID: s.GID, XAttrs: s.XAttrs}
	if !s.Dir {
		r.SHA256, r.Size = digest(s.Data), int64(len(s.Data))
	}
	return r
}

func (r record) state(data []byte) State {
	return State{Exists: r.Exists, Dir: r.Dir, Data: data, Mode: r.Mode, UID: r.UID, GID: r.GID, XAttrs: r.XAttrs}
}

func (r record) String() string {
	if !r.Exists {
		return "nothing"
	}
	s := "a directory"
	if !r.Dir {
		s = fmt.Sprintf("a file of %d bytes (sha256 %s)", r.Size, r.SHA256[:12])
	}
	s += fmt.Sprintf(", mode %04o, owner %d:%d", r.Mode, r.UID, r.GID)
	for _, name := range xattrNames(r.XAttrs) {
		s += fmt.Sprintf(", %s (sha256 %s)", printable(name), digest(r.XAttrs[name])[:12])
	}
	return s
}

// labels are the attributes that the kernel gives to new files by itself and does not let go: they count only where
// a State names them.
var labels = []string{"security.selinux", "security.ima", "security.evm", "security.apparmor", "security.SMACK64"}

// strayXAttrs are the attributes of have that want does not have.
func strayXAttrs(want, have map[string][]byte) []string {
	var stray []string
	for _, name := range xattrNames(have) {
		if _, ok := want[name]; !ok && !slices.Contains(labels, name) {
			stray = append(stray, name)
		}
	}
	return stray
}

func xattrNames(m map[string][]byte) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// sameContent compares what a path is and its bytes, not its attributes.
func sameContent(a, b record) bool {
	return a.Exists == b.Exists && a.Dir == b.Dir && a.SHA256 == b.SHA256
}

// is reports whether have is exactly what want says.
func (r record) is(have record) bool {
	if !sameContent(r, have) {
		return false
	}
	if !r.Exists {
		return true
	}
	if r.Mode != have.Mode || r.UID != have.UID || r.GID != have.GID || len(strayXAttrs(r.XAttrs, have.XAttrs)) > 0 {
		return false
	}
	for name, value := range r.XAttrs {
		if got, ok := have.XAttrs[name]; !ok || !bytes.Equal(got, value) {
			return false
		}
	}
	return true
}

// between reports whether have can be what a crash leaves of changing the attributes of a into those of b, in either
// direction. Chown drops setuid and setgid, and acl attributes follow chmod: extended attributes do not decide.
func between(a, b, have record) bool {
	if !sameContent(a, b) || !sameContent(a, have) {
		return false
	}
	const dropped = 0o6000
	modes := []uint32{a.Mode, b.Mode, a.Mode & b.Mode}
	mode := slices.ContainsFunc(modes, func(m uint32) bool { return have.Mode == m || have.Mode == m&^dropped })
	return mode && (have.UID == a.UID || have.UID == b.UID) && (have.GID == a.GID || have.GID == b.GID)
}

// observed is what is at a path now.
type observed struct {
	record
	data []byte
	kind string // set for what is neither file nor directory
}

func observe(fsys FS, path string) (observed, error) {
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return observed{}, nil
	}
	if err != nil {
		return observed{}, err
	}
	o := observed{record: record{Exists: true, Mode: info.Mode, UID: info.UID, GID: info.GID}}
	switch info.Kind {
	case 0:
		if o.data, err = fsys.ReadFile(path); err != nil {
			return observed{}, err
		}
		o.SHA256, o.Size = digest(o.data), int64(len(o.data))
	case fs.ModeDir:
		o.Dir = true
	case fs.ModeSymlink:
		o.kind = "a symbolic link"
		return o, nil
	default:
		o.kind = "a special file"
		return o, nil
	}
	if o.XAttrs, err = fsys.XAttrs(path); err != nil {
		return observed{}, err
	}
	return o, nil
}

// matches reports whether want is at the path.
func (o observed) matches(want record) bool { return o.kind == "" && want.is(o.record) }

func (o observed) state() State { return o.record.state(o.data) }

// printable keeps a path from moving the cursor or hiding in a message.
func printable(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}
