//go:build linux

package lab

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// members knows what follows from a node's name: cp1, cp2, ... are control-plane nodes, w1, w2, ... are workers.
var nodeName = regexp.MustCompile(`^(cp|w)([1-9][0-9]?)$`)

// checkNodes wants the first control-plane node first, the others of them next, and the workers last.
func checkNodes(names []string) error {
	worker := false
	for i, name := range names {
		switch {
		case !nodeName.MatchString(name):
			return fmt.Errorf("node name %q: want cp1, cp2, ... for control-plane nodes and w1, w2, ... for workers", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("node name %q: there are two of them", name)
		case i == 0 && name != "cp1":
			return fmt.Errorf("node name %q: the first one must be cp1", name)
		case worker && strings.HasPrefix(name, "cp"):
			return fmt.Errorf("node name %q: control-plane nodes come before workers", name)
		}
		worker = strings.HasPrefix(name, "w")
	}
	return nil
}

func (c *Cluster) addNodes(names []string) {
	if len(names) == 0 {
		names = []string{"cp1"}
	}
	for _, name := range names {
		n := &Node{cluster: c, name: name}
		n.address = fmt.Sprintf("10.77.0.%d", 10+n.number())
		c.nodes = append(c.nodes, n)
	}
}

func (c *Cluster) nodeNames() []string {
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.name)
	}
	return names
}

// Worker says that the node has no control plane.
func (n *Node) Worker() bool { return strings.HasPrefix(n.name, "w") }

// number tells all nodes of a cluster apart.
func (n *Node) number() int {
	m := nodeName.FindStringSubmatch(n.name)
	i, _ := strconv.Atoi(m[2]) // the pattern has digits there
	if n.Worker() {
		i += 100
	}
	return i
}

func (n *Node) podSubnet() string { return fmt.Sprintf("10.244.%d.0/24", n.number()) }

// endpoint is the name that the control plane is reached by where it has several members. Until they have joined it is the first
// one; then each of them takes itself for it.
const endpoint = "api.lab.internal"

func (n *Node) hosts(api *Node) string {
	hosts := "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
	for _, other := range n.cluster.nodes {
		hosts += other.address + " " + other.name + "\n"
	}
	return hosts + api.address + " " + endpoint + "\n"
}

// controlPlane are the nodes that have one, the first one first.
func (c *Cluster) controlPlane() []*Node {
	return slices.DeleteFunc(slices.Clone(c.nodes), (*Node).Worker)
}

// each does something with nodes at the same time.
func (c *Cluster) each(nodes []*Node, f func(*Node) error) error {
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = f(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
