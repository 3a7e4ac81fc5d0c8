//go:build linux

package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultDir is where everything is kept unless Config.Dir or the variable KUBECTL_HARDEN_LAB names another folder.
const DefaultDir = "/var/cache/kubectl-harden-lab"

// ErrNotRunning is returned where a running cluster is needed.
var ErrNotRunning = errors.New("the lab is not running")

// Config says which cluster is meant. The zero value is the default cluster with the newest Kubernetes version.
type Config struct {
	// Dir holds what was built and the state of the clusters.
	Dir string
	// Name tells clusters apart: several can run side by side, without seeing each other.
	Name string
	// Kubernetes is one of Versions, as v1.37.2 or 1.37.
	Kubernetes string
	// Nodes are the cluster's, cp1 first: cp2, cp3 and so on are further control-plane nodes with an etcd member each, w1, w2
	// and so on are workers. None: cp1 alone.
	Nodes []string
	// Log receives progress.
	Log io.Writer
}

// Cluster is a started cluster.
type Cluster struct {
	cfg     Config
	release release
	nodes   []*Node
	// snapshot is the folder that the nodes are copied from.
	snapshot string
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

func (cfg Config) withDefaults() (Config, error) {
	cfg.Dir = cmp.Or(cfg.Dir, os.Getenv("KUBECTL_HARDEN_LAB"), DefaultDir)
	cfg.Name = cmp.Or(cfg.Name, "lab")
	switch cfg.Log.(type) {
	case nil:
		cfg.Log = io.Discard
	case *lockedWriter:
	default:
		cfg.Log = &lockedWriter{w: cfg.Log}
	}
	if !validName.MatchString(cfg.Name) {
		return cfg, fmt.Errorf("cluster name %q: want up to 16 lower-case letters and digits", cfg.Name)
	}
	if len(cfg.Nodes) > 0 {
		if err := checkNodes(cfg.Nodes); err != nil {
			return cfg, err
		}
	}
	dir, err := filepath.Abs(cfg.Dir)
	cfg.Dir = dir
	return cfg, err
}

// state is what is remembered of a cluster between two runs of a program.
type state struct {
	Kubernetes string
	Snapshot   string // the folder that the nodes were copied from
	Nodes      []string
}

func (cfg Config) stateDir() string  { return filepath.Join(cfg.Dir, "clusters", cfg.Name) }
func (cfg Config) stateFile() string { return filepath.Join(cfg.stateDir(), "cluster.json") }

// Start returns the running cluster, or starts one, building first whatever is missing.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("starting the lab: it needs root: it makes namespaces, mounts and cgroups")
	}
	unlock, err := cfg.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	if c, err := open(cfg); err == nil {
		if cfg.Kubernetes != "" {
			if want, err := findRelease(cfg.Kubernetes); err != nil || want.version != c.release.version {
				return nil, fmt.Errorf("starting the lab: cluster %s runs %s already: take it down first, or use another name",
					cfg.Name, c.release.version)
			}
		}
		if names := c.nodeNames(); len(cfg.Nodes) > 0 && !slices.Equal(names, cfg.Nodes) {
			return nil, fmt.Errorf("starting the lab: cluster %s has the nodes %s already: take it down first, or use another name",
				cfg.Name, strings.Join(names, ", "))
		}
		err := c.each(c.nodes, func(n *Node) error { return n.bootIfDown(ctx) })
		if err != nil {
			return nil, err
		}
		return c, c.WaitReady(ctx)
	} else if !errors.Is(err, ErrNotRunning) {
		return nil, err
	}
	release, err := findRelease(cfg.Kubernetes)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, release: release}
	c.addNodes(cfg.Nodes)

	if err := installHostPackages(ctx, cfg); err != nil {
		return nil, err
	}
	// What an earlier run left behind, for example one before a reboot.
	if err := c.clear(ctx); err != nil {
		return nil, err
	}
	if c.snapshot, err = c.ensureSnapshot(ctx); err != nil {
		return nil, err
	}
	if err := c.startFromSnapshot(ctx); err != nil {
		return nil, c.abandon(ctx, err)
	}
	return c, nil
}

// Open returns the cluster of that name if it is running, else ErrNotRunning.
func Open(cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return open(cfg)
}

func open(cfg Config) (*Cluster, error) {
	var st state
	if err := readJSON(cfg.stateFile(), &st); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("cluster %s: %w", cfg.Name, ErrNotRunning)
	} else if err != nil {
		return nil, err
	}
	release, err := findRelease(st.Kubernetes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", cfg.stateFile(), err)
	}
	c := &Cluster{cfg: cfg, release: release, snapshot: st.Snapshot}
	c.addNodes(st.Nodes)
	for _, n := range c.nodes {
		if !namespaceExists(n.netns()) {
			return nil, fmt.Errorf("cluster %s: %w", cfg.Name, ErrNotRunning)
		}
	}
	return c, nil
}

// Node returns the node of that name.
func (c *Cluster) Node(name string) (*Node, error) {
	for _, n := range c.nodes {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("cluster %s has no node %q", c.cfg.Name, name)
}

// Nodes returns all nodes, the first control-plane node first.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Version is the Kubernetes version that the cluster was started with, as v1.37.2.
func (c *Cluster) Version() string { return c.release.version }

// WaitReady waits until every API server is ready, every node is Ready, and the control plane does its work.
func (c *Cluster) WaitReady(ctx context.Context) error {
	return c.step("waiting for the control plane", func() error {
		for _, n := range c.nodes {
			if err := n.waitReady(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reset ends all nodes without warning and starts the cluster again as it was right after kubeadm init.
func (c *Cluster) Reset(ctx context.Context) error {
	unlock, err := c.cfg.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.stop(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(c.snapshot); err != nil {
		if c.snapshot, err = c.ensureSnapshot(ctx); err != nil {
			return err
		}
	}
	return c.startFromSnapshot(ctx)
}

// Down ends the cluster and removes everything of it but what was built.
func (c *Cluster) Down(ctx context.Context) error { return Down(ctx, c.cfg) }

// Down does what Cluster.Down does, also for a cluster that is half started or half gone.
func Down(ctx context.Context, cfg Config) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	unlock, err := cfg.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	c := &Cluster{cfg: cfg}
	var st state
	if err := readJSON(cfg.stateFile(), &st); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c.addNodes(st.Nodes)
	if err := c.clear(ctx); err != nil {
		return err
	}
	return restoreSysctls(cfg)
}

// stop ends all processes of the cluster without warning, and its network.
func (c *Cluster) stop(ctx context.Context) error {
	if err := c.each(c.nodes, func(n *Node) error { return n.Kill(ctx) }); err != nil {
		return err
	}
	return c.deleteNetwork(ctx)
}

// clear stops the cluster and removes its state.
func (c *Cluster) clear(ctx context.Context) error {
	if err := c.stop(ctx); err != nil {
		return err
	}
	if err := remove(ctx, c.cfg.stateDir()); err != nil {
		return fmt.Errorf("removing the cluster's state: %w", err)
	}
	return nil
}

// abandon keeps what the nodes say about a failed start, removes them, and adds to the error where to look.
func (c *Cluster) abandon(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var told bytes.Buffer
	for _, n := range c.nodes {
		journal, _ := n.Journal(ctx)
		logs, _ := n.PodLogs(ctx)
		fmt.Fprintf(&told, "==> %s: journal\n%s\n==> %s: containers\n%s\n", n.name, journal, n.name, logs)
	}
	file := filepath.Join(c.cfg.Dir, "failed-"+c.cfg.Name+".log")
	if err := os.WriteFile(file, told.Bytes(), 0o600); err != nil {
		return errors.Join(cause, err, c.clear(ctx))
	}
	return errors.Join(fmt.Errorf("%w\nhint: the nodes' journals and logs: %s", cause, file), c.clear(ctx))
}

// startFromSnapshot starts the cluster from copies of the stopped nodes.
func (c *Cluster) startFromSnapshot(ctx context.Context) error {
	if err := c.writeState(); err != nil {
		return err
	}
	err := c.each(c.nodes, func(n *Node) error {
		if err := os.MkdirAll(n.dir(), 0o700); err != nil {
			return err
		}
		return c.step("copying the snapshot of "+n.name, func() error { return n.restore(ctx) })
	})
	if err != nil {
		return err
	}
	if err := c.boot(ctx); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// writeState writes down what the cluster is made of. It also keeps the snapshot from being removed, and the host's settings
// from being restored.
func (c *Cluster) writeState() error {
	if err := os.MkdirAll(c.cfg.stateDir(), 0o700); err != nil {
		return err
	}
	return writeJSON(c.cfg.stateFile(), state{Kubernetes: c.release.version, Snapshot: c.snapshot, Nodes: c.nodeNames()})
}

// boot boots all nodes from their root filesystems.
func (c *Cluster) boot(ctx context.Context) error {
	if err := saveSysctls(c.cfg); err != nil {
		return err
	}
	if err := raiseSysctls(); err != nil {
		return err
	}
	if err := c.createNetwork(ctx); err != nil {
		return err
	}
	return c.each(c.nodes, func(n *Node) error { return c.step("booting "+n.name, func() error { return n.Boot(ctx) }) })
}

// lock makes one program at a time start, reset or end the cluster.
func (cfg Config) lock(ctx context.Context) (unlock func(), err error) {
	return lockFile(ctx, cfg.stateDir()+".lock", func() {
		fmt.Fprintf(cfg.Log, "waiting for another run that starts, resets or ends cluster %s\n", cfg.Name)
	})
}

// lockBuild makes one program at a time build or make snapshots, which all clusters share.
func (cfg Config) lockBuild(ctx context.Context) (unlock func(), err error) {
	return lockFile(ctx, filepath.Join(cfg.Dir, "build.lock"), func() {
		fmt.Fprintln(cfg.Log, "waiting for another run that builds")
	})
}

func lockFile(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for told := false; ; told = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
		}
		if !told {
			waiting()
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			f.Close()
			return nil, err
		}
	}
}

// step runs f and reports what it is and how long it took.
func (c *Cluster) step(what string, f func() error) error { return step(c.cfg, what, f) }

func step(cfg Config, what string, f func() error) error {
	start := time.Now()
	fmt.Fprintf(cfg.Log, "%s ...\n", what)
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Fprintf(cfg.Log, "%s: done in %.1fs\n", what, time.Since(start).Seconds())
	return nil
}

// lockedWriter is for progress of several nodes at a time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
