package tui

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestSmallTerminalsSayWhatToDo(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 40, Height: 12})
	golden(t, "small.40x12", w.frame())
	w.want("too small", "60x15", "--plain")
	w.keys("enter", "j", "A", "?").want("too small")
	if len(w.m.stack) != 1 {
		t.Error("keys act on a screen that is not shown")
	}
	w.send(tea.WindowSizeMsg{Width: 60, Height: 15})
	w.want("Areas").wantNot("too small")
	w.send(tea.WindowSizeMsg{Width: 40, Height: 12})
	w.keys("q")
	if !w.quit {
		t.Error("q does not quit")
	}
}

// TestSmallTerminalsWhileAChangeIsMade: nobody is told to leave a change that is under way, and only ctrl+c, twice, stops it.
func TestSmallTerminalsWhileAChangeIsMade(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 80, Height: 24})
	w.e.gate = make(chan struct{}, 100)
	w.apply(3)
	w.send(tea.WindowSizeMsg{Width: 40, Height: 12})
	golden(t, "small-applying.40x12", w.frame())
	w.want("goes on by itself", "Waiting").wantNot("press q", "--plain")
	w.keys("q", "q", "S", "enter")
	if w.quit || w.m.following().stopping {
		t.Error("a key that is not shown stops the change")
	}
	w.keys("ctrl+c").want("ctrl+c again stops it").settle().keys("x").wantNot("ctrl+c again")
	w.keys("ctrl+c").settle().keys("ctrl+c")
	if !w.m.following().stopping {
		t.Error("ctrl+c twice does not stop the change")
	}
	w.want("undone")

	e := newFake(t)
	e.gate = make(chan struct{}, 100)
	w = begun(t, e, Options{})
	w.apply(1)
	w.send(tea.WindowSizeMsg{Width: 30, Height: 8})
	w.want("A change is being made").keys("q", "q")
	if w.quit {
		t.Error("it has quit while a change was being made")
	}
	w.send(tea.WindowSizeMsg{Width: 80, Height: 24})
	w.want("Applying")
}

// TestEverySize draws every screen in sizes from one cell up; check asserts that each frame fits.
func TestEverySize(t *testing.T) {
	sizes := [][2]int{{1, 1}, {2, 2}, {1, 50}, {200, 1}, {40, 12}, {59, 15}, {60, 14}, {60, 15}, {61, 16}, {72, 20}, {79, 23}, {99, 24}, {100, 24}, {101, 30}, {139, 40}, {140, 40}, {141, 15}, {300, 100}}
	for name, to := range screens {
		t.Run(name, func(t *testing.T) {
			w := begun(t, newFake(t), Options{Color: true})
			to(w)
			for _, s := range sizes {
				w.send(tea.WindowSizeMsg{Width: s[0], Height: s[1]})
				w.keys("j", "G")
				w.check()
			}
			w.send(tea.WindowSizeMsg{})
			w.check()
			w.m.View()
		})
	}
}

// TestFooterKeepsHelpAndTheWayOut: hints give way, these do not.
func TestFooterKeepsHelpAndTheWayOut(t *testing.T) {
	for name, to := range screens {
		w := begun(t, newFake(t), Options{Width: MinWidth, Height: MinHeight})
		to(w)
		lines := strings.Split(w.frame(), "\n")
		footer := lines[len(lines)-1]
		_, typing := w.m.top().(typist)
		if _, asked := w.m.top().(*stopScreen); typing || asked {
			if !strings.Contains(footer, "esc") {
				t.Errorf("%s: %q does not say how to leave", name, footer)
			}
			continue
		}
		if !strings.Contains(footer, "? help") || !strings.Contains(footer, "q ") {
			t.Errorf("%s: %q", name, footer)
		}
	}
}

// TestMono: without colour there is no colour sequence, and attributes stay.
func TestMono(t *testing.T) {
	for name, to := range screens {
		w := begun(t, newFake(t), Options{})
		to(w)
		frame := strings.Join(w.m.frame(), "\n")
		if name == "controls" || name == "plan-diff" {
			golden(t, name+".mono", strings.ReplaceAll(frame, "\x1b", "^"))
		}
		for _, sgr := range sequences(frame) {
			for _, n := range strings.Split(sgr, ";") {
				if !strings.Contains(" 0 1 2 4 7 ", " "+n+" ") && n != "" {
					t.Errorf("%s: %q is more than bold, faint, underline or reverse", name, sgr)
				}
			}
		}
	}
}

// TestPalette: colours are the terminal's own 16, and none is a background.
func TestPalette(t *testing.T) {
	for name, to := range screens {
		w := begun(t, newFake(t), Options{Color: true})
		to(w)
		for _, sgr := range sequences(strings.Join(w.m.frame(), "\n")) {
			for _, n := range strings.Split(sgr, ";") {
				if len(n) == 3 || strings.HasPrefix(n, "4") && len(n) == 2 || n == "38" || n == "48" {
					t.Errorf("%s: %q", name, sgr)
				}
			}
		}
	}
	w := begun(t, newFake(t), Options{Color: true})
	v := w.m.View()
	if v.BackgroundColor != nil || v.ForegroundColor != nil || !v.AltScreen {
		t.Errorf("the view sets colours of the terminal: %+v", v)
	}
	w.keys("enter", "j", "j", "d")
	golden(t, "diff.color", strings.ReplaceAll(strings.Join(w.m.frame(), "\n"), "\x1b", "^"))
}

func sequences(s string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(s, "\x1b[")
		if !ok {
			return out
		}
		sgr, after, _ := strings.Cut(rest, "m")
		out = append(out, sgr)
		s = after
	}
}

// TestASCII: every byte on the screen is ASCII, also of texts that are not.
func TestASCII(t *testing.T) {
	for name, to := range screens {
		for _, size := range [][2]int{{80, 24}, {160, 50}} {
			e := newFake(t)
			e.areas[0].Title = "API 服务器"
			w := begun(t, e, Options{ASCII: true, Width: size[0], Height: size[1]})
			to(w)
			if i := strings.IndexFunc(w.frame(), func(r rune) bool { return r > 0x7e }); i >= 0 {
				t.Errorf("%s: %q", name, w.frame()[i:i+10])
			}
			if name == "controls" || name == "plan-diff" {
				golden(t, fmt.Sprintf("%s.ascii.%dx%d", name, size[0], size[1]), w.frame())
			}
		}
	}
}

// chinese is a plan for a path and lines that are not ASCII.
func chinese() []harden.Plan {
	const path = "/etc/kubernetes/策略/审计策略文件-生产环境-第一控制平面节点-只读副本-请勿手工修改-如需变更请联系平台安全组.yaml"
	before := "rules:\n- 级别: 元数据 # 记录谁在什么时候做了什么\n  名称: Łódź-Zürich-Việt\n"
	after := "rules:\n- 级别: 请求 # 记录谁在什么时候做了什么，以及请求的正文；不记录密钥，也不记录令牌，因为它们不应出现在日志里\n  名称: Łódź-Zürich-Việt\n"
	return onePlan(path, before, after)
}

func onePlan(path, before, after string) []harden.Plan {
	return []harden.Plan{{
		Scope: harden.ScopeNode, Choices: []harden.Choice{{Control: "audit-policy"}},
		Stages: []harden.Stage{{
			Steps: []harden.Step{{
				ID: path, Kind: harden.StepFile, Path: path, Asks: []harden.Ask{{Control: "audit-policy"}},
				Before: harden.State{Exists: true, Data: []byte(before), Mode: 0o600}, After: harden.State{Exists: true, Data: []byte(after), Mode: 0o640},
			}},
		}},
	}}
}

func TestChinesePath(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {160, 50}} {
		w := begun(t, newFake(t), Options{Width: size[0], Height: size[1], Cluster: "北京-生产-集群"})
		w.m.push(w.m.newReview("", chinese()))
		w.check()
		golden(t, fmt.Sprintf("review.cjk.%dx%d", size[0], size[1]), w.frame())
		w.keys("d")
		golden(t, fmt.Sprintf("plan-diff.cjk.%dx%d", size[0], size[1]), w.frame())
	}
}

// TestHostileText puts every attack into every place where text of others is shown, and draws every screen.
func TestHostileText(t *testing.T) {
	evil := strings.Join(attacks, "|")
	poisoned := func(t *testing.T) *fakeEngine {
		e := newFake(t)
		for i := range e.history {
			h := &e.history[i]
			h.ID, h.Who, h.Reason, h.Script, h.Targets = h.ID+evil, evil, evil, h.Script+evil, []string{evil}
			h.Controls = append(h.Controls, evil)
			h.Damage = evil
		}
		for i := range e.areas {
			for j := range e.areas[i].Controls {
				c := &e.areas[i].Controls[j]
				assess := c.Assess
				c.Assess = func(f *harden.Facts) harden.Verdict {
					v := assess(f)
					v.Message = harden.Msg("%s", v.Message.String()+evil)
					v.Evidence = append(v.Evidence, harden.Evidence{Source: evil, Value: evil})
					return v
				}
			}
		}
		e.script = []harden.Event{{Kind: harden.EventBegun, Message: harden.Msg("%s", evil)}, {Kind: harden.EventWritten, Target: evil, Message: harden.Msg("%s", evil)}, {Kind: harden.EventAwaiting, Message: harden.Msg("%s", evil)}}
		return e
	}
	for name, to := range screens {
		t.Run(name, func(t *testing.T) {
			for _, ascii := range []bool{false, true} {
				e := poisoned(t)
				if name != "progress" && name != "stop" && name != "result" { // such a name cannot be typed
					e.node = "cp1" + evil
				}
				w := begun(t, e, Options{Color: true, ASCII: ascii, Cluster: evil, Command: "kubectl-harden --root " + evil})
				to(w) // check runs after every key
				w.keys("G")
			}
		})
	}
	w := begun(t, newFake(t), Options{})
	before := "a: 1\nb: \x1b[2J\x1b]0;x\x07\u202e\n\tc: \"tab\"  \nd: 1\r\n"
	w.m.push(w.m.newReview("", onePlan("/etc/\x1b[31mevil\u202e.yaml", before, before+"e: \u200b2\n- f\r")))
	w.keys("d")
	golden(t, "plan-diff.hostile", w.frame())
	for _, bad := range []string{"\x1b[2J", "\u202e", "\x07"} {
		if strings.Contains(strings.Join(w.m.frame(), ""), bad) {
			t.Errorf("the screen has %q", bad)
		}
	}
}

// TestKeyMap: every binding says what it does, help knows all of them, and no key that changes something is one letter
// with one that scrolls.
func TestKeyMap(t *testing.T) {
	typed := []key.Binding{Keys.Submit, Keys.Cancel, Keys.DeleteBack, Keys.DeleteWord, Keys.DeleteLine, Keys.LineStart, Keys.LineEnd, Keys.CharLeft, Keys.CharRight, Keys.Left, Keys.Right, Keys.Help}
	known := append(typed, Keys.everywhere()...)
	known = append(known, Keys.History)
	for _, g := range Keys.elsewhere() {
		known = append(known, g.bindings...)
	}
	v := reflect.ValueOf(Keys)
	for i := range v.NumField() {
		b := v.Field(i).Interface().(key.Binding)
		name := v.Type().Field(i).Name
		if b.Help().Key == "" || b.Help().Desc == "" || len(b.Keys()) == 0 {
			t.Errorf("%s says nothing of itself", name)
		}
		found := false
		for _, k := range known {
			found = found || reflect.DeepEqual(k.Keys(), b.Keys()) && k.Help() == b.Help()
		}
		if !found {
			t.Errorf("help does not know %s", name)
		}
		if got := press(b); !key.Matches(got, b) {
			t.Errorf("pressing %s gives %q", name, got.String())
		}
	}
	letter := func(s string) string { return strings.ToLower(s[strings.LastIndex(s, "+")+1:]) }
	for _, changes := range []key.Binding{Keys.Apply, Keys.StopApply} {
		for _, scrolls := range []key.Binding{Keys.Up, Keys.Down, Keys.PageUp, Keys.PageDown, Keys.HalfUp, Keys.HalfDown, Keys.Top, Keys.Bottom} {
			for _, a := range changes.Keys() {
				for _, b := range scrolls.Keys() {
					if letter(a) == letter(b) {
						t.Errorf("%s changes something and %s scrolls", a, b)
					}
				}
			}
		}
	}
}

// TestActionsAreValid: on every screen, no two of the offered keys are the same, and each is answered.
func TestActionsAreValid(t *testing.T) {
	for name, to := range screens {
		w := begun(t, newFake(t), Options{Width: 160, Height: 50})
		to(w)
		seen := map[string]bool{}
		for _, a := range w.m.top().actions(w.m) {
			for _, k := range a.binding.Keys() {
				if seen[k] {
					t.Errorf("%s: %s is offered twice", name, k)
				}
				seen[k] = true
			}
		}
	}
}

// TestHelpAnswersTheFirstQuestions: a reader who has only ? finds the five things by the words they would look for.
func TestHelpAnswersTheFirstQuestions(t *testing.T) {
	for words, want := range map[string]string{
		"fail":      "open: what fails, and why",
		"why":       "open: what fails, and why",
		"diff":      "the exact diff of one control",
		"leave out": "choose a control for the plan, or leave it out",
		"backup":    "history: what was done, where its backup is, undo",
		"undo":      "undo a transaction, or one control of it",
	} {
		w := begun(t, newFake(t), Options{})
		w.keys("?", "'"+words).want(want)
	}
	w := begun(t, newFake(t), Options{})
	w.keys("?")
	first := ansi.Strip(w.frame())
	for _, want := range []string{"what fails", "exact diff", "leave it out", "backup", "undo a transaction"} {
		if !strings.Contains(first, want) {
			t.Errorf("the first page of help lacks %q:\n%s", want, first)
		}
	}
}

// TestTheDetailBesideAListEndedWithoutAMarker: what does not fit is never cut off silently.
func TestTheDetailBesideAListEndedWithoutAMarker(t *testing.T) {
	w := begun(t, newFake(t), Options{Width: 132, Height: 20})
	w.keys("enter", "j").want("(more: enter)")
	w.m.say(strings.Repeat("a long sentence ", 60))
	w.want("⋯")
}
