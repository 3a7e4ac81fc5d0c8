package harden

import (
	"fmt"
	"time"
)

// Waiver is a finding that somebody has decided to live with for a time. It changes how the finding is counted and what is
// taken by --all, never what is seen.
type Waiver struct {
	Control string    `json:"control"`
	Reason  string    `json:"reason"`
	Until   time.Time `json:"until"` // the first moment at which it does not hold any more
	Since   time.Time `json:"since"`
	Who     string    `json:"who,omitempty"`
}

// Holds says whether the waiver has not ended.
func (w Waiver) Holds(now time.Time) bool { return now.Before(w.Until) }

// LastDay is the day up to which the waiver holds, as people write it.
func (w Waiver) LastDay() string { return w.Until.Add(-time.Second).UTC().Format(time.DateOnly) }

// Evidence is the waiver as something seen.
func (w Waiver) Evidence() Evidence {
	who := w.Who
	if who == "" {
		who = "somebody"
	}
	return Evidence{Source: "waiver", Value: fmt.Sprintf("until %s, by %s on %s: %s", w.LastDay(), who, w.Since.UTC().Format(time.DateOnly), w.Reason)}
}

// Waiver is the one for a control, if there is one.
func (f *Facts) Waiver(control string) (Waiver, bool) {
	for _, w := range f.Waivers {
		if w.Control == control {
			return w, true
		}
	}
	return Waiver{}, false
}

// waived changes a verdict by the control's waiver. What passes needs none, and what is unknown cannot be decided on.
func waived(f *Facts, control string, v Verdict) Verdict {
	w, ok := f.Waiver(control)
	if !ok {
		return v
	}
	switch {
	case v.Status != StatusFail && v.Status != StatusManual:
		v.Evidence = append(v.Evidence, w.Evidence())
	case w.Holds(f.CollectedAt):
		v.Message = Msg("waived until %s: %s (it is: %s: %s)", w.LastDay(), w.Reason, v.Status, v.Message)
		v.Status = StatusWaived
		v.Evidence = append(v.Evidence, w.Evidence())
	default:
		v.Message = Msg("%s (its waiver ended on %s)", v.Message, w.LastDay())
		v.Evidence = append(v.Evidence, w.Evidence())
	}
	return v
}
