//go:build linux

package lab

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// snapshotLife is well below the year for which kubeadm's certificates are valid.
const snapshotLife = 150 * 24 * time.Hour

// ensureSnapshot returns a folder with the stopped nodes of a cluster right after kubeadm init.
func (c *Cluster) ensureSnapshot(ctx context.Context) (string, error) {
	unlock, err := c.cfg.lockBuild(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	b, err := c.ensureBundle(ctx)
	if err != nil {
		return "", err
	}
	age := time.Now().UnixNano() / int64(snapshotLife)
	words := []string{fmt.Sprint(age), b.rootfs, b.kubernetes, b.containerd, b.coredns, b.netcheck, b.netpolicy, fmt.Sprint(unifiedCgroups())}
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
	dir := filepath.Join(c.cfg.Dir, "snapshots", c.shape()+"-"+key)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := c.removeStaleSnapshots(ctx); err != nil {
		return "", err
	}
	if err := c.makeSnapshot(ctx, b, dir); err != nil {
		return "", c.abandon(ctx, fmt.Errorf("making a cluster for the snapshot: %w", err))
	}
	return dir, nil
}

// shape is what snapshots of clusters with the same version and nodes have in common.
func (c *Cluster) shape() string { return c.release.version + "-" + strings.Join(c.nodeNames(), ".") }

// removeStaleSnapshots removes those of this shape that no cluster was started from.
func (c *Cluster) removeStaleSnapshots(ctx context.Context) error {
	states, err := filepath.Glob(filepath.Join(c.cfg.Dir, "clusters", "*", "cluster.json"))
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, f := range states {
		var st state
		if err := readJSON(f, &st); err != nil {
			return err
		}
		used[st.Snapshot] = true
	}
	snapshots, err := filepath.Glob(filepath.Join(c.cfg.Dir, "snapshots", c.shape()+"-????????????"))
	if err != nil {
		return err
	}
	for _, s := range snapshots {
		if used[s] {
			continue
		}
		if err := remove(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Containers are ended in an order. The leases would be waited for after every start, and etcd is the only one that minds being
// killed.
const (
	stopWork = `set -e
systemctl stop kubelet
pkill -KILL '^kube-(controller|scheduler)' || true`
	freeLeases = `kubectl delete lease -n kube-system kube-controller-manager kube-scheduler`
	stopRest   = `set -e
pkill -TERM '^etcd$' || true
while pgrep '^etcd$' >/dev/null; do sleep 0.1; done
systemctl kill --signal=KILL containerd`
)

// quiesce makes all nodes ready to be shut down for the snapshot.
func (c *Cluster) quiesce(ctx context.Context) error {
	for _, part := range []struct {
		nodes  []*Node
		script string
	}{{c.nodes, stopWork}, {c.nodes[:1], freeLeases}, {c.nodes, stopRest}} {
		err := c.each(part.nodes, func(n *Node) error {
			_, err := n.Run(ctx, "sh", "-c", part.script)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) makeSnapshot(ctx context.Context, b bundle, dir string) error {
	if err := c.clear(ctx); err != nil {
		return err
	}
	if err := c.writeState(); err != nil {
		return err
	}
	err := c.each(c.nodes, func(n *Node) error {
		return c.step("installing "+n.name, func() error { return n.install(ctx, b) })
	})
	if err != nil {
		return err
	}
	if err := c.boot(ctx); err != nil {
		return err
	}
	err = c.each(c.nodes, func(n *Node) error {
		return c.step("loading images into "+n.name, func() error { return n.importImages(ctx, b.images) })
	})
	if err != nil {
		return err
	}
	if err := c.initialize(ctx); err != nil {
		return err
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return err
	}
	if err := c.step("ending all containers for the snapshot", func() error { return c.quiesce(ctx) }); err != nil {
		return err
	}
	err = c.each(c.nodes, func(n *Node) error {
		return c.step("shutting down "+n.name, func() error {
			if err := n.Stop(ctx); err != nil {
				return err
			}
			return os.Rename(n.root(), filepath.Join(tmp, n.name))
		})
	})
	if err != nil {
		return err
	}
	if err := c.clear(ctx); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}
