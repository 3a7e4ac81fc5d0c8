//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

var switchScenarios = []scenario{
	{
		name:   "07-switch",
		proves: "what can lock the operator out is undone unless somebody confirms",
		run:    deadMansSwitch,
	},
	{
		name:   "07-switch-dead",
		proves: "the same with our process killed, and after a reboot",
		long:   "it takes 5 minutes, most of them waiting",
		run:    deadSwitch,
	},
	{
		name:   "07-switch-hung",
		proves: "the same with our process alive and hung in the middle of the change",
		long:   "it takes a quarter of an hour, most of it waiting",
		run:    hungSwitch,
	},
	{
		name:   "07-switch-killed",
		proves: "the same with our process killed in the middle of the change, and nobody who recovers",
		long:   "it takes a quarter of an hour, most of it waiting",
		run:    killedSwitch,
	},
	{
		name:   "07-switch-edited",
		proves: "what waits for confirm while somebody edits another line: an undo by hand and the switch take back what is ours, and keep the edit",
		long:   "it takes 6 minutes: the API server restarts eight times",
		run:    editedWaiting,
	},
	{
		name:   "07-switch-detached",
		proves: "the same without systemd: confirmed, undone by hand, and undone by a process of its own",
		long:   "it takes 5 minutes, most of them waiting",
		run:    detachedSwitch,
	},
}

const confirmWithin = 30 * time.Second

// lockOut is a change that arms the switch.
func lockOut(within time.Duration) []string {
	return []string{"apply", "--control", "harmful-lock-out", "--yes", "--soak", "0s", "--confirm-within", within.String()}
}

// newest is the newest transaction's id.
func (t *T) newest() string {
	var history struct{ Transactions []struct{ ID string } }
	out := t.must(0, "history", "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &history); err != nil || len(history.Transactions) == 0 {
		t.fatalf("history: %v: %s", err, out)
	}
	return history.Transactions[0].ID
}

// lockedOut says whether the change is there: in the file and in the live process.
func (t *T) lockedOut() bool {
	const arg = "--min-request-timeout=1802"
	inFile := strings.Contains(t.shell("cat "+manifest), arg)
	live := slices.ContainsFunc(t.instances(t.node, apiServer), func(i instance) bool { return slices.Contains(i.Args, arg) })
	return inFile && live
}

const killedLease, livingUI = "lease: ", "process: "

// undoneByItself waits until the switch has brought everything back, and gives how long that took. What may stay is what
// an UI is that lives on, or the lease of a run that was killed, until somebody clears it away.
func (t *T) undoneByItself(before picture, limit time.Duration, how, mayStay string) time.Duration {
	took := t.within(limit, how+": as before", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		return len(d) == 0, strings.Join(d, "\n")
	})
	t.healthy(how)
	if before.objects != nil {
		t.sameObjects(before.objects, t.lasting, how)
	}
	t.within(time.Minute, how+": nothing is left", func() (bool, string) {
		l := t.leftovers(t.node)
		l = slices.DeleteFunc(l, func(l string) bool { return mayStay != "" && strings.HasPrefix(l, mayStay) })
		return len(l) == 0, strings.Join(l, "\n")
	})
	if mayStay == killedLease {
		t.must(0, "status", "--clean")
		t.clean(how)
	}
	return took
}

func deadMansSwitch(t *T) {
	before := t.wholePicture()
	t.step("confirmed")
	t.harm(9, lockOut(confirmWithin)...)
	if !t.lockedOut() {
		t.errorf("the change is not there")
	}
	t.harm(0, "confirm", t.newest())
	time.Sleep(confirmWithin + 15*time.Second)
	if !t.lockedOut() {
		t.errorf("confirmed, and undone all the same")
	}
	t.clean("after confirm")
	t.harm(0, "rollback", "--yes")
	t.healthy("after the rollback")
	t.same(before, "after the rollback")

	t.step("nobody confirms")
	t.harm(9, lockOut(confirmWithin)...)
	if out := t.harden("status"); !strings.Contains(out.stdout+out.stderr, "confirm "+t.newest()) {
		t.errorf("status does not say that %s waits for confirm: %s", t.newest(), out)
	}
	t.figure("undone after", "%s, of which %s to confirm", seconds(t.undoneByItself(before, 4*time.Minute, "nobody confirms", "")), confirmWithin)
}

func deadSwitch(t *T) {
	before := t.picture(t.node)
	t.harm(9, lockOut(confirmWithin)...)
	lines := t.journal()
	t.harm(0, "rollback", "--yes")
	t.healthy("after the rollback")
	at := slices.IndexFunc(lines, func(l journalLine) bool { return l.Kind == "waiting" }) + 1
	if at == 0 {
		t.fatalf("the journal has no line that says that confirm is awaited: %v", kinds(lines))
	}
	// The applier ends soon after that line, and may be faster.
	var k killed
	for try := 1; len(k.PIDs) == 0; try++ {
		if try > 3 {
			t.fatalf("nothing was killed: %+v", k)
		}
		if try > 1 {
			t.harm(0, "rollback", "--yes")
			t.forgive()
			t.healthy("after the rollback")
		}
		t.step("killed as soon as confirm is awaited, after line %d", at)
		t.agent(t.node, &k, append([]string{"killat", strconv.Itoa(at), "9", harmfulPath}, lockOut(confirmWithin)...)...)
		t.detail("%+v", k)
	}
	t.figure("killed", "%d processes", len(k.PIDs))
	if !t.lockedOut() {
		t.errorf("killed too early: the change is not there")
	}
	t.undoneByItself(before, 4*time.Minute, "killed", killedLease)

	t.step("a reboot before anybody confirms")
	t.harm(9, lockOut(time.Hour)...)
	if before := t.shell(`systemctl show -p Before $(cd /etc/systemd/system && ls -d kubectl-harden-switch-*.service)`); !strings.Contains(before, "kubelet.service") {
		t.errorf("no unit of the switch comes before the kubelet at boot: %q", before)
	}
	t.need(t.node.Kill(t.ctx))
	start := time.Now()
	t.need(t.node.Boot(t.ctx))
	t.undoneByItself(before, 4*time.Minute, "after a reboot", "")
	t.figure("undone after a reboot in", "%s", seconds(time.Since(start)))
}

func kinds(lines []journalLine) (out []string) {
	for _, l := range lines {
		out = append(out, l.Kind)
	}
	return out
}

// inTheMiddle sends a signal to our process once the manifest is written and the new API server is awaited, and gives the processes that
// got it. The switch was armed for as long as the whole change may take, which is minutes.
func (t *T) inTheMiddle(signal string) killed {
	t.harm(9, lockOut(confirmWithin)...)
	lines := t.journal()
	t.harm(0, "rollback", "--yes")
	t.healthy("after the rollback")
	at := slices.IndexFunc(lines, func(l journalLine) bool { return l.Kind == "done" && l.Target == manifest }) + 1
	if at == 0 {
		t.fatalf("the journal has no line that says that the manifest is written: %v", kinds(lines))
	}
	var k killed
	t.agent(t.node, &k, append([]string{"killat", strconv.Itoa(at), signal, harmfulPath}, lockOut(confirmWithin)...)...)
	t.detail("%+v", k)
	if len(k.PIDs) == 0 {
		t.fatalf("no process got the signal: %+v", k)
	}
	return k
}

// backWithoutHelp waits until the switch has undone what was left in the middle.
func (t *T) backWithoutHelp(before picture, how string) {
	start := time.Now()
	t.within(15*time.Minute, how+": undone by itself", func() (bool, string) {
		d := before.differences(t.picture(t.node))
		time.Sleep(3 * time.Second)
		return len(d) == 0, strings.Join(d, "\n")
	})
	t.figure(how+": undone after", "%s", seconds(time.Since(start)))
	t.healthy(how)
}

func hungSwitch(t *T) {
	before := t.picture(t.node)
	k := t.inTheMiddle("19")
	t.backWithoutHelp(before, "hung")
	t.step("the hung process goes on")
	for _, pid := range k.PIDs {
		t.shell(fmt.Sprintf("kill -CONT %d || true", pid))
	}
	time.Sleep(20 * time.Second)
	t.undoneByItself(before, 2*time.Minute, "after the hung process went on", killedLease)
}

func killedSwitch(t *T) {
	before := t.picture(t.node)
	t.inTheMiddle("9")
	t.expect("status after the kill", t.harden("status"), 5, "recover")
	t.backWithoutHelp(before, "killed in the middle")
	t.undoneByItself(before, 2*time.Minute, "after the kill", killedLease)
	t.must(0, "status")
}

// editedWaiting has somebody edit another line of the manifest while a change of ours waits for confirm.
func editedWaiting(t *T) {
	before := t.wholePicture()
	const other = "--max-requests-inflight=401"
	const edit = `s/^    - --allow-privileged=true$/&\n    - ` + other + `/`
	kept := func(how string) {
		if text := t.shell("cat " + manifest); !strings.Contains(text, other) || strings.Contains(text, "--min-request-timeout") {
			t.errorf("%s: wanted the other's line and not ours:\n%s", how, text)
		}
		t.shell(`sed -i "/` + other + `/d" ` + manifest)
		t.forgive()
		t.runsAs(before, how+", without the edit of others")
		t.undoneByItself(before, time.Minute, how, "")
	}

	t.harm(9, lockOut(time.Hour)...)
	t.edited(edit, other)
	out := t.harm(0, "rollback", "--yes")
	t.figure("undo", "%s", seconds(out.took))
	kept("undone by hand")

	t.forgive()
	t.harm(9, lockOut(90*time.Second)...)
	t.step("somebody edits the manifest: %s", edit)
	t.shell(`sed -i "$1" `+manifest, edit)
	t.within(8*time.Minute, "the switch has undone it", func() (bool, string) {
		text := t.shell("cat " + manifest)
		found := t.instances(t.node, apiServer)
		return !strings.Contains(text, "--min-request-timeout") && len(found) == 1 && !slices.Contains(found[0].Args, "--min-request-timeout=1802"), text
	})
	t.healthy("after the switch")
	kept("undone by the switch")
}

// detachedSwitch hides systemd from the product.
func detachedSwitch(t *T) {
	before := t.wholePicture()
	product := func(code int, args ...string) said {
		out := t.hidden(systemd, harmfulPath, args...)
		t.step("without systemd: %s: exit code %d", strings.Join(args, " "), out.code)
		if out.code != code {
			t.fatalf("wanted exit code %d: %s", code, out)
		}
		return out
	}

	// Without systemd nothing would take a second API server away, and so there is none.
	accepted := func(within time.Duration) []string { return append(lockOut(within), "--accept", apiServer) }
	if out := product(8, lockOut(confirmWithin)...); !strings.Contains(out.stdout+out.stderr, "--accept kube-apiserver") {
		t.errorf("it is not said what can be accepted: %s", out)
	}
	product(9, accepted(confirmWithin)...)
	if units := t.shell("cd /etc/systemd/system && ls -d kubectl-harden-* 2>/dev/null || true"); units != "" {
		t.errorf("systemd is not hidden: %s", units)
	}
	product(0, "confirm", t.newest())
	time.Sleep(confirmWithin + 15*time.Second)
	if !t.lockedOut() {
		t.errorf("confirmed, and undone all the same")
	}
	t.clean("after confirm")
	product(0, "rollback", "--yes")
	t.healthy("after the rollback")
	t.same(before, "after the rollback")

	product(9, accepted(time.Hour)...)
	product(0, "rollback", "--yes")
	t.undoneByItself(before, time.Minute, "undone by hand", "")

	product(9, accepted(confirmWithin)...)
	t.figure("undone after", "%s, of which %s to confirm", seconds(t.undoneByItself(before, 4*time.Minute, "nobody confirms", "")), confirmWithin)
}
