//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

var handoverScenarios = []scenario{
	{
		name:   "02-handover",
		alone:  true,
		nodes:  []string{"cp1", "w1"},
		proves: "a restart without outage: new connections by each way that failed; requests under way that were cut",
		long:   "it applies and undoes again and again, two minutes each time: 3 times, 20 with -full",
		run:    handover,
	},
	{
		name:   "05-handover-killed",
		proves: "the applier killed or hung, or the power cut, while connections are led elsewhere: they come back by themselves, recover settles it",
		long:   "it takes a quarter of an hour",
		run:    handoverKilled,
	},
}

// handOver is a change of the API server alone.
var handOver = []string{"apply", "--control", "apiserver-profiling", "--handover", "--yes", "--soak", "0s"}

// clusterIP is that of the Service default/kubernetes in the lab.
const clusterIP = "https://10.96.0.1:443"

// late is an answer that came, and that a person would have noticed.
const late = 500 * time.Millisecond

// way is one by which clients reach the API server.
type way struct {
	name   string
	poller *poller
	url    string
	answers
}

// answers of one way.
type answers struct {
	asked, failed, late int
	outage              time.Duration
}

// ways are polled from now on: from the node and from beside it, by the node's address and by the ClusterIP.
func (t *T) ways() []*way {
	cp, worker := t.node, t.cluster.Nodes()[1]
	node := readyz(cp)
	service := clusterIP + "/readyz"
	return []*way{
		{name: "node address, another machine", poller: t.poller(node), url: node},
		{name: "node address, this node", poller: t.pollIn(cp, "", node), url: node},
		{name: "ClusterIP, this node", poller: t.pollIn(cp, "", service), url: service},
		{name: "ClusterIP, a pod here", poller: t.pollIn(cp, "asks-cp1", service), url: service},
		{name: "ClusterIP, a pod on a worker", poller: t.pollIn(worker, "asks-w1", service), url: service},
	}
}

// pollIn polls from inside a node, or a pod of it.
func (t *T) pollIn(n *lab.Node, pod, url string) *poller {
	args := []string{agentPath, "agent", "poll", url}
	if pod != "" {
		args = append([]string{"nsenter", "-n", "-t", t.processOf(n, pod)}, args...)
	}
	cmd, err := n.Command(t.ctx, args[0], args[1:]...)
	t.need(err)
	return &poller{t.background(cmd), []string{url}}
}

// processOf finds a pod's process by its container, whatever its number is there.
func (t *T) processOf(n *lab.Node, pod string) string {
	id := strings.TrimSpace(t.kubectl("get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}"))
	return strings.TrimSpace(t.shellIn(n, `ctr -n k8s.io task ls | awk -v id="$1" '$1 == id {print $2}'`, strings.TrimPrefix(id, "containerd://")))
}

// asking starts a pod on each node to ask from.
func (t *T) asking() {
	for _, n := range t.cluster.Nodes() {
		t.kubectl("run", "asks-"+n.Name(), "--image="+lab.NetcheckImage, "--image-pull-policy=Never", "--restart=Never",
			"--overrides", fmt.Sprintf(`{"spec":{"nodeName":%q}}`, n.Name()))
	}
	for _, n := range t.cluster.Nodes() {
		t.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/asks-"+n.Name())
	}
}

// stop counts what was answered.
func (w *way) stop() {
	t := w.poller.background.t
	last := time.Time{}
	w.poller.each(func(a answer) {
		w.asked++
		if a.Err != "" || a.Status != 200 {
			w.failed++
			t.detail("%s: %s: %d %s after %s", w.name, a.At.Format("15:04:05.000"), a.Status, a.Err, a.Took)
			return
		}
		if a.Took > late {
			w.late++
			t.detail("%s: %s: late: %s", w.name, a.At.Format("15:04:05.000"), a.Took)
		}
		end := a.At.Add(a.Took)
		if gap := end.Sub(last); !last.IsZero() && gap > w.outage {
			w.outage = gap
		}
		last = end
	})
}

func handover(t *T) {
	runs := 3
	if t.full {
		runs = 20
	}
	t.asking()
	before := t.picture(t.node)
	sums := map[string]*answers{}
	var names []string
	var flow under
	var took []time.Duration
	kept := 0
	for i := range runs {
		t.step("handover %d of %d", i+1, runs)
		leases := t.leases()
		ways := t.ways()
		keep := t.keeping(readyzServer(t.node))
		m := t.watchLives()
		time.Sleep(300 * time.Millisecond) // the pollers' first answers
		out := t.must(0, handOver...)
		time.Sleep(time.Second)
		for _, w := range ways {
			w.stop()
			s := sums[w.name]
			if s == nil {
				s = &answers{}
				sums[w.name], names = s, append(names, w.name)
			}
			s.asked, s.failed, s.late, s.outage = s.asked+w.asked, s.failed+w.failed, s.late+w.late, max(s.outage, w.outage)
			t.detail("%s: %+v", w.name, w.answers)
		}
		u := keep()
		flow.Requests, flow.Cut, flow.Watches, flow.Ended = flow.Requests+u.Requests, flow.Cut+u.Cut, flow.Watches+u.Watches, flow.Ended+u.Ended
		flow.Blind = max(flow.Blind, u.Blind)
		took = append(took, out.took)
		if !strings.Contains(out.stderr, "new connections go to the new instance") {
			t.errorf("run %d took the plain way:\n%s", i+1, out)
		}
		t.only(map[string]int{apiServer: 1}, m.stop(isLive), fmt.Sprintf("run %d", i+1))
		if now := t.leases(); now[controllerManager] == leases[controllerManager] && now[scheduler] == leases[scheduler] {
			kept++
		}
		t.clean(fmt.Sprintf("after handover %d", i+1))
		t.must(0, "rollback", "--yes")
		t.forgive()
		t.healthy(fmt.Sprintf("after undo %d", i+1))
		t.same(before, fmt.Sprintf("after undo %d", i+1))
		fmt.Fprintf(os.Stdout, "          so far: %s; under way: %+v\n", summary(names, sums), flow)
	}
	t.figure("handovers", "%d", runs)
	for _, n := range names {
		s := sums[n]
		t.figure(n, "%d failed, %d late of %d (longest gap %s)", s.failed, s.late, s.asked, seconds(s.outage))
		if s.failed > 0 {
			t.errorf("%s: %d of %d new connections failed", n, s.failed, s.asked)
		}
	}
	t.figure("under way", "%d of %d requests cut, %d of %d watches ended, which connected again within %s on the average", flow.Cut, flow.Requests, flow.Ended, flow.Watches, seconds(flow.Blind))
	t.figure("both leases kept", "%d of %d times", kept, runs)
	t.figure("apply", "%s to %s", seconds(slices.Min(took)), seconds(slices.Max(took)))
}

func summary(names []string, sums map[string]*answers) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%s %d/%d/%d", n, sums[n].failed, sums[n].late, sums[n].asked))
	}
	return strings.Join(out, ", ")
}

func readyzServer(n *lab.Node) string { return strings.TrimSuffix(readyz(n), "/readyz") }

// forgive lets the kubelet forget how often it has started the same pods: it waits ever longer, up to five minutes, with those that
// come again and again within ten, as nobody's but a test's do.
func (t *T) forgive() { t.shell("systemctl restart kubelet") }

// keeping uses connections in the node as controllers do, until it is asked what became of them.
func (t *T) keeping(server string) func() under {
	cmd, err := t.node.Command(t.ctx, agentPath, "agent", "keep", server)
	t.need(err)
	b := t.background(cmd)
	return func() (u under) {
		b.stop(func(raw json.RawMessage) error { return json.Unmarshal(raw, &u) })
		if u.Requests == 0 || u.Watches != watches {
			t.errorf("connections were not used: %+v", u)
		}
		return u
	}
}

// handoverKilled ends the applier in several ways at several moments of a handover.
func handoverKilled(t *T) {
	before := t.picture(t.node)
	slowest := map[string]time.Duration{}
	for _, row := range []struct{ name, signal, word string }{
		{"all killed", "9", ""}, {"the applier killed", "9", "applier"}, {"the fence killed", "9", "fence"},
		{"the applier stopped", "19", "applier"}, {"all stopped", "19", ""},
	} {
		for _, delay := range []string{"300ms", "1600ms", "3s"} {
			when := row.name + " after " + delay
			t.step("%s", when)
			var s struck
			t.agent(t.node, &s, append([]string{"strike", delay, row.signal, row.word, productPath}, handOver...)...)
			t.detail("%+v", s)
			if !s.Led || len(s.PIDs) == 0 {
				t.errorf("%s: connections were not led, or nobody was there to be ended: %+v", when, s)
			}
			slowest[row.name] = max(slowest[row.name], s.Gone)
			t.forgive()
			if row.word != "fence" {
				t.settle(before, when)
				continue
			}
			// It goes on without, and may leave clients without the API for a while.
			t.must(0, "status")
			t.must(0, "rollback", "--yes")
			t.healthy(when)
			t.same(before, when)
			t.clean(when)
			t.forgive()
		}
		t.figure(row.name+": no table within", "%s", seconds(slowest[row.name]))
	}
	for _, after := range []time.Duration{0, 2 * time.Second, 5 * time.Second} {
		t.step("the power cut %s after connections were led", seconds(after))
		cmd, err := t.node.Command(t.ctx, productPath, handOver...)
		t.need(err)
		t.need(cmd.Start())
		t.within(2*time.Minute, "connections are led", func() (bool, string) {
			return strings.TrimSpace(t.shell("nft list table inet "+table+" 2>/dev/null || true")) != "", "no table"
		})
		time.Sleep(after)
		t.need(t.node.Kill(t.ctx))
		cmd.Wait()
		t.need(t.node.Boot(t.ctx))
		t.settle(before, fmt.Sprintf("power cut after %s", seconds(after)))
	}
}
