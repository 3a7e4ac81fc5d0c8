package collect

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// Attributes is a Node that can say owners, modes and times without opening files. Without it they are unknown.
type Attributes interface {
	// Look describes a path, following no link; a path where nothing is has no Kind, and that is no error.
	Look(path string) (harden.StatFact, error)
	// LookInto describes the entries of a directory, sorted by name; a missing directory has none.
	LookInto(dir string) ([]harden.StatFact, error)
}

// maxStats bounds what is looked at: somebody may have unpacked an archive there.
const maxStats = 2000

// folders are looked at with all that they hold, to the depth given.
var folders = []struct {
	path  string
	depth int
}{
	{"/etc/kubernetes", 4},
	{"/etc/cni/net.d", 1},
	{"/var/lib/cni/networks", 2},
	{"/var/lib/kubelet", 0},
	{"/var/lib/kubelet/pki", 1},
}

// fileCollector gathers stats. Its first error is kept: a path that cannot be looked at makes the whole group unknown.
type fileCollector struct {
	attrs Attributes
	list  func(dir string) ([]string, error)
	f     *harden.Facts
	names ownerNames
	err   error
}

func collectFiles(n Node, f *harden.Facts) {
	attrs, ok := n.(Attributes)
	if !ok {
		why := harden.Msg("owners and modes cannot be read here")
		f.Missing[harden.NeedFiles], f.Missing[harden.NeedCertificates] = why, why
		return
	}
	c := &fileCollector{attrs: attrs, list: n.List, f: f, names: readOwnerNames(n)}
	f.Stats = map[string]harden.StatFact{}
	for _, d := range folders {
		c.folder(d.path, d.depth)
	}
	for _, p := range c.paths() {
		c.path(p)
	}
	homes := c.homes()
	if c.err != nil {
		f.Missing[harden.NeedFiles] = harden.Msg("%s", c.err.Error())
	}
	collectCertificates(n, f, homes)
}

func (c *fileCollector) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// add notes what lies at a path, and what a link there leads to.
func (c *fileCollector) add(s harden.StatFact) {
	s.Owner = c.names.user(s.UID) + ":" + c.names.group(s.GID)
	c.f.Stats[s.Path] = s
	if s.Kind == harden.StatLink && s.Target != "" {
		c.path(s.Target)
	}
}

func (c *fileCollector) path(p string) {
	if _, known := c.f.Stats[p]; known || !path.IsAbs(p) || path.Clean(p) != p {
		return
	}
	s, err := c.attrs.Look(p)
	switch {
	case err != nil:
		c.fail(err)
	case s.Kind != "":
		c.add(s)
	}
}

// folder looks at a directory and at what it holds, depth levels down.
func (c *fileCollector) folder(dir string, depth int) {
	c.path(dir)
	if s, ok := c.f.Stat(dir); !ok || s.Kind != harden.StatDir || depth == 0 {
		return
	}
	entries, err := c.attrs.LookInto(dir)
	if err == nil && len(c.f.Stats)+len(entries) > maxStats {
		err = fmt.Errorf("looking into %s: more than %d files lie there and in the folders before it", dir, maxStats)
	}
	if err != nil {
		c.fail(err)
		return
	}
	for _, s := range entries {
		c.add(s)
		if s.Kind == harden.StatDir {
			c.folder(s.Path, depth-1)
		}
	}
}

// fileArgs are flags of static pods that name files or directories of the host, beside those that name private keys.
var fileArgs = map[harden.ComponentID][]string{
	harden.APIServer:         slices.Concat(harden.ServerConfigurationFlags, []string{"audit-log-path", "client-ca-file", "tls-cert-file"}),
	harden.ControllerManager: {"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"},
	harden.Scheduler:         {"kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig", "config"},
	harden.Etcd:              {"data-dir", "wal-dir", "config-file", "cert-file"},
}

// paths are what the node's own configuration names, wherever it lies.
func (c *fileCollector) paths() []string {
	var out []string
	for _, comp := range harden.Components {
		facts := c.f.Component(comp.ID)
		if facts == nil {
			continue
		}
		out = append(out, facts.Manifest.Path, path.Dir(facts.Manifest.Path))
		for _, name := range fileArgs[comp.ID] {
			if p := c.f.EtcdPath(name); comp.ID == harden.Etcd && p != "" {
				out = append(out, p)
			}
			for _, flag := range []harden.FlagFact{facts.Flag(name), facts.FileFlag(name)} {
				if host, ok := facts.HostPath(flag.Last()); ok && flag.Set {
					out = append(out, host)
					if name == "audit-log-path" {
						out = append(out, path.Dir(host))
					}
					if name == harden.AdmissionFlag {
						out = append(out, c.f.AdmissionFiles(host, flag.Last())...)
					}
				}
			}
		}
	}
	out = append(out, c.f.KeyFiles()...)
	for _, named := range c.f.NamedFiles {
		out = append(out, named.Path)
	}
	if etcd := c.f.Component(harden.Etcd); etcd != nil {
		out = append(out, "/var/lib/etcd")
		if host, ok := etcd.HostPath(etcd.EtcdConfigFile()); ok {
			out = append(out, host)
		}
	}
	out = append(out, "/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/cri-dockerd.sock", "/run/docker.sock")
	k := c.f.Kubelet
	if k == nil {
		return out
	}
	out = append(out, k.UnitFiles...)
	out = append(out, k.Config.Path, k.Flag("kubeconfig").Last(), k.Flag("config-dir").Last())
	for _, d := range k.DropIns {
		out = append(out, d.Path)
	}
	for _, e := range k.EnvFiles {
		out = append(out, e.File.Path)
	}
	for _, field := range []string{"authentication.x509.clientCAFile", "tlsCertFile", "tlsPrivateKeyFile", "staticPodPath"} {
		if p, ok := k.Field(field).Value.(string); ok {
			out = append(out, p)
		}
	}
	return out
}

// homes are the directories of people who log in: root's, and those of users whose number says so.
func (c *fileCollector) homes() []string {
	homes := []string{"/root"}
	for _, u := range c.names.people {
		if !slices.Contains(homes, u) {
			homes = append(homes, u)
		}
	}
	entries, err := c.attrs.LookInto("/home")
	if err != nil {
		c.fail(err)
	}
	for _, s := range entries {
		if s.Kind == harden.StatDir && !slices.Contains(homes, s.Path) {
			homes = append(homes, s.Path)
		}
	}
	for _, h := range homes {
		c.folder(path.Join(h, ".kube"), 1)
		c.home(h)
	}
	return homes
}

// home looks at what lies directly in a home and may be a kubeconfig by its name; nothing else there is any business of ours.
func (c *fileCollector) home(dir string) {
	s, err := c.attrs.Look(dir)
	if err == nil && s.Kind == harden.StatLink && s.Target != "" {
		s, err = c.attrs.Look(s.Target)
	}
	if err != nil || s.Kind != harden.StatDir {
		return // its .kube was looked for, and says so
	}
	names, err := c.list(dir)
	if err != nil {
		c.fail(err)
		return
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !maybeKubeconfig(name) })
	if len(c.f.Stats)+len(names) > maxStats {
		c.fail(fmt.Errorf("looking into %s: more than %d files lie there and in the folders before it", dir, maxStats))
		return
	}
	for _, name := range names {
		s, err := c.attrs.Look(path.Join(dir, name))
		switch {
		case err != nil:
			c.fail(err)
		case s.Kind == harden.StatFile:
			c.add(s)
		}
	}
}

// maybeKubeconfig goes by how people name copies: admin.conf, admin.conf.old, config, prod-kubeconfig, cluster.yaml.
func maybeKubeconfig(name string) bool {
	name = strings.ToLower(name)
	return name == "config" || strings.Contains(name, ".conf") || strings.Contains(name, "kubeconfig") || slices.Contains([]string{".yaml", ".yml"}, path.Ext(name))
}

// ownerNames are users and groups as the node's own files know them.
type ownerNames struct {
	users, groups map[int]string
	people        []string // homes of those who log in
}

func readOwnerNames(n Node) ownerNames {
	out := ownerNames{users: map[int]string{0: "root"}, groups: map[int]string{0: "root"}}
	for _, fields := range colonLines(n, "/etc/passwd", 7) {
		id, err := strconv.Atoi(fields[2])
		if err != nil {
			continue
		}
		if out.users[id] == "" {
			out.users[id] = fields[0]
		}
		home := path.Clean(fields[5])
		if (id == 0 || id >= 1000 && id < 65534) && path.IsAbs(home) && home != "/" {
			out.people = append(out.people, home)
		}
	}
	for _, fields := range colonLines(n, "/etc/group", 4) {
		if id, err := strconv.Atoi(fields[2]); err == nil && out.groups[id] == "" {
			out.groups[id] = fields[0]
		}
	}
	return out
}

func colonLines(n Node, file string, fields int) [][]string {
	var out [][]string
	for line := range bytes.Lines(readFile(n, file).State.Data) {
		if f := strings.Split(strings.TrimSpace(string(line)), ":"); len(f) >= fields {
			out = append(out, f)
		}
	}
	return out
}

func (o ownerNames) user(id int) string  { return nameOr(o.users, id) }
func (o ownerNames) group(id int) string { return nameOr(o.groups, id) }

func nameOr(names map[int]string, id int) string {
	if n := names[id]; n != "" {
		return n
	}
	return strconv.Itoa(id)
}
