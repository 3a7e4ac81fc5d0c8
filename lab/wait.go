//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// healthy asks everything that has to serve on a control-plane node, at its own port: the API may still show what was true
// before a reboot. Traffic to a service's address proves kube-proxy, the pods behind it, and their network.
const (
	healthyWorker = `set -e
trap 'echo "no answer: $BASH_COMMAND" >&2' ERR
curl -fsS --max-time 2 -o /dev/null http://127.0.0.1:10248/healthz
curl -sk --max-time 2 -o /dev/null https://10.96.0.1:443/readyz
timeout 2 bash -c '</dev/tcp/10.96.0.10/53'`
	healthy = `set -e
trap 'echo "no answer: $BASH_COMMAND" >&2' ERR
curl -fsk --max-time 2 -o /dev/null http://127.0.0.1:2381/readyz
kubectl get --raw=/readyz --request-timeout=2s >/dev/null
curl -fsk --max-time 2 -o /dev/null https://127.0.0.1:10257/healthz
curl -fsk --max-time 2 -o /dev/null https://127.0.0.1:10259/readyz
curl -sk --max-time 2 -o /dev/null https://10.96.0.1:443/readyz
timeout 2 bash -c '</dev/tcp/10.96.0.10/53'`
)

func (n *Node) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	last, script := context.DeadlineExceeded, healthy
	if n.Worker() {
		script = healthyWorker
	}
	for {
		_, err := n.Run(ctx, "bash", "-c", script)
		if err == nil {
			err = n.checkHeartbeats(ctx)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // not merely that we gave up
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("node %s: %w", n.name, last)
		}
	}
}

// checkHeartbeats fails unless the node is Ready and the kubelet, the controller manager and the scheduler have been at work
// since the node booted.
func (n *Node) checkHeartbeats(ctx context.Context) error {
	m, err := n.machine()
	if err != nil {
		return err
	}
	var node struct {
		Status struct {
			Conditions []struct {
				Type, Status      string
				LastHeartbeatTime time.Time
			}
		}
	}
	// A worker has no credentials to ask with.
	asked := n.cluster.nodes[0]
	if err := asked.getJSON(ctx, "/api/v1/nodes/"+n.name, &node); err != nil {
		return err
	}
	ready := false
	for _, c := range node.Status.Conditions {
		ready = ready || c.Type == "Ready" && c.Status == "True" && c.LastHeartbeatTime.After(m.Booted)
	}
	if !ready {
		return errors.New("the node is not Ready")
	}
	if n.Worker() {
		return nil
	}
	for _, name := range []string{"kube-controller-manager", "kube-scheduler"} {
		var lease struct{ Spec struct{ RenewTime time.Time } }
		if err := asked.getJSON(ctx, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/"+name, &lease); err != nil {
			return err
		}
		if lease.Spec.RenewTime.Before(m.Booted) {
			return fmt.Errorf("%s has not taken its lease", name)
		}
	}
	return nil
}

func (n *Node) getJSON(ctx context.Context, path string, v any) error {
	data, err := n.Run(ctx, "kubectl", "get", "--raw="+path, "--request-timeout=2s")
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
