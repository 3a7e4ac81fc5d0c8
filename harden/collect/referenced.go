package collect

import (
	"path"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// fileFlags are flags that name files whose content controls judge. Files with secrets are not here: of them facts hold only
// what may be known (secrets.go).
var fileFlags = map[harden.ComponentID][]string{
	harden.APIServer: {
		"audit-policy-file", "authentication-config", "authorization-config", "admission-control-config-file",
		"client-ca-file", "kubelet-certificate-authority", "tls-cert-file",
	},
	harden.ControllerManager: {"tls-cert-file"},
	harden.Scheduler:         {"config", "tls-cert-file"},
	harden.Etcd:              {"config-file", "cert-file", "peer-cert-file", "trusted-ca-file", "peer-trusted-ca-file"},
}

// ours are where remedies put files: what is there already is judged, not overwritten unseen.
var ours = []string{
	"/etc/kubernetes/policies/audit-policy.yaml", "/etc/kubernetes/authn/config.yaml", "/etc/kubernetes/admission/config.yaml",
}

func collectReferenced(n Node, f *harden.Facts) {
	if c := f.Component(harden.Etcd); c != nil {
		readReferred(n, f, c, c.EtcdConfigFile()) // the others may be named in it
	}
	for id, flags := range fileFlags {
		c := f.Component(id)
		if c == nil {
			continue
		}
		for _, name := range flags {
			for _, fact := range []harden.FlagFact{c.Flag(name), c.FileFlag(name)} {
				readReferred(n, f, c, fact.Last())
			}
			if id == harden.Etcd {
				readReferred(n, f, c, f.EtcdSetting(name).Value)
			}
		}
	}
	c := f.Component(harden.APIServer)
	if c == nil {
		return
	}
	collectAdmission(n, f, c)
	for _, p := range ours {
		readInto(n, f, p)
	}
	log := c.Flag("audit-log-path").Last()
	collectLogDisk(n, f, log)
	if host, ok := c.HostPath(log); ok {
		collectLogDisk(n, f, host)
	}
}

// collectLogDisk sees how much room there is where a log is, and how much it and those put aside take: audit.log,
// audit-2026-11-24T19-00-00.000.log, with .gz or without.
func collectLogDisk(n Node, f *harden.Facts, log string) {
	if !path.IsAbs(log) {
		return
	}
	dir := path.Dir(log)
	free, err := n.FreeBytes(dir)
	if err != nil {
		return
	}
	fact := harden.DiskFact{Path: dir, Free: free}
	if attrs, ok := n.(Attributes); ok {
		ext := path.Ext(log)
		stem := strings.TrimSuffix(log, ext)
		entries, _ := attrs.LookInto(dir) // a directory that is not there yet has none
		for _, s := range entries {
			if s.Kind == harden.StatFile && (s.Path == log || strings.HasPrefix(s.Path, stem+"-") && strings.Contains(s.Path[len(stem):], ext)) {
				fact.Logs += uint64(s.Size)
			}
		}
	}
	f.Disks[dir] = fact
}

// collectAdmission reads the files that the admission configuration names.
func collectAdmission(n Node, f *harden.Facts, c *harden.ComponentFacts) {
	for _, flag := range []harden.FlagFact{c.Flag(harden.AdmissionFlag), c.FileFlag(harden.AdmissionFlag)} {
		if host, ok := c.HostPath(flag.Last()); ok {
			for _, named := range f.AdmissionFiles(host, flag.Last()) {
				readInto(n, f, named)
			}
		}
	}
}

// readReferred reads the file of the host that a path in the component's container shows.
func readReferred(n Node, f *harden.Facts, c *harden.ComponentFacts, inContainer string) {
	if !path.IsAbs(inContainer) {
		return
	}
	if host, ok := c.HostPath(inContainer); ok {
		readInto(n, f, host)
	}
}

func readInto(n Node, f *harden.Facts, p string) {
	if _, done := f.Files[p]; !done {
		f.Files[p] = readFile(n, p)
	}
}

func readFile(n Node, p string) harden.FileFact {
	s, err := n.State(p)
	if err != nil {
		return harden.FileFact{Path: p, Unread: harden.Msg("%s", err.Error())}
	}
	return harden.FileFact{Path: p, State: s}
}
