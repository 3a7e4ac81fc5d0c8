package patches

import (
	"errors"
	"fmt"
	"strings"
)

// Refusal is the error of an edit that cannot be made byte for byte. Functions return it as *Refusal.
type Refusal struct {
	Line  int    // 1-based; 0 when it concerns the whole file
	Found string // what was found, without the line
	Hint  string // what to do by hand
	// Repair is the part of Hint that makes edits possible again, without what this one was to do; it may be empty.
	Repair string
}

// Error says in one sentence what was found where.
func (r *Refusal) Error() string {
	if r.Line > 0 {
		return fmt.Sprintf("line %d: %s", r.Line, r.Found)
	}
	return r.Found
}

// Hint says what to do by hand about an error that is a refusal or was caused by one; "" where nothing can be said.
func Hint(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Hint
	}
	return ""
}

func refuse(line int, hint, format string, args ...any) *Refusal {
	return &Refusal{Line: line, Found: oneLine(fmt.Sprintf(format, args...)), Hint: hint, Repair: hint}
}

// oneLine keeps a sentence in its line when it quotes what a file says.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

// byHand completes the hint of a refusal with the intent, so that it can be followed without knowing the program.
func byHand(err error, format string, args ...any) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	intent := fmt.Sprintf(format, args...) + " by hand"
	hint := intent
	if r.Hint != "" {
		hint = r.Hint + ", or " + intent
	}
	return &Refusal{Line: r.Line, Found: r.Found, Hint: hint, Repair: r.Repair}
}
