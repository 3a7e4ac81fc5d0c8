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
	last string // what was on it
}

const tmux = "tmux -L e2e "

// screen runs a program in a terminal of 100x40 in the node.
func (t *T) screen(program string) *screen {
	// The terminal stays when the program has ended, with its exit code on it.
	t.shell(tmux+`new-session -d -s e2e -x 100 -y 40 "$1; echo \"ended with exit code \$?\"; exec sleep 100000"`, program)
	s := &screen{t: t}
	t.cleanup(func() {
		// Scenarios kill nodes: an error is none. The interrupted scenario's context has ended.
		t.node.Run(context.WithoutCancel(t.ctx), "sh", "-c", tmux+"kill-server")
	})
	return s
}

// press sends keys by tmux's names ("Enter", "Down"), or letters.
func (s *screen) press(keys ...string) {
	s.t.detail("keys: %q", keys)
	s.t.shell(tmux+`send-keys -t e2e "$@"`, keys...)
}

// write types text as it is.
func (s *screen) write(text string) {
	s.t.detail("typed: %q", text)
	s.t.shell(tmux+`send-keys -t e2e -l "$1"`, text)
}

func (s *screen) look() string {
	s.last = s.t.shell(tmux + "capture-pane -p -t e2e")
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
