package cli

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/harden"
)

func (a *app) confirmCommand() *cobra.Command {
	return &cobra.Command{
		Use: "confirm TX", Short: "Keep a transaction that waits, and disarm its dead man's switch", Args: exactlyOne("transaction"),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.open("confirm")
			if err != nil {
				return err
			}
			if _, err := e.store.Load(args[0]); err != nil {
				return fmt.Errorf("confirming: %w", err)
			}
			return a.report(e.Confirm(cmd.Context(), args[0]))
		},
	}
}

// switchCommand is what an armed switch runs (switch.sh). It is nobody else's.
func (a *app) switchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "switch expiry|boot|drill TX", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"expiry", "boot", "drill"}, args[0]) {
				return usagef("switch wants expiry, boot or drill, not %q", args[0])
			}
			e, err := a.open("switch")
			if err != nil {
				return err
			}
			if e.m.cannotWrite != nil {
				return e.m.cannotWrite
			}
			if e.m.guards == nil {
				return errors.New("firing the dead man's switch: it is not this system's")
			}
			if args[0] == "drill" {
				_, err := e.store.Load(args[1])
				return err
			}
			// It is not interrupted: systemd would end it for good only where the machine stops.
			res, err := e.expire(cmd.Context(), args[1], args[0] == "boot", a.tell, func(s string) { fmt.Fprintln(a.Err, sentence(s)) })
			if err != nil {
				return err
			}
			if args[0] == "expiry" {
				return a.fired(args[1], res)
			}
			fmt.Fprintln(a.Err, switchSays(args[1], res))
			return nil
		},
	}
}

// fired says what a switch has done at the end of its time. Where not everything is back it is an error, and switch.sh goes on
// with restore.sh.
func (a *app) fired(tx string, res harden.Result) error {
	switch res.Outcome {
	case harden.OutcomeMixed, harden.OutcomeOwed, harden.OutcomeUnsettled:
		return a.report(res)
	}
	fmt.Fprintln(a.Err, switchSays(tx, res))
	return nil
}

func switchSays(tx string, res harden.Result) string {
	return sentence(fmt.Sprintf("transaction %s: %s: %s", tx, res.Outcome, res.Message))
}

// checkWithin refuses a time to confirm that is none.
func (s *selectFlags) checkWithin() error {
	if s.confirmWithin != 0 && (s.confirmWithin < harden.MinConfirmWithin || s.confirmWithin > harden.MaxConfirmWithin) {
		return usagef("--confirm-within is between %s and %s, not %s", harden.MinConfirmWithin, harden.MaxConfirmWithin, s.confirmWithin)
	}
	return nil
}

// switchWords says in a line what an armed switch does, and when.
func switchWords(s *harden.ArmedSwitch) string {
	words := fmt.Sprintf("transaction %s is undone in %s", s.Transaction, s.Left.Round(time.Second))
	switch {
	case s.Lost != "":
		return fmt.Sprintf("of transaction %s is LOST and undoes nothing: %s", s.Transaction, s.Lost)
	case s.Failed && s.Left <= 0:
		return fmt.Sprintf("transaction %s could not be undone wholly; a reboot tries again", s.Transaction)
	case s.Failed:
		words = fmt.Sprintf("transaction %s could not be undone wholly; it tries again in %s", s.Transaction, s.Left.Round(time.Second))
	case s.Left <= 0:
		words = fmt.Sprintf("transaction %s is being undone", s.Transaction)
	case s.Waiting:
		words += " unless it is confirmed"
	default:
		words += " unless it is finished and confirmed"
	}
	if s.Reboot {
		words += "; a reboot undoes it too"
	}
	return words
}
