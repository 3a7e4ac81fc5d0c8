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
		proves: "of three control planes no two API servers restart at once",
		nodes:  []string{"cp1", "cp2", "cp3"},
		long:   "its three control planes take 5 minutes to be made",
		run:    twoApply,
	},
	{
		name:   "11-together",
		proves: "of two applies, and of two undos, that are begun on one node at the same moment one does everything, and the other nothing",
		run:    together,
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
	failing, counted := map[string]bool{}, map[string]int{}
	for _, f := range seen.Findings {
		counted[f.Area+" "+f.Status]++
		if f.Status == "fail" {
			failing[f.Control] = true
		}
		if slices.Contains(controlPlaneAreas, f.Area) && f.Status != "notApplicable" {
			t.errorf("a worker has no control plane, and %s is %s", f.Control, f.Status)
		}
		if f.Area == "networkpolicy" && f.Status != "unknown" && f.Status != "notApplicable" {
			t.errorf("a worker has no credentials to ask the API with, and %s is %s", f.Control, f.Status)
		}
	}
	t.detail("%v", counted)
	var both assessment
	t.need(json.Unmarshal([]byte(t.must(0, "assess", "-o", "json").stdout), &both))
	if a, b := areasOf(both), areasOf(seen); !slices.Equal(a, b) {
		t.errorf("a control plane has the areas %v, and a worker %v", a, b)
	}
	if counted["kubelet fail"] == 0 || counted["kubelet pass"] == 0 {
		t.errorf("nothing of the kubelet fails, or nothing passes: %v", counted)
	}

	planned := t.offered(w, failing)

	start := time.Now()
	applied := t.command(w, productPath, "apply", "--all", "--yes", "--soak", "5s")
	if applied.code != 0 {
		t.fatalf("apply on a worker: %s", applied)
	}
	t.figure("apply", "%s", seconds(applied.took))
	for _, d := range before.fileDifferences(t.picture(w)) {
		if path, _, _ := strings.Cut(d, ": "); !slices.Contains(planned, path) {
			t.errorf("it was not planned: %s", d)
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

// controlPlaneAreas are those of components that a worker does not have.
var controlPlaneAreas = []string{"apiserver", "audit", "controllermanager", "scheduler", "etcd"}

func areasOf(a assessment) (out []string) {
	for _, f := range a.Findings {
		if !slices.Contains(out, f.Area) {
			out = append(out, f.Area)
		}
	}
	return out
}

// offered gives the paths that plan --all would change on a worker. It wants each to be a worker's, asked for by a control that fails.
func (t *T) offered(w *lab.Node, failing map[string]bool) (paths []string) {
	out := t.command(w, productPath, "plan", "--all", "-o", "json")
	var p struct {
		Plans []struct {
			Scope  string
			Stages []struct {
				Steps []struct {
					Path, Component string
					Controls        []string
				}
				Effects []struct{ Component string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &p); err != nil || out.code != 0 {
		t.fatalf("plan --all on a worker: %v: %s", err, out)
	}
	for _, one := range p.Plans {
		if one.Scope != "node" && len(one.Stages) > 0 {
			t.errorf("on a worker the %s would be changed: %s", one.Scope, out)
		}
	}
	for _, st := range p.Plans[0].Stages {
		for _, e := range st.Effects {
			if e.Component != "" && e.Component != kubelet {
				t.errorf("on a worker %s would be touched", e.Component)
			}
		}
		for _, s := range st.Steps {
			paths = append(paths, s.Path)
			if s.Component != "" && s.Component != kubelet || strings.HasPrefix(s.Path, "/etc/kubernetes/manifests") || strings.HasPrefix(s.Path, "/etc/kubernetes/pki/") {
				t.errorf("a step that is not a worker's: %+v", s)
			}
			for _, c := range s.Controls {
				if !failing[c] {
					t.errorf("%s is to be changed for %s, which does not fail", s.Path, c)
				}
			}
			if len(s.Controls) == 0 {
				t.errorf("%s is to be changed, and for no control", s.Path)
			}
		}
	}
	t.figure("plan --all", "%d targets", len(paths))
	if len(paths) == 0 {
		t.errorf("nothing is offered on a worker: %s", out)
	}
	return paths
}

// together begins the same command twice at once.
func together(t *T) {
	before := t.wholePicture()
	both := func(refused string, args ...string) {
		lives, poll := t.watchLives(), t.poller(readyz(t.node))
		codes := strings.Fields(t.shell(`
"$@" >/tmp/one 2>&1 </dev/null & one=$!
"$@" >/tmp/two 2>&1 </dev/null & two=$!
a=0; wait $one || a=$?; b=0; wait $two || b=$?
echo $a $b`, append([]string{productPath}, args...)...))
		t.step("%s, twice at once: exit codes %v", args[0], codes)
		if slices.Sort(codes); codes[0] != "0" || !strings.Contains(refused, codes[1]) {
			t.errorf("%s: wanted one to be done, and one to be refused: %v: %s", args[0], codes, t.shell("grep -h -E '^(error|hint):' /tmp/one /tmp/two"))
		}
		restarts, seen := lives.stop(isLive), poll.stop()[readyz(t.node)]
		t.only(excused(map[string]int{apiServer: 1}, restarts, seen.outage), restarts, args[0])
		t.healthy("after " + args[0])
		t.clean("after " + args[0])
	}
	for range 3 {
		both("6", "apply", "--control", "apiserver-profiling", "--yes", "--soak", "0s")
		both("6 8", "rollback", "--yes") // or the other one has undone its first part already, and the plan is not true any more
		t.forgive()
		t.same(before, "after both")
	}
	t.shell("rm /tmp/one /tmp/two")
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
		if said := two.stdout + two.stderr; !strings.Contains(said, "another control plane") && !strings.Contains(said, "is not ready") {
			t.errorf("the second apply was refused for another reason: %s", two)
		}
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
}

// together ends the poller and wants that no two of the nodes were ever without an answer at the same time, and that one was: it has
// restarted.
func (p *poller) together(t *T, nodes []*lab.Node) {
	down := map[string]bool{}
	worst := 0
	p.each(func(a answer) {
		down[a.URL] = a.Err != "" || a.Status != 200
		n := 0
		for _, node := range nodes {
			if down[readyz(node)] {
				n++
			}
		}
		worst = max(worst, n)
	})
	t.figure("API servers down at once", "at most %d of %d", worst, len(nodes))
	if worst != 1 {
		t.errorf("%d API servers were down at once, wanted 1", worst)
	}
}
