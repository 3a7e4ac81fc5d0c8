//go:build linux

package lab

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// packageFiles are what the packages of Kubernetes put into a node, by the package's name.
var packageFiles = map[string][]string{
	"kubeadm": {"usr/bin/kubeadm", "usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"},
	"kubectl": {"usr/bin/kubectl"},
	"kubelet": {"usr/bin/kubelet", "usr/lib/systemd/system/kubelet.service"},
}

// Build builds or fetches what clusters of a version are made of, and starts nothing.
func Build(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	r, err := findRelease(cfg.Kubernetes)
	if err != nil {
		return err
	}
	if err := installHostPackages(ctx, cfg); err != nil {
		return err
	}
	_, err = r.bundle(ctx, cfg)
	return err
}

func (r release) bundle(ctx context.Context, cfg Config) (bundle, error) {
	unlock, err := cfg.lockBuild(ctx)
	if err != nil {
		return bundle{}, err
	}
	defer unlock()
	return (&Cluster{cfg: cfg, release: r}).ensureBundle(ctx)
}

// Bring makes another version of Kubernetes ready in each node, as a machine with a way out would find it in registries: its images
// lie beside those that are there, and its packages in the folder that is returned, as kubeadm.tar, kubectl.tar and kubelet.tar. To
// install one is to unpack it at the root: like a package manager that replaces each file and sets its mode. Until then nothing
// that runs is touched.
func (c *Cluster) Bring(ctx context.Context, version string) (string, error) {
	r, err := findRelease(version)
	if err != nil {
		return "", err
	}
	b, err := r.bundle(ctx, c.cfg)
	if err != nil {
		return "", err
	}
	dir := "/opt/kubernetes-" + r.version
	return dir, c.each(c.nodes, func(n *Node) error {
		return c.step("bringing "+r.version+" to "+n.name, func() error {
			if err := n.importImages(ctx, b.images); err != nil {
				return fmt.Errorf("loading images: %w", err)
			}
			for name, files := range packageFiles {
				if err := n.bringPackage(ctx, filepath.Join(dir, name+".tar"), b, files); err != nil {
					return fmt.Errorf("package %s: %w", name, err)
				}
			}
			return nil
		})
	})
}

func (n *Node) bringPackage(ctx context.Context, path string, b bundle, files []string) error {
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(writePackage(w, b, files)) }()
	_, err := n.RunInput(ctx, r, "install", "-D", "-m", "0644", "/dev/stdin", path)
	return err
}

func writePackage(w io.Writer, b bundle, files []string) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		var data []byte
		var err error
		mode := int64(0o644)
		if program, ok := strings.CutPrefix(f, "usr/bin/"); ok {
			mode = 0o755
			data, err = os.ReadFile(filepath.Join(b.kubernetes, program))
		} else {
			data, err = recipe.ReadFile("files/root/" + f)
		}
		if err != nil {
			return err
		}
		if err := writeTarFile(tw, f, mode, data); err != nil {
			return err
		}
	}
	return tw.Close()
}
