package sandbox

import (
	"embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kubectl-harden.io/kubectl-harden/backups"
)

// kubeadm is what kubeadm 1.37 writes on a first control-plane node, but for private keys, and the modes of it all. Certificates are
// signed again (pki.go).
//
//go:embed fixtures/kubeadm-1.37/root fixtures/kubeadm-1.37/modes.tsv fixtures/kubeadm-1.37/cluster
var kubeadm embed.FS

const fixture = "fixtures/kubeadm-1.37/"

// machine are the files that are there before kubeadm: the distribution's and the kubelet's package.
var machine = []struct{ path, text string }{
	{"etc/hostname", "cp1\n"},
	{"etc/machine-id", "6b1f0c9e5d2a4c7f8e3b1a2d4c5f6e70\n"},
	{"usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nID=debian\n"},
	{"etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nID=debian\n"},
	{"usr/lib/systemd/system/kubelet.service", `[Unit]
Description=kubelet: The Kubernetes Node Agent
Documentation=https://kubernetes.io/docs/
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
`},
	{"usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", `# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime, populating the KUBELET_KUBEADM_ARGS variable dynamically
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# This is a file that the user can use for overrides of the kubelet args as a last resort. Preferably, the user should use
# the .NodeRegistration.KubeletExtraArgs object in the configuration files instead. KUBELET_EXTRA_ARGS should be sourced from this file.
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
`},
}

// secret stands in for private keys, which the sandbox has no use for.
const secret = "-----BEGIN PRIVATE KEY-----\nc2FuZGJveA==\n-----END PRIVATE KEY-----\n"

// entry is a path of the root, with a slash at its end if it is a directory.
type entry struct {
	path string
	mode uint32
	data []byte
}

// entries are all paths of the root, parents first. All sandboxes of a process have the same.
var entries = sync.OnceValues(makeEntries)

func makeEntries() ([]entry, error) {
	found := map[string]entry{}
	for _, m := range machine {
		found[m.path] = entry{m.path, 0o644, []byte(m.text)}
	}
	table, err := kubeadm.ReadFile(fixture + "modes.tsv")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(table)) {
		path, octal, _ := strings.Cut(strings.TrimSpace(line), "\t")
		mode, err := strconv.ParseUint(octal, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("modes.tsv: %s: %w", path, err)
		}
		e := entry{path: path, mode: uint32(mode)}
		if !strings.HasSuffix(path, "/") {
			if e.data, err = kubeadm.ReadFile(fixture + "root/" + path); err != nil {
				e.data = []byte(secret)
			}
		}
		found[path] = e
	}
	if err := signAgain(found); err != nil {
		return nil, fmt.Errorf("signing the fixture's certificates: %w", err)
	}
	for path := range found {
		for i, c := range path {
			if _, ok := found[path[:i+1]]; c == '/' && !ok {
				found[path[:i+1]] = entry{path: path[:i+1], mode: 0o755}
			}
		}
	}
	var out []entry
	for _, e := range found {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.path, b.path) })
	return out, nil
}

// lay writes the node into an empty root. Modes are set outright, whatever the umask.
func lay(root backups.FS) error {
	all, err := entries()
	if err != nil {
		return err
	}
	for _, e := range all {
		path := "/" + e.path
		if dir, ok := strings.CutSuffix(path, "/"); ok {
			if err := root.Mkdir(dir, e.mode); err != nil {
				return err
			}
			continue
		}
		f, err := root.Create(path, e.mode)
		if err != nil {
			return err
		}
		_, err = f.Write(e.data)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}
