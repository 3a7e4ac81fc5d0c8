//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"
)

var terminalScenarios = []scenario{
	{
		name:   "05-terminal",
		proves: "a terminal that is closed leaves the run going, which another one follows; an interruption rolls back at the next safe point",
		run:    closedTerminal,
	},
	{
		name:   "07-switch-alive",
		proves: "what can lock the operator out is undone at its time although the UI lives and counts down, and the UI says so",
		run:    aliveSwitch,
	},
}

// slowly is a change that takes a while after the API server has restarted.
const slowly = productPath + " apply --control apiserver-profiling --yes --soak 20s"

// underway waits until a run has written the manifest.
func (t *T) underway(argument string) {
	t.within(time.Minute, "the manifest is written", func() (bool, string) {
		return strings.Contains(t.shell("cat "+manifest), argument), "it is not"
	})
}

// appliers are the processes that apply.
func (t *T) appliers() string {
	return t.shell(`for p in /proc/[0-9]*; do case "$(readlink $p/exe || true)" in *kubectl-harden|*harmful) tr '\0' ' ' <$p/cmdline | grep -q ' applier ' && echo ${p#/proc/};; esac; done 2>/dev/null || true`)
}

func closedTerminal(t *T) {
	before := t.wholePicture()
	const argument = "--profiling=false"

	t.step("the terminal is closed")
	m := t.measure()
	s := t.screenNamed("first", slowly)
	t.underway(argument)
	s.close()
	pid := strings.TrimSpace(t.appliers())
	if pid == "" {
		t.fatalf("the run ended with its terminal")
	}
	if group := t.shell("cat /proc/" + pid + "/cgroup"); !strings.Contains(group, "kubectl-harden-apply-") {
		t.errorf("the run is in no unit of its own: %s", group)
	}
	t.expect("status while it runs", t.harden("status"), 0, "held by process", "is under way")
	other := t.screenNamed("second", productPath)
	other.await(30*time.Second, "Another run is under way")
	t.within(3*time.Minute, "the run ends", func() (bool, string) { l := t.appliers(); return l == "", l })
	other.await(10*time.Second, "It is over", `Applied\.`)
	other.close()
	m.report("", map[string]int{apiServer: 1})
	if args := t.instance(t.node, apiServer).Args; !strings.Contains(strings.Join(args, " "), argument) {
		t.errorf("the run went on, and the change is not there: %q", args)
	}
	t.must(0, "status")
	t.clean("after the run whose terminal was closed")
	t.must(0, "rollback", "--yes")
	t.forgive()
	t.healthy("after the rollback")
	t.same(before, "after the rollback")

	for _, row := range []struct{ name, how string }{
		{"Ctrl-C in its terminal", ""}, {"SIGINT to the applier", "kill -INT %s"}, {"SIGTERM to the applier", "kill -TERM %s"},
	} {
		t.step("%s", row.name)
		s := t.screenNamed("first", slowly)
		t.underway(argument)
		began := time.Now()
		if row.how == "" {
			s.press("C-c")
		} else {
			t.shell(fmt.Sprintf(row.how, strings.TrimSpace(t.appliers())))
		}
		s.await(3*time.Minute, "ended with exit code 4")
		t.figure(row.name, "undone in %s", seconds(time.Since(began)))
		s.close()
		t.forgive()
		t.healthy(row.name)
		t.same(before, row.name)
		t.must(0, "status")
		t.clean(row.name)
	}
}

// aliveSwitch lets nobody answer a UI that waits.
func aliveSwitch(t *T) {
	before := t.wholePicture()
	s := t.screen(fmt.Sprintf("%s --control harmful-lock-out --confirm-within %s", harmfulPath, confirmWithin))
	s.await(30*time.Second, "1 control chosen", "p plan", `Network policies +[01] +[12]`)
	s.press("p")
	s.await(20*time.Second, "Plan: ", "kube-apiserver restarts")
	s.press("d")
	s.await(20*time.Second, "Diff of the whole plan", "--min-request-timeout=1802")
	s.press("A")
	s.await(10*time.Second, "Type the node's name")
	s.typeName()
	s.press("Enter")
	s.await(3*time.Minute, "Waiting for confirm", `undone in \d+ s`)
	if !t.lockedOut() {
		t.errorf("the change is not there")
	}
	t.figure("undone after", "%s, of which %s to confirm", seconds(t.undoneByItself(before, 4*time.Minute, "nobody answers the UI", livingUI)), confirmWithin)
	s.await(time.Minute, "It is over", "Rolled back: everything is as it was before")
	s.press("q")
	text := ""
	t.within(20*time.Second, "the UI ends", func() (bool, string) {
		text = s.look()
		if !strings.Contains(text, "ended with exit code") {
			time.Sleep(time.Second)
			s.press("q")
		}
		return strings.Contains(text, "ended with exit code"), text
	})
	_, code, _ := strings.Cut(text, "ended with exit code ")
	t.figure("the UI's exit code", "%s", strings.Fields(code)[0])
	t.detail("the UI's last words:\n%s", text)
	t.must(0, "status")
	t.same(before, "at the end")
	t.clean("at the end")
}
