package apply_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// clock is time that passes only when somebody sleeps, and tells the node of it.
type clock struct {
	now  time.Time
	tick func()
	at   []alarm
}

type alarm struct {
	when time.Time
	do   func()
}

func (c *clock) Now() time.Time { return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for end := c.now.Add(d); c.now.Before(end); {
		c.now = c.now.Add(250 * time.Millisecond)
		for i, a := range c.at {
			if a.do != nil && !c.now.Before(a.when) {
				c.at[i].do = nil
				a.do()
			}
		}
		c.tick()
	}
	return ctx.Err()
}

// in runs something once that much time has passed.
func (c *clock) in(d time.Duration, do func()) { c.at = append(c.at, alarm{c.now.Add(d), do}) }

// node has a kubelet that restarts static pods, with delays, from the manifests that are really there.
type node struct {
	clock *clock
	state func(string) (harden.State, error)
	read  func(string) ([]byte, error)

	pods    map[harden.ComponentID]*pod
	unit    apply.Unit
	unitErr error // what asking for it ends with
	next    int   // the number of the next process
	starts  func(id harden.ComponentID, text string)

	served map[string][]byte // certificates by the address that shows them
	// shakes answers TLS handshakes; nil: nobody does.
	shakes func(ctx context.Context, address string, version uint16, suites []uint16) (apply.Handshake, error)

	// What may go wrong. Functions get the manifest, or configuration, that the instance has read.
	dies    func(c harden.ComponentID, text string) bool // every new instance exits after a second
	life    time.Duration                                // how long the kubelet lives then, if not a second
	lost    func(c harden.ComponentID, text string) bool // the kubelet never starts it
	args    func(c harden.ComponentID, args []string) []string
	answer  func(n *node, p harden.Probe, text string) *apply.ProbeResult
	restart func(text string) error // of the kubelet's unit
	sysctl  func(map[string]string) error

	// backOff makes the kubelet wait 12 seconds before it tries again to start a pod whose predecessor is still there; grace is
	// how long an API server's old instance stays then.
	backOff bool
	grace   time.Duration
	late    time.Duration // what the kubelet needs to clean up after an old instance
	blind   bool          // that cannot be seen
	tidied  []string
	noShow  error // of presenting a manifest
	deeds   []string
	led     bool   // connections go to the canary
	kill    string // the process dies after this deed
	// freezeErr is what freezing an instance ends with.
	freezeErr error
	ended     int // old instances that were ended early
	shown     int // manifests that were presented
	hurt      int // instances that were as they should be and were stopped by it

	config   string // what the kubelet has read
	started  map[harden.ComponentID]int
	restarts int // of the kubelet's unit by hand
	sysctls  map[string]string
	logs     map[string]string // audit logs by path
	canary   canary
	guards   map[string]armed
	own      []own    // what programs say of arguments
	askedOf  []string // components' programs, and the last argument
	noPort   bool
	rival    string // another manifest of the API server, whose name comes after its own
	armErr   error
	remove   func(p string) error
	full     func(dir string) bool
	mkdir    func(dir string)
}

type pod struct {
	text     string // the manifest as the kubelet has seen it
	noticeAt time.Time
	stopAt   time.Time
	startAt  time.Time
	quietAt  time.Time // when the running instance stops to listen
	frozen   bool      // it hears nothing, and answers nothing
	goneAt   time.Time
	running  *apply.Instance
	runs     string // the manifest that the running instance was made from
	crashes  []time.Time
}

var ports = map[int]harden.ComponentID{6443: harden.APIServer, 10257: harden.ControllerManager, 10259: harden.Scheduler, 2381: harden.Etcd, 10248: harden.Kubelet}

func newNode(c *clock, state func(string) (harden.State, error), read func(string) ([]byte, error)) *node {
	n := &node{
		clock: c, state: state, read: read, next: 100, pods: map[harden.ComponentID]*pod{}, started: map[harden.ComponentID]int{},
		sysctls: map[string]string{"vm.overcommit_memory": "0"}, logs: map[string]string{}, guards: map[string]armed{},
	}
	n.unit = apply.Unit{Active: true, PID: 99, Since: c.now.Add(-time.Hour)}
	n.config = n.text("/var/lib/kubelet/config.yaml")
	for _, comp := range harden.Components {
		text := n.text(manifest(comp))
		if text == "" {
			continue
		}
		p := &pod{text: text, runs: text}
		n.pods[comp.ID] = p
		p.running = n.instance(comp.ID, text, c.now.Add(-time.Hour))
	}
	c.tick = n.tick
	return n
}

func manifest(c harden.Component) string {
	if !c.StaticPod() {
		return ""
	}
	return path.Join(harden.StaticPodDir, c.Manifest)
}

// obeyed is the manifest that the kubelet goes by: the last one by name.
func (n *node) obeyed(c harden.Component) string {
	if text := n.text(n.rival); text != "" && c.ID == harden.APIServer {
		return text
	}
	return n.text(manifest(c))
}

func (n *node) text(p string) string {
	data, err := n.read(p)
	if err != nil {
		return ""
	}
	return string(data)
}

func (n *node) instance(id harden.ComponentID, text string, at time.Time) *apply.Instance {
	var p corev1.Pod
	if err := yaml.Unmarshal([]byte(text), &p); err != nil {
		return nil
	}
	ct := harden.ContainerOf(&p, id)
	args := slices.Concat(ct.Command, ct.Args)
	if n.args != nil {
		args = n.args(id, args)
	}
	n.next++
	if n.starts != nil {
		n.starts(id, text)
	}
	return &apply.Instance{ID: fmt.Sprint("container ", n.next), PID: n.next, Args: args, Started: at}
}

// tick lets the kubelet do what it would have done by now.
func (n *node) tick() {
	now := n.clock.now
	n.tickGuards(now)
	n.tickKubelet(now)
	if !n.unit.Active {
		return
	}
	n.tickCanary(now)
	for _, c := range harden.Components {
		p := n.pods[c.ID]
		if p == nil {
			continue
		}
		text := n.obeyed(c)
		switch {
		case text == p.text:
			p.noticeAt = time.Time{}
		case p.noticeAt.IsZero():
			p.noticeAt = now.Add(750 * time.Millisecond)
		case !now.Before(p.noticeAt):
			p.text, p.noticeAt = text, time.Time{}
			p.stopAt, p.startAt = now.Add(2*time.Second), now.Add(3*time.Second)
			p.quietAt = now.Add(250 * time.Millisecond)
			if n.backOff {
				p.startAt = now.Add(12 * time.Second)
			}
			if n.grace > 0 && c.ID == harden.APIServer {
				p.stopAt = now.Add(n.grace)
			}
		}
		n.tickPod(c.ID, p, now)
	}
}

func (n *node) tickPod(id harden.ComponentID, p *pod, now time.Time) {
	if p.running == nil || !p.stopAt.IsZero() && !now.Before(p.stopAt) && !p.frozen {
		if p.running != nil {
			p.goneAt = now
		}
		p.running, p.stopAt, p.quietAt = nil, time.Time{}, time.Time{}
	}
	if n.backOff && !p.startAt.IsZero() && !now.Before(p.startAt) && (p.running != nil || now.Sub(p.goneAt) < n.late) {
		p.startAt = now.Add(12 * time.Second)
	}
	if p.running != nil && n.dies != nil && n.dies(id, p.runs) && now.Sub(p.running.Started) >= time.Second && p.stopAt.IsZero() {
		p.crashes = append(p.crashes, p.running.Started)
		p.running, p.startAt = nil, now.Add(10*time.Second)
	}
	if p.running == nil && !p.startAt.IsZero() && !now.Before(p.startAt) && p.text != "" && (n.lost == nil || !n.lost(id, p.text)) {
		p.running, p.runs, p.startAt = n.instance(id, p.text, now), p.text, time.Time{}
		n.started[id]++
	}
}

// tickKubelet lets systemd restart a kubelet that cannot run with its configuration.
func (n *node) tickKubelet(now time.Time) {
	if n.dies == nil || !n.dies(harden.Kubelet, n.config) {
		return
	}
	switch {
	case n.unit.Active && now.Sub(n.unit.Since) >= max(n.life, time.Second):
		n.unit.Active, n.unit.PID, n.unit.Since = false, 0, now
	case !n.unit.Active && now.Sub(n.unit.Since) >= 10*time.Second:
		n.startKubelet()
		n.unit.Restarts++
	}
}

// kubeletDiesOnce lets systemd restart the kubelet with the changed configuration once.
func (w *world) kubeletDiesOnce(after time.Duration) {
	w.node.life = after
	w.node.dies = func(c harden.ComponentID, text string) bool {
		return c == harden.Kubelet && strings.Contains(text, newField) && w.node.unit.Restarts == 0
	}
}

func (n *node) startKubelet() {
	n.next++
	n.unit.Active, n.unit.PID, n.unit.Since = true, n.next, n.clock.now
	n.config = n.text("/var/lib/kubelet/config.yaml")
}

// did notes the order in which things are done.
func (n *node) did(what string) {
	n.deeds = append(n.deeds, what)
	if n.kill == what {
		n.kill = ""
		panic(killed{})
	}
}

func (n *node) State(p string) (harden.State, error) { return n.state(p) }

func (n *node) Instance(_ context.Context, c harden.Component) (apply.Instance, error) {
	if p := n.pods[c.ID]; p != nil && p.running != nil {
		return *p.running, nil
	}
	return apply.Instance{}, apply.ErrNotRunning
}

func (n *node) Crashes(_ context.Context, c harden.Component, since time.Time) (int, string, error) {
	count := 0
	for _, at := range n.pods[c.ID].crashes {
		if !at.Before(since) {
			count++
		}
	}
	return count, "Error: unknown flag", nil
}

var errNoAnswer = errors.New("connection refused")

// Probe answers as real components do: not at all at first; then an API server that has not read its RBAC objects refuses.
func (n *node) Probe(_ context.Context, p harden.Probe) apply.ProbeResult {
	if n.led && p.Port == 6443 && p.Host != "127.0.0.1" {
		p.Port = canaryPort
	}
	if r, ours := n.probeCanary(p); ours {
		return r
	}
	id := ports[p.Port]
	text, started, running := n.config, n.unit.Since, n.unit.Active
	if pod := n.pods[id]; pod != nil {
		running = pod.running != nil && !pod.frozen
		if running {
			text, started = pod.runs, pod.running.Started
		}
	}
	age := n.clock.now.Sub(started)
	if !running || age < 2*time.Second {
		return apply.ProbeResult{Err: errNoAnswer}
	}
	if n.answer != nil {
		if r := n.answer(n, p, text); r != nil {
			return *r
		}
	}
	_, marker, ask := strings.Cut(p.Path, "kubectl-harden=")
	switch {
	case ask && strings.Contains(text, "--audit-log-path"):
		n.logs[logDir+"/audit.log"] += marker + "\n"
		return apply.ProbeResult{Status: 403}
	case id == harden.APIServer && age < 4*time.Second, p.Name == "proof":
		return apply.ProbeResult{Status: 403}
	}
	return apply.ProbeResult{Status: 200}
}

// Follow, Begun and Present are a kubelet and a runtime that let themselves be hurried.
func (n *node) Follow(c harden.Component, i apply.Instance) (apply.Leaving, error) {
	return &leaving{node: n, pod: n.pods[c.ID], id: i.ID}, nil
}

type leaving struct {
	*node
	pod *pod
	id  string
}

func (l *leaving) runs() bool { return l.pod.running != nil && l.pod.running.ID == l.id }

func (l *leaving) Listens() (bool, error) {
	if !l.runs() {
		return false, errors.New("no such process")
	}
	return l.pod.quietAt.IsZero() || l.clock.now.Before(l.pod.quietAt), nil
}

func (l *leaving) End() error {
	l.did("end")
	l.pod.frozen = false
	if l.runs() {
		l.pod.running, l.pod.stopAt, l.pod.quietAt, l.pod.goneAt = nil, time.Time{}, time.Time{}, l.clock.now
		l.ended++
		if l.pod.startAt.IsZero() {
			l.pod.startAt = l.clock.now.Add(10 * time.Second)
		}
	}
	return nil
}

func (l *leaving) Freeze() error {
	l.did("freeze")
	if l.runs() {
		l.pod.frozen = true
	}
	return l.freezeErr
}

func (l *leaving) Thaw() error {
	l.did("thaw")
	l.pod.frozen = false
	return nil
}

func (l *leaving) Cleaned() (cleaned, known bool) {
	return !l.runs() && l.clock.now.Sub(l.pod.goneAt) >= l.late, !l.blind
}

func (n *node) Begun(_ context.Context, c harden.Component, since time.Time) (bool, error) {
	p := n.pods[c.ID]
	return p.running != nil && !p.running.Started.Before(since), nil
}

func (n *node) Present(file string) error {
	if n.noShow != nil {
		return n.noShow
	}
	n.shown++
	for _, c := range harden.Components {
		p := n.pods[c.ID]
		if p == nil || manifest(c) != file {
			continue
		}
		if p.running != nil && p.runs == p.text {
			n.hurt++
			p.running, p.goneAt = nil, n.clock.now
		}
		p.startAt = n.clock.now.Add(time.Second)
	}
	return nil
}

func (n *node) Tidy(file string) error { n.tidied = append(n.tidied, file); return nil }

func (n *node) Unit(context.Context, string) (apply.Unit, error) { return n.unit, n.unitErr }

func (n *node) RestartUnit(ctx context.Context, unit string) error {
	if n.restart != nil {
		if err := n.restart(n.text("/var/lib/kubelet/config.yaml")); err != nil {
			return err
		}
	}
	n.restarts++
	n.startKubelet()
	n.unit.Restarts = 0 // systemd counts its own since then
	return n.clock.Sleep(context.WithoutCancel(ctx), time.Second)
}

func (n *node) LoadSysctls(_ context.Context, settings map[string]string) error {
	if n.sysctl != nil {
		if err := n.sysctl(settings); err != nil {
			return err
		}
	}
	maps.Copy(n.sysctls, settings)
	return nil
}

func (n *node) LogHas(path, marker string) (bool, error) {
	return strings.Contains(n.logs[path], marker), nil
}

func (n *node) Served(_ context.Context, address string) ([]byte, error) {
	if der, ok := n.served[address]; ok {
		return der, nil
	}
	return nil, errors.New("connection refused")
}

func (n *node) Handshake(ctx context.Context, address string, version uint16, offered []uint16) (apply.Handshake, error) {
	if n.shakes == nil {
		return apply.Handshake{}, errors.New("connection refused")
	}
	return n.shakes(ctx, address, version, offered)
}
