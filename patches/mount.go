package patches

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// Mount is a path of the host as a container sees it.
type Mount struct {
	Name      string // of the volume; derived from HostPath when empty
	HostPath  string
	MountPath string
	ReadOnly  bool
	Type      string // of the hostPath: Directory, DirectoryOrCreate, File, ...
}

// AddMount makes HostPath visible at MountPath. Nothing changes when the mount that rules there already shows it and
// may be written as needed; a writable one serves a need to read. A read-only or unrelated mount of a parent gets a
// more specific mount below it; one of the very same MountPath is refused, as is one that is a file. A volume of the
// same HostPath and Type is used again, else one is added under a name that is free.
func AddMount(pod []byte, container string, m Mount) ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	out, err := addMount(pod, container, m)
	return out, byHand(err, "mount %s of the host at %s of container %s", m.HostPath, m.MountPath, container)
}

func (m Mount) check() error {
	for _, p := range []string{m.HostPath, m.MountPath} {
		if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsFunc(p, func(r rune) bool { return !isVisible(r) }) {
			return fmt.Errorf("editing mounts: %q is not a clean absolute path", p)
		}
	}
	return nil
}

// volume is a hostPath volume of a pod.
type volume struct{ name, hostPath, kind string }

// mounted is an entry of volumeMounts.
type mounted struct {
	name, mountPath string
	hostPath        string // what it shows; empty when that is not a path of the host
	kind            string
	readOnly        bool
}

// podMounts is what a pod's volumes and the mounts of one container say.
type podMounts struct {
	at      Path // of the container
	volumes []volume
	names   []string // of all volumes
	mounts  []mounted
}

func readMounts(pod []byte, container string) (podMounts, error) {
	var p podMounts
	d, err := open(pod)
	if err != nil {
		return p, err
	}
	if p.at, err = d.containerPath(container); err != nil {
		return p, err
	}
	hosts := map[string]volume{}
	for _, item := range itemsAt(d.root, Path{"spec", "volumes"}) {
		v := volume{
			name:     textAt(item, "name"),
			hostPath: textAt(item, "hostPath", "path"),
			kind:     textAt(item, "hostPath", "type"),
		}
		p.names = append(p.names, v.name)
		if v.hostPath != "" {
			v.hostPath = path.Clean(v.hostPath)
			p.volumes = append(p.volumes, v)
			hosts[v.name] = v
		}
	}
	for _, item := range itemsAt(d.root, p.at.with("volumeMounts")) {
		m := mounted{
			name:      textAt(item, "name"),
			mountPath: path.Clean(textAt(item, "mountPath")),
			readOnly:  textAt(item, "readOnly") == "true",
		}
		if v, found := hosts[m.name]; found && textAt(item, "subPathExpr") == "" {
			m.hostPath, m.kind = path.Join(v.hostPath, textAt(item, "subPath")), v.kind
		}
		p.mounts = append(p.mounts, m)
	}
	return p, nil
}

func itemsAt(root *yaml.Node, at Path) []*yaml.Node {
	if n := lookup(root, at); n != nil && n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return nil
}

func textAt(n *yaml.Node, keys ...any) string {
	if n = lookup(n, keys); n != nil && n.Kind == yaml.ScalarNode && !isNull(n) {
		return n.Value
	}
	return ""
}

// below returns what is left of name under dir.
func below(dir, name string) (rest string, ok bool) {
	if dir == name {
		return "", true
	}
	rest, ok = strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/")
	return rest, ok
}

// ruling is the mount that decides what is seen at a path: the most specific one.
func (p podMounts) ruling(at string) (m mounted, found bool) {
	for _, candidate := range p.mounts {
		if _, ok := below(candidate.mountPath, at); ok && (!found || len(candidate.mountPath) >= len(m.mountPath)) {
			m, found = candidate, true
		}
	}
	return m, found
}

func addMount(pod []byte, container string, m Mount) ([]byte, error) {
	p, err := readMounts(pod, container)
	if err != nil {
		return nil, err
	}
	if ruling, found := p.ruling(m.MountPath); found {
		rest, _ := below(ruling.mountPath, m.MountPath)
		isFile := strings.HasPrefix(ruling.kind, "File") && rest != ""
		shows := ruling.hostPath != "" && path.Join(ruling.hostPath, rest) == m.HostPath && !isFile
		switch {
		case shows && (m.ReadOnly || !ruling.readOnly):
			return pod, nil
		case isFile:
			return nil, refuse(0, "", "%s of the container is a file, so nothing can be mounted below it", ruling.mountPath)
		case rest == "" && shows:
			return nil, refuse(0, "", "%s of the container is mounted read-only, but must be written", m.MountPath)
		case rest == "":
			return nil, refuse(0, "", "something else (volume %s) is mounted at %s already", ruling.name, m.MountPath)
		}
	}
	name := p.volumeFor(m)
	if !slices.Contains(p.names, name) {
		hostPath := map[string]any{"path": m.HostPath}
		if m.Type != "" {
			hostPath["type"] = m.Type
		}
		pod, err = insertNamed(pod, Path{"spec", "volumes"}, map[string]any{"name": name, "hostPath": hostPath})
		if err != nil {
			return nil, err
		}
	}
	mount := map[string]any{"name": name, "mountPath": m.MountPath}
	if m.ReadOnly {
		mount["readOnly"] = true
	}
	return insertNamed(pod, p.at.with("volumeMounts"), mount)
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// volumeFor is the name of a volume that can be used again, or one that is free.
func (p podMounts) volumeFor(m Mount) string {
	for _, v := range p.volumes {
		if v.hostPath == m.HostPath && v.kind == m.Type {
			return v.name
		}
	}
	name := m.Name
	if name == "" {
		name = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(m.HostPath), "-"), "-")
		name = strings.Trim(name[max(0, len(name)-50):], "-")
		if name == "" {
			name = "root"
		}
	}
	free := name
	for i := 2; slices.Contains(p.names, free); i++ {
		free = fmt.Sprintf("%s-%d", name, i)
	}
	return free
}

// insertNamed adds a mapping to a list of mappings with names: in sorted position where the names are sorted, else
// last.
func insertNamed(doc []byte, at Path, value map[string]any) ([]byte, error) {
	return edit(doc, func(d *document) (change, error) {
		trail, rest, err := d.walk(at)
		if err != nil {
			return change{}, err
		}
		last := spot{}
		if len(trail) > 0 {
			last = trail[len(trail)-1]
		}
		if len(rest) > 0 || last.node.Kind != yaml.SequenceNode || len(last.node.Content) == 0 {
			return d.insert(at, value)
		}
		if err := editable(last.node); err != nil {
			return change{}, err
		}
		var names []string
		for _, item := range last.node.Content {
			names = append(names, textAt(item, "name"))
		}
		where := len(names)
		if sort.StringsAreSorted(names) {
			where = sort.SearchStrings(names, value["name"].(string))
		}
		list := *last.node
		list.Content = slices.Insert(slices.Clone(list.Content), where, encode(value))
		splices, err := d.addItems(last, where-1, []any{value}, d.layout(trail))
		return change{splices, grafted(trail, &list)}, err
	})
}
