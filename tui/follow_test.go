package tui

import (
	"errors"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

const openTX = "20261123-115800-5d21"

// standings of each kind.
func standings(kind string) *Standing {
	st := &Standing{Transaction: openTX, Script: "/var/lib/kubectl-harden/transactions/" + openTX + "/restore.sh"}
	switch kind {
	case "running":
		st.Running, st.Holder = true, "process 4242, mei as root: kubectl-harden apply since 11:58:00"
	case "waiting":
		st.Switch = &harden.ArmedSwitch{Transaction: openTX, Waiting: true, Left: 4*time.Minute + 12*time.Second, Reboot: true}
	case "interrupted":
		st.Hints = []string{"sudo kubectl-harden recover"}
	}
	return st
}

func openEvents(more ...harden.Event) []harden.Event {
	return append([]harden.Event{
		{Time: start.Add(-2 * time.Minute), Kind: harden.EventBegun, Message: harden.Msg("originals saved, restore.sh written")},
		{Time: start.Add(-2 * time.Minute), Kind: harden.EventArmed, Message: harden.Msg("the dead man's switch is armed; a reboot undoes it too"), Timeout: 12 * time.Minute},
		{Time: start.Add(-2 * time.Minute), Kind: harden.EventWritten, Target: apiserverPath, Message: harden.Msg("as planned")},
	}, more...)
}

var awaitingAPIServer = harden.Event{Time: start.Add(-20 * time.Second), Kind: harden.EventAwaiting, Message: harden.Msg("a new kube-apiserver that answers /livez and /readyz"), Timeout: 3 * time.Minute}

// opensOn is a walk that finds something open at its start.
func (w *walk) opensOn(kind string, events ...harden.Event) *walk {
	w.e.standing, w.e.events = standings(kind), openEvents(events...)
	w.run(w.m.readStanding(true))
	return w.settle()
}

func stands(t *testing.T, kind string, events ...harden.Event) *walk {
	t.Helper()
	return begun(t, newFake(t), Options{}).opensOn(kind, events...)
}

// TestRunOfAnotherProcessIsFollowed: the walk opens on it, and tells its end.
func TestRunOfAnotherProcessIsFollowed(t *testing.T) {
	w := stands(t, "running", awaitingAPIServer)
	w.want("Another run is under way", "mei as root", "Waiting 20 s of at most 3 min for: a new kube-apiserver", openTX, "restore.sh", "armed")
	w.keys("esc").want("Areas", "another run is under way", "C follows it")
	w.keys("*", "p", "d", "A").want("another run is under way, by process 4242").wantNot("Type the node's name")
	w.keys("esc", "esc", "C").want("Another run is under way")

	w.e.events = append(w.e.events, harden.Event{Time: start, Kind: harden.EventFinished, Outcome: harden.OutcomeRolledBack, Message: harden.Msg("undone")})
	w.e.standing = nil
	w.send(tickMsg{})
	w.want("It is over", "Rolled back: everything is as it was before.")
	w.settle().keys("esc").want("Areas").wantNot("another run")
}

// waiting is a walk whose run waits for confirm, for five minutes.
func waiting(t *testing.T) (w *walk, id string) {
	t.Helper()
	e := newFake(t)
	e.outcome = harden.OutcomeWaiting
	w = begun(t, e, Options{})
	w.keys("*", "p", "d", "A")
	id = "20261123-120000-0001"
	e.standing = standings("waiting")
	e.standing.Transaction, e.standing.Switch.Transaction, e.standing.Switch.Left = id, id, 5*time.Minute
	e.script = openEvents(harden.Event{Kind: harden.EventWaiting, Timeout: 5 * time.Minute, Outcome: harden.OutcomeWaiting, Message: harden.Msg("applied, every gate has passed")})
	w.settle().keys("'cp1", "enter")
	return w, id
}

// TestWaitingForConfirm: the time left is counted down, confirming keeps it, and what was chosen for it is no longer chosen.
func TestWaitingForConfirm(t *testing.T) {
	w, id := waiting(t)
	e := w.e
	w.want("Waiting for confirm", "undone by itself in 5 min unless you confirm it", "from another terminal",
		"sudo kubectl-harden confirm "+id, "sudo kubectl-harden rollback "+id, "a reboot")
	if n := w.m.loses(); n != 0 {
		t.Errorf("%d choices that are applied are said to be lost", n)
	}
	w.keys("C").want("Waiting for confirm") // it was meant for the screen before
	w.settle()
	w.e.clock.add(61 * time.Second)
	w.want("undone in 3 min 58 s", "in 3 min 58 s unless")
	if sum := w.m.summary.String(); !strings.Contains(sum, "undone by itself unless it is confirmed") || !strings.Contains(sum, "confirm      sudo kubectl-harden confirm "+id) {
		t.Errorf("the summary does not say how to keep it:\n%s", sum)
	}
	w.keys("C").want("Applied.", id)
	if e.standing != nil || len(w.m.choices) != 0 {
		t.Errorf("it is not confirmed: %+v, chosen %v", e.standing, w.m.choices)
	}
	if sum := w.m.summary.String(); strings.Contains(sum, "unless") || !strings.Contains(sum, "Applied.\n") {
		t.Errorf("the summary:\n%s", sum)
	}
}

// TestNobodyConfirms: the undo of the switch is another process's run, and is followed to its end.
func TestNobodyConfirms(t *testing.T) {
	w := stands(t, "waiting")
	w.want("Waiting for confirm", "undone in 4 min 11 s")
	w.e.clock.add(4*time.Minute + 13*time.Second)
	w.e.standing = standings("running")
	w.e.standing.Holder = "process 5151, root: kubectl-harden switch"
	w.e.events = openEvents(harden.Event{Time: w.e.clock.Now(), Kind: harden.EventUndoing, Message: harden.Msg("undoing: nobody confirmed it in time")})
	w.send(tickMsg{})
	w.want("Another run is under way", "nobody confirmed it in time")
	w.e.events = append(w.e.events, harden.Event{Time: w.e.clock.Now(), Kind: harden.EventFinished, Outcome: harden.OutcomeRolledBack, Message: harden.Msg("undone")})
	w.e.standing = nil
	w.send(tickMsg{})
	w.want("Rolled back")
	w.keys("C").want("nothing here waits for confirm")
}

// TestWhatTheSwitchUndidIsNotSaidToWait: the walk ended with the words, and the exit code, of a change that waits for confirm.
func TestWhatTheSwitchUndidIsNotSaidToWait(t *testing.T) {
	w, _ := waiting(t)
	w.want("Waiting for confirm")
	w.e.events = openEvents(harden.Event{Time: w.e.clock.Now(), Kind: harden.EventFinished, Outcome: harden.OutcomeRolledBack, Message: harden.Msg("nobody confirmed it in time; everything is as before")})
	w.e.standing = nil
	w.e.clock.add(time.Second)
	w.send(tickMsg{})
	w.want("Rolled back")
	if got := w.m.summary.Applied[0].Result; got.Outcome != harden.OutcomeRolledBack || len(got.Hints) > 0 {
		t.Errorf("%+v", got)
	}
	if sum := w.m.summary.String(); strings.Contains(sum, "confirm") && !strings.Contains(sum, "nobody confirmed") || strings.Contains(sum, "unless") {
		t.Errorf("the summary:\n%s", sum)
	}
}

// TestUndoingWhatWaits goes by its diff and the node's name, like every undo; nothing else is applied beside it.
func TestUndoingWhatWaits(t *testing.T) {
	w := stands(t, "waiting")
	w.keys("u").want("This undoes " + openTX)
	w.keys("d", "A").want("Type the node's name to undo")
	w = stands(t, "waiting")
	w.keys("esc").want("is undone in 4 min 11 s unless it is confirmed: C shows it")
	w.keys("*", "p", "d", "A").want("waits for confirm: confirm or undo it first")
}

func TestInterruptedTransactionIsSaid(t *testing.T) {
	w := stands(t, "interrupted")
	w.want("A transaction was interrupted", "Nobody is at it any more", "sudo kubectl-harden recover", "restore.sh")
	w.keys("C").want("nothing here waits for confirm")
	w.keys("esc").want("was interrupted, and is to be settled first: C shows how")
	w.keys("*", "p", "d", "A").want("is to be settled first").wantNot("Type the node's name")

	armed := stands(t, "interrupted")
	armed.e.standing.Switch = &harden.ArmedSwitch{Transaction: openTX, Left: time.Minute}
	armed.send(tickMsg{})
	armed.want("Its dead man's switch undoes it in 1 min.")
	armed.e.standing.Switch = &harden.ArmedSwitch{Transaction: openTX, Failed: true, Reboot: true}
	armed.send(tickMsg{})
	armed.want("Its dead man's switch could not undo it wholly, and tries again after a reboot.")
	armed.e.standing.Switch.Lost = "its timer is not there any more"
	armed.send(tickMsg{})
	armed.want("Its dead man's switch undoes nothing: its timer is not there any more")
}

// TestStandingThatCannotBeRead is told, and is no end of the walk.
func TestStandingThatCannotBeRead(t *testing.T) {
	e := newFake(t)
	e.standingErr = errors.New("reading /var/lib/kubectl-harden: permission denied")
	w := begun(t, e, Options{})
	w.want("Areas", "permission denied").keys("j").wantNot("permission denied")
}

// TestFollowedOverASecondScreen: a screen that somebody works on is not covered.
func TestFollowedOverASecondScreen(t *testing.T) {
	e := newFake(t)
	e.standing = standings("running")
	w := newWalk(t, e, Options{})
	w.hold = true
	w.run(w.m.Init())
	w.keys("enter")
	w.hold = false
	for _, c := range w.queue {
		w.run(c)
	}
	w.want("Profiling is off", "another run is under way")
}

func TestReadOnlyDoesNotConfirm(t *testing.T) {
	e := newFake(t)
	e.standing = standings("waiting")
	w := begun(t, e, Options{ReadOnly: true}).settle()
	w.keys("C").want("read only: nothing is confirmed")
	if e.standing == nil {
		t.Error("it was confirmed")
	}
}
