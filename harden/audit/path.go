package audit

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"kubectl-harden.io/kubectl-harden/harden"
)

var pathControl = harden.Control{
	ID:    "audit-log-path",
	Title: "Requests are recorded in a log on the node",
	Why: harden.Msg("Without an audit log nobody can tell afterwards who read a secret, who opened a shell in a pod, or who granted whom a role. " +
		"The log has to be in a directory of the host that is mounted into the API server's container. " +
		"Otherwise it is lost with the container, and a file mounted by itself cannot be rotated."),
	Refs: harden.Refs{
		CIS:  []string{"1.2.16"},
		STIG: []string{"V-242402", "V-242465"},
		NSA:  []string{nsaTopic},
		Seed: []string{seed},
		Docs: []string{docsPage},
	},
	Severity:  harden.High,
	Component: harden.APIServer, Flags: []string{pathFlag},
	Needs:    needs,
	Applies:  applies,
	Assess:   assessPath,
	Remedies: []harden.Remedy{auditLog(partPath)},
}

func assessPath(f *harden.Facts) harden.Verdict {
	c := f.Component(harden.APIServer)
	flag := c.Flag(pathFlag)
	log := flag.Last()
	seen := flag.Evidence(pathFlag)
	if log == "" {
		return harden.Failed(harden.Msg("there is no audit log: --audit-log-path is not set"), seen)
	}
	if log == stdout {
		return harden.Passed(harden.Msg("the audit log goes to the container's standard output, which the container runtime keeps and rotates"), seen)
	}
	m, ok := mountOf(c, log)
	switch {
	case !ok:
		return harden.Failed(harden.Msg("no directory of the host is mounted where %s is: the log is lost with the container", log), seen)
	case m.file:
		return harden.Failed(harden.Msg("%s is mounted as a single file, which cannot be rotated: when it is full, nothing is recorded any more", log), seen, m.seen)
	case m.readOnly:
		return harden.Failed(harden.Msg("%s is in a directory that is mounted read-only", log), seen, m.seen)
	}
	return harden.Passed(harden.Msg("the audit log is %s", m.host), seen, m.seen)
}

// mount is how the host shows through at a path of the container.
type mount struct {
	at, host       string // the mount point, and the path on the host
	file, readOnly bool   // the path itself is the mount point
	seen           harden.Evidence
}

// mountOf finds the mount that rules at a path; false where it is none of the host's.
func mountOf(c *harden.ComponentFacts, at string) (mount, bool) {
	host, ok := c.HostPath(at)
	if !ok {
		return mount{}, false
	}
	ct := harden.ContainerOf(c.Pod, c.ID)
	var ruling corev1.VolumeMount
	for _, m := range ct.VolumeMounts {
		dir := strings.TrimSuffix(m.MountPath, "/")
		if (at == dir || strings.HasPrefix(at, dir+"/")) && len(m.MountPath) > len(ruling.MountPath) {
			ruling = m
		}
	}
	return mount{
		at:       path.Clean(ruling.MountPath),
		host:     host,
		file:     path.Clean(ruling.MountPath) == path.Clean(at),
		readOnly: ruling.ReadOnly,
		seen:     harden.Evidence{Source: c.Effective, Value: "volume " + ruling.Name + " is mounted at " + ruling.MountPath},
	}, true
}

// systemDirs must not be mounted into the API server to be written.
var systemDirs = []string{"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "root", "run", "sbin", "sys", "tmp", "usr"}

// checkPath accepts a path that may be mounted with its directory, to be written by the API server.
func checkPath(p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsFunc(p, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return fmt.Errorf("%q is not a clean absolute path", p)
	}
	dir := path.Dir(p)
	if dir == "/" {
		return errors.New("the log's directory is mounted into the API server, and that cannot be /")
	}
	top, rest, _ := strings.Cut(dir[1:], "/")
	switch {
	case slices.Contains(systemDirs, top):
		return fmt.Errorf("the log's directory is mounted into the API server, and that must not be %s", dir)
	case top == "var" && rest == "", dir == "/var/lib", strings.HasPrefix(dir+"/", "/var/lib/kubelet/"), strings.HasPrefix(dir+"/", "/var/lib/etcd/"), strings.HasPrefix(dir+"/", "/var/run/"):
		return fmt.Errorf("the log's directory is mounted into the API server, and that must not be %s", dir)
	}
	return nil
}
