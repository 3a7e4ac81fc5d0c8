package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/term"

	"kubectl-harden.io/kubectl-harden/cluster"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// openMachine opens the node that the flags name.
func (a *app) openMachine() (*machine, error) {
	w := a.where
	dir, err := filepath.Abs(w.root)
	if err != nil {
		return nil, fmt.Errorf("opening the root: %s: %w", w.root, err)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("opening the root: %s: %w", dir, cause(err))
	}
	live := kubeletRunsFrom(dir)
	switch {
	case live && w.offline:
		return nil, &hintedError{
			err:   usagef("--offline is for a root that no kubelet runs from, and %s is the running system's", dir),
			whole: a.without("--offline"),
		}
	case !live && !w.offline:
		more := []string{"--offline"}
		if !w.noCluster && w.kubeconfig == "" && w.context == "" {
			more = append(more, "--no-cluster")
		}
		return nil, &hintedError{
			err:   usagef("no kubelet runs from %s: say --offline if it is an image or a mounted disk", dir),
			whole: a.again(more...),
		}
	}
	root, err := host.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the root: %w", err)
	}
	node := &hostNode{root: root}
	m := &machine{
		root: dir, offline: w.offline, files: rootFiles{root}, node: node,
		stateDir: path.Clean(w.stateDir), lockPath: defaultStateDir + "/lock",
	}
	if live {
		m.live, m.kubeadm = node, node
		m.cannotWrite = needRoot()
		m.guards = guardsOf(root)
		m.start, m.desks = starterOn(root), defaultDesks
	}
	m.flags = w.flags()
	if !w.noCluster {
		m.connect, m.context = connector(w)
	}
	return m, nil
}

// guardsOf are the node's guards; none where its root is not the running system's own.
func guardsOf(root *host.Root) guards {
	g, err := root.Guards()
	if err != nil {
		return nil
	}
	return nodeGuards{g, root}
}

// kubeletRunsFrom says whether a directory is the root of the running system, or of a kubelet: it may be seen at another
// path than its own, from a container or around one.
func kubeletRunsFrom(dir string) bool {
	if sameDir(dir, "/") {
		return true
	}
	system, err := host.OpenRoot("/")
	if err != nil {
		return false
	}
	defer system.Close()
	kubelets, err := system.Processes(string(harden.Kubelet))
	return err == nil && slices.ContainsFunc(kubelets, func(p host.Process) bool {
		return sameDir(dir, fmt.Sprintf("/proc/%d/root", p.PID))
	})
}

func sameDir(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

func needRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &refusedError{errors.New("changing this node needs root")}
}

// connector reaches the API once, when it is first needed.
func connector(w whereFlags) (func(context.Context) (api, error), string) {
	var mu sync.Mutex
	var client *cluster.Client
	return func(context.Context) (api, error) {
		mu.Lock()
		defer mu.Unlock()
		if client == nil {
			c, err := cluster.Connect(cluster.Options{NodeRoot: w.root, Kubeconfig: w.kubeconfig, Context: w.context})
			if err != nil {
				return nil, err
			}
			client = c
		}
		return liveAPI{client}, nil
	}, w.context
}
