package tui

import (
	"context"
	"errors"
	"fmt"

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
	options := []tea.ProgramOption{
		tea.WithColorProfile(profile), tea.WithoutSignalHandler(), tea.WithFilter(keepProfile),
	}
	if o.In != nil {
		options = append(options, tea.WithInput(o.In))
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
	p := tea.NewProgram(m, options...)
	stop := context.AfterFunc(ctx, func() { p.Send(interruptMsg{}) })
	_, err := p.Run()
	stop()
	m.settle()
	if errors.Is(err, tea.ErrProgramPanic) {
		return m.summary, fmt.Errorf("running the terminal UI: %w", err)
	}
	if err != nil && ctx.Err() == nil {
		return m.summary, fmt.Errorf("running the terminal UI: %w", err)
	}
	return m.summary, nil
}

// keepProfile drops a terminal's claim to more colours: how many are used is decided before.
func keepProfile(_ tea.Model, msg tea.Msg) tea.Msg {
	if _, ok := msg.(tea.CapabilityMsg); ok {
		return nil
	}
	return msg
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
