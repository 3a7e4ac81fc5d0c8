package tui

import (
	"context"
	"errors"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// Run is the walk on a capable terminal. When it returns, the screen is as it was before and nothing is being applied: a
// change that was under way when the screen went is waited for, its events written as lines. The caller handles signals
// and ends the context for them; what was begun is then undone.
func Run(ctx context.Context, e Engine, o Options) (Summary, error) {
	m := NewModel(ctx, e, o)
	profile := colorprofile.ASCII
	if o.Color {
		profile = colorprofile.ANSI
	}
	var p *tea.Program
	in := o.In
	if in == nil {
		in = os.Stdin
	}
	keys, err := openKeyboard(in, func() { go p.Send(interruptMsg{}) })
	if err != nil {
		return m.summary, err
	}
	defer keys.close()
	m.suspend = keys.suspend
	options := []tea.ProgramOption{
		tea.WithColorProfile(profile), tea.WithoutSignalHandler(), tea.WithFilter(orderly(keys)), tea.WithInput(keys.Reader),
	}
	if o.Out != nil {
		options = append(options, tea.WithOutput(o.Out))
	}
	if o.Env != nil {
		options = append(options, tea.WithEnvironment(o.Env))
	}
	if o.Width > 0 && o.Height > 0 {
		options = append(options, tea.WithWindowSize(o.Width, o.Height))
	}
	p = tea.NewProgram(m, options...)
	m.leave = func() { go p.Quit() }
	stop := context.AfterFunc(ctx, func() { p.Send(interruptMsg{}) })
	_, err = p.Run()
	stop()
	keys.stop()
	m.settle()
	m.stopJobs()
	if m.crash != "" {
		m.print(m.crash)
	}
	switch {
	case m.bug != nil:
		m.print(m.bug.stack)
		return m.summary, m.bug
	case err != nil && (ctx.Err() == nil || errors.Is(err, tea.ErrProgramPanic)):
		return m.summary, fmt.Errorf("running the terminal UI: %w", err)
	}
	return m.summary, nil
}

// orderly stops the keyboard before the program ends in order: its terminal is still raw, so no read lasts. It drops a
// terminal's claim to more colours: how many are used is decided before.
func orderly(keys *keyboard) func(tea.Model, tea.Msg) tea.Msg {
	return func(_ tea.Model, msg tea.Msg) tea.Msg {
		switch msg.(type) {
		case tea.QuitMsg:
			keys.stop()
		case tea.CapabilityMsg:
			return nil
		}
		return msg
	}
}

// settle waits for a run that the screen has left. It is undone, unless it was over already.
func (m *Model) settle() {
	r := m.run
	if !r.live() {
		return
	}
	r.stop()
	if r.claim() {
		return // it had not begun
	}
	m.print("A change is being made; it is undone at the next safe point.")
	for {
		msg := r.take()
		for _, e := range msg.events {
			_, _, text := m.event(e)
			m.print(string(e.Kind) + "  " + m.theme.inert(text))
		}
		if msg.ended {
			r.over = true
			m.finish(r, msg.results)
			return
		}
	}
}

// print writes a line when there is no screen. A terminal that is gone is no reason to end the undo.
func (m *Model) print(s string) {
	if m.opts.Out != nil {
		_, _ = fmt.Fprintln(m.opts.Out, s)
	}
}

var _ tea.Model = (*Model)(nil)
