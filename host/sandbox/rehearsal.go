package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
	"kubectl-harden.io/kubectl-harden/patches"
)

const (
	resident   = 310 << 20 // memory that the API server holds
	freePort   = 16443
	sayVersion = "Kubernetes v1.37.2\n"
)

// Machine is a small one.
func (n *Node) Machine() (harden.MachineFact, error) {
	return harden.MachineFact{MemAvailable: 2 << 30, Systemd: true}, nil
}

// Ask lets a component's program judge a command line. Those of which the sandbox has no flags take everything.
func (n *Node) Ask(_ context.Context, c harden.Component, args []string, _ string, config []byte) (output string, code int, err error) {
	now, done := n.look()
	defer done()
	if i := slices.Index(args, "--version"); i > 0 {
		rest := slices.Delete(slices.Clone(args), i, i+1)
		if err := parseOnly(c.ID, rest); err != nil {
			return err.Error() + "\n", 1, nil
		}
		return sayVersion, 0, nil
	}
	err = n.judge(c.ID, args, config)
	if err == nil {
		return "", 0, errors.New("it would have started") // nobody asks so
	}
	return klog(now, 1, err) + "\n", 1, nil
}

// parseOnly is what a program does before it prints its version.
func parseOnly(id harden.ComponentID, args []string) error {
	table, known := map[harden.ComponentID]string{harden.APIServer: apiServerFlags, harden.Kubelet: kubeletFlags}[id]
	if !known {
		return nil
	}
	a := arguments{flagSet(string(id), table)}
	if err := a.Parse(args[min(1, len(args)):]); err != nil {
		return wordsf("Error: %s", err)
	}
	if id != harden.APIServer {
		return nil
	}
	return (&apiServer{args: a}).checkGates(nil)
}

// judge is what a program finds wrong that goes on after its flags are read, and stops before it serves.
func (n *Node) judge(id harden.ComponentID, args []string, config []byte) error {
	switch id {
	case harden.APIServer:
		a := arguments{flagSet(string(id), apiServerFlags)}
		if err := a.Parse(args[min(1, len(args)):]); err != nil {
			return wordsf("Error: %s", err)
		}
		s := &apiServer{args: a}
		if err := s.checkGates(nil); err != nil {
			return failure(err)
		}
		if err := s.checkFlags(nil); err != nil {
			return failure(err)
		}
		return nil
	case harden.Kubelet:
		c, err := decodeKubeletConfig(config)
		if err != nil {
			return failure(fmt.Errorf("failed to load kubelet config file, error: %w", err))
		}
		if err := n.judgeKubelet(c); err != nil {
			return err
		}
		return failure(errors.New("failed to run Kubelet: cannot exit on lock file contention: no lock file specified"))
	}
	check, ok := harden.ValuesCheck(id, harden.NewestSupported, args, args)
	if !ok {
		return nil
	}
	return failure(errors.New(check.Stops))
}

// goaway is the API server's judgement of one flag, by which it is kept from starting.
func (s *apiServer) goaway() error {
	chance, err := strconv.ParseFloat(s.args.text("goaway-chance"), 64)
	if err == nil && (chance < 0 || chance > 0.02) {
		return errors.New("--goaway-chance can not be less than 0 or greater than 0.02")
	}
	return nil
}

// FreePort is always the same.
func (n *Node) FreePort(context.Context) (int, error) { return freePort, nil }

func (n *Node) canary() *pod { return n.pods["kube-system/"+harden.CanaryName] }

// Canary describes the canary's container.
func (n *Node) Canary(_ context.Context, since time.Time) (apply.CanaryState, error) {
	_, done := n.look()
	defer done()
	p := n.canary()
	switch {
	case p == nil:
		return apply.CanaryState{}, nil
	case p.live != nil && !p.live.started.Before(since):
		l := p.live
		i := apply.Instance{ID: l.id, PID: l.pid, Args: slices.Clone(l.args), Started: l.started}
		return apply.CanaryState{There: true, Running: true, Instance: i}, nil
	case len(p.dead) > 0:
		return apply.CanaryState{There: true, Exited: true, Words: p.dead[len(p.dead)-1].words}, nil
	}
	return apply.CanaryState{}, nil
}

// StopCanary has nothing to do: the sandbox's kubelet stops it.
func (n *Node) StopCanary(context.Context) error { return nil }

// Clear removes a log, or an empty directory.
func (n *Node) Clear(path string) error {
	_, done := n.look()
	defer done()
	delete(n.logs, path)
	s, err := n.files.Exact(path)
	if err != nil || !s.Exists {
		return err
	}
	if names, err := n.files.List(path); s.Dir && (err != nil || len(names) > 0) {
		return err
	}
	return n.files.Remove(path)
}

// guard is what is armed.
type guard struct {
	apply.Guard
	until time.Time
}

// Arm removes files when the time is over, whoever lives then.
func (n *Node) Arm(_ context.Context, g apply.Guard) error {
	now, done := n.look()
	defer done()
	n.guards[g.Name] = guard{g, now.Add(g.After)}
	return nil
}

// Disarm takes a guard away.
func (n *Node) Disarm(_ context.Context, name string) error {
	_, done := n.look()
	defer done()
	delete(n.guards, name)
	return nil
}

func (n *Node) advanceGuards(now time.Time) {
	for name, g := range n.guards {
		if now.Before(g.until) {
			continue
		}
		for _, p := range g.Remove {
			if err := n.files.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return // once more at the next look
			}
		}
		delete(n.guards, name)
	}
}

// ServerAPI is the API server that listens on a port of this node, the live one or the canary, as the administrator sees it.
type ServerAPI struct {
	Node *Node
	Port int // 0: the live one's, whichever it is
}

func (c ServerAPI) serving(now time.Time) (*pod, error) {
	if p := c.Node.serving(now); c.Port == 0 && p != nil {
		return p, nil
	}
	for _, p := range []*pod{c.Node.canary(), c.Node.pod(harden.APIServer)} {
		if p != nil && p.live != nil && p.live.server != nil && p.listens(usualPorts[harden.APIServer]) == c.Port && !now.Before(p.live.started.Add(booting)) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("dial tcp 127.0.0.1:%d: connect: connection refused", c.Port)
}

// AdminGet is the status of a GET.
func (c ServerAPI) AdminGet(_ context.Context, uri, agent string) (int, error) {
	now, done := c.Node.look()
	defer done()
	p, err := c.serving(now)
	if err != nil {
		return 0, err
	}
	path, _, _ := strings.Cut(uri, "?")
	status := p.live.server.admin(path)
	c.Node.record(p, administrator, uri, agent, status, now)
	return status, nil
}

// GetAt is the status of the administrator's GET at another component: of its profiles, the only thing that is asked for.
func (n *Node) GetAt(host string, port int, path string) (int, error) {
	_, done := n.look()
	defer done()
	ids := map[int]harden.ComponentID{10257: harden.ControllerManager, 10259: harden.Scheduler}
	p := n.pod(ids[port])
	if p == nil || p.live == nil {
		return 0, fmt.Errorf("dial tcp %s:%d: connect: connection refused", host, port)
	}
	profiled := path == "/debug/pprof/" && !slices.ContainsFunc(patches.ParseArgs(p.live.args), func(f patches.Flag) bool {
		return f.Name == "profiling" && f.Value == "false"
	})
	if profiled {
		return http.StatusOK, nil
	}
	return http.StatusNotFound, nil
}

// Readyz passes all checks once the roles are read.
func (c ServerAPI) Readyz(context.Context) (bool, []string, error) {
	now, done := c.Node.look()
	defer done()
	p, err := c.serving(now)
	if err != nil {
		return false, nil, err
	}
	if now.Before(p.live.started.Add(booting + rbacRead)) {
		return false, []string{"poststarthook/rbac/bootstrap-roles"}, nil
	}
	return true, nil, nil
}

// Allowed lets everybody do everything under AlwaysAllow. Else who is in a group has the role that kubeadm, or the API server itself,
// binds to it, and who is in none has nothing.
func (c ServerAPI) Allowed(_ context.Context, user string, groups []string, _ string) (allowed bool, err error) {
	err = c.ask(func(s *apiServer) {
		by := "RBAC"
		if strings.HasPrefix(user, "system:node:") {
			by = "Node"
		}
		allowed = s.allowsAll() || len(groups) > 0 && (slices.Contains(s.args.list("authorization-mode"), by) || s.args.Changed("authorization-config"))
	})
	return allowed, err
}

// TrialWrite is taken by a server that serves.
func (c ServerAPI) TrialWrite(context.Context) error { return c.ask(func(*apiServer) {}) }

// AdmissionPlugins are all that are on: something is always written.
func (c ServerAPI) AdmissionPlugins(context.Context) (on []string, err error) {
	err = c.ask(func(s *apiServer) { on = s.admitting() })
	return on, err
}

// GetWith lets every token in while there is a file of tokens, and none without.
func (c ServerAPI) GetWith(_ context.Context, _, path string) (status int, err error) {
	err = c.ask(func(s *apiServer) {
		if status = 401; s.args.text("token-auth-file") != "" {
			status = s.admin(path)
		}
	})
	return status, err
}

// TokenLife is an hour, or a year.
func (c ServerAPI) TokenLife(context.Context) (life time.Duration, asked bool, err error) {
	err = c.ask(func(s *apiServer) {
		const flag = "service-account-extend-token-expiration"
		if life = 365 * 24 * time.Hour; s.args.Changed(flag) && s.args.text(flag) == "false" {
			life = 3607 * time.Second
		}
	})
	return life, err == nil, err
}

// TrialPod is refused where the Pod Security plugin has a configuration: what it says is not looked at.
func (c ServerAPI) TrialPod(context.Context, string) (refusal string, err error) {
	err = c.ask(func(s *apiServer) {
		if slices.Contains(s.admitting(), "PodSecurity") && s.args.text("admission-control-config-file") != "" {
			refusal = `pods "kubectl-harden-" is forbidden: violates PodSecurity "baseline:latest": privileged`
		}
	})
	return refusal, err
}

// ask the server, if one serves.
func (c ServerAPI) ask(do func(*apiServer)) error {
	now, done := c.Node.look()
	defer done()
	p, err := c.serving(now)
	if err == nil {
		do(p.live.server)
	}
	return err
}
