package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
)

// applierCommand is what an applier of its own runs: it does one errand, whatever becomes of who asked for it. It is nobody
// else's.
func (a *app) applierCommand() *cobra.Command {
	return &cobra.Command{
		Use: "applier DESK SHA256", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGHUP)
			e, err := a.open("applier")
			if err != nil {
				return err
			}
			e.m.start = nil // it is the one
			res, err := e.serve(cmd.Context(), desk(args[0]), args[1], a.tell)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.Err, sentence(fmt.Sprintf("transaction %s: %s: %s", res.Transaction, res.Outcome, res.Message)))
			if code := outcomeCode(res.Outcome); code != exitDone {
				return &codeError{code}
			}
			return nil
		},
	}
}

// handBackWait is how long a result lies there for who asked, once it is there.
const handBackWait = 10 * time.Second

// serve does the errand on a desk and hands its result back.
func (e *engine) serve(ctx context.Context, d desk, digest string, events func(harden.Event)) (harden.Result, error) {
	self, err := thisRunner()
	if err != nil {
		return harden.Result{}, err
	}
	if _, err := d.put(deskRunner, self); err != nil {
		return harden.Result{}, err
	}
	er, err := takeErrand(d, digest)
	if errors.Is(err, os.ErrNotExist) {
		return harden.Result{}, err // it was taken back, or another one does it and hands back what comes of it
	}
	if err != nil {
		res := refused(err)
		_, handed := d.put(deskResult, res)
		return res, handed
	}
	e.meta, e.soak = er.Meta, er.Soak
	e.begun = func(id string) { _ = writeNew(d.at(deskTransaction), []byte(id+"\n"), 0o600) }
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(d.at(deskStop)); err == nil {
				stop()
			}
			time.Sleep(followEvery)
		}
	}()
	if tx := er.settles(); tx != "" {
		e.begun(tx)
	}
	var res harden.Result
	switch {
	case er.Plan != nil:
		res = e.applyHere(ctx, *er.Plan, events)
	case er.Abandon != nil:
		res = e.abandonHere(ctx, *er.Abandon, events)
	default:
		res = e.recoverHere(ctx, er.Recover, er.Finish, events)
	}
	if _, err := d.put(deskResult, res); err != nil {
		return res, fmt.Errorf("handing back the result: %w", err)
	}
	// Who asked clears the desk. Where nobody is left to do it, it goes with us.
	for end := time.Now().Add(handBackWait); er.From.runs() && time.Now().Before(end); time.Sleep(followEvery) {
		if _, err := os.Stat(string(d)); err != nil {
			return res, nil
		}
	}
	d.clear()
	return res, nil
}
