package harden

import (
	"slices"
	"strings"
	"time"
)

// Switch is the dead man's switch of a plan that can lock the operator out: undo is armed outside our process before the first
// change, and unless somebody confirms in time everything goes back by itself.
type Switch struct {
	// Controls are the ones whose remedies can lock the operator out.
	Controls []string `json:"controls"`
	// Within is how long there is to confirm, once every gate has passed.
	Within time.Duration `json:"within"`
	// Reboot says that a reboot undoes it too, before the kubelet starts. It needs systemd.
	Reboot bool `json:"reboot"`
	// NewConnection says that confirm is taken only from whoever has come to the node since the change.
	NewConnection bool `json:"newConnection,omitempty"`
}

// Review says, line by line, what the operator is to know of the switch before it is armed.
func (s *Switch) Review() []Message {
	out := []Message{
		Msg("%s can lock you out: undo is armed outside of this program before the first change", strings.Join(s.Controls, ", ")),
		Msg("unless kubectl-harden confirm TX is run within %s of the last gate, everything is undone by itself", Spell(s.Within)),
	}
	if s.NewConnection {
		out = append(out, Msg("confirm is taken only from a new SSH connection, or at a console: one that is open already goes on whatever is refused to new ones"))
	}
	if !s.Reboot {
		return append(out, Msg("a reboot is not covered: systemd does not run this machine, and nothing would arm it again; a process of its own waits until then"))
	}
	return append(out,
		Msg("a reboot undoes it too, before the kubelet starts"),
		Msg("until then there are units below /etc/systemd/system: kubectl-harden-switch-TX.service, its .timer, its -boot.service, and multi-user.target.d/kubectl-harden-switch-TX.conf"))
}

// Spell is a duration without the units that are zero.
func Spell(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// The time to confirm.
const (
	DefaultConfirmWithin = 5 * time.Minute
	MinConfirmWithin     = 30 * time.Second
	MaxConfirmWithin     = 24 * time.Hour
)

// ArmedSwitch is a switch that waits for its time.
type ArmedSwitch struct {
	Transaction string `json:"transaction"`
	// Waiting says that every gate has passed and only confirm is awaited; otherwise the change is being made.
	Waiting bool `json:"waiting"`
	// Left is the time until it undoes, by a clock that nobody can set.
	Left time.Duration `json:"left"`
	// Reboot says that a reboot undoes it too.
	Reboot bool `json:"reboot"`
	// Failed says that an undo failed, and that it tries again: when its time is over, and at boot where Reboot says so.
	Failed bool `json:"failed,omitempty"`
	// Lost says why it does not work any more: nothing will be undone by itself.
	Lost string `json:"lost,omitempty"`
}

// switchFor is the switch that a plan needs for the controls whose remedies can lock the operator out; nil for none. Where no
// kubelet runs from the root nobody can be locked out by a change.
func switchFor(p Plan, lockOut []string) *Switch {
	controls := p.Controls()
	lockOut = slices.DeleteFunc(slices.Clone(lockOut), func(c string) bool { return !slices.Contains(controls, c) })
	if len(lockOut) == 0 || p.Target.Offline {
		return nil
	}
	return &Switch{Controls: lockOut, Within: DefaultConfirmWithin, NewConnection: p.Filters()}
}
