//go:build linux

package main

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// screen is a terminal of the node's own, with a person at it.
type screen struct {
	t    *T
	name string
	last string // what was on it
}

const tmux = "tmux -L e2e "

// screen runs a command in a terminal of 100x40 in the node.
func (t *T) screen(command string) *screen { return t.screenNamed("e2e", command) }

// screenNamed is one of several.
func (t *T) screenNamed(name, command string) *screen {
	// The terminal stays when the program has ended, with its exit code on it.
	t.shell(tmux+`new-session -d -s "$2" -x 100 -y 40 "$1; echo \"ended with exit code \$?\"; exec sleep 100000"`, command, name)
	s := &screen{t: t, name: name}
	t.cleanup(func() {
		// Scenarios kill nodes: an error is none. The interrupted scenario's context has ended.
		t.node.Run(context.WithoutCancel(t.ctx), "sh", "-c", tmux+"kill-server")
	})
	return s
}

// press sends keys by tmux's names ("Enter", "Down"), or letters.
func (s *screen) press(keys ...string) {
	s.t.detail("keys: %q", keys)
	s.t.shell(tmux+`send-keys -t `+s.name+` "$@"`, keys...)
}

// write types text as it is.
func (s *screen) write(text string) {
	s.t.detail("typed: %q", text)
	s.t.shell(tmux+`send-keys -t `+s.name+` -l "$1"`, text)
}

func (s *screen) look() string {
	s.last = s.t.shell(tmux + "capture-pane -p -t " + s.name)
	return s.last
}

// await waits until all patterns are on the screen at once, and gives what is on it.
func (s *screen) await(limit time.Duration, patterns ...string) string {
	start := time.Now()
	for {
		text := s.look()
		missing := ""
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(text) {
				missing = p
			}
		}
		switch {
		case missing == "":
			s.t.detail("on the screen after %s: %q\n%s", seconds(time.Since(start)), patterns, text)
			return text
		case s.t.ctx.Err() != nil:
			s.t.fatalf("%q did not come onto the screen: %v", missing, context.Cause(s.t.ctx))
		case time.Since(start) > limit, strings.Contains(text, "ended with exit code") && missing != "":
			s.t.fatalf("%q did not come onto the screen within %s:\n%s", missing, limit, text)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// close closes the terminal as a person does, or a lost connection: what runs in it gets a hangup.
func (s *screen) close() { s.t.shell(tmux + "kill-session -t " + s.name) }

// typeName answers the question for the node's name. What is typed just after a question comes up is left out, up to a pause of half
// a second.
func (s *screen) typeName() {
	for range 10 {
		time.Sleep(time.Second)
		s.write(s.t.node.Name())
		time.Sleep(300 * time.Millisecond)
		if strings.Contains(s.look(), "> "+s.t.node.Name()) {
			break
		}
	}
}

// moveTo moves the cursor down to the line that begins with some words.
func (s *screen) moveTo(words string) {
	at := regexp.MustCompile(`(?m)^ *> ` + regexp.QuoteMeta(words))
	for range 50 {
		if at.MatchString(s.look()) {
			return
		}
		s.press("Down")
		time.Sleep(200 * time.Millisecond)
	}
	s.t.fatalf("the cursor does not get to %q:\n%s", words, s.last)
}
