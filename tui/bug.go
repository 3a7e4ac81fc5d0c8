package tui

import (
	"fmt"
	"runtime/debug"

	tea "charm.land/bubbletea/v2"
)

// A bug must not cost the operator the terminal. The library answers a panic by ending at once: it does not wait for its own
// reader of the terminal, which goes on reading what was closed under it, and the stack is printed on the screen that is
// about to be left. So a panic ends here: it becomes a message, the program quits in order, and Run tells afterwards.

// bugMsg is a panic of a command.
type bugMsg struct{ bug bug }

// bug is a panic with where it happened.
type bug struct {
	what  string
	stack string
}

// caught makes a bug of what recover gave, in the function that panicked.
func caught(what any) bug { return bug{fmt.Sprint(what), string(debug.Stack())} }

// guarded is a command whose panic, or that of a command in it, is a message.
func guarded(cmd tea.Cmd) tea.Cmd {
	if cmd == nil {
		return nil
	}
	return func() (msg tea.Msg) {
		defer func() {
			if what := recover(); what != nil {
				msg = bugMsg{caught(what)}
			}
		}()
		msg = cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			all := make(tea.BatchMsg, len(batch))
			for i, c := range batch {
				all[i] = guarded(c)
			}
			return all
		}
		return msg
	}
}

// fail remembers the first bug and ends the program; a run that is live is settled after that.
func (m *Model) fail(b bug) tea.Cmd {
	if m.bug == nil {
		m.bug = &b
	}
	return tea.Quit
}

// Error says that it is a bug, in one line.
func (b *bug) Error() string {
	return "running the terminal UI: this program has a bug: " + Inert(b.what, false)
}
