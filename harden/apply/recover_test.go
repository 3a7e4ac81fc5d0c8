package apply_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/backups/backupstest"
	"kubectl-harden.io/kubectl-harden/harden"
)

// die kills the process after the store's nth operation of that name on that path.
func (w *world) die(name, p string, nth int) {
	dead, seen := false, 0
	w.watch.Before = func(backupstest.Op) error {
		if dead {
			panic(killed{})
		}
		return nil
	}
	w.watch.After = func(op backupstest.Op) {
		if op.Name == name && strings.HasSuffix(op.Path, p) {
			seen++
		}
		if dead = seen >= nth; dead {
			panic(killed{})
		}
	}
}

// killed is what a process panics with that is killed: nothing of it does anything any more.
type killed struct{}

// survives runs a process that may be killed, and says whether it came to its end.
func survives(do func()) (alive bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(killed); !ok {
				panic(r)
			}
			alive = false
		}
	}()
	do()
	return true
}

// killApply applies a plan in a process that dies, and gives the transaction that it leaves.
func (w *world) killApply(p harden.Plan, arrange func()) string {
	w.t.Helper()
	a := w.process()
	arrange()
	if survives(func() { a.Apply(context.Background(), p) }) {
		w.t.Fatal("it was not killed")
	}
	return w.reborn()
}

// reborn ends a dead process's locks, and gives its transaction.
func (w *world) reborn() string {
	w.t.Helper()
	disk := w.fsys.(*backupstest.Disk).Clone()
	w.fsys, w.watch, w.events = disk, &backupstest.Watch{FS: disk}, nil
	w.node.read = disk.ReadFile
	w.process()
	defer w.end()
	open, err := w.applier.Store.Unsettled()
	must(w.t, err)
	if len(open) != 1 {
		w.t.Fatalf("%d transactions are open", len(open))
	}
	return open[0].ID
}

// dieRestarted kills the process some seconds after it has restarted the kubelet.
func (w *world) dieRestarted() {
	w.node.restart = func(string) error {
		w.clock.in(3*time.Second, func() { panic(killed{}) })
		w.node.restart = nil
		return nil
	}
}

func TestFinish(t *testing.T) {
	for _, row := range []struct {
		name     string
		arrange  func(w *world) // kills it
		between  func(w *world) // what happens before recovery
		finish   bool
		outcome  harden.Outcome
		says     string
		kubelets int // restarts of the kubelet in all
	}{
		{name: "the first file is written", finish: true, outcome: harden.OutcomeApplied, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", policyFile, 1) }},
		{name: "the manifest is written, and its pod has not restarted", finish: true, outcome: harden.OutcomeApplied, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", apiserverManifest, 1) }},
		{name: "the manifest is written, and its pod restarts meanwhile", finish: true, outcome: harden.OutcomeApplied, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", apiserverManifest, 1) },
			between: func(w *world) { must(w.t, w.clock.Sleep(context.Background(), time.Minute)) }},
		{name: "the kubelet's file is written, and it has not restarted", finish: true, outcome: harden.OutcomeApplied, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", kubeletConfig, 1) }},
		{name: "the kubelet has restarted", finish: true, outcome: harden.OutcomeApplied, kubelets: 1, arrange: (*world).dieRestarted},
		{name: "the kubelet has restarted, and back", outcome: harden.OutcomeRolledBack, kubelets: 2, arrange: (*world).dieRestarted},
		{name: "the machine has restarted with the new files", outcome: harden.OutcomeRolledBack, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", kubeletConfig, 1) }, between: (*world).reboot},
		{name: "the machine has restarted with the new files, and forward", finish: true, outcome: harden.OutcomeApplied, kubelets: 1,
			arrange: func(w *world) { w.die("Rename", kubeletConfig, 1) }, between: (*world).reboot},
		{name: "a put was announced and never done", outcome: harden.OutcomeRolledBack,
			arrange: func(w *world) { w.dieBefore("Rename", apiserverManifest) }, between: (*world).reboot},
		{name: "a gate had failed", finish: true, outcome: harden.OutcomeUnsettled, says: "has begun, so it cannot be finished",
			arrange: func(w *world) { w.node.dies = has("--audit-log-path"); w.die("Rename", apiserverManifest, 2) }},
		{name: "forward fails its gate", finish: true, outcome: harden.OutcomeRolledBack, says: "2 new instances have exited",
			arrange: func(w *world) { w.die("Rename", apiserverManifest, 1) },
			between: func(w *world) { w.node.dies = has("--audit-log-path") }},
		{name: "another cluster's node", outcome: harden.OutcomeUnsettled, says: "made for another target: cluster CA",
			arrange: func(w *world) { w.die("Rename", apiserverManifest, 1) },
			between: func(w *world) { w.write("/etc/kubernetes/pki/ca.crt", "") }},
		{name: "a newer version of Kubernetes meanwhile", outcome: harden.OutcomeMixed, says: "it changed since the plan was made",
			arrange: func(w *world) { w.die("Rename", apiserverManifest, 1) },
			between: func(w *world) {
				w.write(apiserverManifest, strings.ReplaceAll(w.node.text(apiserverManifest), "kube-apiserver:v1.37.", "kube-apiserver:v1.38."))
			}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.plan(some...)
			id := w.killApply(p, func() { row.arrange(w) })
			if row.between != nil {
				row.between(w)
			}
			res := w.recover(id, row.finish)
			if res.Outcome != row.outcome || !strings.Contains(res.Message.String(), row.says) {
				t.Fatalf("%s: %s; want %s: %s", res.Outcome, res.Message, row.outcome, row.says)
			}
			if row.kubelets != w.node.restarts && row.says == "" {
				t.Errorf("the kubelet was restarted %d times, want %d", w.node.restarts, row.kubelets)
			}
			switch left := w.changes(); {
			case res.Outcome == harden.OutcomeApplied && !w.planned(p):
				t.Errorf("applied, and not as planned: %q", left)
			case res.Outcome == harden.OutcomeRolledBack && len(left) > 0:
				t.Errorf("rolled back, and otherwise than before: %q", left)
			}
			if res.Outcome != harden.OutcomeUnsettled && w.outcome() != storedAs[res.Outcome] {
				t.Errorf("%s is stored as %q", res.Outcome, w.outcome())
			}
			if res.Script == "" || res.Transaction != id {
				t.Errorf("script %q of %q", res.Script, res.Transaction)
			}
		})
	}
}

// dieBefore kills the process before it replaces a path.
func (w *world) dieBefore(name, p string) {
	dead := false
	w.watch.Before = func(op backupstest.Op) error {
		if dead = dead || op.Name == name && op.Path == p; dead {
			panic(killed{})
		}
		return nil
	}
}

// reboot starts everything anew, from the files that are there.
func (w *world) reboot() {
	w.clock.now = w.clock.now.Add(time.Minute)
	w.node.startKubelet()
	for id, p := range w.node.pods {
		c, _ := harden.ComponentByID(id)
		p.text = w.node.obeyed(c)
		p.runs, p.running = p.text, w.node.instance(id, p.text, w.clock.now)
		p.noticeAt, p.stopAt, p.startAt = time.Time{}, time.Time{}, time.Time{}
	}
}

// TestRecoverAgain undoes in several attempts, each killed or failing, and restarts nothing that is proven already.
func TestRecoverAgain(t *testing.T) {
	w := newWorld(t)
	p := w.plan(some...)
	w.node.dies = has(newField)
	w.failing("Remove", policyFile, 1, ever, syscall.EIO)
	res := w.apply(p)
	if res.Outcome != harden.OutcomeMixed {
		t.Fatal(res.Outcome, res.Message)
	}
	starts, restarts := w.node.started[harden.APIServer], w.node.restarts
	if res = w.recover(res.Transaction, true); res.Outcome != harden.OutcomeUnsettled {
		t.Errorf("finished what has failed: %s", res.Message)
	}
	if res = w.recover(res.Transaction, false); res.Outcome != harden.OutcomeMixed {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	w.watch.Before = nil
	if res = w.recover(res.Transaction, false); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	if w.node.started[harden.APIServer] != starts || w.node.restarts != restarts {
		t.Errorf("recovery restarted what ran as before already")
	}
	w.node.dies = nil
	if res = w.apply(p); res.Outcome != harden.OutcomeApplied {
		t.Errorf("applied again: %s: %s", res.Outcome, res.Message)
	}
}

// TestKept undoes while others have put something into a directory that the plan has made.
func TestKept(t *testing.T) {
	w := newWorld(t)
	p := w.plan(some...)
	w.node.dies = has(newField)
	w.on("Rename", apiserverManifest, 1, func() { w.write(logDir+"/audit.log", "theirs\n") })
	res := w.apply(p)
	if !strings.Contains(res.Message.String(), "everything is as before, but for what others have put into "+logDir) {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	for _, c := range w.changes() {
		if !strings.HasPrefix(c, "/var/log") {
			t.Errorf("%s is not as before", c)
		}
	}
	if !strings.Contains(w.kinds(), "kept") {
		t.Errorf("events %s", w.kinds())
	}
	if res.Outcome != harden.OutcomeRolledBack || w.outcome() != storedAs[harden.OutcomeRolledBack] {
		t.Errorf("the outcome is %q, the store's %q: nobody has anything left to settle", res.Outcome, w.outcome())
	}
}

func TestUndo(t *testing.T) {
	w := newWorld(t)
	res := w.apply(w.plan(everything...))
	if res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	applied := w.snapshot()
	id := res.Transaction

	// An undo whose gate fails leaves everything as it was applied.
	undo := w.undo(id, "")
	w.node.lost = func(c harden.ComponentID, text string) bool {
		return c == harden.APIServer && !strings.Contains(text, newFlag)
	}
	original := w.before
	w.before = applied
	if res = w.apply(undo); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
	if w.node.sysctls["vm.overcommit_memory"] != "1" {
		t.Errorf("kernel settings are %v", w.node.sysctls)
	}
	w.node.lost = nil
	w.before = original

	// An undo that is not what undoing gives is refused.
	forged := w.undo(id, "")
	forged.Stages[0].Steps[0].After.Data = append([]byte("# more\n"), forged.Stages[0].Steps[0].After.Data...)
	if res = w.apply(forged); res.Outcome != harden.OutcomeRefused || !strings.Contains(res.Message.String(), "not what undoing transaction "+id+" gives") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}

	// It needs neither a cluster nor health, and keeps a directory that others use.
	w.node.answer = answers("readiness", newFlag, answerOf(500))
	c := w.cluster
	w.cluster = nil
	w.write(logDir+"/audit.log", "theirs\n")
	p := func() harden.Plan { defer func() { w.cluster = nil }(); w.cluster = c; return w.undo(id, "") }()
	w.events = nil
	if res = w.apply(p); res.Outcome != harden.OutcomeApplied || !strings.Contains(res.Message.String(), "undone") {
		t.Errorf("%s: %s", res.Outcome, res.Message)
	}
	if got := strings.Join(w.changes(), " "); got != "/var/log/kubernetes /var/log/kubernetes/audit /var/log/kubernetes/audit/audit.log" {
		t.Errorf("otherwise than before: %s", got)
	}
	if w.node.sysctls["vm.overcommit_memory"] != "0" {
		t.Errorf("kernel settings are %v", w.node.sysctls)
	}
}

// The API server is down for another reason: the undo could not be proven, and brought the change back.
func TestUndoOfWhatIsNotWell(t *testing.T) {
	for _, row := range []struct {
		name string
		well func(w *world)
	}{
		{"it does not answer", func(w *world) { w.node.answer = answers("readiness", "", answerOf(500)) }},
		{"its instances die", func(w *world) { w.node.dies = has(""); w.node.pods[harden.APIServer].running = nil }},
	} {
		w := newWorld(t)
		res := w.apply(w.plan("profiling", "scheduler", "pids"))
		if res.Outcome != harden.OutcomeApplied {
			t.Fatal(res.Message)
		}
		undo := w.undo(res.Transaction, "")
		row.well(w)
		w.events = nil
		res = w.apply(undo)
		if res.Outcome != harden.OutcomeApplied || !strings.Contains(res.Message.String(), "not proven to be well") || !strings.Contains(w.kinds(), "unproven") {
			t.Errorf("%s: %s: %s; events %s", row.name, res.Outcome, res.Message, w.kinds())
		}
		if strings.Contains(w.node.text(apiserverManifest)+w.node.text(schedulerManifest)+w.node.text(kubeletConfig), newFlag) {
			t.Errorf("%s: the change is still there", row.name)
		}
	}
}

func TestUndoOneControl(t *testing.T) {
	w := newWorld(t)
	res := w.apply(w.plan("profiling", "scheduler", "anonymous"))
	if res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	res = w.apply(w.undo(res.Transaction, "profiling"))
	if res.Outcome != harden.OutcomeApplied {
		t.Fatal(res.Message)
	}
	text := w.node.text(apiserverManifest)
	if strings.Contains(text, newFlag) || !strings.Contains(text, "--goaway-chance=0") || !strings.Contains(w.node.text(schedulerManifest), newFlag) {
		t.Error("undoing one control took another one's part")
	}
	if w.node.started[harden.Scheduler] != 1 || w.node.started[harden.APIServer] != 2 {
		t.Errorf("restarts: %v", w.node.started)
	}
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.offline = true
	p := w.plan(everything...)
	w.node.answer = answers("", "", answerOf(500))
	res := w.apply(p)
	if res.Outcome != harden.OutcomeApplied || !strings.Contains(res.Message.String(), "nothing restarted and nothing was proven") || !w.planned(p) {
		t.Fatalf("%s: %s", res.Outcome, res.Message)
	}
	if w.kinds() != "begun written finished" {
		t.Errorf("events %s", w.kinds())
	}
	if w.node.restarts != 0 || w.node.sysctls["vm.overcommit_memory"] != "0" {
		t.Errorf("something of this machine was touched")
	}
	w.failing("Rename", schedulerManifest, 1, ever, errors.New("no"))
	undo := w.undo(res.Transaction, "")
	w.before = w.snapshot()
	if res = w.apply(undo); res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 {
		t.Errorf("%s: %s: %q", res.Outcome, res.Message, w.changes())
	}
}

// TestOfflineRunDiesAndItsRootBoots: a disk that was being changed while it was offline must not be stuck when its node runs.
func TestOfflineRunDiesAndItsRootBoots(t *testing.T) {
	w := newWorld(t)
	w.offline = true
	p := w.plan(everything...)
	id := w.killApply(p, func() { w.die("Rename", schedulerManifest, 1) })
	if len(w.changes()) == 0 {
		t.Fatal("it died before it changed anything")
	}
	w.offline = false
	if res := w.recover(id, true); res.Outcome != harden.OutcomeUnsettled || !strings.Contains(res.Message.String(), "can be undone only") {
		t.Errorf("finished: %s: %s", res.Outcome, res.Message)
	}
	res := w.recover(id, false)
	if res.Outcome != harden.OutcomeRolledBack || len(w.changes()) > 0 || !slices.Contains(res.Hints, "kubectl-harden assess") {
		t.Errorf("%s: %s: %q, hints %q", res.Outcome, res.Message, w.changes(), res.Hints)
	}
	if res := w.apply(w.plan("profiling")); res.Outcome != harden.OutcomeApplied {
		t.Errorf("afterwards: %s: %s", res.Outcome, res.Message)
	}
}

func TestRecoverTidiesWhatPresentingAManifestLeft(t *testing.T) {
	w := newWorld(t)
	id := w.killApply(w.plan("profiling"), func() { w.die("Rename", apiserverManifest, 1) })
	w.node.backOff = true
	if res := w.recover(id, false); res.Outcome != harden.OutcomeRolledBack || !slices.Contains(w.node.tidied, apiserverManifest) {
		t.Errorf("%s: %s: tidied %q", res.Outcome, res.Message, w.node.tidied)
	}
}
