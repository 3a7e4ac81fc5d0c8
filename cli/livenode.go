package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/host"
)

// rootFiles are a root's files as fact collectors want them: links are followed inside the root.
type rootFiles struct{ *host.Root }

func (f rootFiles) State(path string) (harden.State, error) {
	s, err := f.Follow(path)
	return harden.State(s), err
}

func (f rootFiles) List(dir string) ([]string, error) {
	names, err := f.Root.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// Look describes a path, following no link.
func (f rootFiles) Look(path string) (harden.StatFact, error) {
	e, err := f.Entry(path)
	if errors.Is(err, fs.ErrNotExist) {
		return harden.StatFact{}, nil
	}
	if err != nil {
		return harden.StatFact{}, err
	}
	return f.stat(path, e), nil
}

// LookInto describes what a directory holds; a missing one holds nothing.
func (f rootFiles) LookInto(dir string) ([]harden.StatFact, error) {
	entries, err := f.Entries(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make([]harden.StatFact, len(entries))
	for i, e := range entries {
		out[i] = f.stat(filepath.Join(dir, e.Name), e)
	}
	return out, nil
}

func (f rootFiles) stat(path string, e host.Entry) harden.StatFact {
	out := harden.StatFact{Path: path, Mode: e.Mode, UID: e.UID, GID: e.GID, Size: e.Size, Modified: e.Modified}
	switch e.Kind {
	case 0:
		out.Kind = harden.StatFile
	case fs.ModeDir:
		out.Kind = harden.StatDir
	case fs.ModeSymlink:
		out.Kind = harden.StatLink
		if to, err := f.Resolve(path); err == nil {
			out.Target = to
		}
	default:
		out.Kind = harden.StatOther
	}
	return out
}

// Unit reads the unit files below the root.
func (f rootFiles) Unit(name string) (collect.Unit, error) {
	u, err := f.UnitFiles(name)
	if err != nil {
		return collect.Unit{}, err
	}
	out := collect.Unit{Environment: u.Environment, Files: u.DropIns}
	if u.Fragment != "" {
		out.Files = append([]string{u.Fragment}, u.DropIns...)
	}
	if len(u.ExecStart) > 0 {
		out.ExecStart = u.ExecStart[len(u.ExecStart)-1]
	}
	for _, e := range u.EnvironmentFiles {
		optional := ""
		if e.Optional {
			optional = "-"
		}
		found, err := f.Glob(e.Path)
		if err != nil {
			return collect.Unit{}, err
		}
		if len(found) == 0 {
			found = []string{e.Path}
		}
		for _, p := range found {
			out.EnvFiles = append(out.EnvFiles, optional+p)
		}
	}
	return out, nil
}

// hostNode is the node that harden/apply acts on, and the live one that facts are collected from.
type hostNode struct {
	root *host.Root

	mu      sync.Mutex
	runtime *host.Runtime
	asked   host.Process    // the kubelet that has said its version
	kubelet harden.Version  // that version
	exited  map[string]bool // containers that were seen dead since the change in crashesOf
	since   time.Time
}

// State follows no link in the last element: what would be written is what is shown.
func (n *hostNode) State(path string) (harden.State, error) {
	s, err := n.root.State(path)
	return harden.State(s), err
}

// Processes of components, or of other programs of root's, by name.
func (n *hostNode) Processes(names ...string) (map[string][]harden.ProcessFact, error) {
	ps, err := n.root.Processes(names...)
	if err != nil {
		return nil, err
	}
	out := map[string][]harden.ProcessFact{}
	for _, name := range names {
		named := slices.DeleteFunc(slices.Clone(ps), func(p host.Process) bool { return !p.Is(name) })
		out[name] = n.own(named, name)
	}
	return out, nil
}

// own are a component's: root's, in a container or not as kubeadm runs it. Of another program they are root's, wherever they
// run. Anybody can name a program kube-apiserver.
func (n *hostNode) own(ps []host.Process, name string) []harden.ProcessFact {
	_, component := harden.ComponentByID(harden.ComponentID(name))
	var out []harden.ProcessFact
	for _, p := range ps {
		inContainer := p.ContainerID != ""
		if p.UID != 0 || component && inContainer == (name == string(harden.Kubelet)) || inContainer && n.root.HasVariable(p, harden.CanaryMark) {
			continue // the last one is a rehearsal's, not the live one
		}
		out = append(out, harden.ProcessFact{PID: p.PID, Args: p.Argv, Started: p.Started, Container: p.ContainerID, Resident: p.Resident})
	}
	return out
}

// oneLook is the node while its facts are read once: what several of them come from is read once too.
type oneLook struct {
	*hostNode
	sockets *host.Sockets
}

var _ interface {
	collect.Network
	collect.PacketFilter
	collect.Workloads
	collect.RuntimeConfig
} = oneLook{}

// lookOnce gives a live node for one reading of its facts.
func lookOnce(live collect.Live) collect.Live {
	if n, ok := live.(*hostNode); ok {
		return oneLook{n, n.root.Sockets()}
	}
	return live
}

// Listeners of the host's network.
func (n oneLook) Listeners() ([]harden.ListenerFact, error) {
	list, err := n.sockets.Listeners()
	if err != nil {
		return nil, err
	}
	out := make([]harden.ListenerFact, len(list))
	for i, l := range list {
		out[i] = harden.ListenerFact{Protocol: l.Protocol, Address: l.Address, Port: int(l.Port), PID: l.PID, Process: l.Name}
	}
	return out, nil
}

// Workloads are the running containers, as far as the runtime answers in time.
func (n *hostNode) Workloads() ([]harden.WorkloadFact, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r, err := n.cri(ctx)
	if err != nil {
		return nil, err
	}
	list, err := r.Workloads(ctx)
	if err != nil {
		n.dropCRI()
		return nil, err
	}
	out := make([]harden.WorkloadFact, len(list))
	for i, w := range list {
		out[i] = harden.WorkloadFact(w)
	}
	return out, nil
}

// RuntimeConfig is the runtime's own configuration, as far as it answers in time.
func (n *hostNode) RuntimeConfig() (*harden.RuntimeFact, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r, err := n.cri(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.Config(ctx)
	if err != nil {
		return nil, err
	}
	return &harden.RuntimeFact{
		Name: c.Name, Version: c.Version, UnsetSeccomp: c.UnsetSeccomp, SeccompFile: c.SeccompFile, AppArmor: c.AppArmor, SELinux: c.SELinux,
		Streams: (*harden.StreamsFact)(c.Streams), WritableCgroups: c.WritableCgroups, Registries: (*harden.RuntimeRegistries)(c.Registries),
	}, nil
}

// InputHooks are what filters packets for the host.
func (n *hostNode) InputHooks() ([]harden.HookFact, []string, error) {
	hooks, legacy, err := n.root.InputHooks()
	out := make([]harden.HookFact, len(hooks))
	for i, h := range hooks {
		out[i] = harden.HookFact(h)
	}
	return out, legacy, err
}

func (n *hostNode) Sysctl(key string) (string, error) { return n.root.Sysctl(key) }
func (n *hostNode) Hostname() (string, error)         { return n.root.Hostname() }

// KubeletVersion asks the running kubelet's own program, once for each of its lives.
func (n *hostNode) KubeletVersion(ctx context.Context) (harden.Version, error) {
	ps, err := n.root.Processes(string(harden.Kubelet))
	if err != nil {
		return harden.Version{}, err
	}
	ps = slices.DeleteFunc(ps, func(p host.Process) bool { return p.UID != 0 || p.ContainerID != "" })
	if len(ps) == 0 {
		return harden.Version{}, apply.ErrNotRunning
	}
	p := slices.MaxFunc(ps, func(a, b host.Process) int { return cmp.Compare(a.Ticks, b.Ticks) })
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asked.PID == p.PID && n.asked.Ticks == p.Ticks {
		return n.kubelet, nil
	}
	line, err := n.root.ProgramVersion(ctx, p)
	if err != nil {
		return harden.Version{}, err
	}
	v, err := harden.ParseVersion(strings.TrimPrefix(line, "Kubernetes "))
	if err == nil {
		n.asked, n.kubelet = p, v
	}
	return v, err
}

// cri connects once; a runtime that went away is asked for again.
func (n *hostNode) cri(ctx context.Context) (*host.Runtime, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runtime != nil {
		return n.runtime, nil
	}
	r, err := n.root.Runtime(ctx, "")
	n.runtime = r
	return r, err
}

func (n *hostNode) dropCRI() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.runtime != nil {
		_ = n.runtime.Close()
		n.runtime = nil
	}
}

// Instance asks the container runtime, and /proc where there is none to ask.
func (n *hostNode) Instance(ctx context.Context, c harden.Component) (apply.Instance, error) {
	all, err := n.Processes(string(c.ID))
	if err != nil {
		return apply.Instance{}, fmt.Errorf("looking for %s: %w", c.ID, err)
	}
	r, err := n.cri(ctx)
	if errors.Is(err, host.ErrNoRuntime) {
		return newestOf(all[string(c.ID)])
	}
	if err != nil {
		return apply.Instance{}, err
	}
	containers, err := r.Containers(ctx, string(c.ID))
	if err != nil {
		n.dropCRI()
		return apply.Instance{}, err
	}
	for _, ct := range containers { // newest first
		if ct.State != "running" || ct.PodNamespace != "kube-system" {
			continue
		}
		for _, p := range all[string(c.ID)] {
			if p.Container == ct.ID {
				return apply.Instance{ID: ct.ID, PID: p.PID, Args: p.Args, Started: ct.StartedAt}, nil
			}
		}
		return apply.Instance{}, apply.ErrNotRunning // its process is not there yet, or not any more
	}
	return apply.Instance{}, apply.ErrNotRunning
}

// newestOf is named by its container, as the runtime would name it: when a process started is known by the clock, which may be set.
func newestOf(ps []harden.ProcessFact) (apply.Instance, error) {
	if len(ps) == 0 {
		return apply.Instance{}, apply.ErrNotRunning
	}
	newest := ps[0]
	for _, p := range ps[1:] {
		if p.Started.After(newest.Started) {
			newest = p
		}
	}
	return apply.Instance{ID: newest.Container, PID: newest.PID, Args: newest.Args, Started: newest.Started}, nil
}

// Crashes counts dead containers as they are seen: the kubelet keeps only the last one.
func (n *hostNode) Crashes(ctx context.Context, c harden.Component, since time.Time) (int, string, error) {
	r, err := n.cri(ctx)
	if err != nil {
		return 0, "", err
	}
	containers, err := r.Containers(ctx, string(c.ID))
	if err != nil {
		n.dropCRI()
		return 0, "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.since.Equal(since) {
		n.exited, n.since = map[string]bool{}, since
	}
	words := ""
	for _, ct := range containers {
		if ct.State != "exited" || ct.PodNamespace != "kube-system" || ct.StartedAt.Before(since) {
			continue
		}
		n.exited[ct.ID] = true
		if words == "" {
			words = lastWords(r, ct)
		}
	}
	return len(n.exited), words, nil
}

// lastWords is the last line of a dead container's log, or its exit code.
func lastWords(r *host.Runtime, ct host.Container) string {
	lines, err := r.LogTail(ct, 20)
	for i := len(lines) - 1; err == nil && i >= 0; i-- {
		if l := strings.TrimSpace(lines[i]); l != "" {
			return l[:min(len(l), 400)]
		}
	}
	return fmt.Sprintf("exit code %d, %s", ct.ExitCode, ct.Reason)
}

func (n *hostNode) Probe(ctx context.Context, p harden.Probe) apply.ProbeResult {
	target := p.Host
	if target == "" {
		target = "127.0.0.1" // the node's own address is not known
	}
	r := host.Probe(ctx, host.ProbeRequest{
		TCP: p.Scheme == "TCP", Scheme: strings.ToLower(p.Scheme), Host: target, Port: p.Port, Path: p.Path, Timeout: 5 * time.Second,
	})
	return apply.ProbeResult{Status: r.Status, Err: r.Err}
}

// Renew is kubeadm's own work, on copies.
func (n *hostNode) Renew(ctx context.Context, names []string) (harden.Renewed, error) {
	files, said, err := n.root.RenewCertificates(ctx, names)
	return harden.Renewed{Files: files, Said: said}, err
}

func (n *hostNode) Served(ctx context.Context, address string) ([]byte, error) {
	return host.Served(ctx, address)
}

func (n *hostNode) Handshake(ctx context.Context, address string, version uint16, suites []uint16) (apply.Handshake, error) {
	answer, err := host.OfferTLS(ctx, address, version, suites)
	return apply.Handshake(answer), err
}

func (n *hostNode) Unit(ctx context.Context, unit string) (apply.Unit, error) {
	s, err := n.root.Systemd()
	if err != nil {
		return apply.Unit{}, err
	}
	u, err := s.UnitStatus(ctx, unit)
	if err != nil {
		return apply.Unit{}, err
	}
	return apply.Unit{Active: u.Active == "active", PID: u.MainPID, Restarts: u.NRestarts, Since: u.ActiveEnter}, nil
}

func (n *hostNode) RestartUnit(ctx context.Context, unit string) error {
	s, err := n.root.Systemd()
	if err != nil {
		return err
	}
	return s.RestartUnit(ctx, unit)
}

func (n *hostNode) LoadSysctls(_ context.Context, settings map[string]string) error {
	var errs []error
	for k, v := range settings {
		errs = append(errs, n.root.SetSysctl(k, v))
	}
	return errors.Join(errs...)
}

// LogHas looks at the last MiB: the line that is looked for was just written.
func (n *hostNode) LogHas(path, marker string) (bool, error) {
	data, _, err := n.root.Tail(path, 1<<20)
	if err != nil {
		return false, err
	}
	return bytes.Contains(data, []byte(marker)), nil
}
