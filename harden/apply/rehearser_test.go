package apply_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// canary is what a node makes of a canary's manifest: it serves unless told otherwise.
type canary struct {
	text    string // the manifest now
	last    string // and the last one
	ended   bool
	made    time.Time // its last container
	startAt time.Time
	stopAt  time.Time
	running *apply.Instance
	exited  string

	// What may go wrong.
	dies   string       // its last words, a second after it started
	never  bool         // the kubelet does not start it
	stays  bool         // the kubelet does not stop it
	deaf   func() error // what asking the runtime for it ends with
	answer func(harden.Probe) *apply.ProbeResult
	checks []string // of its own that fail
	write  error    // of a trial write
	status int      // of the administrator's requests; 0: 404
	args   []string // that it runs with instead of its own

	starts int
	asked  []string // paths
}

const canaryPort = 16443

var canaryFile = path.Join(harden.StaticPodDir, harden.CanaryFile)

func (n *node) tickCanary(now time.Time) {
	k := &n.canary
	text := n.text(canaryFile)
	if text != k.text {
		switch k.text = text; {
		case text != "":
			k.last, k.exited, k.ended = text, "", false
			k.startAt, k.stopAt = now.Add(time.Second), time.Time{}
		case k.running == nil && !k.startAt.IsZero():
			k.stopAt = k.startAt.Add(time.Second) // it has read it, and makes the container all the same
		default:
			k.stopAt = now.Add(time.Second)
		}
	}
	if !k.stopAt.IsZero() && !now.Before(k.stopAt) && !k.stays {
		k.ended = k.ended || k.running != nil
		k.running, k.stopAt = nil, time.Time{}
	}
	if k.running == nil && !k.startAt.IsZero() && !now.Before(k.startAt) && !k.never {
		k.startAt, k.ended, k.made = time.Time{}, false, now
		k.starts++
		n.startCanary(now)
	}
	if k.running != nil && k.dies != "" && now.Sub(k.running.Started) >= time.Second {
		k.running, k.exited, k.ended = nil, k.dies, true
	}
}

func (n *node) startCanary(now time.Time) {
	var p corev1.Pod
	if yaml.Unmarshal([]byte(n.canary.last), &p) != nil {
		return
	}
	for _, v := range p.Spec.Volumes {
		if v.HostPath != nil && v.HostPath.Type != nil && *v.HostPath.Type == corev1.HostPathDirectoryOrCreate {
			n.mkdir(v.HostPath.Path)
		}
	}
	ct := p.Spec.Containers[0]
	args := slices.Concat(ct.Command, ct.Args)
	if n.canary.args != nil {
		args = n.canary.args
	}
	for _, a := range args {
		if log, ok := strings.CutPrefix(a, "--audit-log-path="); ok {
			n.logs[log] += ""
		}
	}
	n.next++
	n.canary.running = &apply.Instance{ID: fmt.Sprint("container ", n.next), PID: n.next, Args: args, Started: now}
}

// tickGuards does what is armed outside of the process.
func (n *node) tickGuards(now time.Time) {
	for name, g := range n.guards {
		if now.Before(g.armed.Add(g.After)) {
			continue
		}
		for _, p := range g.Remove {
			n.remove(p)
		}
		delete(n.guards, name)
	}
}

type armed struct {
	apply.Guard
	armed time.Time
}

// own is what components' own programs say to arguments; the first word that is contained counts.
type own struct {
	has, says string
	code      int
	err       error
}

func (n *node) Ask(_ context.Context, c harden.Component, args []string, _ string, config []byte) (string, int, error) {
	line := strings.Join(args, " ") + "\n" + string(config)
	n.askedOf = append(n.askedOf, string(c.ID)+" "+args[len(args)-1])
	for _, o := range n.own {
		if strings.Contains(line, o.has) {
			return o.says, o.code, o.err
		}
	}
	if args[len(args)-1] == "--version" {
		return "Kubernetes v1.37.2\n", 0, nil
	}
	check, _ := harden.ValuesCheck(c.ID, harden.Version{Major: 1, Minor: 37}, args, args)
	return `E1123 run.go:72] "command failed" err="` + check.Stops + "\"\n", 1, nil
}

func (n *node) FreePort(context.Context) (int, error) {
	if n.noPort {
		return 0, errors.New("every port is taken")
	}
	return canaryPort, nil
}

func (n *node) Canary(_ context.Context, since time.Time) (apply.CanaryState, error) {
	k := &n.canary
	if k.deaf != nil {
		if err := k.deaf(); err != nil {
			return apply.CanaryState{}, err
		}
	}
	if k.made.Before(since) {
		return apply.CanaryState{}, nil
	}
	if k.running != nil {
		return apply.CanaryState{There: true, Running: true, Instance: *k.running}, nil
	}
	return apply.CanaryState{There: k.ended, Exited: k.ended, Words: k.exited}, nil
}

func (n *node) StopCanary(context.Context) error {
	if n.canary.deaf != nil {
		if err := n.canary.deaf(); err != nil {
			return err
		}
	}
	n.canary.running, n.canary.stays, n.canary.ended = nil, false, true
	return nil
}

func (n *node) Clear(p string) error {
	delete(n.logs, p)
	s, err := n.state(p)
	if err != nil || !s.Exists {
		return err
	}
	if s.Dir && n.full(p) {
		return nil
	}
	return n.remove(p)
}

func (n *node) Arm(_ context.Context, g apply.Guard) error {
	if n.armErr != nil {
		return n.armErr
	}
	n.guards[g.Name] = armed{g, n.clock.now}
	return nil
}

func (n *node) Disarm(_ context.Context, name string) error {
	delete(n.guards, name)
	return nil
}

// probeCanary answers as the canary, if the question is for it.
func (n *node) probeCanary(p harden.Probe) (apply.ProbeResult, bool) {
	if p.Port != canaryPort {
		return apply.ProbeResult{}, false
	}
	k := &n.canary
	if k.running == nil || n.clock.now.Sub(k.running.Started) < time.Second {
		return apply.ProbeResult{Err: errNoAnswer}, true
	}
	k.asked = append(k.asked, p.Path)
	if k.answer != nil {
		if r := k.answer(p); r != nil {
			return *r, true
		}
	}
	if _, marker, ask := strings.Cut(p.Path, "kubectl-harden="); ask {
		n.logs[logDir+"/"+harden.CanaryLog] += marker + "\n"
		return apply.ProbeResult{Status: 403}, true
	}
	if p.Name == "proof" {
		return apply.ProbeResult{Status: 403}, true
	}
	return apply.ProbeResult{Status: 200}, true
}

// api is the canary's, or the live one's where no canary is meant.
type api struct {
	*cluster
	canary bool
}

func (a api) AdminGet(ctx context.Context, path, agent string) (int, error) {
	if a.canary {
		a.node.canary.asked = append(a.node.canary.asked, path)
		if a.node.canary.status != 0 {
			return a.node.canary.status, nil
		}
		return 404, a.up()
	}
	return a.cluster.AdminGet(ctx, path, agent)
}

func (a api) Allowed(ctx context.Context, user string, groups []string, access string) (bool, error) {
	return a.cluster.Allowed(ctx, user, groups, access)
}

func (a api) Readyz(context.Context) (bool, []string, error) {
	failing := a.node.canary.checks
	return len(failing) == 0, failing, a.up()
}

func (a api) TrialWrite(context.Context) error { return errors.Join(a.up(), a.node.canary.write) }

// At is the canary beside the live server, and by the live server's own address that one, whatever the cluster's name leads to.
func (c *cluster) At(host string, port int) apply.API {
	if port != 6443 {
		return api{c, true}
	}
	c.hosts[host] = true
	if c.own == 0 {
		return c
	}
	own := *c
	own.status = c.own
	return &own
}

func (c *cluster) Readyz(context.Context) (bool, []string, error) { return true, nil, c.up() }

func (c *cluster) TrialWrite(context.Context) error { return errors.Join(c.up(), c.trial) }
