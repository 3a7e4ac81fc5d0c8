package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"syscall"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

// errHangup ends the context of a program whose terminal is gone.
var errHangup = errors.New("the terminal is gone")

const (
	followEvery = 100 * time.Millisecond
	// applierWait is how long an applier may take to say that it is there.
	applierWait = 20 * time.Second
	// stopApplierWait covers an undo with its gates, when the machine shuts down or somebody stops the unit.
	stopApplierWait = 15 * time.Minute
)

// starter lets an applier run, by the arguments of this program.
type starter func(ctx context.Context, name string, args []string) error

// starterOn uses systemd where it runs the machine, so that the applier is outside of this session, and a session of its own
// elsewhere.
func starterOn(root *host.Root) starter {
	return func(ctx context.Context, name string, args []string) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		s, err := root.Systemd()
		if err == nil && sameMounts() {
			// The shell is what systemd may start wherever the program lies: SELinux lets it start nothing from a home directory.
			err = s.RunTransient(ctx, host.Transient{
				Name: name + ".service", About: "kubectl-harden applies a plan", StopTimeout: stopApplierWait,
				Argv: append([]string{"/bin/sh", "-c", `exec "$0" "$@"`, exe}, args...),
			})
			if !errors.Is(err, host.ErrNoSystemd) {
				return err
			}
		}
		return host.StartApart(append([]string{exe}, args...))
	}
}

// sameMounts says that systemd finds this program where we do.
func sameMounts() bool {
	ours, errOurs := os.Readlink("/proc/self/ns/mnt")
	theirs, errTheirs := os.Readlink("/proc/1/ns/mnt")
	return errOurs != nil || errTheirs != nil || ours == theirs
}

// send hands an errand to an applier of its own and follows it to its end. When the context ends it asks the applier to stop,
// which undoes; where the terminal is gone it only leaves.
func (e *engine) send(ctx context.Context, er errand, events func(harden.Event)) harden.Result {
	if e.m.cannotWrite != nil {
		return refused(e.m.cannotWrite)
	}
	if ctx.Err() != nil {
		return refused(errors.New("interrupted before anything was changed"))
	}
	f := &follower{engine: e, events: events, tty: hasTTY(), tx: er.settles()}
	if f.tx != "" {
		_, f.offset, _ = e.store.Entries(f.tx, 0) // what is there already was not done now
	}
	var err error
	if er.From, err = thisRunner(); err == nil {
		er.Meta, er.Soak = e.meta, e.soak
		f.name = "kubectl-harden-apply-" + word(4)
		f.desk, err = makeDesk(e.m.desks, f.name)
	}
	if err == nil {
		err = clearDesks(e.m.desks)
	}
	if err != nil {
		return refused(fmt.Errorf("starting the applier: %w", err))
	}
	digest, err := f.desk.put(deskErrand, er)
	laid := err == nil
	if laid {
		args := append([]string{"applier", string(f.desk), digest}, e.m.flags...)
		err = e.m.start(context.WithoutCancel(ctx), f.name, args)
	}
	// Whoever was to start it may have done so, whatever they say of it: what counts is whether somebody has taken the errand.
	if err != nil && (!laid || f.takesBack()) {
		f.desk.clear()
		return refused(&hintedError{
			err:   fmt.Errorf("starting the applier: %w; nothing was changed", err),
			hints: []string{"systemctl --failed", "journalctl -u " + f.name},
		})
	}
	return f.follow(ctx)
}

// follower reads in the journal what an applier does.
type follower struct {
	*engine
	desk    desk
	name    string
	events  func(harden.Event)
	tty     bool // there was a terminal when it began
	applier runner
	tx      string
	offset  int64 // in its journal
}

// follow waits for the result. The first interruption is passed on; a second one leaves the applier alone with its undo.
func (f *follower) follow(ctx context.Context) harden.Result {
	again := make(chan os.Signal, 1)
	defer signal.Stop(again)
	began, end := time.Now(), ctx.Done()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		f.read()
		if res, done := f.result(); done {
			f.read()
			f.desk.clear()
			return res
		}
		if res, gone := f.gone(began); gone {
			f.read()
			f.desk.clear()
			return res
		}
		select {
		case <-tick.C:
		case <-end:
			end = nil
			if errors.Is(context.Cause(ctx), errHangup) || f.tty && !hasTTY() {
				return f.left(harden.Msg("this terminal is gone, and the change goes on without it"))
			}
			signal.Notify(again, os.Interrupt, syscall.SIGTERM)
			_, _ = f.desk.put(deskStop, true) // where that fails, a second interruption leaves
		case <-again:
			return f.left(harden.Msg("left while it is being undone"))
		}
	}
}

// read passes on what is new in the journal.
func (f *follower) read() {
	if f.applier.PID == 0 {
		_, _ = f.desk.get(deskRunner, &f.applier)
	}
	if f.tx == "" {
		f.tx = f.desk.transaction()
	}
	if f.tx == "" {
		return
	}
	entries, next, _ := f.store.Entries(f.tx, f.offset)
	f.offset = next
	for _, entry := range entries {
		if ev, ok := eventOf(entry); ok {
			f.events(ev)
		}
	}
}

// result is what the applier has handed back.
func (f *follower) result() (harden.Result, bool) {
	var res harden.Result
	_, err := f.desk.get(deskResult, &res)
	return res, err == nil
}

// takesBack takes the errand back, so that no applier does it any more. False: one has taken it, or it cannot be told.
func (f *follower) takesBack() bool { return f.desk.take() == nil }

// gone says what is left of an applier that has ended without a word, or never came.
func (f *follower) gone(began time.Time) (harden.Result, bool) {
	switch {
	case f.applier.PID == 0 && time.Since(began) > applierWait:
		if f.takesBack() {
			return refused(&hintedError{
				err:   errors.New("starting the applier: it was started, and never came"),
				hints: []string{"journalctl -u " + f.name, program + " status"},
			}), true
		}
		if _, err := os.Stat(string(f.desk)); errors.Is(err, os.ErrNotExist) {
			return f.left(harden.Msg("the applier has cleared its desk before its result was read")), true
		}
		return harden.Result{}, false // it has come just now
	case f.applier.PID == 0 || f.applier.runs():
		return harden.Result{}, false
	}
	if _, done := f.result(); done {
		return harden.Result{}, false // it ended between the two looks
	}
	res := f.left(harden.Msg("the applier has ended without a word"))
	if f.tx == "" {
		res.Outcome, res.Message = harden.OutcomeRefused, harden.Msg("the applier has ended before it began anything")
	}
	res.Hints = []string{program + " recover", "journalctl -u " + f.name}
	return res, true
}

// left is the result of a follower that goes before the applier.
func (f *follower) left(why harden.Message) harden.Result {
	res := harden.Result{Outcome: harden.OutcomeUnsettled, Transaction: f.tx, Message: why, Hints: []string{program + " history"}}
	if f.tx != "" {
		res.Script, res.Hints = f.script(path.Join(f.m.stateDir, "transactions", f.tx)), []string{program + " history " + f.tx + " --follow"}
	}
	return res
}

// hasTTY says whether this process still has a terminal that could send it away.
func hasTTY() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	return tty.Close() == nil
}
