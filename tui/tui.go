package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	options := []tea.ProgramOption{
		tea.WithColorProfile(profile), tea.WithoutSignalHandler(), tea.WithFilter(keepProfile),
	}
	var p *tea.Program
	if o.In != nil {
		options = append(options, tea.WithInput(watch(o.In, func() { go p.Send(interruptMsg{}) })))
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
	stop := context.AfterFunc(ctx, func() { p.Send(interruptMsg{}) })
	_, err := p.Run()
	stop()
	m.settle()
	if m.crash != "" {
		m.print(m.crash)
	}
	if errors.Is(err, tea.ErrProgramPanic) {
		return m.summary, fmt.Errorf("running the terminal UI: %w", err)
	}
	if err != nil && ctx.Err() == nil {
		return m.summary, fmt.Errorf("running the terminal UI: %w", err)
	}
	return m.summary, nil
}

// watch tells when the input has ended: with a terminal that is gone nobody can answer any more, and the library waits on.
func watch(in io.Reader, gone func()) io.Reader {
	if f, ok := in.(*os.File); ok {
		return watchedFile{f, gone}
	}
	return watchedReader{in, gone}
}

type watchedReader struct {
	io.Reader
	gone func()
}

func (w watchedReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil {
		w.gone()
	}
	return n, err
}

// watchedFile stays a file, so that the library can set its terminal to raw mode.
type watchedFile struct {
	*os.File
	gone func()
}

func (w watchedFile) Read(p []byte) (int, error) {
	n, err := w.File.Read(p)
	if err != nil {
		w.gone()
	}
	return n, err
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
