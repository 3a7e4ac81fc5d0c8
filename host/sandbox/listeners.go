package sandbox

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

// Listeners are what the simulated components would listen on, by their arguments.
func (n *Node) Listeners() ([]harden.ListenerFact, error) {
	_, done := n.look()
	defer done()
	var out []harden.ListenerFact
	add := func(address string, port, pid int, name string) {
		if at, err := netip.ParseAddr(address); err == nil {
			out = append(out, harden.ListenerFact{Protocol: "tcp", Address: at, Port: port, PID: pid, Process: name})
		}
	}
	if k := n.kubelet; k.pid != 0 {
		add("::", 10250, k.pid, "kubelet")
		health, _ := k.config["healthzBindAddress"].(string)
		port, _ := k.config["healthzPort"].(float64)
		add(health, int(port), k.pid, "kubelet")
	}
	add("127.0.0.1", 35571, 612, harden.Containerd)
	for _, c := range harden.Components {
		p := n.pod(c.ID)
		if !c.StaticPod() || p == nil || p.live == nil {
			continue
		}
		for _, f := range patches.ParseArgs(p.live.args) {
			if c.ID != harden.Etcd || !strings.HasPrefix(f.Name, "listen-") {
				continue
			}
			for _, text := range strings.Split(f.Value, ",") {
				if u, err := url.Parse(text); err == nil {
					port, _ := strconv.Atoi(u.Port())
					add(u.Hostname(), port, p.live.pid, "etcd")
				}
			}
		}
		switch c.ID {
		case harden.APIServer:
			add("::", p.listens(6443), p.live.pid, string(c.ID))
		case harden.ControllerManager:
			add(bindAddress(p.live.args), p.listens(10257), p.live.pid, string(c.ID))
		case harden.Scheduler:
			add(bindAddress(p.live.args), p.listens(10259), p.live.pid, string(c.ID))
		}
	}
	return out, nil
}

func bindAddress(args []string) string {
	address := "0.0.0.0"
	for _, f := range patches.ParseArgs(args) {
		if f.Name == "bind-address" {
			address = f.Value
		}
	}
	return address
}

// InputHooks: nothing filters what reaches the sandbox.
func (n *Node) InputHooks() ([]harden.HookFact, []string, error) { return nil, nil, nil }

// Workloads are the containers of the simulated static pods, confined as kubeadm confines them.
func (n *Node) Workloads() ([]harden.WorkloadFact, error) {
	_, done := n.look()
	defer done()
	var out []harden.WorkloadFact
	for _, c := range harden.Components {
		if p := n.pod(c.ID); c.StaticPod() && p != nil && p.live != nil {
			out = append(out, harden.WorkloadFact{Namespace: "kube-system", Pod: string(c.ID), Name: string(c.ID), Seccomp: true, HostNetwork: true})
		}
	}
	return out, nil
}

// RuntimeConfig is what a containerd 2 tells that nobody has configured.
func (n *Node) RuntimeConfig() (*harden.RuntimeFact, error) {
	return &harden.RuntimeFact{Name: harden.Containerd, Version: "v2.3.4", AppArmor: true}, nil
}
