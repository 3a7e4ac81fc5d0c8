//go:build linux

package lab

import (
	"bytes"
	"context"
	"fmt"
)

// netpolicyImage is the program parts/netpolicy, in every node.
const netpolicyImage = "kubectl-harden.io/lab/netpolicy:1"

// EnforcePolicies switches the enforcing of NetworkPolicies on or off. After Start and Reset it is off: the bridge CNI by itself
// enforces none. A policy takes effect within a second.
func (c *Cluster) EnforcePolicies(ctx context.Context, on bool) error {
	manifest, err := recipe.ReadFile("files/netpolicy.yaml")
	if err != nil {
		return err
	}
	first := c.nodes[0]
	if !on {
		// Waited for: the enforcer takes its rules away at its end.
		_, err := first.RunInput(ctx, bytes.NewReader(manifest), "kubectl", "delete", "--ignore-not-found", "--wait",
			"--cascade=foreground", "--timeout=60s", "-f", "-")
		if err != nil {
			return fmt.Errorf("ending the enforcer of policies: %w", err)
		}
		return nil
	}
	if _, err := first.RunInput(ctx, bytes.NewReader(manifest), "kubectl", "apply", "-f", "-"); err != nil {
		return fmt.Errorf("starting the enforcer of policies: %w", err)
	}
	_, err = first.Run(ctx, "kubectl", "-n", "kube-system", "rollout", "status", "daemonset/lab-netpolicy", "--timeout=60s")
	if err != nil {
		return fmt.Errorf("starting the enforcer of policies: %w", err)
	}
	return nil
}
