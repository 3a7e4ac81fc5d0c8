package tui

import (
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/patches"
)

func TestFirstFrameComesBeforeAnyFact(t *testing.T) {
	w := newWalk(t, newFake(t), Options{})
	w.check()
	w.want("Areas", "API server", "q quit").wantNot("cp1")
	golden(t, "first-frame.80x24", w.frame())
	w.hold = true
	w.run(w.m.Init())
	w.e.clock.add(3 * time.Second)
	w.want("reading this node: 3 s of at most 30 s")
}

func TestWalkFromLookingToUndo(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.want("cp1", "v1.37.2", "looks only")

	// What fails, and why.
	w.keys("enter", "j", "j", "j").want("Profiling is off", "profiling is on, as it is by default")
	w.keys("enter").want("Why", "Seen", "--profiling is not set", "/debug/pprof", "effect")

	// The diff of this control alone.
	w.keys("d").want("Diff of apiserver-profiling alone", "+     - --profiling=false", "spec.containers[0].command", "asked by apiserver-profiling")
	w.keys("esc")

	// Choosing, and leaving out again.
	w.keys("space").want("chosen", "space leave out")
	w.keys("space").want("not chosen", "left out: apiserver-profiling")
	w.keys("space", "p").want("Plan: 1 control, 1 target", "kube-apiserver restarts on this node, once; it has 3 min", "transactions/20261123-120000-0001",
		"--control apiserver-profiling")

	// Not without its diff, and not by accident.
	w.keys("A").want("look at the diff first")
	w.keys("d", "A").want("Apply on cp1?", "Type the node's name to apply: cp1")
	w.settle().keys("'cp1", "enter")
	w.want("Applied.", "20261123-120000-0001", "restore.sh", "sudo kubectl-harden rollback 20261123-120000-0001")
	if n := len(w.e.applied); n != 1 {
		t.Fatalf("applied %d plans", n)
	}
	c := w.e.confirm[0]
	if c.Node != "cp1" || c.Shown[apiserverPath] != w.e.applied[0].Steps()[0].After.Digest() {
		t.Errorf("confirmed %+v", c)
	}

	// The node was read again, and what was applied is no longer chosen.
	w.keys("enter").want("0 controls chosen")
	w.keys("enter", "G", "k").want("profiling is off")

	// Undo of one control.
	w.keys("H").want("20261122-081500-7c1e", "backup", "undo")
	w.keys("enter").want("mei", "CHG-1187", "the whole transaction", "only apiserver-authorization-mode")
	w.keys("j", "u").want("This undoes apiserver-authorization-mode in 20261122-081500-7c1e.")
	w.keys("d").want("Diff of undoing", "--authorization-mode=AlwaysAllow")
	w.keys("A").want("enter undo, once the name is typed").settle().keys("'cp1", "enter").want("Undone.").wantNot("Applied.")
	if n := len(w.e.applied); n != 2 || w.e.applied[1].Undoes == "" {
		t.Fatalf("applied %d plans", n)
	}
	sum := w.m.summary.String()
	for _, want := range []string{"cp1: ", "transaction  20261123-120000-0001", "undo         sudo kubectl-harden rollback 20261123-120000-0001", "restore.sh"} {
		if !strings.Contains(sum, want) {
			t.Errorf("the summary lacks %q:\n%s", want, sum)
		}
	}
}

func TestConfirmationCannotBeHitByAccident(t *testing.T) {
	tests := map[string]struct {
		keys    []string
		settle  bool
		applied int
		says    string
	}{
		"keys in flight are left out, and it is said": {keys: []string{"'cp1", "enter"}, says: "left out: what is typed within half a second"},
		"enter alone cancels":                         {settle: true, keys: []string{"enter"}, says: "cancelled: nothing was changed"},
		"esc cancels":                                 {settle: true, keys: []string{"'cp1", "esc"}, says: "cancelled: nothing was changed"},
		"another name is refused":                     {settle: true, keys: []string{"'cp2", "enter"}, says: `"cp2" is not the name of this node`},
		"the name in capitals is another":             {settle: true, keys: []string{"'CP1", "enter"}, says: "is not the name of this node"},
		"the key that opened does not close":          {settle: true, keys: []string{"A", "enter"}, says: `"A" is not the name`},
		"y and yes are not the name":                  {settle: true, keys: []string{"'yes", "enter"}, says: "is not the name"},
		"letters are no commands":                     {settle: true, keys: []string{"'q?HS/"}, says: "> q?HS/"},
		"the name applies":                            {settle: true, keys: []string{"'cp1", "enter"}, applied: 1, says: "Applied"},
		"a mistake can be mended":                     {settle: true, keys: []string{"'cpp1", "left", "backspace", "enter"}, applied: 1, says: "Applied"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := begun(t, newFake(t), Options{})
			w.keys("*", "p", "d", "A")
			if tt.settle {
				w.settle()
			} else {
				w.e.clock.add(grace - time.Millisecond)
			}
			w.keys(tt.keys...).want(tt.says)
			if n := len(w.e.applied); n != tt.applied {
				t.Errorf("applied %d plans, want %d", n, tt.applied)
			}
		})
	}
	t.Run("a paste in flight is swallowed too", func(t *testing.T) {
		w := begun(t, newFake(t), Options{})
		w.keys("*", "p", "d", "A")
		w.send(tea.PasteMsg{Content: "cp1"})
		w.want("left out")
		w.settle().keys("enter").want("cancelled")
	})
}

func TestApplyIsNotOffered(t *testing.T) {
	t.Run("read only", func(t *testing.T) {
		w := begun(t, newFake(t), Options{ReadOnly: true})
		w.want("read only").keys("*", "p", "d").wantNot("A apply")
		w.keys("A").want("read only: nothing is applied")
	})
	t.Run("a check forbids", func(t *testing.T) {
		w := begun(t, newFake(t), Options{})
		w.keys("*", "p")
		r := w.m.top().(*reviewScreen)
		r.plans[0].Preflight[0].State = harden.Unmet
		w.keys("d").wantNot("A apply")
		w.keys("A").want("1 check forbids this plan")
		w.keys("esc").want("unmet", "forbids the plan")
	})
	t.Run("a target that cannot be shown", func(t *testing.T) {
		w := begun(t, newFake(t), Options{})
		w.keys("*", "p")
		r := w.m.top().(*reviewScreen)
		r.plans[0].Stages[0].Steps[0].After.Data = []byte("\xff\xfe")
		w.m.pop()
		w.m.push(w.m.newReview("", r.plans))
		w.keys("d", "A").want("cannot be shown, so it is not applied")
	})
	t.Run("no change", func(t *testing.T) {
		w := begun(t, newFake(t), Options{})
		w.m.push(w.m.newReview("", []harden.Plan{{}}))
		w.want("No change").keys("d").want("No change").keys("A").want("nothing to do")
	})
}

func TestProgressSaysWhatIsAwaited(t *testing.T) {
	e := newFake(t)
	e.gate = make(chan struct{}, 100)
	w := begun(t, e, Options{})
	w.apply(3)
	e.clock.add(12 * time.Second)
	w.send(tickMsg{})
	w.want("CHANGING", "Waiting 12 s of at most 3 min for: a new kube-apiserver that answers /livez and /readyz", "restore.sh")

	// Quitting asks first; to go on is the default.
	w.keys("q").want("A change is being made", "12 s of at most 3 min", "written: "+apiserverPath)
	w.keys("enter").want("A change is being made", "left out") // in flight
	w.settle().keys("enter").want("Waiting 12 s")
	w.keys("ctrl+z").want("not suspended")
	if w.quit {
		t.Fatal("it has quit while a change was being made")
	}
	w.pass(2)
	for w.m.run.live() {
		w.take()
	}
	w.want("Applied.")
}

func TestStoppingUndoes(t *testing.T) {
	for name, keys := range map[string]func(w *walk){
		"S":                     func(w *walk) { w.keys("ctrl+c").settle().keys("S") },
		"S after q":             func(w *walk) { w.keys("q").settle().keys("S") },
		"S that was too soon":   func(w *walk) { w.keys("ctrl+c", "S").want("A change is being made", "left out").settle().keys("S") },
		"ctrl+c twice, at once": func(w *walk) { w.keys("ctrl+c", "ctrl+c") },
	} {
		t.Run(name, func(t *testing.T) {
			e := newFake(t)
			e.gate = make(chan struct{}, 100)
			w := begun(t, e, Options{})
			w.apply(2)
			keys(w)
			w.want("Stopping")
			for w.m.run.live() {
				w.take()
			}
			w.want("Rolled back: everything is as it was before.")
			if got := w.m.summary.Applied[0].Result.Outcome; got != harden.OutcomeRolledBack {
				t.Errorf("outcome %q", got)
			}
		})
	}
	t.Run("q is no answer to what q has asked", func(t *testing.T) {
		e := newFake(t)
		e.gate = make(chan struct{}, 100)
		w := begun(t, e, Options{})
		w.apply(2)
		w.keys("q").settle().keys("q").want("A change is being made", "S or ctrl+c stops and undoes, esc goes on")
		w.keys("x").want("S or ctrl+c stops and undoes, esc goes on")
		w.keys("esc").want("Applying")
	})
	t.Run("a third ctrl+c leaves the screen", func(t *testing.T) {
		e := newFake(t)
		e.gate = make(chan struct{}, 100)
		w := begun(t, e, Options{})
		w.apply(2)
		w.keys("ctrl+c", "ctrl+c", "ctrl+c").want("It is being undone already").keys("ctrl+c")
		if !w.quit {
			t.Fatal("it has not quit")
		}
		w.m.settle()
		if w.m.run.live() || len(w.m.summary.Applied) != 1 {
			t.Error("the run was not waited for")
		}
	})
}

func TestInterruptFromOutside(t *testing.T) {
	e := newFake(t)
	e.gate = make(chan struct{}, 100)
	w := begun(t, e, Options{})
	w.apply(2)
	w.send(interruptMsg{})
	w.want("Stopping: it is undone at the next safe point")
	for w.m.run.live() {
		w.take()
	}
	if !w.quit || w.m.summary.Applied[0].Result.Outcome != harden.OutcomeRolledBack {
		t.Errorf("quit %v, %+v", w.quit, w.m.summary.Applied)
	}
	w = begun(t, newFake(t), Options{})
	w.send(interruptMsg{})
	if !w.quit {
		t.Error("it has not quit while it only looked")
	}
}

func TestOfflineSaysThatNothingRestarts(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.m.facts.Identity.Offline = true
	w.keys("*", "p").want("kube-apiserver will take it up at its next start", "Offline: only files change").wantNot("restarts")
	w.keys("d", "A").want("taken up at the next start", "kube-apiserver")
	kernel := harden.Effect{Kind: harden.EffectSysctl, Sysctls: map[string]string{"kernel.panic": "10"}}
	if said := w.m.effect(kernel, nil); !strings.Contains(said, "will be loaded at the next boot: kernel.panic = 10") {
		t.Errorf("offline: %s", said)
	}
}

func TestTwoPlansAreAppliedInOrderAndTheSecondOnlyAfterTheFirst(t *testing.T) {
	for outcome, n := range map[harden.Outcome]int{harden.OutcomeApplied: 2, harden.OutcomeRolledBack: 1} {
		e := newFake(t)
		e.outcome = outcome
		w := begun(t, e, Options{})
		w.keys("enter", "G", "k", "space", "esc", "G", "enter", "space", "p")
		w.want("kube-apiserver restarts", "1 object is written", "workloads: they or their users may be cut off", "targets go down")
		w.keys("d").want("NetworkPolicy shop/deny-all-ingress")
		w.keys("A").settle().keys("'cp1", "enter")
		if len(e.applied) != n {
			t.Errorf("%s: applied %d plans, want %d", outcome, len(e.applied), n)
		}
		if n == 1 {
			w.want("1 plan was not begun")
		}
	}
}

func TestStaleResultsAreDropped(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("enter", "j", "j")
	w.hold = true
	w.keys("d", "j", "d") // two plans under way
	slow, fast := w.queue[0], w.queue[1]
	w.hold = false
	w.send(fast())
	w.want("Diff of apiserver-profiling alone")
	depth := len(w.m.stack)
	w.send(slow())
	w.want("Diff of apiserver-profiling alone")
	if len(w.m.stack) != depth {
		t.Error("a stale plan was shown")
	}
}

func TestErrorsAreSaidAndTheWalkGoesOn(t *testing.T) {
	bad := errors.New("reading /etc/kubernetes: permission denied\x1b[2J")
	t.Run("facts", func(t *testing.T) {
		e := newFake(t)
		e.factsErr = bad
		w := begun(t, e, Options{})
		w.want("permission denied^[[2J")
		e.factsErr = nil
		w.keys("*").want("nothing was read yet").keys("r").want("cp1")
	})
	t.Run("slow facts", func(t *testing.T) {
		e := newFake(t)
		e.cluster = false
		w := begun(t, e, Options{})
		w.want("connection refused").keys("G", "enter").want("? unknown", "connection refused")
	})
	t.Run("plan", func(t *testing.T) {
		e := newFake(t)
		e.planErr = bad
		begun(t, e, Options{}).keys("*", "p").want("permission denied", "Areas")
	})
	t.Run("a plan that is refused with what to do by hand", func(t *testing.T) {
		e := newFake(t)
		e.planErr = &patches.Refusal{Line: 13, Found: "the value is in flow style", Hint: "write it as a block"}
		begun(t, e, Options{}).keys("*", "p").want("line 13: the value is in flow style", "what to do: write it as a block")
		text, _, _ := plainly(t, e, Options{Preselect: begin("apiserver-profiling")}, "plan", "q")
		if !strings.Contains(text, "what to do: write it as a block") {
			t.Error(text)
		}
	})
	t.Run("history", func(t *testing.T) {
		e := newFake(t)
		e.historyErr = bad
		begun(t, e, Options{}).keys("H").want("permission denied", "Areas")
	})
	t.Run("undo", func(t *testing.T) {
		e := newFake(t)
		e.undoErr = errors.New("undoing: " + apiserverPath + ": somebody changed the same lines since")
		begun(t, e, Options{}).keys("H", "u").want("somebody changed the same lines since", "History")
	})
	t.Run("save", func(t *testing.T) {
		e := newFake(t)
		w := begun(t, e, Options{})
		w.keys("*", "s", "enter").want("choices written to harden-choices.json")
		w.keys("s", "enter").want("it exists already", "> harden-choices.json")
		w.keys("ctrl+u", "'b.json", "enter").want("choices written to b.json")
		if w.m.summary.ChoicesFile != "b.json" {
			t.Errorf("summary says %q", w.m.summary.ChoicesFile)
		}
	})
}

func TestAcceptingWhatIsUnknown(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("enter", "j", "a").want("choose the control first")
	w.keys("space").want("it can lock operators out")
	w.keys("p").want("Left out", "apiserver-anonymous-auth: load balancers ask for /livez or /readyz", "a on this control accepts")
	w.keys("esc", "a").want("accepted on your word")
	w.keys("p").want("Plan: 1 control", "lock-out: operators may lose access", "kubeadm join")
	w.keys("G").want("--accept apiserver-anonymous-auth")
	w.keys("d", "A").want("? unknown", "balancer-health-path")
	w.settle().keys("'cp1", "enter").want("Applied")
	if got := w.e.confirm[0].Unknown; len(got) != 1 || got[0] != "balancer-health-path" {
		t.Errorf("unknown: %q", got)
	}
}

func TestForm(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("j", "enter", "o", "j", "j", "enter").want("audit-policy: maxbackup", "> 10")
	w.keys("ctrl+u", "'0", "enter").want("0 keeps all of them")
	w.keys("backspace", "'x", "enter").want(`"x" is not a whole number`)
	w.keys("ctrl+u", "'7", "enter").want("maxbackup                 7")
	w.keys("j", "right").want("format                    legacy")
	w.keys("j", "space").want("secrets                   false")
	w.keys("esc", "p").want("nothing is chosen yet") // what is set is not chosen by that
	w.keys("space", "p", "G").want("--set audit-policy.format=legacy --set audit-policy.maxbackup=7")
	choice := w.m.choices["audit-policy"]
	if choice.Options["maxbackup"] != "7" || choice.Options["secrets"] != "false" || choice.Remedy != "write" {
		t.Errorf("%+v", choice)
	}

	// A literal remedy is taken by name only.
	w = begun(t, newFake(t), Options{})
	w.keys("enter", "j", "o").want("one of 2 remedies", "health-endpoints-only")
	w.keys("right").want("no-anonymous", "Refuse every anonymous request")
	w.keys("d").want("--anonymous-auth=false", "tcpSocket")
}

func TestSearchAndFilter(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("/", "'1.2.15").want("apiserver-profiling", "1 match").keys("enter").want("Profiling is off", "References")
	w.keys("esc").want("1 match", "/ 1.2.15").keys("esc", "/", "'nothing like it").want("Nothing has these words").keys("enter").want("0 matches").keys("esc").want("Areas")
	w.keys("f").want("All areas", "failing only (5 of 9)", "Namespace shop").wantNot("Events are not dropped")
	w.keys("f").want("manual and unknown only (1 of 9)", "Events are not dropped")
	w.keys("space", "f").want("chosen only (1 of 9)", "Events are not dropped")
	w.keys("space").want("No control here is chosen.").keys("j", "enter", "space", "d").want("No control here is chosen.")
	w.keys("f").want("showing all")
}

// In the list of all that fails "Profiling is off" stood twice, and nothing told which component was meant.
func TestControlsOfOneTitleAreToldApart(t *testing.T) {
	for _, width := range []int{60, 80, 100, 132, 160} {
		e := newFake(t)
		e.areas[3].Title, e.areas[3].Controls[0].Title = "Controller manager", "Profiling is off"
		w := begun(t, e, Options{Width: width, Height: 24})
		w.keys("f")
		w.check()
		list := width
		if width >= splitWidth {
			list = width * 9 / 20
		}
		var twins []string
		for line := range strings.Lines(w.frame()) {
			if row := []rune(line); strings.Contains(line, " fail ") && strings.Contains(line, "Profi") {
				twins = append(twins, strings.TrimSpace(string(row[:min(list, len(row))])))
			}
		}
		if len(twins) != 2 || !strings.Contains(twins[0], "  API s") || !strings.Contains(twins[1], "  Contr") {
			t.Errorf("%d wide: %q", width, twins)
		}
	}
}

func TestHelpRunsEntries(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	w.keys("enter", "j", "j", "j", "?").want("Help", "space", "leave it out")
	w.keys("'exact diff", "enter").want("Diff of apiserver-profiling alone")
	w.keys("?", "'apply the plan", "enter").want("not here: on a plan")
	w.keys("ctrl+u", "'recommended").want("as recommended", "not as recommended").keys("esc")
	w.keys("?", "'zzz").want("No key does this").keys("enter", "esc").want("Diff of")
	w.keys("?", "'history", "enter").want("History")
}

func TestDiffScreen(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 160, Height: 30})
	w.keys("*", "j", "*", "p", "d").want("change 1 of 3", " | ")
	w.keys("n").want("change 2 of 3").keys("n", "n", "n").want("change 3 of 3").keys("N").want("change 2 of 3")
	w.keys("v").wantNot(" | ").keys("v").want(" | ")
	w.keys("y").want("copied 7 lines of change 2")
	if !strings.Contains(w.copied, "    - --profiling=false\n") || strings.Contains(w.copied, "+") {
		t.Errorf("copied %q", w.copied)
	}
	w.keys("e").want("change 2 of 3", "--profiling=false").keys("N").want("change 1 of 3", "--allow-privileged").keys("g").want("apiVersion: v1").keys("n").want("change 2 of 3")
	w.keys("w", "enter").want("diff written to harden.diff")
	got := w.e.saved["harden.diff"]
	if !strings.Contains(got, "--- a/etc/kubernetes/manifests/kube-apiserver.yaml\n") || !strings.Contains(got, "# /etc/kubernetes/policies: new directory") {
		t.Errorf("wrote:\n%s", got)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	w := begun(t, newFake(t), Options{})
	step := harden.Step{
		ID: "/etc/kubernetes/enc.yaml", Kind: harden.StepFile, Path: "/etc/kubernetes/enc.yaml", Secret: true,
		Before: harden.State{Exists: true, Data: []byte("old-key-material"), Mode: 0o600}, After: harden.State{Exists: true, Data: []byte("new-key-material"), Mode: 0o600},
	}
	plans := []harden.Plan{{Stages: []harden.Stage{{Steps: []harden.Step{step}}}}}
	w.m.push(w.m.newReview("", plans))
	for _, k := range []string{"j", "d", "e", "y", "w"} {
		w.keys(k).wantNot("key-material")
	}
	w.keys("enter", "esc").want("secret", "sha256 ")
	if text := string(unified(targets(plans))); strings.Contains(text, "key-material") || !strings.Contains(text, "# /etc/kubernetes/enc.yaml") || w.copied != "" {
		t.Errorf("wrote %q, copied %q", text, w.copied)
	}
}

func TestMouseScrollsOnly(t *testing.T) {
	w := begun(t, newFake(t), Options{Mouse: true})
	if w.m.View().MouseMode != tea.MouseModeCellMotion || newWalk(t, newFake(t), Options{}).m.View().MouseMode != tea.MouseModeNone {
		t.Error("the mouse is on only when asked for")
	}
	w.send(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	if got := w.m.top().(*areasScreen).list.cursor; got != 3 {
		t.Errorf("the cursor is on %d", got)
	}
	w.send(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
	if got := w.m.top().(*areasScreen).list.cursor; got != 0 {
		t.Errorf("the cursor is on %d", got)
	}
}

// TestEveryWarningWasSaidForEachPlanOfAControl: a control with a part in two plans warns once.
func TestEveryWarningWasSaidForEachPlanOfAControl(t *testing.T) {
	w := begun(t, newFake(t), Options{Height: 60})
	w.keys("G", "enter", "space", "p")
	r := w.m.top().(*reviewScreen)
	w.m.pop()
	w.m.push(w.m.newReview("", append(r.plans, r.plans...)))
	for _, warning := range []string{"networkpolicy-shop: workloads: they or their users may be cut off", "targets go down"} {
		if n := strings.Count(flatten(w.frame()), warning); n != 1 {
			t.Errorf("%q is said %d times:\n%s", warning, n, w.frame())
		}
	}
}
