package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/cluster"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/host"
)

// imagesWait is how long the container runtime may take to tell where its images are, which all but a hanging one do at once.
const imagesWait = 2 * time.Second

// Machine is what the running machine has for a rehearsal.
func (n *hostNode) Machine() (harden.MachineFact, error) {
	m := harden.MachineFact{}
	var err error
	if m.MemAvailable, err = n.root.MemAvailable(); err != nil {
		return m, err
	}
	// Whether it answers is seen when something is armed with it: facts do not wait for that.
	m.Systemd = n.root.SystemdRuns()
	ctx, cancel := context.WithTimeout(context.Background(), imagesWait)
	defer cancel()
	if r, err := n.cri(ctx); err == nil {
		if at, err := r.ImagesAt(ctx); err == nil {
			if used, err := n.root.UsedPercent(at); err == nil {
				m.Images, m.ImagesUsed = at, used
			}
		}
	}
	return m, nil
}

// Ask runs a static pod's program in its running container, and the kubelet's on the node.
func (n *hostNode) Ask(ctx context.Context, c harden.Component, args []string, flag string, config []byte) (string, int, error) {
	if !c.StaticPod() {
		program, err := n.program(c)
		if err != nil {
			return "", 0, err
		}
		return n.root.AskProgram(ctx, append([]string{program}, args[1:]...), flag, config)
	}
	i, err := n.Instance(ctx, c)
	if err != nil {
		return "", 0, fmt.Errorf("looking for %s: %w", c.ID, err)
	}
	r, err := n.cri(ctx)
	if err != nil {
		return "", 0, err
	}
	left := 20 * time.Second
	if end, ok := ctx.Deadline(); ok {
		left = time.Until(end)
	}
	stdout, stderr, code, err := r.ExecSync(ctx, i.ID, args, left)
	return string(stdout) + string(stderr), code, err
}

// program is the file that a unit's live process was started from.
func (n *hostNode) program(c harden.Component) (string, error) {
	all, err := n.Processes(string(c.ID))
	if err != nil {
		return "", err
	}
	for _, p := range all[string(c.ID)] {
		if len(p.Args) > 0 && strings.HasPrefix(p.Args[0], "/") {
			return p.Args[0], nil
		}
	}
	return "", fmt.Errorf("looking for %s: %w", c.ID, apply.ErrNotRunning)
}

// FreePort minds what containers declare, although nobody listens there: the kubelet would not start another one with it.
func (n *hostNode) FreePort(ctx context.Context) (int, error) {
	var taken []int
	r, err := n.cri(ctx)
	if err == nil {
		containers, err := r.Containers(ctx, "")
		if err != nil {
			n.dropCRI()
			return 0, err
		}
		taken = host.DeclaredPorts(containers)
	}
	return n.root.FreePort(taken)
}

// Canary looks for the canary's container, of those made since.
func (n *hostNode) Canary(ctx context.Context, since time.Time) (apply.CanaryState, error) {
	r, err := n.cri(ctx)
	if errors.Is(err, host.ErrNoRuntime) {
		return apply.CanaryState{}, fmt.Errorf("%w: %w", apply.ErrNoRuntime, err)
	}
	if err != nil {
		return apply.CanaryState{}, err
	}
	all, err := canaryContainers(ctx, r)
	if err != nil {
		n.dropCRI()
		return apply.CanaryState{}, err
	}
	for _, ct := range all { // newest first
		if ct.Created.Before(since) {
			continue
		}
		s := apply.CanaryState{There: true, Running: ct.State == "running", Exited: ct.State == "exited"}
		if s.Exited {
			s.Words = lastWords(r, ct)
		}
		if s.Running {
			s.Instance, err = n.canaryInstance(ct)
		}
		return s, err
	}
	return apply.CanaryState{}, nil
}

func canaryContainers(ctx context.Context, r *host.Runtime) ([]host.Container, error) {
	all, err := r.Containers(ctx, harden.CanaryContainer)
	var out []host.Container
	for _, ct := range all {
		if ct.PodNamespace == "kube-system" && strings.HasPrefix(ct.PodName, harden.CanaryName) {
			out = append(out, ct)
		}
	}
	return out, err
}

func (n *hostNode) canaryInstance(ct host.Container) (apply.Instance, error) {
	ps, err := n.root.Processes(string(harden.APIServer))
	if err != nil {
		return apply.Instance{}, err
	}
	i := apply.Instance{ID: ct.ID, Started: ct.StartedAt}
	for _, p := range ps {
		if p.ContainerID == ct.ID {
			i.PID, i.Args = p.PID, p.Argv
			return i, nil
		}
	}
	return i, nil // its process is not there yet, or not any more
}

// StopCanary ends the canary's container.
func (n *hostNode) StopCanary(ctx context.Context) error {
	r, err := n.cri(ctx)
	if err != nil {
		return err
	}
	all, err := canaryContainers(ctx, r)
	errs := []error{err}
	for _, ct := range all {
		if ct.State == "running" {
			errs = append(errs, r.StopContainer(ctx, ct.ID, 5*time.Second))
		}
	}
	return errors.Join(errs...)
}

// Clear removes what a canary has left.
func (n *hostNode) Clear(path string) error { return n.root.Clear(path) }

// Arm lets systemd remove files in our place.
func (n *hostNode) Arm(ctx context.Context, g apply.Guard) error {
	guards, err := n.root.Guards()
	if err != nil {
		return err
	}
	// The drop-in directory may be missing where nothing was ever enabled; a path that is not there is fine for rm -f.
	power, err := guards.Arm(ctx, host.Guard{
		Name: g.Name, About: g.About, Expiry: [][]string{append([]string{"/bin/rm", "-f", "--"}, g.Remove...)},
		Before: []string{"kubelet.service"}, Needs: g.Remove,
	}, g.After)
	if err != nil {
		return err
	}
	if power != host.GuardSystemd {
		return errors.Join(errors.New("there is no systemd, so a reboot would bring it back"), guards.Disarm(ctx, g.Name))
	}
	return nil
}

// Disarm takes a guard away.
func (n *hostNode) Disarm(ctx context.Context, name string) error {
	guards, err := n.root.Guards()
	if err != nil {
		return err
	}
	return guards.Disarm(ctx, name)
}

// liveAPI is the API as transactions need it.
type liveAPI struct{ *cluster.Client }

// At asks the API server at another address.
func (a liveAPI) At(host string, port int) apply.API {
	c, err := a.Client.At(host, port)
	if err != nil {
		return noAPI{err}
	}
	return c
}

// noAPI is one that cannot be asked.
type noAPI struct{ err error }

func (n noAPI) AdminGet(context.Context, string, string) (int, error) { return 0, n.err }
func (n noAPI) Allowed(context.Context, string, []string, string) (bool, error) {
	return false, n.err
}
func (n noAPI) Readyz(context.Context) (bool, []string, error) { return false, nil, n.err }
func (n noAPI) TrialWrite(context.Context) error               { return n.err }

func (n noAPI) AdmissionPlugins(context.Context) ([]string, error)           { return nil, n.err }
func (n noAPI) GetWith(context.Context, string, string) (int, error)         { return 0, n.err }
func (n noAPI) TokenLife(context.Context) (time.Duration, bool, error)       { return 0, false, n.err }
func (n noAPI) TrialPod(context.Context, string) (refusal string, err error) { return "", n.err }

// canaryFile is where a canary's manifest would be.
func (e *engine) canaryFile(ctx context.Context) string {
	dir := harden.StaticPodDir
	if f, err := e.Facts(ctx); err == nil && f.Kubelet != nil && f.Kubelet.StaticPodPath != "" {
		dir = f.Kubelet.StaticPodPath
	}
	return path.Join(dir, harden.CanaryFile)
}

// canaryLeft says what there is of a canary, "" for nothing.
func (e *engine) canaryLeft(ctx context.Context) (string, error) {
	file := e.canaryFile(ctx)
	s, err := e.m.node.State(file)
	if err != nil {
		return "", fmt.Errorf("looking for a canary: %w", err)
	}
	said := ""
	if s.Exists {
		said = file
	}
	if e.m.live == nil {
		return said, nil
	}
	// Where the runtime cannot be asked, the manifest has to do.
	if state, err := e.m.node.Canary(ctx, time.Time{}); err == nil && state.Running {
		said = strings.TrimSpace(fmt.Sprintf("%s (process %d)", said, state.Instance.PID))
	}
	return said, nil
}

// removeCanary takes away what there is of a canary. The lock is held, so nobody rehearses.
func (e *engine) removeCanary(ctx context.Context) error {
	left, err := e.canaryLeft(ctx)
	if err != nil || left == "" {
		return err
	}
	file := e.canaryFile(ctx)
	if err := e.m.files.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := e.m.files.SyncDir(path.Dir(file)); err != nil {
		return err
	}
	if e.m.live == nil {
		return nil
	}
	return errors.Join(e.m.node.StopCanary(ctx), e.m.node.Disarm(ctx, harden.CanaryName))
}
