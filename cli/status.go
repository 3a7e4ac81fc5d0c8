package cli

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

// statusView is what status -o json prints (docs/schema/status.json).
type statusView struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Lock       *lockView    `json:"lock"`      // null: nobody holds it
	Unsettled  []openView   `json:"unsettled"` // transactions that need recover
	Damaged    []brokenView `json:"damaged"`   // settled ones that are not what was written
	Switch     *armedView   `json:"switch"`    // the armed dead man's switch; null: none
	Canary     *string      `json:"canary"`    // a canary that is left; null: none
	Left       []string     `json:"left"`      // units of switches that nothing needs any more
	Foreign    []string     `json:"foreign"`   // what is kept among the transactions and is none
	Handover   *string      `json:"handover"`  // what leads connections to a second API server; null: nothing
	Lease      *string      `json:"lease"`     // who of this node holds the lease of runs and is no more; null: nobody
	// LeaseUnknown says why that is not known.
	LeaseUnknown string `json:"leaseUnknown,omitempty"`

	armed *harden.ArmedSwitch
}

type lockView struct {
	PID     int       `json:"pid"`
	Who     string    `json:"who"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

type armedView struct {
	Transaction string  `json:"transaction"`
	Waiting     bool    `json:"waiting"`          // only confirm is awaited; otherwise the change is being made
	SecondsLeft float64 `json:"secondsLeft"`      // until it undoes; 0: it is at it
	Reboot      bool    `json:"reboot"`           // a reboot undoes it too
	Failed      bool    `json:"failed,omitempty"` // an undo failed, and it tries again: at the end of its time, and at boot
	Lost        string  `json:"lost,omitempty"`
}

type openView struct {
	ID      string    `json:"id"`
	Began   time.Time `json:"began"`
	Script  string    `json:"script"`
	Damage  string    `json:"damage,omitempty"`
	Running bool      `json:"running"` // the lock holder is at it
	Waiting bool      `json:"waiting"` // only confirm is awaited
	// Restored: restore.sh has brought the files back, by hand or by the dead man's switch, and nothing is proven since.
	Restored bool     `json:"restored"`
	Mixed    bool     `json:"mixed"`          // its undo failed; recover tries again
	Owed     []string `json:"owed"`           // objects that could not be put back
	Kept     string   `json:"kept,omitempty"` // what restore.sh has saved of others before it replaced that
}

type brokenView struct {
	ID      string         `json:"id"`
	Began   time.Time      `json:"began"`
	Outcome harden.Outcome `json:"outcome"`
	Script  string         `json:"script"`
	Damage  string         `json:"damage"`
	ways    []way          // for people
	byHand  bool
	// restored: restore.sh has brought everything back, so that nothing is left to settle.
	restored bool
}

func (a *app) statusCommand() *cobra.Command {
	var clean bool
	var out string
	cmd := &cobra.Command{
		Use: "status", Short: "Lock, armed switch, interrupted transactions, owed objects", Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(out, "table", "json"); err != nil {
				return err
			}
			e, err := a.open("status")
			if err != nil {
				return err
			}
			if clean {
				if err := a.clean(cmd.Context(), e); err != nil {
					return err
				}
			}
			v, err := a.status(cmd.Context(), e)
			if err != nil {
				return err
			}
			if out == "json" {
				err = writeJSON(a.Out, v)
			} else {
				a.printStatus(v)
			}
			if err == nil {
				err = v.code()
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&clean, "clean", false, "remove what killed runs have left half made")
	return cmd
}

// code is the contract's: what needs recover, before what waits for confirm.
func (v statusView) code() error {
	if slices.ContainsFunc(v.Damaged, func(b brokenView) bool { return !b.restored }) {
		return &codeError{exitUnsettled}
	}
	code := exitDone
	for _, o := range v.Unsettled {
		switch {
		case o.Running:
		case !o.Waiting:
			return &codeError{exitUnsettled}
		default:
			code = exitConfirm
		}
	}
	if code != exitDone {
		return &codeError{code}
	}
	return nil
}

// clean takes the lock: the store then removes half-made and half-removed transactions by itself. Switches of transactions that
// are settled do nothing any more, and a canary that is there then is nobody's.
func (a *app) clean(ctx context.Context, e *engine) error {
	if e.m.cannotWrite != nil {
		return e.m.cannotWrite
	}
	s, err := e.store.Lock(e.holder())
	if err != nil {
		return err
	}
	left, err := e.leftSwitches()
	err = errors.Join(err, clearDesks(e.m.desks))
	for _, name := range left {
		err = errors.Join(err, e.deadMan().Disarm(ctx, strings.TrimPrefix(name, switchPrefix)))
	}
	if n, ok := e.m.node.(*hostNode); ok && e.redirectLeft() != "" {
		err = errors.Join(err, podHandover{n}.Sweep(ctx))
	}
	err = errors.Join(err, e.removeCanary(ctx))
	if a, lost := e.turns(ctx); lost == nil {
		err = errors.Join(err, a.GiveTurnBack(ctx))
	}
	return errors.Join(err, s.Unlock())
}

func (a *app) status(ctx context.Context, e *engine) (statusView, error) {
	v := statusView{APIVersion: "harden/v1", Kind: "Status", Unsettled: []openView{}, Damaged: []brokenView{}, Left: []string{}, Foreign: []string{}}
	h, held, err := e.store.Holder()
	if err != nil {
		return v, err
	}
	if held {
		v.Lock = &lockView{h.PID, h.Who, h.Command, h.Since}
	}
	armed, err := e.Switch(ctx)
	if err != nil {
		return v, err
	}
	if armed != nil {
		v.Switch = &armedView{armed.Transaction, armed.Waiting, max(0, armed.Left.Seconds()), armed.Reboot, armed.Failed, armed.Lost}
		v.armed = armed
	}
	if left, err := e.leftSwitches(); err != nil {
		return v, err
	} else if left != nil {
		v.Left = left
	}
	if foreign, err := e.store.Foreign(); err != nil {
		return v, err
	} else if foreign != nil {
		v.Foreign = foreign
	}
	if left, err := e.canaryLeft(ctx); err != nil {
		return v, err
	} else if left != "" {
		v.Canary = &left
	}
	if left := e.redirectLeft(); left != "" {
		v.Handover = &left
	}
	if left, err := e.leaseLeft(ctx); err != nil {
		v.LeaseUnknown = err.Error()
	} else if left != "" && !held {
		v.Lease = &left
	}
	open, err := e.unsettled()
	if err != nil {
		return v, err
	}
	for i, t := range open {
		o := openView{ID: t.ID, Began: t.Began, Script: e.script(t.Dir), Owed: []string{}, Running: held && i == 0, Mixed: t.Outcome == backups.Mixed}
		o.Waiting, o.Restored = t.Outcome == "" && e.waits(t.ID), e.restored(t.ID)
		if names, err := e.m.files.ReadDir(path.Join(t.Dir, "kept")); err == nil && len(names) > 0 {
			o.Kept = path.Join(path.Dir(o.Script), "kept")
		}
		if t.Damage != nil {
			o.Damage = t.Damage.Error()
		}
		events, err := e.Events(ctx, t.ID)
		if err != nil && t.Damage == nil {
			o.Damage = err.Error()
		}
		for _, ev := range events {
			o.Owed = slices.DeleteFunc(o.Owed, func(target string) bool { return target == ev.Target })
			if ev.Kind == harden.EventOwed {
				o.Owed = append(o.Owed, ev.Target)
			}
		}
		v.Unsettled = append(v.Unsettled, o)
	}
	damaged, err := e.damaged(ctx)
	for _, t := range damaged {
		v.Damaged = append(v.Damaged, brokenView{t.ID, t.Started, t.Outcome, t.Script, t.Damage, a.ways(t), t.ByHand, t.Restored})
	}
	return v, err
}

func (a *app) printStatus(v statusView) {
	lock := "free"
	if v.Lock != nil {
		lock = fmt.Sprintf("held by process %d (%s, %s) since %s", v.Lock.PID, v.Lock.Who, v.Lock.Command, v.Lock.Since.Local().Format(time.DateTime))
	}
	armed := "none armed"
	if v.armed != nil {
		armed = switchWords(v.armed)
	}
	canary := "none"
	switch {
	case v.Canary != nil && v.Lock != nil:
		canary = oneLine(*v.Canary) + ", of the run that holds the lock"
	case v.Canary != nil:
		canary = oneLine(*v.Canary) + " is left; remove it: " + a.where.called() + " status --clean"
	}
	table(a.Out, [][]string{{"lock", lock}, {"dead man's switch", armed}, {"canary", canary}})
	switch {
	case v.Handover != nil && v.Lock != nil:
		fmt.Fprintf(a.Out, "handover: connections go to the canary (%s), of the run that holds the lock\n", oneLine(*v.Handover))
	case v.Handover != nil:
		fmt.Fprintf(a.Out, "left over: %s leads connections elsewhere; remove it: %s status --clean\n", oneLine(*v.Handover), a.where.called())
	}
	switch {
	case v.LeaseUnknown != "":
		fmt.Fprintf(a.Out, "not known: whether the lease of runs is left in the cluster: %s\n", sentence(v.LeaseUnknown))
	case v.Lease != nil:
		fmt.Fprintf(a.Out, "left over: the lease of runs in the cluster, of %s, which is no more; remove it: %s status --clean\n", oneLine(*v.Lease), a.where.called())
	}
	for _, name := range v.Left {
		fmt.Fprintf(a.Out, "left over: the units %s; remove them: %s status --clean\n", oneLine(name), a.where.called())
	}
	for _, name := range v.Foreign {
		fmt.Fprintf(a.Out, "no transaction, and passed over: %s\n", oneLine(name))
	}
	for _, o := range v.Unsettled {
		what := "was interrupted; settle it: " + a.where.called() + " recover"
		switch {
		case o.Running:
			what = "is under way"
		case o.Waiting:
			what = fmt.Sprintf("waits: %s confirm %s, or %s rollback %s", a.where.called(), o.ID, a.where.called(), o.ID)
		case o.Restored:
			what = "was put back by restore.sh; prove and settle it: " + a.where.called() + " recover"
		case o.Mixed:
			what = "could not be undone wholly; try again: " + a.where.called() + " recover"
		}
		fmt.Fprintf(a.Out, "transaction %s %s\n", oneLine(o.ID), what)
		if o.Damage != "" {
			fmt.Fprintf(a.Out, "  damaged: %s\n", sentence(o.Damage))
		}
		if !o.Running {
			fmt.Fprintf(a.Out, "  way out by hand: %s\n", oneLine(a.where.byHand(o.Script)))
		}
		if o.Kept != "" {
			fmt.Fprintf(a.Out, "  restore.sh found what others had written, and kept a copy in %s\n", oneLine(o.Kept))
		}
		for _, owed := range o.Owed {
			fmt.Fprintf(a.Out, "  owed: %s\n", oneLine(owed))
		}
	}
	for _, b := range v.Damaged {
		said := "is damaged"
		switch {
		case b.restored:
			said = "is damaged, and was undone by hand"
		case b.byHand:
			said = "cannot be read any more: its undo is by hand only"
		}
		fmt.Fprintf(a.Out, "transaction %s (%s) %s\n", oneLine(b.ID), b.Outcome, said)
		fmt.Fprintf(a.Out, "  damaged: %s\n", sentence(b.Damage))
		for _, way := range b.ways {
			fmt.Fprintf(a.Out, "  %s:\n    %s\n", way.what, oneLine(a.where.pasteable(way.command)))
		}
	}
}
