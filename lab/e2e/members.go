//go:build linux

package main

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

var memberScenarios = []scenario{
	{
		name:   "11-three",
		proves: "of three control planes no two API servers restart at once; another cluster's credentials are refused",
		nodes:  []string{"cp1", "cp2", "cp3"},
		long:   "its three control planes take 5 minutes to be made",
		run:    twoApply,
	},
	{
		name:   "12-worker",
		proves: "on a worker node only what concerns it is offered, applied and undone",
		nodes:  []string{"cp1", "w1"},
		run:    onWorker,
	},
}

// assessment is what assess -o json says, as far as it is compared.
type assessment struct {
	Findings []struct{ Control, Area, Status string }
}

func onWorker(t *T) {
	w := t.cluster.Nodes()[1]
	before := t.picture(w)
	out := t.command(w, productPath, "assess", "-o", "json")
	if out.code != 0 {
		t.fatalf("assess on a worker: %s", out)
	}
	var seen assessment
	t.need(json.Unmarshal([]byte(out.stdout), &seen))
	failing := 0
	for _, f := range seen.Findings {
		switch {
		case f.Area == "apiserver" || f.Area == "audit":
			if f.Status != "notApplicable" {
				t.errorf("a worker has no API server, and %s is %s", f.Control, f.Status)
			}
		case f.Area == "kubelet" && f.Status == "fail":
			failing++
		}
	}
	if failing == 0 {
		t.errorf("nothing of the kubelet fails: %s", out)
	}

	start := time.Now()
	applied := t.command(w, productPath, "apply", "--all", "--yes", "--soak", "5s")
	if applied.code != 0 {
		t.fatalf("apply on a worker: %s", applied)
	}
	t.figure("apply", "%s", seconds(applied.took))
	for _, d := range before.fileDifferences(t.picture(w)) {
		if strings.HasPrefix(d, "/etc/kubernetes/") && !strings.HasPrefix(d, "/etc/kubernetes/kubelet.conf") {
			t.errorf("not a worker's: %s", d)
		}
	}
	t.within(time.Minute, "the worker is Ready, by a new heartbeat", func() (bool, string) {
		ready, at := t.readyOf(w.Name())
		return ready && at.After(start), at.String()
	})
	undone := t.command(w, productPath, "rollback", "--yes")
	if undone.code != 0 {
		t.errorf("rollback on a worker: %s", undone)
	}
	t.figure("undo", "%s", seconds(undone.took))
	t.healthy("after the undo")
	if d := before.differences(t.picture(w)); len(d) > 0 {
		t.errorf("after the undo: not as before:\n%s", strings.Join(d, "\n"))
	}
	for _, l := range t.leftovers(w) {
		t.errorf("left behind: %s", l)
	}
}

// twoApply applies on two control planes at the same time.
func twoApply(t *T) {
	nodes := t.cluster.Nodes()
	first, second := nodes[0], nodes[1]
	before := []picture{t.picture(first), t.picture(second)}
	members := t.instances(first, etcd)
	poll := t.poller(readyz(nodes[0]), readyz(nodes[1]), readyz(nodes[2]))

	change := []string{"apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s"}
	done := make(chan said)
	cmd, err := first.Command(t.ctx, productPath, change...)
	t.need(err)
	go func() {
		start := time.Now()
		out, err := cmd.CombinedOutput()
		s := said{code: cmd.ProcessState.ExitCode(), stdout: string(out), took: time.Since(start)}
		if err != nil {
			s.stderr = err.Error()
		}
		done <- s
	}()
	old := before[0].args[apiServer]
	t.within(time.Minute, "the first API server restarts", func() (bool, string) {
		return strings.Contains(t.shell("cat "+manifest), "--profiling=false"), old
	})
	two := t.command(second, productPath, change...)
	one := <-done
	t.detail("the first one: %s", one)
	if one.code != 0 {
		t.errorf("the first apply: %s", one)
	}
	switch two.code {
	case 0:
		t.figure("the second apply", "waited: %s", seconds(two.took))
	case 6, 8:
		t.figure("the second apply", "refused with exit code %d", two.code)
	default:
		t.errorf("the second apply: %s", two)
	}
	poll.together(t, nodes)
	for _, i := range t.instances(first, etcd) {
		if !slices.ContainsFunc(members, func(m instance) bool { return m.id() == i.id() }) {
			t.errorf("an etcd member restarted")
		}
	}
	for i, n := range nodes[:2] {
		if i == 1 && two.code != 0 {
			break
		}
		if out := t.command(n, productPath, "rollback", "--yes"); out.code != 0 {
			t.errorf("rollback on %s: %s", n.Name(), out)
		}
	}
	t.healthy("after the undo")
	for i, n := range nodes[:2] {
		if d := before[i].differences(t.picture(n)); len(d) > 0 {
			t.errorf("%s after the undo: not as before:\n%s", n.Name(), strings.Join(d, "\n"))
		}
		for _, l := range t.leftovers(n) {
			t.errorf("%s: left behind: %s", n.Name(), l)
		}
	}

	t.step("another cluster's credentials")
	t.shell(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=kubernetes -days 1 -keyout /root/other.key -out /root/other.crt 2>/dev/null
ca=$(base64 -w0 /root/other.crt)
sed "s|certificate-authority-data: .*|certificate-authority-data: $ca|" /etc/kubernetes/admin.conf >/root/other.conf`)
	out := t.harden("--kubeconfig", "/root/other.conf", "apply", "--control", "networkpolicy-default-deny-ingress", "--accept",
		"networkpolicy-default-deny-ingress", "--yes")
	if out.code == 0 || len(t.policies()) > 0 {
		t.errorf("with another cluster's credentials: %s", out)
	}
	t.figure("another cluster", "exit code %d", out.code)
}

// together ends the poller and wants that no two of the nodes were ever without an answer at the same time.
func (p *poller) together(t *T, nodes []*lab.Node) {
	down := map[string]bool{}
	worst := 0
	p.background.stop(func(raw json.RawMessage) error {
		var a answer
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		down[a.URL] = a.Err != "" || a.Status != 200
		n := 0
		for _, node := range nodes {
			if down[readyz(node)] {
				n++
			}
		}
		worst = max(worst, n)
		return nil
	})
	t.figure("API servers down at once", "at most %d of %d", worst, len(nodes))
	if worst > 1 {
		t.errorf("%d API servers were down at once", worst)
	}
}
