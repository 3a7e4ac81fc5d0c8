package tui

import (
	"context"

	tea "charm.land/bubbletea/v2"
)

// promptScreen asks for the name of a file to write.
type promptScreen struct {
	what  string
	about string
	later [][2]string // commands that take the file, each with a label
	input input
	save  func(ctx context.Context, path string) error
	said  string // when it is written, before the path
	done  func(m *Model, path string)
	x, y  int
}

func (s *promptScreen) title(*Model) (string, string) { return s.what, "" }

func (s *promptScreen) actions(*Model) []action {
	return []action{act(Keys.Submit, "write"), act(Keys.DeleteLine, "clear"), act(Keys.Cancel, "cancel")}
}

func (s *promptScreen) line() *input { return &s.input }

func (s *promptScreen) caret() (int, int) { return s.x, s.y }

func (s *promptScreen) key(m *Model, k tea.KeyPressMsg) tea.Cmd {
	switch {
	case is(k, Keys.Cancel):
		m.pop()
	case is(k, Keys.Submit):
		path := s.input.value()
		if path == "" {
			m.pop()
			return nil
		}
		return m.start(jobSave, "writing "+m.theme.inert(path), func(ctx context.Context) func(*Model) tea.Cmd {
			return m.orWarn(s.save(ctx, path), func(m *Model) tea.Cmd {
				if m.top() == s {
					m.pop()
				}
				if s.done != nil {
					s.done(m, path)
				}
				m.say(s.said + path)
				return nil
			})
		})
	default:
		s.input.key(k)
	}
	return nil
}

func (s *promptScreen) view(m *Model, w, h int) []string {
	d := newDoc(m.theme, w)
	d.raw("")
	d.text(0, s.about)
	for _, l := range s.later {
		d.pair(l[0], 7, l[1])
	}
	d.raw("")
	text, x := s.input.render(m.theme, w-4)
	s.x, s.y = x+2, len(d.lines)
	d.raw("> " + text)
	return d.head(h, larger)
}

func (m *Model) openSaveChoices() tea.Cmd {
	choices := m.chosen()
	if len(choices) == 0 {
		m.warn("nothing is chosen yet")
		return nil
	}
	m.push(&promptScreen{
		what:  "Save the choices",
		about: "What is chosen, with its remedies and options. These begin with it:",
		later: [][2]string{{"walk", m.opts.Walk + " --file FILE"}, {"plan", m.opts.Command + " plan --file FILE"}, {"apply", m.opts.Command + " apply --file FILE"}},
		input: newInput(m.opts.ChoicesFile),
		said:  "choices written to ",
		save: func(_ context.Context, path string) error {
			return m.engine.SaveChoices(path, choices)
		},
		done: func(m *Model, path string) {
			m.summary.ChoicesFile = path
			for _, c := range choices {
				m.kept[c.Control] = c
			}
		},
	})
	return nil
}
