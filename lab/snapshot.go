//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// snapshotLife is well below the year for which kubeadm's certificates are valid.
const snapshotLife = 180 * 24 * time.Hour

// ensureSnapshot returns a folder with the stopped nodes of a cluster right after kubeadm init.
func (c *Cluster) ensureSnapshot(ctx context.Context) (string, error) {
	b, err := c.ensureBundle(ctx)
	if err != nil {
		return "", err
	}
	words := []string{b.rootfs, b.kubernetes, b.containerd, b.coredns, b.netcheck, fmt.Sprint(unifiedCgroups())}
	err = fs.WalkDir(recipe, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := recipe.ReadFile(path)
		words = append(words, path, string(data))
		return err
	})
	if err != nil {
		return "", err
	}
	key, err := digest(words)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.cfg.Dir, "snapshots", c.release.version+"-"+key)
	if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) < snapshotLife {
		return dir, nil
	}
	stale, err := filepath.Glob(filepath.Join(c.cfg.Dir, "snapshots", c.release.version+"-*"))
	if err != nil {
		return "", err
	}
	for _, s := range stale {
		if err := os.RemoveAll(s); err != nil {
			return "", err
		}
	}
	if err := c.makeSnapshot(ctx, b, dir); err != nil {
		err = fmt.Errorf("making a cluster for the snapshot: %w", err)
		return "", errors.Join(err, c.clear(context.WithoutCancel(ctx)))
	}
	return dir, nil
}

// quiesce ends all containers. The leases would be waited for after every start, and etcd is the only one that minds being
// killed.
const quiesce = `set -e
systemctl stop kubelet
pkill -KILL '^kube-(controller|scheduler)'
kubectl delete lease -n kube-system kube-controller-manager kube-scheduler
pkill -TERM '^etcd$'
while pgrep '^etcd$' >/dev/null; do sleep 0.1; done
systemctl kill --signal=KILL containerd`

func (c *Cluster) makeSnapshot(ctx context.Context, b bundle, dir string) error {
	if err := c.clear(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.step("installing "+n.name, func() error { return n.install(ctx, b) }); err != nil {
			return err
		}
	}
	if err := c.boot(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := c.step("loading images into "+n.name, func() error { return n.importImages(ctx, b.images) }); err != nil {
			return err
		}
	}
	first := c.nodes[0]
	if err := c.step("kubeadm init on "+first.name, func() error { return first.initialize(ctx) }); err != nil {
		return err
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, n := range c.nodes {
		err := c.step("shutting down "+n.name+" for the snapshot", func() error {
			if _, err := n.Run(ctx, "sh", "-c", quiesce); err != nil {
				return err
			}
			if err := n.Stop(ctx); err != nil {
				return err
			}
			if err := os.MkdirAll(tmp, 0o700); err != nil {
				return err
			}
			return os.Rename(n.root(), filepath.Join(tmp, n.name))
		})
		if err != nil {
			return err
		}
	}
	if err := c.clear(ctx); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}
