package tui

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"

	"charm.land/bubbles/v2/key"
)

// KeyMap is every key of the UI. Help and footers are made from it, and nothing else compares keys. No key that changes
// anything shares its letter with one that scrolls.
type KeyMap struct {
	Up, Down, PageUp, PageDown, HalfUp, HalfDown, Top, Bottom key.Binding

	Open, Back, Quit, Stop, Help, Redraw, Suspend key.Binding

	Search, Filter, Reread key.Binding

	Choose, ChooseArea, Options, Accept, Diff, Plan, Save key.Binding

	NextHunk, PrevHunk, Expand, Split, Write, Yank key.Binding

	Apply, Confirm, History, Undo key.Binding

	Left, Right key.Binding

	// Among the options of a control.
	Change, Done key.Binding

	// Within a line of text.
	Submit, Cancel, DeleteBack, DeleteWord, DeleteLine, LineStart, LineEnd, CharLeft, CharRight key.Binding
	// When asked whether a change that is being made is to be stopped.
	StopApply key.Binding
}

// Keys of the UI.
var Keys = KeyMap{
	Up:       bind("up", "move up", "up", "k"),
	Down:     bind("down", "move down", "down", "j"),
	PageUp:   bind("pgup", "a page up", "pgup", "ctrl+b"),
	PageDown: bind("pgdn", "a page down", "pgdown", "ctrl+f"),
	HalfUp:   bind("ctrl+u", "half a page up", "ctrl+u"),
	HalfDown: bind("ctrl+d", "half a page down", "ctrl+d"),
	Top:      bind("g", "to the top", "g", "home"),
	Bottom:   bind("G", "to the end", "G", "end"),
	Left:     bind("left", "previous value", "left", "h"),
	Right:    bind("right", "next value", "right", "l"),

	Open:    bind("enter", "open: what fails, and why", "enter", "right", "l"),
	Back:    bind("esc", "back", "esc", "left", "h", "backspace"),
	Quit:    bind("q", "quit", "q"),
	Stop:    bind("ctrl+c", "quit from anywhere", "ctrl+c"),
	Help:    bind("?", "help: search and run every key", "?"),
	Redraw:  bind("ctrl+l", "redraw the screen", "ctrl+l"),
	Suspend: bind("ctrl+z", "suspend", "ctrl+z"),

	Search: bind("/", "search all controls", "/"),
	Filter: bind("f", "filter: failing only, ...", "f"),
	Reread: bind("r", "read the node again", "r"),

	Choose:     bind("space", "choose a control for the plan, or leave it out", "space"),
	ChooseArea: bind("*", "choose all that can hurt this node only", "*"),
	Options:    bind("o", "remedy and options of a control", "o"),
	Accept:     bind("a", "accept what is unknown, on your word", "a"),
	Diff:       bind("d", "the exact diff of one control, or of the plan", "d"),
	Plan:       bind("p", "plan: review all that is chosen", "p"),
	Save:       bind("s", "save the choices to a file", "s"),

	NextHunk: bind("n", "next change", "n"),
	PrevHunk: bind("N", "previous change", "N"),
	Expand:   bind("e", "whole file, or changes only", "e"),
	Split:    bind("v", fmt.Sprintf("side by side (from %d columns), or unified", diffWidth), "v"),
	Write:    bind("w", "write the diff to a file", "w"),
	Yank:     bind("y", "copy the diff (OSC 52)", "y"),

	Apply:   bind("A", "apply the plan (asks first)", "A"),
	Confirm: bind("C", "what stands open: confirm that it stays", "C"),
	History: bind("H", "history: what was done, where its backup is, undo", "H"),
	Undo:    bind("u", "undo a transaction, or one control of it", "u"),

	Change: bind("enter", "change the value", "enter"),
	Done:   bind("esc", "back: what was set stays set", "esc"),

	Submit:     bind("enter", "done", "enter"),
	Cancel:     bind("esc", "cancel", "esc"),
	DeleteBack: bind("backspace", "delete", "backspace", "ctrl+h"),
	DeleteWord: bind("ctrl+w", "delete a word", "ctrl+w", "alt+backspace"),
	DeleteLine: bind("ctrl+u", "delete the line", "ctrl+u"),
	LineStart:  bind("ctrl+a", "to the start", "ctrl+a", "home"),
	LineEnd:    bind("ctrl+e", "to the end", "ctrl+e", "end"),
	CharLeft:   bind("left", "left", "left", "ctrl+b"),
	CharRight:  bind("right", "right", "right", "ctrl+f"),

	StopApply: bind("S", "stop, and undo what was done", "S"),
}

func bind(label, help string, keys ...string) key.Binding {
	return key.NewBinding(key.WithKeys(keys...), key.WithHelp(label, help))
}

// is says whether a key press is one of the bindings.
func is(k tea.KeyPressMsg, b ...key.Binding) bool { return key.Matches(k, b...) }

// action is a key as it is offered on a screen: with the words for that screen, short enough for the footer.
type action struct {
	binding key.Binding
	short   string // for the footer; empty: listed in help only
}

func act(b key.Binding, short string) action { return action{b, short} }

// help is what the key does on that screen. Some keys mean what the screen makes of them.
func (a action) help() string {
	if a.short != "" && slices.Contains([]string{Keys.Submit.Help().Desc, Keys.Cancel.Help().Desc, Keys.Back.Help().Desc, Keys.Up.Help().Desc, Keys.Down.Help().Desc,
		Keys.Accept.Help().Desc, Keys.Undo.Help().Desc, Keys.Confirm.Help().Desc, Keys.StopApply.Help().Desc}, a.binding.Help().Desc) {
		return a.short
	}
	return a.binding.Help().Desc
}

// press is the key press that a binding answers to first, so that help can run it.
func press(b key.Binding) tea.KeyPressMsg {
	name := b.Keys()[0]
	for code, n := range namedKeys {
		if n == name {
			return tea.KeyPressMsg{Code: code}
		}
	}
	if rest, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(rest[0]), Mod: tea.ModCtrl}
	}
	if name == "space" {
		return tea.KeyPressMsg{Code: tea.KeySpace, Text: " "}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

var namedKeys = map[rune]string{
	tea.KeyUp: "up", tea.KeyDown: "down", tea.KeyLeft: "left", tea.KeyRight: "right", tea.KeyPgUp: "pgup",
	tea.KeyPgDown: "pgdown", tea.KeyEnter: "enter", tea.KeyEscape: "esc", tea.KeyBackspace: "backspace",
}

// arrows are what moves where letters are typed.
var arrows = bind("up/down", "move", "down")
