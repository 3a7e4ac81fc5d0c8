package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"kubectl-harden.io/kubectl-harden/cluster"
	"kubectl-harden.io/kubectl-harden/host"
)

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// openMachine opens the node that the flags name.
func openMachine(_ context.Context, w whereFlags) (*machine, error) {
	dir, err := filepath.Abs(w.root)
	if err != nil {
		return nil, fmt.Errorf("opening the root: %s: %w", w.root, err)
	}
	live := sameDir(dir, "/")
	switch {
	case live && w.offline:
		return nil, &hintedError{usagef("--offline is for a root that no kubelet runs from, and this is the running system's"), []string{name() + " assess"}}
	case !live && !w.offline:
		return nil, &hintedError{
			usagef("%s is not the running system's root: say --offline if no kubelet runs from it", dir),
			[]string{name() + " --root " + w.root + " --offline --no-cluster assess"},
		}
	}
	if !path.IsAbs(w.stateDir) {
		return nil, usagef("--state-dir wants an absolute path below the root, not %q", w.stateDir)
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
		m.live = node
		m.cannotWrite = needRoot()
	}
	if !w.noCluster {
		m.connect, m.context = connector(w)
	}
	return m, nil
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
	return &hintedError{errors.New("changing this node needs root"), []string{"sudo " + strings.Join(os.Args, " ")}}
}

// connector reaches the API once, when it is first needed.
func connector(w whereFlags) (func(context.Context) (api, error), string) {
	var client *cluster.Client
	var failed error
	return func(context.Context) (api, error) {
		if client == nil && failed == nil {
			client, failed = cluster.Connect(cluster.Options{NodeRoot: w.root, Kubeconfig: w.kubeconfig, Context: w.context})
		}
		if failed != nil {
			return nil, failed
		}
		return client, nil
	}, w.context
}
