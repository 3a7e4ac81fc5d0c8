package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// Clock is the node's time.
type Clock interface{ Now() time.Time }

// Options say what a node is made for.
type Options struct {
	Clock Clock
	// Broken: an API server with other arguments than the first one's finds its port taken, whatever its configuration.
	Broken bool
}

// Node is a simulated node. It is safe for concurrent use.
type Node struct {
	dir   string
	files *Files
	clock Clock

	mu        sync.Mutex
	pods      map[string]*pod
	decoded   map[string]decoded // by path
	kubelet   kubelet
	sysctls   map[string]string
	logs      map[string][]string // by path on the host
	guards    map[string]guard
	lastPID   int
	broken    bool
	firstArgs []string // of the API server
}

// New lays a node out in a temporary directory that only its owner can enter, with everything running for some hours.
func New(o Options) (*Node, error) {
	dir, err := os.MkdirTemp("", "kubectl-harden-demo-")
	if err != nil {
		return nil, fmt.Errorf("making the sandbox: %w", err)
	}
	n, err := open(dir, o)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the sandbox: %w", err), os.RemoveAll(dir))
	}
	return n, nil
}

func open(dir string, o Options) (*Node, error) {
	r, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	n, err := boot(dir, r, o)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return n, nil
}

func boot(dir string, r root, o Options) (*Node, error) {
	files, err := newFiles(r)
	if err != nil {
		return nil, err
	}
	if err := lay(files); err != nil {
		return nil, err
	}
	n := &Node{
		dir: dir, files: files, clock: o.Clock, pods: map[string]*pod{}, decoded: map[string]decoded{}, sysctls: map[string]string{}, logs: map[string][]string{}, guards: map[string]guard{},
		lastPID: 700, broken: o.Broken,
	}
	began := n.clock.Now().Add(-3 * time.Hour)
	n.startKubelet(began)
	if !n.kubelet.up() {
		return nil, errors.New(n.kubelet.words)
	}
	for key, d := range n.definitions() {
		if d.runs(harden.APIServer) {
			n.firstArgs = d.argv()
		}
		p := &pod{}
		p.create(*d, began)
		n.pods[key] = p
	}
	n.advance()
	for _, p := range n.pods {
		if p.phase != phaseRunning {
			return nil, fmt.Errorf("%s does not run: %s", p.file, p.why)
		}
	}
	return n, nil
}

// Dir is where the root lies.
func (n *Node) Dir() string { return n.dir }

// Files of the root.
func (n *Node) Files() *Files { return n.files }

// Close leaves the root where it is; Remove takes it away.
func (n *Node) Close() error { return n.files.Close() }

// Remove closes the node and removes everything it is made of.
func (n *Node) Remove() error {
	if err := errors.Join(n.files.Close(), os.RemoveAll(n.dir)); err != nil {
		return fmt.Errorf("removing the sandbox: %w", err)
	}
	return nil
}

func (n *Node) newPID() int {
	n.lastPID += 37
	return n.lastPID
}

// advance brings everything up to now.
func (n *Node) advance() time.Time {
	now := n.clock.Now()
	n.advanceGuards(now)
	n.advanceKubelet(now)
	if n.kubelet.up() {
		n.syncPods(now)
	}
	for _, key := range slices.Sorted(maps.Keys(n.pods)) {
		n.advancePod(key, n.pods[key], now)
	}
	return now
}

// look takes the lock and brings everything up to now.
func (n *Node) look() (now time.Time, done func()) {
	n.mu.Lock()
	return n.advance(), n.mu.Unlock
}

// pod finds a component's.
func (n *Node) pod(id harden.ComponentID) *pod {
	for _, key := range slices.Sorted(maps.Keys(n.pods)) {
		if n.pods[key].runs(id) {
			return n.pods[key]
		}
	}
	return nil
}

// State reads a path as it is, following no link in its last element.
func (n *Node) State(path string) (harden.State, error) { return n.files.Exact(path) }

// Instance is the running instance of a static pod's component.
func (n *Node) Instance(_ context.Context, c harden.Component) (apply.Instance, error) {
	_, done := n.look()
	defer done()
	p := n.pod(c.ID)
	if p == nil || p.live == nil {
		return apply.Instance{}, apply.ErrNotRunning
	}
	return apply.Instance{ID: p.live.id, PID: p.live.pid, Args: slices.Clone(p.live.args), Started: p.live.started}, nil
}

// Crashes counts instances that started after since and have exited.
func (n *Node) Crashes(_ context.Context, c harden.Component, since time.Time) (count int, lastWords string, err error) {
	_, done := n.look()
	defer done()
	p := n.pod(c.ID)
	if p == nil {
		return 0, "", nil
	}
	for _, d := range p.dead {
		if !d.started.Before(since) {
			count++
			lastWords = d.words
		}
	}
	return count, lastWords, nil
}

// Unit describes the kubelet's unit, the only one there is.
func (n *Node) Unit(_ context.Context, unit string) (apply.Unit, error) {
	_, done := n.look()
	defer done()
	if unit != kubeletUnit {
		return apply.Unit{}, wordsf("Unit %s could not be found.", unit)
	}
	k := n.kubelet
	return apply.Unit{Active: k.pid != 0, PID: k.pid, Restarts: k.restarts, Since: k.since}, nil
}

// RestartUnit restarts the kubelet; static pods go on running.
func (n *Node) RestartUnit(_ context.Context, unit string) error {
	now, done := n.look()
	defer done()
	if unit != kubeletUnit {
		return wordsf("Unit %s not found.", unit)
	}
	n.kubelet.restarts, n.kubelet.until = 0, time.Time{}
	n.startKubelet(now)
	return nil
}

// LoadSysctls sets live kernel settings, of those that the sandbox has.
func (n *Node) LoadSysctls(_ context.Context, settings map[string]string) error {
	_, done := n.look()
	defer done()
	var errs []error
	for k, v := range settings {
		if _, ok := n.sysctls[k]; !ok {
			errs = append(errs, noSysctl(k))
			continue
		}
		n.sysctls[k] = v
	}
	return errors.Join(errs...)
}

func noSysctl(key string) error {
	return &fs.PathError{Op: "open", Path: "/proc/sys/" + strings.ReplaceAll(key, ".", "/"), Err: fs.ErrNotExist}
}

// Sysctl is a live kernel setting. They are as the kubelet has set them.
func (n *Node) Sysctl(key string) (string, error) {
	_, done := n.look()
	defer done()
	if v, ok := n.sysctls[key]; ok {
		return v, nil
	}
	return "", noSysctl(key)
}

// Hostname of the node.
func (n *Node) Hostname() (string, error) {
	s, err := n.files.State("/etc/hostname")
	return strings.TrimSpace(string(s.Data)), err
}

// KubeletVersion is that of the fixture.
func (n *Node) KubeletVersion(context.Context) (harden.Version, error) {
	return harden.Version{Major: 1, Minor: 37, Patch: 2}, nil
}

// Processes of components.
func (n *Node) Processes(names ...string) (map[string][]harden.ProcessFact, error) {
	_, done := n.look()
	defer done()
	out := map[string][]harden.ProcessFact{}
	for _, name := range names {
		out[name] = n.processes(name)
	}
	return out, nil
}

func (n *Node) processes(name string) []harden.ProcessFact {
	if k := n.kubelet; name == string(harden.Kubelet) {
		if k.pid == 0 {
			return nil
		}
		return []harden.ProcessFact{{PID: k.pid, Args: slices.Clone(k.args), Started: k.since}}
	}
	p := n.pod(harden.ComponentID(name))
	if p == nil || p.live == nil {
		return nil
	}
	l := p.live
	return []harden.ProcessFact{{PID: l.pid, Args: slices.Clone(l.args), Started: l.started, Container: l.id, Resident: resident}}
}

// LogHas says whether a line of the audit log at a path of the host has the marker.
func (n *Node) LogHas(path, marker string) (bool, error) {
	_, done := n.look()
	defer done()
	lines, ok := n.logs[path]
	if !ok {
		return false, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, marker) }), nil
}

// maxLog is how many lines of a log are kept.
const maxLog = 1000

// record writes the audit log, if there is one that the host can see.
func (n *Node) record(p *pod, who user.Info, uri, agent string, status int, at time.Time) {
	a := p.live.server.audit
	if a == nil {
		return
	}
	host, volume := onHost(p.spec, a.path)
	line := a.line(who, uri, agent, status, at)
	if volume == nil || line == "" {
		return
	}
	lines := append(n.logs[host], line)
	n.logs[host] = lines[max(0, len(lines)-maxLog):]
}
