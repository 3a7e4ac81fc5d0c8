package tui

import (
	"context"
	"reflect"
	"time"

	tea "charm.land/bubbletea/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

// The smallest terminal that the screens are made for.
const (
	MinWidth  = 60
	MinHeight = 15

	splitWidth = 100 // from here on lists have their detail beside them
	diffWidth  = 140 // from here on diffs can be side by side
)

// screen is one thing to look at. It draws itself and answers keys; what it needs of the world it asks the model for.
type screen interface {
	title(m *Model) (left, right string)
	// actions are the keys that are valid now, the most important first.
	actions(m *Model) []action
	key(m *Model, k tea.KeyPressMsg) tea.Cmd
	// view draws at most h lines of at most w cells.
	view(m *Model, w, h int) []string
}

// typist is a screen on which text is typed: letters are not keys there.
type typist interface {
	line() *input
	// caret is where the cursor was last drawn, within the body.
	caret() (x, y int)
}

// Model is the one tea.Model.
type Model struct {
	ctx    context.Context
	engine Engine
	opts   Options
	theme  *Theme
	after  func(time.Duration, func(time.Time) tea.Msg) tea.Cmd

	width, height int
	stack         []screen

	areas    []harden.Area
	facts    *harden.Facts
	findings []harden.Finding
	index    map[string]int    // control -> finding
	words    map[string]string // control -> what a search looks at
	learned  int               // how often; 1 is before the first facts
	again    bool              // the node is being read because the operator asked for it
	choices  map[string]harden.Choice
	drafts   map[string]harden.Choice // remedies and options of what is not chosen
	// what the walk began with, and what was not taken of it
	preselected map[string]bool
	left        []harden.Skip
	kept        map[string]harden.Choice // as the command line or a file has them: leaving does not lose these
	leaving     bool                     // it was said what leaving loses
	filter      filter

	jobs    map[jobKind]job
	under   underWay
	seq     int
	ticking bool

	status    string
	statusBad bool

	standing *Standing // besides this walk
	stoodAt  time.Time // when it was so
	damaged  []string  // transactions

	run         *run
	crash       string // where the engine had a bug while applying
	bug         *bug   // of the UI, or of the engine while it looked
	leave       func() // ends the program from within View; nil where nothing runs it
	suspend     tea.Cmd
	interrupted bool
	summary     Summary
}

// NewModel makes the model; nothing is read before its first frame.
func NewModel(ctx context.Context, e Engine, o Options) *Model {
	o = o.defaults()
	m := &Model{
		ctx: ctx, engine: e, opts: o, theme: NewTheme(o.Color, o.ASCII), after: tea.Tick,
		width: o.Width, height: o.Height, areas: e.Areas(),
		index: map[string]int{}, choices: map[string]harden.Choice{}, drafts: map[string]harden.Choice{}, preselected: map[string]bool{}, kept: map[string]harden.Choice{}, jobs: map[jobKind]job{},
	}
	m.suspend, m.summary.opts = tea.Suspend, o
	m.words, m.learned = m.searchWords(), 1
	m.stack = []screen{&areasScreen{}}
	return m
}

// Init begins to read the node.
func (m *Model) Init() tea.Cmd { return guarded(tea.Batch(m.readFacts(), m.readStanding(true))) }

type (
	// tickMsg moves what counts seconds.
	tickMsg struct{}
	// doneMsg is the end of a job; then is run in Update unless the job is stale.
	doneMsg struct {
		kind jobKind
		seq  int
		then func(*Model) tea.Cmd
	}
	// interruptMsg says that the program was told to end from outside.
	interruptMsg struct{}
)

// Update answers one message.
func (m *Model) Update(msg tea.Msg) (_ tea.Model, cmd tea.Cmd) {
	defer func() {
		if what := recover(); what != nil {
			cmd = m.fail(caught(what))
		}
	}()
	return m, guarded(m.update(msg))
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m.press(msg)
	case tea.PasteMsg:
		if m.deaf() {
			m.warn(tooSoon)
		} else if t, ok := m.top().(typist); ok {
			t.line().insert(msg.Content)
		}
	case tea.MouseWheelMsg:
		return m.wheel(msg)
	case doneMsg:
		if j, ok := m.jobs[msg.kind]; ok && j.seq == msg.seq {
			delete(m.jobs, msg.kind)
			return msg.then(m)
		}
	case progressMsg:
		return m.progress(msg)
	case bugMsg:
		return m.fail(msg.bug)
	case interruptMsg:
		return m.interrupt()
	case tickMsg:
		m.ticking = false
		return tea.Batch(m.lookAgain(), m.tick())
	}
	return nil
}

func (m *Model) press(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Stop):
		return m.stop()
	case is(k, Keys.Redraw):
		return tea.ClearScreen
	case is(k, Keys.Suspend):
		if m.run.live() {
			m.warn("not suspended: a change is being made")
			return nil
		}
		return m.suspend
	}
	if m.deaf() {
		m.warn(tooSoon)
		return nil
	}
	m.say("")
	asked := m.leaving
	m.leaving = false
	if !m.fits() {
		_, stops := m.top().(*stopScreen)
		switch {
		case stops:
			m.pop() // any other key than the one that stops goes on
		case is(k, Keys.Quit) && !m.run.live():
			return m.quit()
		}
		return nil
	}
	if _, typing := m.top().(typist); !typing {
		switch {
		case is(k, Keys.Help):
			m.push(newHelp(m))
			return nil
		case is(k, Keys.Quit) && !asked && m.loses() > 0 && !m.run.live():
			m.leaving = true
			m.say(m.losing())
			return nil
		case is(k, Keys.Quit):
			return m.quit()
		case is(k, Keys.History) && !m.run.live():
			return m.openHistory()
		case is(k, Keys.Confirm) && m.standing != nil && m.followed() == nil:
			return m.openStanding()
		}
	}
	return m.top().key(m, k)
}

func (m *Model) wheel(w tea.MouseWheelMsg) tea.Cmd {
	if !m.fits() {
		return nil
	}
	b := Keys.Down
	if w.Button == tea.MouseWheelUp {
		b = Keys.Up
	}
	var cmds []tea.Cmd
	for range 3 {
		cmds = append(cmds, m.top().key(m, press(b)))
	}
	return tea.Batch(cmds...)
}

func (m *Model) top() screen { return m.stack[len(m.stack)-1] }

func (m *Model) push(s screen) { m.stack = append(m.stack, s) }

// pop goes back; the first screen stays.
func (m *Model) pop() {
	if len(m.stack) > 1 {
		m.stack = m.stack[:len(m.stack)-1]
	}
}

// home goes back to the first screen.
func (m *Model) home() { m.stack = m.stack[:1] }

// say shows a sentence above the footer until the next key.
func (m *Model) say(s string) { m.status, m.statusBad = m.theme.inert(s), false }

func (m *Model) warn(s string) { m.status, m.statusBad = m.theme.inert(s), true }

// stop is ctrl+c: it always leads out, but never without a word while a change is being made.
func (m *Model) stop() tea.Cmd {
	if !m.run.live() {
		return tea.Quit
	}
	if s, ok := m.top().(*stopScreen); ok {
		return s.decide(m)
	}
	m.push(&stopScreen{opened: m.opts.Now()})
	return nil
}

// quit is q. While a change is being made it asks, and is no answer to that: the key that stops is another one.
func (m *Model) quit() tea.Cmd {
	if !m.run.live() {
		return tea.Quit
	}
	if s, ok := m.top().(*stopScreen); ok {
		m.warn(s.answers(m))
		return nil
	}
	return m.stop()
}

// loses is how many choices are gone with this walk: neither applied, which what waits for confirm is, nor as the command line or
// a file has them.
func (m *Model) loses() int {
	applied := map[string]bool{}
	for _, a := range m.summary.Applied {
		for _, c := range a.choices {
			applied[c.Control] = applied[c.Control] || a.Result.Outcome == harden.OutcomeWaiting
		}
	}
	n := 0
	for control, c := range m.choices {
		if !applied[control] && !reflect.DeepEqual(c, m.kept[control]) {
			n++
		}
	}
	return n
}

func (m *Model) losing() string {
	n := m.loses()
	was := "was"
	if n > 1 {
		was = "were"
	}
	return plural(n, "choice", "choices") + " that " + was + " neither applied nor saved will be lost: q again quits, s in the areas saves"
}

// interrupt is a signal or the end of the context: what was begun is undone, then the program ends.
func (m *Model) interrupt() tea.Cmd {
	m.interrupted = true
	if !m.run.live() {
		return tea.Quit
	}
	if p := m.following(); p != nil {
		p.stopping = true
	}
	m.run.stop()
	return nil
}

func (m *Model) fits() bool { return m.width >= MinWidth && m.height >= MinHeight }

// finding of a control; ok is false before the facts were read.
func (m *Model) finding(control string) (harden.Finding, bool) {
	i, ok := m.index[control]
	if !ok {
		return harden.Finding{}, false
	}
	return m.findings[i], true
}

// chosen are the choices in catalogue order.
func (m *Model) chosen() []harden.Choice {
	var out []harden.Choice
	for _, a := range m.areas {
		for _, c := range a.Controls {
			if choice, ok := m.choices[c.ID]; ok {
				out = append(out, choice)
			}
		}
	}
	return out
}

// filter limits which controls lists show.
type filter int

const (
	filterAll filter = iota
	filterFail
	filterOpen
	filterChosen
	filters
)

func (f filter) String() string {
	return [...]string{"all", "failing only", "manual and unknown only", "chosen only"}[f]
}

// none says that there is nothing to show.
func (f filter) none() string {
	return [...]string{"There is no control here.", "No control here fails.", "No control here is manual or unknown.", "No control here is chosen."}[f]
}

func (m *Model) passes(control string) bool {
	if m.filter == filterAll {
		return true
	}
	f, _ := m.finding(control)
	switch m.filter {
	case filterFail:
		return f.Status == harden.StatusFail
	case filterOpen:
		return f.Status == harden.StatusManual || f.Status == harden.StatusUnknown
	case filterChosen:
		_, ok := m.choices[control]
		return ok
	}
	return true
}

func (m *Model) cycleFilter() {
	m.filter = (m.filter + 1) % filters
	m.say("showing " + m.filter.String() + "; f changes that")
}
