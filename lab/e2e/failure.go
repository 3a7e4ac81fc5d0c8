//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

var failureScenarios = []scenario{
	{
		name:   "04-fails-live",
		proves: "what passes every rehearsal and fails live is undone by itself, in time",
		run:    failsLive,
	},
	{
		name:   "06-api-down",
		proves: "with the API down for another reason: rollback, and restore.sh without the program",
		long:   "it takes 7 minutes, most of them waiting for an API that is down",
		run:    apiDown,
	},
	{
		name:   "08-bad-kubelet",
		proves: "a kubelet that does not start with what it is given: seen, undone, Node Ready",
		run:    badKubelet,
	},
}

// undoneWithin is how long a change that fails live may be there: noticing takes two dead instances, of which the kubelet
// starts the second after 10 seconds; then the old one has to be started again, which it may keep back for as long.
const undoneWithin = 3 * time.Minute

func failsLive(t *T) {
	before := t.wholePicture()
	m := t.measure()
	out := t.harm(4, "apply", "--control", "harmful-log-is-directory", "--yes", "--soak", "5s")
	t.figure("to undo", "%s", seconds(out.took))
	if out.took > undoneWithin {
		t.errorf("it took longer than %s", undoneWithin)
	}
	seen := m.poll.stop()[readyz(t.node)]
	// Those that live by leases lose them while the API is away.
	t.only(map[string]int{apiServer: anyTimes, controllerManager: anyTimes, scheduler: anyTimes}, m.lives.stop(isLive), "until it was undone")
	t.figure("outage", "%s", seconds(seen.outage))
	t.figure("failed requests", "%d of %d", seen.failed, seen.asked)
	t.healthy("afterwards")
	t.same(before, "afterwards")
	t.must(0, "status")
	t.clean("afterwards")
}

// nodeReady is the first node's Ready condition.
func (t *T) nodeReady() (ready bool, heartbeat time.Time) { return t.readyOf(t.node.Name()) }

// readyOf is the Ready condition that the API shows of a node.
func (t *T) readyOf(name string) (ready bool, heartbeat time.Time) {
	var node struct {
		Status struct {
			Conditions []struct {
				Type, Status      string
				LastHeartbeatTime time.Time
			}
		}
	}
	t.kubectlJSON(&node, "get", "node", name, "-o", "json")
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True", c.LastHeartbeatTime
		}
	}
	return false, heartbeat
}

func badKubelet(t *T) {
	before := t.picture(t.node)
	lives := t.watchLives()
	start := time.Now()
	out := t.harm(4, "apply", "--control", "harmful-kubelet-reserved", "--yes", "--soak", "5s")
	t.figure("to undo", "%s", seconds(out.took))
	restarts := lives.stop(isLive)
	t.figure("restarts", "%s", counted(restarts))
	t.only(map[string]int{kubelet: anyTimes}, restarts, "until it was undone")
	if restarts[kubelet] < 2 {
		t.errorf("the kubelet restarted %d times: it did not get what was planned, or not back what it had", restarts[kubelet])
	}
	t.within(time.Minute, "the node is Ready, by a new heartbeat", func() (bool, string) {
		ready, at := t.nodeReady()
		return ready && at.After(start), at.String()
	})
	t.healthy("afterwards")
	t.same(before, "afterwards")
	t.must(0, "status")
	t.clean("afterwards")
}

// withoutAPI makes the API server fail for a reason of its own: its store is gone. It gives the way back.
func (t *T) withoutAPI() (back func()) {
	t.shell("mv /etc/kubernetes/manifests/etcd.yaml /root/etcd.yaml")
	t.within(2*time.Minute, "the API is down", func() (bool, string) {
		_, err := t.node.Run(t.ctx, "curl", "-fsk", "--max-time", "2", "-o", "/dev/null", readyz(t.node))
		return err != nil && len(t.instances(t.node, etcd)) == 0, "it still answers"
	})
	return func() {
		t.shell("mv /root/etcd.yaml /etc/kubernetes/manifests/etcd.yaml")
		// A kubelet that has started meanwhile waits for an API server that hangs, twice for a minute, before it starts a pod.
		t.within(5*time.Minute, "the store serves", func() (bool, string) {
			_, err := t.node.Run(t.ctx, "curl", "-fsS", "--max-time", "2", "-o", "/dev/null", "http://127.0.0.1:2381/readyz")
			return err == nil, fmt.Sprint(err)
		})
		t.forgive() // what needs the store has exited again and again meanwhile
		t.healthy("with its store back")
		t.within(3*time.Minute, "those that live by leases are ready", func() (bool, string) {
			_, err := t.node.Run(t.ctx, "sh", "-ec", "for at in 10257/healthz 10259/readyz; do curl -fsk --max-time 2 -o /dev/null https://127.0.0.1:$at; done")
			return err == nil, fmt.Sprint(err)
		})
	}
}

func apiDown(t *T) {
	before := t.wholePicture()
	t.must(0, "apply", "--all", "--yes", "--soak", "0s")
	t.healthy("after apply")
	applied := t.picture(t.node)
	if len(before.fileDifferences(applied)) == 0 {
		t.fatalf("apply changed nothing")
	}

	t.step("rollback with the API down")
	back := t.withoutAPI()
	out := t.harden("rollback", "--yes")
	t.figure("rollback", "exit code %d after %s", out.code, seconds(out.took))
	if out.code != 0 && out.code != 5 {
		t.errorf("rollback with the API down: wanted exit code 0, or 5 for what is owed: %s", out)
	}
	if d := before.fileDifferences(t.picture(t.node).withEtcd(before)); len(d) > 0 {
		t.errorf("rollback with the API down: files are not as before:\n%s\n%s", strings.Join(d, "\n"), out)
	}
	back()
	if out.code == 5 {
		t.must(0, "rollback", "--yes") // kubeadm's configuration, which had to wait for the API
	}
	t.same(before, "after the rollback and with the API back")
	t.must(0, "status")
	t.clean("after the rollback")

	t.step("restore.sh with the API down and without the program")
	t.must(0, "apply", "--all", "--yes", "--soak", "0s")
	t.healthy("after the second apply")
	script := t.newestScript()
	back = t.withoutAPI()
	t.shell("rm " + productPath + " " + harmfulPath)
	start := time.Now()
	t.shell("sh " + script)
	t.figure("restore.sh", "%s", seconds(time.Since(start)))
	if d := before.fileDifferences(t.picture(t.node).withEtcd(before)); len(d) > 0 {
		t.errorf("restore.sh: files are not as before:\n%s", strings.Join(d, "\n"))
	}
	back()
	t.within(2*time.Minute, "the processes run as before", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	t.need(t.products.install(t.ctx, t.node))
	t.step("what an operator does next")
	t.must(0, "recover")
	t.must(0, "rollback", "--yes") // kubeadm's configuration, which restore.sh cannot reach
	t.must(0, "status")
	t.same(before, "after restore.sh and the rest of the undo")
	t.clean("after restore.sh")
}

// withEtcd leaves out what withoutAPI has done itself.
func (p picture) withEtcd(before picture) picture {
	const manifest = "/etc/kubernetes/manifests/etcd.yaml"
	p.files[manifest] = before.files[manifest]
	return p
}

// newestScript is the restore.sh of the newest transaction of the node's own files. What is the cluster's cannot be undone by hand
// either while the API is down.
func (t *T) newestScript() string {
	var history struct {
		Transactions []struct {
			ID, Script string
			Scope      string
		}
	}
	out := t.must(0, "history", "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &history); err != nil {
		t.fatalf("history: %v: %s", err, out)
	}
	for _, tx := range history.Transactions {
		if tx.Scope == "node" {
			return tx.Script
		}
	}
	t.fatalf("no transaction of the node's: %s", out)
	return ""
}
