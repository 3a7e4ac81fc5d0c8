package backups

// State is what a path holds: nothing, a regular file or a directory, with everything an undo must bring back.
type State struct {
	Exists bool              `json:"exists"`
	Dir    bool              `json:"dir,omitempty"`
	Data   []byte            `json:"data,omitempty"`
	Mode   uint32            `json:"mode,omitempty"` // as in chmod(2): permission, setuid, setgid, sticky
	UID    int               `json:"uid,omitempty"`
	GID    int               `json:"gid,omitempty"`
	XAttrs map[string][]byte `json:"xattrs,omitempty"`
}
