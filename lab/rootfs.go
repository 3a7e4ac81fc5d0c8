//go:build linux

package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
)

// recipe is all that shapes a node but the programs in it: a snapshot made by another recipe is not used.
//
//go:embed all:files rootfs.go kubeadm.go image.go members.go
var recipe embed.FS

const debianSuite = "bookworm"

// debianPackages of a node: what Kubernetes needs, and what people miss on a node without it.
var debianPackages = []string{
	"systemd", "systemd-sysv", "dbus", "iproute2", "iptables", "nftables", "conntrack", "socat", "procps", "ca-certificates",
	"kmod", "runc", "containernetworking-plugins", "ethtool",
	"curl", "git", "less", "openssl", "patch", "strace", "sudo", "tmux", "vim-tiny",
}

// rootfsDir is where the distribution's root filesystem is kept.
func rootfsDir(cfg Config) (string, error) {
	key, err := digest(debianPackages)
	return filepath.Join(cfg.Dir, "rootfs", debianSuite+"-"+key), err
}

// debianMirror is debootstrap's own unless the environment names another.
func debianMirror() string { return cmp.Or(os.Getenv("DEBIAN_MIRROR"), "http://deb.debian.org/debian") }

// ensureRootfs returns the distribution's root filesystem, untouched.
func ensureRootfs(ctx context.Context, cfg Config) (string, error) {
	dir, err := rootfsDir(cfg)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(tmp), 0o755); err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	err = step(cfg, "fetching a root filesystem (the first time: 1 to 2 minutes)", func() error {
		cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(debianPackages, ","),
			debianSuite, tmp, debianMirror())
		return runWatched(cmd, cfg.Log)
	})
	if err != nil {
		return "", fmt.Errorf("%w\nhint: DEBIAN_MIRROR=URL names another mirror of Debian's packages", err)
	}
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "usr/share/doc/*", "usr/share/locale/*"} {
		paths, err := filepath.Glob(filepath.Join(tmp, pattern))
		if err != nil {
			return "", err
		}
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return "", err
			}
		}
	}
	return dir, os.Rename(tmp, dir)
}

// units of the distribution that only make noise in a node.
var maskedUnits = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"console-getty.service", "systemd-timesyncd.service"}

// settings fill in the templates among the files.
type settings struct {
	Name, Address, PodSubnet, Version, PauseImage string
	UnifiedCgroups                                bool
	// First is the address of the node that the others join; Endpoint is empty where there is one control-plane node only.
	First, Endpoint string
	Worker          bool
}

// install makes the distribution's root filesystem a node's, as the packages of Kubernetes would.
func (n *Node) install(ctx context.Context, b bundle) error {
	if err := copyTree(ctx, b.rootfs, n.root()); err != nil {
		return err
	}
	files, err := fs.Sub(recipe, "files/root")
	if err != nil {
		return err
	}
	if err := os.CopyFS(n.root(), files); err != nil {
		return err
	}
	// CopyFS takes the modes of embedded files, which are read-only, and does not overwrite.
	err = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(filepath.Join(n.root(), path), 0o644)
	})
	if err != nil {
		return err
	}

	id := make([]byte, 16)
	rand.Read(id)
	for path, content := range map[string]string{
		"etc/hostname":   n.name + "\n",
		"etc/hosts":      n.hosts(n.cluster.nodes[0]),
		"etc/machine-id": hex.EncodeToString(id) + "\n",
		// Nothing answers there, at once: the lab has no way out.
		"etc/resolv.conf": "nameserver " + gateway + "\n",
		"root/.bashrc":    "PS1='\\u@\\h:\\w\\$ '\nalias k=kubectl\n",
	} {
		path = filepath.Join(n.root(), path)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	set := n.settings(b)
	if err := n.render("files/containerd.toml", "etc/containerd/config.toml", set); err != nil {
		return err
	}
	if err := n.render("files/bridge.conflist", "etc/cni/net.d/10-bridge.conflist", set); err != nil {
		return err
	}
	config := "files/join.yaml"
	if n == n.cluster.nodes[0] {
		config = "files/kubeadm.yaml"
	}
	if err := n.render(config, "root/kubeadm.yaml", set); err != nil {
		return err
	}

	for dir, programs := range map[string][]string{
		b.kubernetes: {"kubelet", "kubeadm", "kubectl"},
		b.containerd: {"containerd", "containerd-shim-runc-v2", "ctr"},
	} {
		for _, p := range programs {
			if err := copyProgram(filepath.Join(dir, p), filepath.Join(n.root(), "usr/bin", p)); err != nil {
				return err
			}
		}
	}
	// The distribution's folder of CNI plugins, under the name that everybody else uses.
	if err := os.MkdirAll(filepath.Join(n.root(), "opt/cni"), 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(n.root(), "usr/lib/cni"), filepath.Join(n.root(), "opt/cni/bin")); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(n.root(), "var/log/journal"), 0o755); err != nil {
		return err
	}

	links := map[string]string{}
	for _, u := range maskedUnits {
		links["etc/systemd/system/"+u] = "/dev/null"
	}
	const wants = "etc/systemd/system/multi-user.target.wants/"
	links[wants+"kubelet.service"] = "/usr/lib/systemd/system/kubelet.service"
	links[wants+"containerd.service"] = "/etc/systemd/system/containerd.service"
	links[wants+"lab-cgroup.service"] = "/etc/systemd/system/lab-cgroup.service"
	for link, target := range links {
		link = filepath.Join(n.root(), link)
		if err := os.RemoveAll(link); err != nil {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) settings(b bundle) settings {
	set := settings{
		Name: n.name, Address: n.address, PodSubnet: n.podSubnet(), Version: n.cluster.release.version, PauseImage: b.pauseImage,
		UnifiedCgroups: unifiedCgroups(), First: n.cluster.nodes[0].address, Worker: n.Worker(),
	}
	if len(n.cluster.controlPlane()) > 1 {
		set.Endpoint = endpoint
	}
	return set
}

func (n *Node) render(name, path string, set settings) error {
	t, err := template.ParseFS(recipe, name)
	if err != nil {
		return err
	}
	path = filepath.Join(n.root(), path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if err := t.Execute(f, set); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func copyProgram(src, dst string) error {
	data, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o755)
}

// copyTree copies a folder with all attributes; dst must not exist.
func copyTree(ctx context.Context, src, dst string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", "--no-target-directory", src, dst).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copying %s: %w: %s", src, err, strings.TrimSpace(string(out)))
	}
	return nil
}
