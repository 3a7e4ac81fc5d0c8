package apply_test

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestRefused has one thing wrong at a time before anything is begun.
func TestRefused(t *testing.T) {
	for _, row := range []struct {
		name    string
		arrange func(w *world, p *harden.Plan)
		says    string
		hint    string
		drift   bool
	}{
		{name: "another node", says: `node is "cp2" there and "cp1" here`, hint: "kubectl-harden plan",
			arrange: func(_ *world, p *harden.Plan) { p.Target.Node = "cp2" }},
		{name: "another machine", says: "machine id is", arrange: func(_ *world, p *harden.Plan) { p.Target.MachineID = "x" }},
		{name: "another cluster", says: "cluster CA is", arrange: func(_ *world, p *harden.Plan) { p.Target.CADigest = "x" }},
		{name: "another version", says: "Kubernetes version is", arrange: func(_ *world, p *harden.Plan) { p.Target.KubernetesVersion = "v1.36.0" }},
		{name: "an offline root", says: "offline root", arrange: func(_ *world, p *harden.Plan) { p.Target.Offline = true }},
		{name: "nobody knows where", says: "neither machine id nor cluster CA",
			arrange: func(w *world, p *harden.Plan) {
				p.Target.MachineID, p.Target.CADigest = "", ""
				w.applier.Facts.Identity.MachineID, w.applier.Facts.Identity.CADigest = "", ""
			}},
		{name: "edited by hand", says: "gives something else than it would write", hint: "kubectl-harden plan",
			arrange: func(_ *world, p *harden.Plan) { p.Stages[0].Steps[0].After.Mode = 0o777 }},
		{name: "a precondition that did not hold", says: "it must hold that it is safe: it is not",
			arrange: func(_ *world, p *harden.Plan) {
				p.Preflight = append(p.Preflight, harden.Check{Control: "audit", Blocks: true, Precondition: harden.Precondition{
					ID: "x", Title: harden.Msg("it is safe"), State: harden.PreconditionUnknown, Message: harden.Msg("it is not")}})
			}},
		{name: "a precondition that holds no more", says: "audit: it must hold that there is room: there is none",
			arrange: func(w *world, _ *harden.Plan) {
				w.applier.Areas[0].Controls[1].Remedies[0].Preconditions = func(*harden.Facts, harden.Values) []harden.Precondition {
					return []harden.Precondition{{Title: harden.Msg("there is room"), State: harden.Unmet, Message: harden.Msg("there is none")}}
				}
			}},
		{name: "a rival manifest since", says: "kube-apiserver: it must hold that no other file defines this pod",
			hint: "mv -n -- '/etc/kubernetes/manifests/copy.yaml' '/etc/kubernetes/copy.yaml'",
			arrange: func(w *world, _ *harden.Plan) {
				w.write(harden.StaticPodDir+"/copy.yaml", w.node.text(apiserverManifest))
				w.applier.Facts = w.facts()
			}},
		{name: "another process since", says: "it must hold that the live process runs what the manifest says",
			arrange: func(w *world, _ *harden.Plan) {
				w.applier.Facts.Components[harden.APIServer].Process = &harden.ProcessFact{PID: 7, Args: []string{"kube-apiserver"}}
			}},
		{name: "a kubeadm upgrade since", says: "this node: it must hold that no kubeadm command is changing this node: kubeadm upgrade apply runs as process 4711",
			hint: "kubectl-harden plan", arrange: func(w *world, _ *harden.Plan) {
				w.applier.Facts.KubeadmRuns = []harden.ProcessFact{{PID: 4711, Args: []string{"kubeadm", "upgrade", "apply", "v1.37.3"}}}
			}},
		{name: "a control that is gone", says: `unknown control: "audit"`,
			arrange: func(w *world, _ *harden.Plan) { w.applier.Areas = nil }},
		{name: "a file changed since", says: kubeletConfig + ": it changed since the plan was made", hint: "kubectl-harden plan", drift: true,
			arrange: func(w *world, _ *harden.Plan) { w.write(kubeletConfig, w.node.text(kubeletConfig)+"# theirs\n") }},
		{name: "a mode changed since", says: kubeletConfig + ": it changed since the plan was made", drift: true,
			arrange: func(w *world, _ *harden.Plan) { must(w.t, w.fsys.Chmod(kubeletConfig, 0o640)) }},
		{name: "a directory made since", says: "/var/log/kubernetes: it changed since the plan was made", drift: true,
			arrange: func(w *world, _ *harden.Plan) { must(w.t, w.fsys.Mkdir("/var/log/kubernetes", 0o755)) }},
		{name: "a kernel setting changed since", says: "its steps have here now are not those that it says",
			arrange: func(w *world, _ *harden.Plan) { w.applier.Facts.Sysctls["vm.overcommit_memory"] = "2" }},
		{name: "a component that is not healthy", says: "kube-apiserver is not healthy now: its readiness probe", hint: "kubectl-harden assess",
			arrange: func(w *world, _ *harden.Plan) { w.node.answer = answers("readiness", "", answerOf(500)) }},
		{name: "a component that does not run", says: "kube-apiserver is not healthy now: its liveness probe",
			arrange: func(w *world, _ *harden.Plan) { w.node.pods[harden.APIServer].running = nil }},
		{name: "the kubelet does not run", says: "kubelet.service is not active", hint: "systemctl status kubelet.service",
			arrange: func(w *world, _ *harden.Plan) { w.node.unit.Active = false }},
		{name: "systemd cannot be asked and the kubelet is to restart", says: "kubelet.service has to be restarted and cannot be: systemd is not running",
			hint: "systemctl status kubelet.service", arrange: func(w *world, _ *harden.Plan) { w.node.unitErr = errors.New("systemd is not running here") }},
		{name: "no room for the originals", says: stateDir + ": 1024 bytes are free and", hint: "history --prune",
			arrange: func(w *world, _ *harden.Plan) { w.free = space(stateDir, 1024) }},
		{name: "no room for a new file", says: harden.StaticPodDir + ": 1024 bytes are free and", hint: "df -h '" + harden.StaticPodDir,
			arrange: func(w *world, _ *harden.Plan) { w.free = space(harden.StaticPodDir, 1024) }},
		{name: "a read-only file system", says: "/etc/kubernetes/policies: its file system is read-only", hint: "findmnt -T '/etc/kubernetes'",
			arrange: func(w *world, _ *harden.Plan) { w.readOnly = "/etc/kubernetes/policies" }},
		{name: "a target that must not be written to", says: `checking the node: refusing "` + kubeletConfig + `": it is immutable`,
			hint:    "namei -l '" + kubeletConfig + "'\nlsattr -d '" + kubeletConfig + "'",
			arrange: func(w *world, _ *harden.Plan) { w.unsafe = kubeletConfig }},
		{name: "a state directory that must not be written to", says: "checking the node: refusing",
			arrange: func(w *world, _ *harden.Plan) { w.unsafe = stateDir + "/transactions/new" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			p := clone(t, w.plan(some...))
			a := w.process()
			row.arrange(w, &p)
			before := w.snapshot()
			res := a.Apply(t.Context(), p)
			w.end()
			if res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), row.says) {
				t.Errorf("%s: %s; want: %s", res.Outcome, res.Message, row.says)
			}
			if strings.Contains(res.Message.String(), "\n") || !strings.Contains(strings.Join(res.Hints, "\n"), row.hint) {
				t.Errorf("hints %q, want %q", res.Hints, row.hint)
			}
			if (res.Drift != nil) != row.drift || row.drift && res.Drift.Now.Equal(res.Drift.Planned) {
				t.Errorf("drift %+v", res.Drift)
			}
			w.before = before
			if len(w.changes()) > 0 || len(w.events) > 0 || w.outcome() != "none" {
				t.Errorf("refused, and %q changed; events %s", w.changes(), w.kinds())
			}
		})
	}
}

// TestAnUndoWithoutRoomNamesItsScript: a full disk left nothing to paste that undoes. A file system that holds no transactions has none.
func TestAnUndoWithoutRoomNamesItsScript(t *testing.T) {
	for dir, want := range map[string]bool{stateDir: true, harden.StaticPodDir: false} {
		w := newWorld(t)
		id := w.apply(w.plan(some...)).Transaction
		p := w.undo(id, "")
		a := w.process()
		w.free = space(dir, 1024)
		res := a.Apply(t.Context(), p)
		w.end()
		script := "sh '" + path.Join(stateDir, "transactions", id, "restore.sh") + "'"
		if got := slices.Contains(res.Hints, script); res.Outcome != harden.OutcomeRefused || got != want {
			t.Errorf("%s: %s: %s; hints %q", dir, res.Outcome, res.Message, res.Hints)
		}
	}
}

func space(dir string, n uint64) func(string) uint64 {
	return func(d string) uint64 {
		if d == dir {
			return n
		}
		return 1 << 30
	}
}

// clone is the plan after a way through a file.
func clone(t testing.TB, p harden.Plan) harden.Plan {
	t.Helper()
	data, err := json.Marshal(p)
	must(t, err)
	var out harden.Plan
	must(t, json.Unmarshal(data, &out))
	return out
}

// TestJustStarted waits for an API server that refuses anonymous probes because it has only begun to serve.
func TestJustStarted(t *testing.T) {
	w := newWorld(t)
	w.node.pods[harden.APIServer].running.Started = w.clock.now
	if res := w.apply(w.plan("profiling")); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// TestModeOnly restarts nothing for a file whose mode alone changes.
func TestModeOnly(t *testing.T) {
	w := newWorld(t)
	must(t, w.fsys.Chmod(kubeletConfig, 0o644))
	p := w.plan("mode")
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied || !w.planned(p) {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if w.node.restarts > 0 || len(w.node.started) > 0 || w.kinds() != "begun written finished" {
		t.Errorf("%d restarts, %v; %s", w.node.restarts, w.node.started, w.kinds())
	}
}

// TestNothingToDo does not even begin.
func TestNothingToDo(t *testing.T) {
	w := newWorld(t)
	if res := w.apply(w.plan("mode")); res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	p := w.plan("mode")
	if res := w.apply(p); !p.Empty() || res.Outcome != harden.OutcomeApplied || res.Transaction != "" {
		t.Errorf("%+v", res)
	}
}

// TestNoProbes believes an instance that has no probes when it has run for a while.
func TestNoProbes(t *testing.T) {
	w := newWorld(t)
	text := w.node.text(schedulerManifest)
	for _, name := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		text = without(text, name)
	}
	w.write(schedulerManifest, text)
	must(t, w.clock.Sleep(t.Context(), time.Minute))
	w.node.started = map[harden.ComponentID]int{}
	w.before = w.snapshot()
	p := w.plan("scheduler")
	if n := len(p.Stages[0].Gates[0].Probes); n != 0 {
		t.Fatalf("%d probes", n)
	}
	if res := w.apply(p); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.node.dies = has("--no-such-flag")
	res := w.apply(w.undo(newest(w), ""))
	if res.Outcome != harden.OutcomeApplied || len(w.changes()) > 0 {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
}

// without takes a block out of a container.
func without(text, name string) string {
	var out []string
	inside := false
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == name+":" {
			inside = true
			continue
		}
		if inside = inside && strings.HasPrefix(line, "      "); !inside {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

func newest(w *world) string {
	list, err := w.applier.Store.(*store).List()
	must(w.t, err)
	return list[0].ID
}

// TestStages undoes all stages when the last one fails, and restarts each component once a stage.
func TestStages(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld(t)
		first, second := w.plan("scheduler"), w.plan("pids")
		p := first
		p.Choices = append(p.Choices, second.Choices...)
		p.Stages = append(p.Stages, second.Stages...)
		if fails {
			w.node.dies = has(newField)
		}
		res := w.apply(p)
		want := map[bool]harden.Outcome{false: harden.OutcomeApplied, true: harden.OutcomeRolledBack}[fails]
		if res.Outcome != want {
			t.Errorf("%s: %s", res.Outcome, res.Message)
		}
		w.checkTruth(res, p, row{})
	}
}

// TestSecondApply finds the lock held, and a transaction that was begun since.
func TestSecondApply(t *testing.T) {
	w := newWorld(t)
	p := w.plan("scheduler")
	id := w.killApply(w.plan(some...), func() { w.die("Rename", policyFile, 1) })
	res := w.apply(p)
	if res.Outcome != harden.OutcomeUnsettled || res.Transaction != id || !strings.Contains(res.Message.String(), "was interrupted") ||
		!strings.HasSuffix(res.Script, id+"/restore.sh") || res.Hints[0] != "kubectl-harden recover" {
		t.Errorf("%+v", res)
	}
	if res = w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if res = w.apply(p); res.Outcome != harden.OutcomeApplied {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if res = w.recover(res.Transaction, false); res.Outcome != harden.OutcomeUnsettled || !w.planned(p) {
		t.Errorf("recovered what was settled: %s: %s", res.Outcome, res.Message)
	}
}
