//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The nodes hang on a bridge in a namespace of the cluster's own. It stands for the world outside the nodes: commands run in it
// see the nodes as another machine would.
const gateway = "10.77.0.1"

func (c *Cluster) netns() string { return "khlab-" + c.cfg.Name }
func (n *Node) netns() string    { return "khlab-" + n.cluster.cfg.Name + "-" + n.name }

// CommandOutside prepares a command that runs on this machine but in the cluster's network, beside the nodes.
func (c *Cluster) CommandOutside(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", c.netns(), name}, args...)...)
}

func (c *Cluster) createNetwork(ctx context.Context) error {
	commands := []string{
		"ip netns add " + c.netns(),
		"ip -n " + c.netns() + " link set lo up",
		"ip -n " + c.netns() + " link add lan0 type bridge",
		"ip -n " + c.netns() + " addr add " + gateway + "/24 dev lan0",
		"ip -n " + c.netns() + " link set lan0 up",
		// The way out is a machine that has every address and refuses every connection. Were packets dropped instead, a pod
		// that asks for a service before kube-proxy knows it would wait for its timeout.
		"ip -n " + c.netns() + " route add local default dev lo",
	}
	// Pods have addresses of their own everywhere: nothing is translated on the way.
	for _, n := range c.nodes {
		commands = append(commands, "ip -n "+c.netns()+" route add "+n.podSubnet()+" via "+n.address)
	}
	return runAll(ctx, commands)
}

// connectScript gives the node a fresh network namespace, as a boot does, with eth0 on the cluster's bridge.
func (n *Node) connectScript() string {
	lan, ns := n.cluster.netns(), n.netns()
	routes := "ip -n " + ns + " route add default via " + gateway
	for _, other := range n.cluster.nodes {
		if other != n {
			routes += " &&\nip -n " + ns + " route add " + other.podSubnet() + " via " + other.address
		}
	}
	// A deleted namespace lives on for a moment, and in it the other end of the cable: hence the cable is deleted too.
	return fmt.Sprintf(`ip -n %[1]s link delete %[3]s 2>/dev/null
ip netns delete %[2]s 2>/dev/null
ip netns add %[2]s &&
ip -n %[2]s link set lo up &&
ip -n %[1]s link add %[3]s type veth peer name eth0 netns %[2]s &&
ip -n %[1]s link set %[3]s master lan0 up &&
ip -n %[2]s addr add %[4]s/24 dev eth0 &&
ip -n %[2]s link set eth0 up &&
{ %[5]s; } || exit`, lan, ns, n.name, n.address, routes)
}

// deleteNetwork also deletes the namespaces of nodes that the cluster's state does not know.
func (c *Cluster) deleteNetwork(ctx context.Context) error {
	all, err := filepath.Glob("/run/netns/" + c.netns() + "-*")
	if err != nil {
		return err
	}
	for _, path := range all {
		if err := deleteNamespace(ctx, filepath.Base(path)); err != nil {
			return err
		}
	}
	return deleteNamespace(ctx, c.netns())
}

func namespaceExists(name string) bool {
	_, err := os.Stat("/run/netns/" + name)
	return err == nil
}

func deleteNamespace(ctx context.Context, name string) error {
	if !namespaceExists(name) {
		return nil
	}
	return runAll(ctx, []string{"ip netns delete " + name})
}

// runAll runs commands whose words hold no blanks.
func runAll(ctx context.Context, commands []string) error {
	for _, command := range commands {
		words := strings.Fields(command)
		if out, err := exec.CommandContext(ctx, words[0], words[1:]...).CombinedOutput(); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", command, err), errors.New(strings.TrimSpace(string(out))))
		}
	}
	return nil
}
