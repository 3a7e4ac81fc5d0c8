package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
)

// waiversFile lies beside the transactions: an undo does not touch it.
const waiversFile = "waivers"

// waiverList is what is kept.
type waiverList struct {
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Waivers    []harden.Waiver `json:"waivers"`
}

func (a *app) waiveCommand() *cobra.Command {
	var reason, until string
	var remove bool
	cmd := &cobra.Command{
		Use: "waive [CONTROL]", Short: "Live with a finding for a time; without CONTROL, what is waived", Args: atMost(1),
		Example: `  kubectl-harden waive files-super-admin --reason "kept in the safe from Monday on" --until 2027-01-31
  kubectl-harden waive                                what is waived, and what has ended
  kubectl-harden waive files-super-admin --remove`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.open("waive")
			if err != nil {
				return err
			}
			if len(args) == 0 {
				if reason != "" || until != "" || remove {
					return usagef("waive wants a CONTROL")
				}
				return a.listWaivers(e)
			}
			_, control, ok := harden.FindControl(e.areas, args[0])
			if !ok && !remove { // one that is gone from the catalogue can still be removed
				return unknownControl(e.areas, args[0])
			}
			if remove {
				if reason != "" || until != "" {
					return usagef("--remove takes neither --reason nor --until")
				}
				return a.changeWaivers(e, func(list []harden.Waiver) ([]harden.Waiver, error) {
					left := slices.DeleteFunc(slices.Clone(list), func(w harden.Waiver) bool { return w.Control == args[0] })
					if len(left) == len(list) {
						return nil, &hintedError{err: fmt.Errorf("removing a waiver: %s is not waived", args[0]), hints: []string{program + " waive"}}
					}
					return left, nil
				})
			}
			w, err := newWaiver(control.ID, reason, until, observedAt(e.clock.Now().UTC()))
			if err != nil {
				return err
			}
			w.Who = who(e.meta.Who)
			return a.changeWaivers(e, func(list []harden.Waiver) ([]harden.Waiver, error) {
				list = slices.DeleteFunc(slices.Clone(list), func(o harden.Waiver) bool { return o.Control == w.Control })
				return append(list, w), nil
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why it is lived with")
	cmd.Flags().StringVar(&until, "until", "", "the last day on which it is, such as 2027-01-31")
	cmd.Flags().BoolVar(&remove, "remove", false, "end it now")
	return cmd
}

func unknownControl(areas []harden.Area, name string) error {
	err := &harden.UnknownNameError{What: "control", Name: name}
	for _, area := range areas {
		for _, c := range area.Controls {
			err.Known = append(err.Known, c.ID)
		}
	}
	return err
}

const maxReason = 500

func newWaiver(control, reason, until string, now time.Time) (harden.Waiver, error) {
	reason = strings.Join(strings.Fields(reason), " ")
	switch {
	case reason == "":
		return harden.Waiver{}, usagef("waive wants a --reason: whoever reads it next year was not there")
	case len(reason) > maxReason:
		return harden.Waiver{}, usagef("--reason is longer than %d bytes", maxReason)
	case until == "":
		return harden.Waiver{}, usagef("waive wants --until YYYY-MM-DD: what is waived for ever is forgotten")
	}
	day, err := time.Parse(time.DateOnly, until)
	if err != nil {
		return harden.Waiver{}, usagef("--until wants a day such as 2027-01-31, not %q", until)
	}
	w := harden.Waiver{Control: control, Reason: reason, Since: now.Truncate(time.Second), Until: day.AddDate(0, 0, 1)}
	if !w.Holds(now) {
		return harden.Waiver{}, usagef("--until %s is over", until)
	}
	return w, nil
}

// changeWaivers reads, changes and keeps the list under the lock, and shows it.
func (a *app) changeWaivers(e *engine, change func([]harden.Waiver) ([]harden.Waiver, error)) error {
	if e.m.cannotWrite != nil {
		return e.m.cannotWrite
	}
	s, err := e.store.Lock(e.holder())
	if err != nil {
		return err
	}
	err = func() error {
		list, err := e.waivers()
		if err != nil {
			return err
		}
		if list, err = change(list); err != nil {
			return err
		}
		slices.SortFunc(list, func(x, y harden.Waiver) int { return strings.Compare(x.Control, y.Control) })
		data, err := json.MarshalIndent(waiverList{"harden/v1", "Waivers", list}, "", "  ")
		if err != nil {
			return fmt.Errorf("keeping waivers: %w", err)
		}
		return s.SaveDocument(waiversFile, append(data, '\n'))
	}()
	if unlocked := s.Unlock(); err == nil {
		err = unlocked
	}
	if err != nil {
		return err
	}
	return a.listWaivers(e)
}

func (a *app) listWaivers(e *engine) error {
	list, err := e.waivers()
	if err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(a.Out, "nothing is waived")
		return nil
	}
	now := observedAt(e.clock.Now().UTC())
	rows := [][]string{}
	for _, w := range list {
		word := "until"
		if !w.Holds(now) {
			word = "ended"
		}
		rows = append(rows, []string{w.Control, word + " " + w.LastDay(), w.Who, w.Reason})
	}
	table(a.Out, rows)
	return nil
}

// waivers are the ones that are kept, those that have ended too.
func (e *engine) waivers() ([]harden.Waiver, error) { return readWaivers(e.store) }

func readWaivers(s *backups.Store) ([]harden.Waiver, error) {
	data, err := s.Document(waiversFile)
	if err != nil {
		return nil, fmt.Errorf("reading waivers: %w", err)
	}
	if len(data) == 0 {
		return nil, nil
	}
	var list waiverList
	if err := json.Unmarshal(data, &list); err != nil || list.Kind != "Waivers" || list.APIVersion != "harden/v1" {
		return nil, fmt.Errorf("reading waivers: the file %s of the state directory is damaged: move it away", waiversFile)
	}
	return list.Waivers, nil
}
