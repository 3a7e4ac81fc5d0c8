package tui

import (
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

// What a verdict goes by in time is drawn in place of what was seen, in the design's width and in less.
func TestEndsAreDrawnInTheDetail(t *testing.T) {
	c := harden.Control{ID: "c", Title: "No certificate ends soon", Why: harden.Msg("It matters."), Ends: func(*harden.Facts) []harden.End {
		return []harden.End{
			{Name: "/etc/kubernetes/pki/ca.crt", Key: "RSA 2048", CA: true, At: time.Date(2036, 11, 20, 0, 0, 0, 0, time.UTC), Days: 3641},
			{Name: "/var/lib/kubelet/pki/kubelet-client-current\x1b[2J.pem", Key: "RSA 2048", At: time.Date(2026, 12, 9, 0, 0, 0, 0, time.UTC), Days: 9},
		}
	}}
	m := &Model{theme: NewTheme(false, true), facts: &harden.Facts{}, index: map[string]int{"c": 0}, findings: []harden.Finding{{
		Control: "c", Status: harden.StatusFail, Message: harden.Msg("ends soon"), Evidence: []harden.Evidence{{Source: "seen at", Value: "seen"}},
	}}}
	for _, width := range []int{80, 60, 40} {
		d := newDoc(m.theme, width)
		m.describe(d, c)
		text := strings.Join(d.lines, "\n")
		at, ca := strings.Index(text, "2026-12-09     9d [!"), strings.Index(text, "2036-11-20  3641d [===")
		if at < 0 || ca < at || strings.Contains(text, "seen at") || strings.Contains(text, "\x1b[2J") {
			t.Errorf("at %d columns:\n%s", width, text)
		}
		for _, l := range d.lines {
			if cells(l) > width {
				t.Errorf("%d columns: %q", cells(l), l)
			}
		}
	}
}

// TestWhatCanBePastedStandsInTheDetail: it stood beside the list of controls only.
func TestWhatCanBePastedStandsInTheDetail(t *testing.T) {
	const paste = "mv -n -- '/etc/kubernetes/manifests/an old one' '/etc/kubernetes/an old one'"
	c := harden.Control{ID: "c", Title: "One file", Why: harden.Msg("It matters.")}
	m := &Model{theme: NewTheme(false, true), facts: &harden.Facts{}, index: map[string]int{"c": 0}, findings: []harden.Finding{{
		Control: "c", Status: harden.StatusFail, Message: harden.Msg("two files"), Hints: []string{paste},
	}}}
	for name, say := range map[string]func(*doc, harden.Control){"the detail": m.describe, "beside the list": m.brief} {
		d := newDoc(m.theme, 120)
		say(d, c)
		if text := strings.Join(d.lines, "\n"); !strings.Contains(text, paste) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	// Broken like any other text, each line would have been a command of its own.
	d := newDoc(m.theme, 60)
	m.describe(d, c)
	if text := strings.Join(d.lines, "\n"); !strings.Contains(text, "  mv -n -- '/etc/kubernetes/manifests/an old one' \\\n    '/etc/kubernetes/an old one'") {
		t.Errorf("in few columns:\n%s", text)
	}
}
