//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
)

// Status writes what runs, for people.
func (c *Cluster) Status(ctx context.Context, w io.Writer) error {
	fmt.Fprintf(w, "cluster %s, Kubernetes %s\n", c.cfg.Name, c.release.version)
	for _, n := range c.nodes {
		m, err := n.machine()
		if err != nil || !m.Init.alive() {
			fmt.Fprintf(w, "%s: not running\n", n.name)
			continue
		}
		answer := "ready"
		if _, err := n.Run(ctx, "kubectl", "get", "--raw=/readyz", "--request-timeout=2s"); err != nil {
			answer = "not ready"
		}
		fmt.Fprintf(w, "%s: %s, init is process %d, API server %s\n", n.name, n.address, m.Init.PID, answer)
	}
	return nil
}
