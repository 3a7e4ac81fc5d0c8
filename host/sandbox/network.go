package sandbox

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

// Probe asks once, without credentials, as the kubelet does.
func (n *Node) Probe(_ context.Context, p harden.Probe) apply.ProbeResult {
	now, done := n.look()
	defer done()
	refused := apply.ProbeResult{Err: fmt.Errorf("dial tcp %s:%d: connect: connection refused", p.Host, p.Port)}
	if n.kubeletListens(p.Port, now) {
		return healthOf(p, "/healthz")
	}
	pods := map[*pod]harden.ComponentID{n.canary(): harden.APIServer}
	for _, c := range harden.Components {
		pods[n.pod(c.ID)] = c.ID
	}
	for at, id := range pods {
		if at == nil || at.live == nil || at.listens(usualPorts[id]) != p.Port {
			continue
		}
		switch {
		case at.phase == phaseDying || now.Before(at.live.started.Add(booting)):
			return refused
		case p.Scheme == "TCP":
			return apply.ProbeResult{}
		case id != harden.APIServer:
			return healthOf(p, "/healthz", "/livez", "/readyz", "/health")
		case p.Scheme != "HTTPS":
			return apply.ProbeResult{Status: 400}
		}
		return apply.ProbeResult{Status: n.anonymous(at, p.Path, now)}
	}
	return refused
}

var usualPorts = map[harden.ComponentID]int{harden.APIServer: 6443, harden.ControllerManager: 10257, harden.Scheduler: 10259, harden.Etcd: 2381}

func healthOf(p harden.Probe, paths ...string) apply.ProbeResult {
	if p.Scheme == "TCP" {
		return apply.ProbeResult{}
	}
	asked, _, _ := strings.Cut(p.Path, "?")
	for _, known := range paths {
		if asked == known {
			return apply.ProbeResult{Status: 200}
		}
	}
	return apply.ProbeResult{Status: 404}
}

func (n *Node) kubeletListens(port int, now time.Time) bool {
	k := n.kubelet
	own, _ := k.config["healthzPort"].(float64)
	return k.up() && !now.Before(k.since.Add(kubeletBoot)) && port == int(own)
}

// listens is the port that a component serves health on.
func (p *pod) listens(usual int) int {
	for _, arg := range p.live.args {
		if v, ok := strings.CutPrefix(arg, "--secure-port="); ok {
			if port, err := strconv.Atoi(v); err == nil {
				return port
			}
		}
	}
	return usual
}

func (n *Node) anonymous(p *pod, uri string, now time.Time) int {
	path, _, _ := strings.Cut(uri, "?")
	s := p.live.server
	status := s.answer(path, !now.Before(p.live.started.Add(booting+rbacRead)))
	who := anonymous
	if status == 401 {
		who = nobody
	}
	n.record(p, who, uri, "kubectl-harden", status, now)
	return status
}

// Serving says whether the API answers.
func (n *Node) Serving() bool {
	now, done := n.look()
	defer done()
	return n.serving(now) != nil
}

func (n *Node) serving(now time.Time) *pod {
	p := n.pod(harden.APIServer)
	if p == nil || p.live == nil || p.live.server == nil || now.Before(p.live.started.Add(booting)) {
		return nil
	}
	return p
}

// Admin is the API server's status for a GET with the administrator's credentials; 503 while there is none.
func (n *Node) Admin(uri, agent string) int {
	now, done := n.look()
	defer done()
	p := n.serving(now)
	if p == nil {
		return 503
	}
	path, _, _ := strings.Cut(uri, "?")
	status := p.live.server.admin(path)
	n.record(p, administrator, uri, agent, status, now)
	return status
}

// Configz is the running kubelet's configuration.
func (n *Node) Configz() map[string]any {
	_, done := n.look()
	defer done()
	return maps.Clone(n.kubelet.config)
}

// Ready is the kubelet's latest report of the node.
func (n *Node) Ready() (ready bool, at time.Time, why string) {
	now, done := n.look()
	defer done()
	k := n.kubelet
	first := k.since.Add(kubeletBoot)
	if !k.up() || now.Before(first) {
		return false, k.since, "Kubelet stopped posting node status."
	}
	return true, first.Add(now.Sub(first).Truncate(heartbeat)), "kubelet is posting ready status"
}
