package tui

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
)

// attacks are strings that a file, an object or a process could hold.
var attacks = []string{
	"\x1b[2J\x1b[H", "\x1b]52;c;ZXZpbA==\x07", "\x1b]0;title\x1b\\", "\x1bP$q q\x1b\\", "\x9b31m", "\xc2\x9b31m", "\x1b[8m",
	"a\rb", "a\bb", "a\nb", "a\tb", "\x00", "\x7f", "\x0e\x0f", "\x85",
	"\u202egnp.exe", "\u2066a\u2069", "\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u061c", "\u2028", "\u2029",
	"\u00a0", "\u3000", "\u2003", "\u115f", "\u3164", "\uffa0", "\u2800", "\u034f", "\u180e", "\ufe0f", "\U000e0041", "\U000e0100",
	"=\u0338", "e\u0301\u0302\u0303\u0304\u0305\u0306\u0307", "\u0301", "1\ufe0f\u20e3", "👩\u200d👩", "👍🏽", "🇨🇳",
	"\ue000", "\U0010ffff", "\xff\xfe", "\xed\xa0\x80", "\xc0\xaf",
}

func TestInert(t *testing.T) {
	tests := map[string]string{
		"":                                "",
		"--profiling=false":               "--profiling=false",
		"安全/审计.yaml":                      "安全/审计.yaml",
		"Zürich, Łódź, Việt Nam":          "Zürich, Łódź, Việt Nam",
		"नमस्ते":                          "नमस<U+094D>त<U+0947>", // 3 cells or 4, as the terminal likes
		"ภาษาไทย":                         "ภาษาไทย",
		"\x1b[31mred":                     "^[[31mred",
		"a\r\n":                           "a^M^J",
		"a\x7f":                           "a^?",
		"\u202egnp":                       "<U+202E>gnp",
		"a\u200bb":                        "a<U+200B>b",
		"\xff":                            "<0xFF>",
		"\u009b31m":                       "<U+009B>31m",
		"=\u0338":                         "=<U+0338>",
		"e\u0301":                         "e\u0301",
		"\u0301":                          "<U+0301>",
		"a\u00a0b":                        "a<U+00A0>b",
		"e\u0301\u0301\u0301\u0301\u0301": "e\u0301\u0301\u0301\u0301<U+0301>",
	}
	for in, want := range tests {
		if got := Inert(in, false); got != want {
			t.Errorf("Inert(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := Inert("审a", true), "<U+5BA1>a"; got != want {
		t.Errorf("in ASCII: %q, want %q", got, want)
	}
}

// TestInertHoldsForEveryRune: nothing that comes out moves the cursor, is invisible, or is as wide as the terminal likes.
func TestInertHoldsForEveryRune(t *testing.T) {
	check := func(in string) {
		for _, ascii := range []bool{false, true} {
			out := Inert(in, ascii)
			for i := 0; i < len(out); i++ {
				if out[i] < 0x20 || out[i] == 0x7f || ascii && out[i] > 0x7e {
					t.Fatalf("Inert(%q, %v) = %q has byte %#x", in, ascii, out, out[i])
				}
			}
			if !utf8.ValidString(out) {
				t.Fatalf("Inert(%q) = %q is not UTF-8", in, out)
			}
			if a, b := ansi.StringWidth(out), ansi.StringWidthWc(out); a != b || a == 0 {
				t.Fatalf("Inert(%q) = %q is %d or %d cells wide", in, out, a, b)
			}
			if ansi.Strip(out) != out {
				t.Fatalf("Inert(%q) = %q has a control sequence", in, out)
			}
		}
	}
	for r := rune(0); r < 0x30000; r++ {
		if r < 0xD800 || r > 0xDFFF {
			check(string(r))
		}
	}
	for b := range 256 {
		check(string([]byte{byte(b)}))
	}
	for _, s := range attacks {
		check("a" + s + "b")
	}
	for _, s := range []string{"नमस्ते", "ภาษาไทย", "각", "มี้", "\u1100\u1161\u11a8"} {
		check(s)
	}
}

func TestCutAndWrap(t *testing.T) {
	th := NewTheme(true, false)
	if got, want := th.middle("/etc/kubernetes/manifests/kube-apiserver.yaml", 20), "/etc/kuber⋯rver.yaml"; got != want {
		t.Errorf("middle: %q, want %q", got, want)
	}
	if got, want := th.fit("审计策略", 6), "审计⋯ "; got != want {
		t.Errorf("fit: %q, want %q", got, want)
	}
	texts := append([]string{"审计策略审计策略审计策略审计策略", "one two three four five", strings.Repeat("x", 99), "a  b", " "}, attacks...)
	for _, s := range texts {
		for w := 1; w < 40; w++ {
			for _, l := range th.wrap(s, w) {
				if cells(l) > w {
					t.Fatalf("wrap(%q, %d) has %q", s, w, l)
				}
			}
			if n := cells(th.cut(th.inert(s), w)); n > w {
				t.Fatalf("cut(%q, %d) is %d cells wide", s, w, n)
			}
			if n := cells(th.middle(th.inert(s), w)); n > w {
				t.Fatalf("middle(%q, %d) is %d cells wide", s, w, n)
			}
		}
	}
}
