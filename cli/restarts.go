package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
)

// podRestarts is apply.Restarts on the live node.
type podRestarts struct{ *hostNode }

var _ apply.Restarts = podRestarts{}

// Follow finds the instance's process, and the cgroups of its pod.
func (p podRestarts) Follow(c harden.Component, i apply.Instance) (apply.Leaving, error) {
	all, err := p.root.Processes(string(c.ID))
	if err != nil {
		return nil, err
	}
	for _, process := range all {
		if process.PID == i.PID && process.ContainerID == i.ID && process.UID == 0 {
			groups, err := host.PodCgroups(p.root.Proc, "/sys", process.PID)
			return leaving{proc: p.root.Proc, process: process, groups: groups}, err
		}
	}
	return nil, apply.ErrNotRunning
}

// leaving is a static pod's process on its way out.
type leaving struct {
	proc    string
	process host.Process
	groups  []string
}

// Listens looks at the sockets of the process.
func (l leaving) Listens() (bool, error) { return host.Listens(l.proc, l.process.PID) }

// End kills the process, and no other one that may have got its number.
func (l leaving) End() error {
	err := host.Signal(l.proc, l.process.PID, l.process.Ticks, syscall.SIGKILL)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Freeze stops it where it is; Thaw lets it go on.
func (l leaving) Freeze() error {
	return host.Freeze(l.proc, l.process.PID, l.process.Ticks)
}

func (l leaving) Thaw() error {
	return host.Thaw(l.proc, l.process.PID, l.process.Ticks)
}

// Cleaned looks for the pod's cgroups.
func (l leaving) Cleaned() (cleaned, known bool) {
	for _, dir := range l.groups {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			return false, true
		}
	}
	return true, len(l.groups) > 0
}

// Begun looks for a sandbox: it is the first thing that the kubelet has made for a pod.
func (p podRestarts) Begun(ctx context.Context, c harden.Component, since time.Time) (bool, error) {
	r, err := p.cri(ctx)
	if err != nil {
		return false, err
	}
	sandboxes, err := r.Sandboxes(ctx, "kube-system")
	if err != nil {
		p.dropCRI()
		return false, err
	}
	for _, s := range sandboxes {
		if strings.HasPrefix(s.PodName, string(c.ID)+"-") && !s.Created.Before(since) {
			return true, nil
		}
	}
	return false, nil
}

// Present and Tidy are host.Root's.
func (p podRestarts) Present(path string) error { return p.root.Present(path) }
func (p podRestarts) Tidy(path string) error    { return p.root.TidyPresent(path) }
