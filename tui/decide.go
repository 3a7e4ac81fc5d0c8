package tui

import "strings"

// Terminal is what Decide goes by.
type Terminal struct {
	Lookup  func(string) (string, bool) // the environment
	InTTY   bool
	OutTTY  bool
	Windows bool
	// From the command line.
	Plain bool
	Color string // auto, always, never
	ASCII bool
}

// Decision says how to speak to a terminal.
type Decision struct {
	Plain bool
	Color bool
	ASCII bool
	Why   string // why the walk is plain; empty otherwise
}

// Decide is pure. The size plays no part: a screen that is too small may grow, so the UI says so and waits.
func Decide(t Terminal) Decision {
	env := func(name string) string {
		v, _ := t.Lookup(name)
		return v
	}
	term := env("TERM")
	dumb := term == "dumb" || term == "" && !t.Windows

	var d Decision
	switch {
	case t.Plain:
		d.Why = "--plain"
	case !t.InTTY:
		d.Why = "the input is not a terminal"
	case !t.OutTTY:
		d.Why = "the output is not a terminal"
	case dumb:
		d.Why = "TERM says that the terminal cannot move its cursor"
	case set(env("ACCESSIBLE")):
		d.Why = "ACCESSIBLE is set"
	}
	d.Plain = d.Why != ""

	switch t.Color {
	case "always":
		d.Color = true
	case "never":
	default:
		d.Color = t.OutTTY && !dumb && !monochrome(term) && env("NO_COLOR") == ""
	}

	d.ASCII = t.ASCII || dumb || !utf8Locale(env, t.Windows) || limitedFont(term)
	return d
}

func set(v string) bool { return v != "" && v != "0" && v != "false" }

// monochrome terminals have attributes but no colours.
func monochrome(term string) bool {
	return strings.HasPrefix(term, "vt1") || strings.HasPrefix(term, "vt2") || strings.HasPrefix(term, "vt3") || strings.HasSuffix(term, "-m") || strings.HasSuffix(term, "-mono")
}

// limitedFont terminals do not have our signs.
func limitedFont(term string) bool {
	return term == "linux" || strings.HasPrefix(term, "vt") || strings.HasPrefix(term, "cons")
}

// utf8Locale goes by the locale that is in force for characters.
func utf8Locale(env func(string) string, windows bool) bool {
	locale := env("LC_ALL")
	if locale == "" {
		locale = env("LC_CTYPE")
	}
	if locale == "" {
		locale = env("LANG")
	}
	if locale == "" && windows {
		return env("WT_SESSION") != ""
	}
	l := strings.ToLower(locale)
	return strings.Contains(l, "utf-8") || strings.Contains(l, "utf8")
}
