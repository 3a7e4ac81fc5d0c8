package apply_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/apply"
)

var everything = []string{"profiling", "audit", "anonymous", "scheduler", "pids", "port", "mode", "kernel"}

// written are the paths that a plan of everything changes.
var written = []string{
	apiserverManifest, schedulerManifest, "/etc/kubernetes/policies", policyFile, "/etc/sysctl.d/90-kubelet.conf", kubeletConfig,
	"/var/log/kubernetes", logDir,
}

// row is an apply in which one thing is otherwise.
type row struct {
	name     string
	controls []string // everything, where empty
	soak     time.Duration
	arrange  func(w *world, cancel func())
	outcome  harden.Outcome
	says     string // part of the message
	event    string // part of what an event says
	hint     string // part of a hint
	refuses  bool   // nothing may have been begun
	then     harden.Outcome
}

const newFlag, newField = "--profiling=false", "podPidsLimit"

func has(text string) func(harden.ComponentID, string) bool {
	return func(_ harden.ComponentID, t string) bool { return strings.Contains(t, text) }
}

// answers makes a probe answer otherwise where its component runs with that text.
func answers(name, text string, r apply.ProbeResult) func(*node, harden.Probe, string) *apply.ProbeResult {
	return func(_ *node, p harden.Probe, t string) *apply.ProbeResult {
		if p.Name == name && strings.Contains(t, text) {
			return &r
		}
		return nil
	}
}

// leaseWhile makes the controller manager's lease, or the scheduler's where it is that one that runs with the text, what it
// says for as long as the component runs with that text.
func (w *world) leaseWhile(c harden.ComponentID, text string, l harden.Lease) {
	name := string(harden.ControllerManager)
	if c == harden.Scheduler {
		name = string(c)
	}
	w.cluster.leases = func(m map[string]harden.Lease) {
		if strings.Contains(w.node.pods[c].runs, text) {
			m[name] = l
		}
	}
}

func answerOf(status int) apply.ProbeResult { return apply.ProbeResult{Status: status} }

var gateRows = []row{
	{name: "nothing", outcome: harden.OutcomeApplied},
	{name: "the new instance never starts", outcome: harden.OutcomeRolledBack, says: "no instance runs",
		arrange: func(w *world, _ func()) { w.node.lost = has(newFlag) }},
	{name: "no instance ever starts again", outcome: harden.OutcomeMixed, says: "the undo failed too: after putting its files back: gate of kube-apiserver",
		hint: "recover", then: harden.OutcomeRolledBack,
		arrange: func(w *world, _ func()) {
			w.node.lost = func(c harden.ComponentID, _ string) bool { return c == harden.APIServer }
		}},
	{name: "the old instance stays", outcome: harden.OutcomeRolledBack, says: "the old instance (process 101) still runs and no new one",
		arrange: func(w *world, _ func()) {
			w.on("Rename", apiserverManifest, 1, func() { w.node.pods[harden.APIServer].noticeAt = begin.Add(time.Hour) })
		}},
	{name: "other arguments", outcome: harden.OutcomeRolledBack, says: "other arguments than planned",
		arrange: func(w *world, _ func()) {
			w.node.args = func(_ harden.ComponentID, args []string) []string {
				if slices.Contains(args, newFlag) {
					return append(args, "--one-more=1")
				}
				return args
			}
		}},
	{name: "new instances die", outcome: harden.OutcomeRolledBack, says: "2 new instances have exited; the last one said: Error: unknown flag",
		arrange: func(w *world, _ func()) { w.node.dies = has(newFlag) }},
	{name: "one instance dies", outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) {
			w.node.dies = func(c harden.ComponentID, text string) bool {
				return strings.Contains(text, newFlag) && w.node.started[c] == 1
			}
		}},
	{name: "instances die, the old ones too", outcome: harden.OutcomeMixed, says: "have exited", hint: "recover", then: harden.OutcomeRolledBack,
		arrange: func(w *world, _ func()) {
			w.node.dies = func(c harden.ComponentID, _ string) bool { return w.node.started[c] > 0 && c == harden.APIServer }
		}},
	{name: "probes get 401 for ever", outcome: harden.OutcomeRolledBack, says: "answered 401: the kubelet would kill it",
		arrange: func(w *world, _ func()) { w.node.answer = answers("liveness", newFlag, answerOf(401)) }},
	{name: "probes get 403 at first", outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) {
			w.node.answer = func(n *node, p harden.Probe, text string) *apply.ProbeResult {
				i := n.pods[harden.APIServer].running
				if p.Port == 6443 && i != nil && n.clock.now.Sub(i.Started) < 11*time.Second {
					return &apply.ProbeResult{Status: 403}
				}
				return nil
			}
		}},
	{name: "probes hang", outcome: harden.OutcomeRolledBack, says: "timed out: its readiness probe",
		arrange: func(w *world, _ func()) {
			w.node.answer = answers("readiness", newFlag, apply.ProbeResult{Err: context.DeadlineExceeded})
		}},
	{name: "health comes and goes", outcome: harden.OutcomeRolledBack, says: "timed out",
		arrange: func(w *world, _ func()) {
			w.node.answer = func(n *node, p harden.Probe, text string) *apply.ProbeResult {
				if strings.Contains(text, newFlag) && n.clock.now.Second()%4 == 0 {
					return &apply.ProbeResult{Status: 500}
				}
				return nil
			}
		}},
	{name: "the kubelet's unit does not restart", outcome: harden.OutcomeRolledBack, says: "restarting kubelet.service: no",
		arrange: func(w *world, _ func()) {
			w.node.restart = func(text string) error {
				if strings.Contains(text, newField) {
					return errors.New("no")
				}
				return nil
			}
		}},
	{name: "the kubelet's unit never restarts", outcome: harden.OutcomeMixed, says: "the undo failed too: restarting kubelet.service: no", hint: "recover",
		then: harden.OutcomeRolledBack, arrange: func(w *world, _ func()) { w.node.restart = func(string) error { return errors.New("no") } }},
	{name: "the kubelet dies of its configuration", outcome: harden.OutcomeRolledBack, says: "systemd has restarted it 2 times",
		arrange: func(w *world, _ func()) { w.node.dies = has(newField) }},
	{name: "the kubelet dies once before it is healthy", outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) { w.kubeletDiesOnce(time.Second) }},
	// It was taken for good because the next one lived as long as the gate looked.
	{name: "the kubelet was healthy and died", outcome: harden.OutcomeRolledBack,
		says: "gate of kubelet: it was healthy, and systemd has restarted it since", arrange: func(w *world, _ func()) { w.kubeletDiesOnce(8 * time.Second) }},
	{name: "the kubelet was restarted before and died", outcome: harden.OutcomeRolledBack, says: "it was healthy, and systemd has restarted it since",
		arrange: func(w *world, _ func()) { w.node.unit.Restarts = 7; w.kubeletDiesOnce(8 * time.Second) }},
	{name: "the kubelet was restarted before", outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) { w.node.unit.Restarts = 7 }},
	{name: "the node does not become Ready", outcome: harden.OutcomeRolledBack, says: "the node is not Ready: NotReady",
		arrange: func(w *world, _ func()) {
			w.cluster.ready = func() (bool, string, error) { return !strings.Contains(w.node.config, newField), "NotReady", nil }
		}},
	{name: "the node never becomes Ready again", outcome: harden.OutcomeMixed, says: "the node is not Ready", hint: "recover", then: harden.OutcomeRolledBack,
		arrange: func(w *world, _ func()) {
			w.cluster.ready = func() (bool, string, error) { return false, "NotReady", nil }
		}},
	{name: "the API cannot be asked", controls: []string{"pids", "port"}, outcome: harden.OutcomeApplied, event: "not proven for pids: not asked: API down",
		arrange: func(w *world, _ func()) { w.cluster.down = func() error { return errors.New("API down") } }},
	{name: "no API", outcome: harden.OutcomeApplied, event: "not proven for profiling: not asked: there are no administrator's credentials",
		arrange: func(w *world, _ func()) { w.cluster = nil }},
	{name: "the scheduler does not renew its lease", controls: []string{"scheduler"}, outcome: harden.OutcomeRolledBack,
		says: "gate of kube-scheduler: kube-scheduler does not do its work: timed out: the lease kube-scheduler, of cp1_old, is not renewed",
		arrange: func(w *world, _ func()) {
			w.leaseWhile(harden.Scheduler, newFlag, harden.Lease{Holder: "cp1_old", Renewed: begin})
		}},
	{name: "nobody holds the scheduler's lease", controls: []string{"scheduler"}, outcome: harden.OutcomeRolledBack, says: "nobody holds the lease kube-scheduler",
		arrange: func(w *world, _ func()) { w.leaseWhile(harden.Scheduler, newFlag, harden.Lease{}) }},
	{name: "another member renews the scheduler's lease", controls: []string{"scheduler"}, outcome: harden.OutcomeApplied,
		event: "the lease kube-scheduler is renewed by cp2_x", arrange: func(w *world, _ func()) {
			w.cluster.leases = func(m map[string]harden.Lease) {
				m["kube-scheduler"] = harden.Lease{Holder: "cp2_x", Renewed: m["kube-scheduler"].Renewed.Add(-time.Hour)}
			}
		}},
	{name: "the API cannot be asked for leases", controls: []string{"scheduler"}, outcome: harden.OutcomeApplied,
		event:   "whether the lease kube-scheduler is renewed is not known: not asked: API down",
		arrange: func(w *world, _ func()) { w.cluster.down = func() error { return errors.New("API down") } }},
	{name: "the controller manager cannot use the new API server", controls: []string{"anonymous"}, outcome: harden.OutcomeRolledBack,
		says: "gate of kube-apiserver: kube-controller-manager does not do its work",
		arrange: func(w *world, _ func()) {
			w.leaseWhile(harden.APIServer, "--goaway-chance", harden.Lease{Holder: "cp1_old", Renewed: begin})
		}},
	{name: "the controller manager does not go on after the undo either", controls: []string{"anonymous"}, outcome: harden.OutcomeRolledBack,
		event: "whether kube-controller-manager works with kube-apiserver as it was is not known: kube-controller-manager does not do its work",
		arrange: func(w *world, _ func()) {
			w.cluster.leases = func(m map[string]harden.Lease) {
				m["kube-controller-manager"] = harden.Lease{Holder: "cp1_old", Renewed: begin}
			}
		}},
	{name: "the controller manager is not restarted for a long time", controls: []string{"anonymous"}, outcome: harden.OutcomeApplied,
		event: "whether kube-controller-manager works with the new kube-apiserver is not known: it does not run yet",
		arrange: func(w *world, _ func()) {
			w.node.pods[harden.ControllerManager].running = nil
			w.leaseWhile(harden.APIServer, "--goaway-chance", harden.Lease{Holder: "cp1_old", Renewed: begin})
		}},
	{name: "the administrator is not refused", outcome: harden.OutcomeRolledBack, says: "proving profiling: timed out: GET /debug/pprof/: wanted 404, got 200",
		arrange: func(w *world, _ func()) { w.cluster.status = 200 }},
	{name: "another member refuses the administrator, and this one does not", outcome: harden.OutcomeRolledBack, says: "wanted 404, got 200",
		arrange: func(w *world, _ func()) { w.cluster.own = 200 }},
	{name: "another member lets the administrator in, and this one does not", outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) { w.cluster.status, w.cluster.own = 200, 404 }},
	{name: "anybody is let in", outcome: harden.OutcomeRolledBack, says: "anonymous GET /api: wanted 403, got 200",
		arrange: func(w *world, _ func()) {
			w.node.answer = func(_ *node, p harden.Probe, _ string) *apply.ProbeResult {
				if p.Path == "/api" {
					return &apply.ProbeResult{Status: 200}
				}
				return nil
			}
		}},
	{name: "no line in the audit log", outcome: harden.OutcomeRolledBack, says: "our own request is not in " + logDir + "/audit.log",
		arrange: func(w *world, _ func()) { w.node.answer = answers("proof", "", answerOf(403)) }},
	{name: "the kubelet has another value", outcome: harden.OutcomeRolledBack, says: "the kubelet's podPidsLimit is 1, wanted 4096",
		arrange: func(w *world, _ func()) {
			w.cluster.configz = func() (map[string]any, error) { return map[string]any{"podPidsLimit": 1}, nil }
		}},
	{name: "the kubelet has a value where none was wanted", outcome: harden.OutcomeRolledBack, says: "the kubelet's readOnlyPort is 10255, wanted 0",
		arrange: func(w *world, _ func()) {
			w.cluster.configz = func() (map[string]any, error) {
				return map[string]any{"podPidsLimit": 4096, "readOnlyPort": 10255}, nil
			}
		}},
	{name: "kernel settings do not load", outcome: harden.OutcomeRolledBack, says: "loading kernel settings: no",
		arrange: func(w *world, _ func()) {
			w.node.sysctl = func(m map[string]string) error {
				if m["vm.overcommit_memory"] == "1" {
					return errors.New("no")
				}
				return nil
			}
		}},
	{name: "health fails while it is watched", soak: time.Minute, outcome: harden.OutcomeRolledBack, says: "watching kube-apiserver: its liveness probe",
		arrange: func(w *world, _ func()) {
			w.clock.in(time.Minute, func() { w.node.answer = answers("liveness", newFlag, answerOf(500)) })
		}},
	{name: "health fails for a moment while it is watched", soak: time.Minute, outcome: harden.OutcomeApplied,
		arrange: func(w *world, _ func()) {
			w.clock.in(60*time.Second, func() { w.node.answer = answers("liveness", newFlag, answerOf(500)) })
			w.clock.in(62*time.Second, func() { w.node.answer = nil })
		}},
	{name: "an instance dies while it is watched", soak: 2 * time.Minute, outcome: harden.OutcomeRolledBack, says: "watching kube-apiserver: it has gone",
		arrange: func(w *world, _ func()) { w.clock.in(time.Minute, func() { w.node.dies = has(newFlag) }) }},
}

func TestGates(t *testing.T) { runRows(t, gateRows) }

func TestInterrupted(t *testing.T) {
	rows := []row{
		{name: "before it begins", outcome: harden.OutcomeRefused, refuses: true, says: "interrupted before anything was changed",
			arrange: func(_ *world, cancel func()) { cancel() }},
		{name: "while a gate waits", outcome: harden.OutcomeRolledBack, says: "interrupted; everything is as before",
			arrange: func(w *world, cancel func()) { w.node.lost = has(newFlag); w.clock.in(30*time.Second, cancel) }},
		{name: "while health is watched", soak: time.Hour, outcome: harden.OutcomeRolledBack, says: "interrupted; everything is as before",
			arrange: func(w *world, cancel func()) { w.clock.in(time.Minute, cancel) }},
		{name: "while the kubelet restarts", outcome: harden.OutcomeRolledBack, says: "interrupted; everything is as before",
			arrange: func(w *world, cancel func()) { w.node.restart = func(string) error { cancel(); return nil } }},
		{name: "in the undo", outcome: harden.OutcomeRolledBack, says: "2 new instances have exited",
			arrange: func(w *world, cancel func()) {
				w.node.dies = has(newFlag)
				w.on("Rename", apiserverManifest, 2, cancel)
			}},
	}
	for _, p := range written {
		rows = append(rows, row{name: "after writing " + p, outcome: harden.OutcomeRolledBack, says: "interrupted; everything is as before",
			arrange: func(w *world, cancel func()) { w.on("Rename", p, 1, cancel) }})
	}
	runRows(t, rows)
}

func TestFiles(t *testing.T) {
	var rows []row
	for _, p := range written {
		rows = append(rows,
			row{name: "writing fails: " + p, outcome: harden.OutcomeRolledBack, says: "input/output error",
				arrange: func(w *world, _ func()) { w.failing("Rename", p, 1, 1, syscall.EIO) }},
			row{name: "its directory does not become durable: " + p, outcome: harden.OutcomeRolledBack, says: "input/output error",
				arrange: func(w *world, _ func()) { w.failDirOf(p) }},
		)
		// The last component dies, so that everything has to come back.
		back := row{name: "bringing back fails: " + p, outcome: harden.OutcomeMixed, says: "the undo failed too: putting " + p + " back",
			hint: "recover", then: harden.OutcomeRolledBack,
			arrange: func(w *world, _ func()) {
				w.node.dies = has(newField)
				if w.before[p].Exists {
					w.failing("Rename", p, 2, ever, syscall.EIO)
				} else {
					w.failing("Remove", p, 1, ever, syscall.EIO)
				}
			}}
		rows = append(rows, back)
	}
	rows = append(rows,
		row{name: "no room when it begins", outcome: harden.OutcomeRefused, refuses: true, says: "saving the originals", hint: "df -h",
			arrange: func(w *world, _ func()) { w.failing("Write", "restore.sh", 1, ever, syscall.ENOSPC) }},
		row{name: "read-only when it begins", outcome: harden.OutcomeRefused, refuses: true, says: "read-only file system", hint: "findmnt -T '" + stateDir,
			arrange: func(w *world, _ func()) { w.failing("Mkdir", "before", 1, ever, syscall.EROFS) }},
		row{name: "others change a file when it has begun", outcome: harden.OutcomeRolledBack, says: "it changed since the plan was made",
			arrange: func(w *world, _ func()) {
				w.on("Rename", policyFile, 1, func() { w.write(schedulerManifest, w.node.text(schedulerManifest)+"# theirs\n") })
			}},
		row{name: "others change a file that was written", outcome: harden.OutcomeMixed, says: "putting " + apiserverManifest + " back",
			hint: "recover", then: harden.OutcomeMixed,
			arrange: func(w *world, _ func()) {
				w.node.dies = has(newField)
				w.clock.in(25*time.Second, func() { w.write(apiserverManifest, w.node.text(apiserverManifest)+"# theirs\n") })
			}},
	)
	runRows(t, rows)
}

// failDirOf fails the first sync of a path's directory after the path was replaced.
func (w *world) failDirOf(p string) {
	w.on("Rename", p, 1, func() { w.failing("SyncDir", p[:strings.LastIndex(p, "/")], 1, 1, syscall.EIO) })
}

func runRows(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { r.run(t) })
	}
}

func (r row) run(t *testing.T) {
	w := newWorld(t)
	controls := r.controls
	if len(controls) == 0 {
		controls = everything
	}
	p := w.plan(controls...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.set(w, cancel)
	a := w.process()
	a.Soak = r.soak
	res := a.Apply(ctx, p)
	w.end()
	if res.Outcome != r.outcome || !strings.Contains(res.Message.String(), r.says) {
		t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, r.outcome, r.says)
	}
	if r.hint != "" && !strings.Contains(strings.Join(res.Hints, "\n"), r.hint) {
		t.Errorf("hints %q, want %q", res.Hints, r.hint)
	}
	w.checkTruth(res, p, r)
	if r.then == "" {
		return
	}
	if again := w.apply(p); again.Outcome != harden.OutcomeUnsettled || again.Transaction != res.Transaction || again.Script == "" {
		t.Errorf("another apply: %+v", again)
	}
	w.watch.Before, w.watch.After = nil, nil
	w.node.lost, w.node.dies, w.node.answer, w.node.restart = nil, nil, nil, nil
	w.cluster.ready = nil
	res = w.recover(res.Transaction, false)
	if res.Outcome != r.then {
		t.Errorf("recovered: %s: %s; want %s", res.Outcome, res.Message, r.then)
	}
	if left := w.changes(); r.then == harden.OutcomeRolledBack && len(left) > 0 {
		t.Errorf("recovered, and otherwise than before: %q", left)
	}
}

func (r row) set(w *world, cancel func()) {
	if r.arrange != nil {
		r.arrange(w, cancel)
	}
}

var storedAs = map[harden.Outcome]string{
	harden.OutcomeApplied: backups.Committed, harden.OutcomeRolledBack: backups.RolledBack, harden.OutcomeMixed: backups.Mixed, harden.OutcomeUnsettled: "",
}

// checkTruth compares what was said with what is.
func (w *world) checkTruth(res harden.Result, p harden.Plan, r row) {
	w.t.Helper()
	left := w.changes()
	if r.refuses {
		if len(w.events) > 0 || len(left) > 0 || w.outcome() != "none" {
			w.t.Errorf("refused, and %q changed, the store has %q, events %s", left, w.outcome(), w.kinds())
		}
		return
	}
	if got := w.outcome(); got != storedAs[res.Outcome] {
		w.t.Errorf("stored as %q, want %q", got, storedAs[res.Outcome])
	}
	if !strings.HasSuffix(res.Script, res.Transaction+"/restore.sh") {
		w.t.Errorf("script %q", res.Script)
	}
	last := w.events[len(w.events)-1]
	if last.Kind != harden.EventFinished || last.Outcome != res.Outcome || last.Message.String() != res.Message.String() {
		w.t.Errorf("the last event is %+v", last)
	}
	now := map[string]bool{} // targets that are as planned, by what was told
	told := false
	for _, e := range w.events {
		told = told || r.event != "" && strings.Contains(e.Message.String(), r.event)
		switch e.Kind {
		case harden.EventWritten:
			now[e.Target] = true
		case harden.EventReverted:
			delete(now, e.Target)
		}
	}
	if res.Outcome == harden.OutcomeMixed {
		w.checkTargets(res, p)
	} else if len(res.Targets) > 0 {
		w.t.Errorf("%s, and targets are told of: %v", res.Outcome, res.Targets)
	}
	if r.event != "" && !told {
		w.t.Errorf("no event says %q", r.event)
	}
	switch res.Outcome {
	case harden.OutcomeApplied:
		for _, s := range p.Steps() {
			if is, err := w.State(s.Path); err != nil || !is.Equal(s.After) || !now[s.ID] {
				w.t.Errorf("applied, and %s is otherwise than planned, or not told of", s.ID)
			}
		}
	case harden.OutcomeRolledBack:
		if len(now) > 0 {
			w.t.Errorf("told as written and not as reverted: %v", now)
		}
		theirs := func(p string) bool { return strings.Contains(w.node.text(p), "# theirs") }
		if left = slices.DeleteFunc(left, theirs); len(left) > 0 {
			w.t.Errorf("rolled back, and otherwise than before: %q", left)
		}
		if w.node.sysctls["vm.overcommit_memory"] != "0" {
			w.t.Errorf("rolled back, and kernel settings are %v", w.node.sysctls)
		}
	}
	w.checkRestarts(res)
}

// checkTargets compares what was said of each target with what is there.
func (w *world) checkTargets(res harden.Result, p harden.Plan) {
	w.t.Helper()
	told := map[string]harden.TargetIs{}
	for _, t := range res.Targets {
		told[t.Target] = t.Is
	}
	for _, s := range p.Steps() {
		now, err := w.State(s.Path)
		must(w.t, err)
		want := harden.TargetOtherwise
		switch {
		case now.Equal(s.Before):
			want = harden.TargetBefore
		case now.Equal(s.After):
			want = harden.TargetPlanned
		}
		if told[s.ID] != want {
			w.t.Errorf("%s is said to be %q, and is %q", s.ID, told[s.ID], want)
		}
	}
	for _, st := range p.Stages {
		for _, e := range st.Effects {
			pod := w.node.pods[e.Component]
			if pod == nil {
				continue
			}
			want := harden.TargetOtherwise
			switch {
			case pod.running == nil:
			case strings.Contains(pod.runs, newFlag):
				want = harden.TargetPlanned
			default:
				want = harden.TargetBefore
			}
			if told[string(e.Component)] != want {
				w.t.Errorf("%s is said to run %q, and runs %q", e.Component, told[string(e.Component)], want)
			}
		}
	}
}

// checkRestarts allows one restart of each component on the way forward, and one for the undo. Instances that die are the
// kubelet's affair.
func (w *world) checkRestarts(res harden.Result) {
	w.t.Helper()
	most := 2
	if res.Outcome == harden.OutcomeApplied {
		most = 1
	}
	if w.node.restarts > most {
		w.t.Errorf("the kubelet was restarted %d times", w.node.restarts)
	}
	for id, n := range w.node.started {
		if crashes := len(w.node.pods[id].crashes); n-crashes > most {
			w.t.Errorf("%s was started %d times and died %d times", id, n, crashes)
		}
	}
}
