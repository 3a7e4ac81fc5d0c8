package tui

// Inert makes text of others safe to show on one line of any terminal; see inert.
func Inert(s string, asciiOnly bool) string { return inert(s, asciiOnly) }
