//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/lab"
)

// T is a scenario on its way.
type T struct {
	*worker
	ctx      context.Context
	name     string
	logsName string
	started  time.Time
	node     *lab.Node // the first control-plane node
	log      strings.Builder
	failures []string
	figures  []figure
	cleanups []func()
}

// figure is something that was measured.
type figure struct{ name, value string }

// gaveUp ends a scenario from within; what is wrong has been said.
type gaveUp struct{}

// do runs a scenario, or a part of one, and what it deferred.
func (t *T) do(f func(*T)) {
	defer func() {
		for _, c := range slices.Backward(t.cleanups) {
			c()
		}
		t.cleanups = nil
	}()
	defer func() {
		switch p := recover(); p.(type) {
		case nil, gaveUp:
		default:
			t.errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	f(t)
}

// cleanup runs f when the scenario is over.
func (t *T) cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// step tells what is being done.
func (t *T) step(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(&t.log, "%s %s\n", time.Now().Format("15:04:05.000"), text)
	t.say("%s: %s", t.name, text)
}

// detail goes into the log that is kept on failure.
func (t *T) detail(format string, args ...any) {
	fmt.Fprintf(&t.log, "%s   %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (t *T) errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.failures = append(t.failures, text)
	fmt.Fprintf(&t.log, "%s FAILED: %s\n", time.Now().Format("15:04:05.000"), text)
	t.say("%s: FAILED: %s", t.name, indented(shortened(text, 15), 20))
}

// shortened leaves a text's first lines and its last ones; the whole of it is in the log.
func shortened(text string, most int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) <= most {
		return strings.Join(lines, "\n")
	}
	head := lines[:most/3]
	tail := lines[len(lines)-(most-len(head)):]
	return strings.Join(head, "\n") + "\n...\n" + strings.Join(tail, "\n")
}

func indented(text string, columns int) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", columns))
}

func (t *T) fatalf(format string, args ...any) {
	t.errorf(format, args...)
	panic(gaveUp{})
}

// need gives up on an error of the lab or of a command that must work.
func (t *T) need(err error) {
	if err != nil {
		t.fatalf("%v", err)
	}
}

// figure puts something measured into the table.
func (t *T) figure(name, format string, args ...any) {
	f := figure{name, fmt.Sprintf(format, args...)}
	t.figures = append(t.figures, f)
	t.step("%s: %s", f.name, f.value)
}

// within waits until something holds, and gives up when it takes too long. What was pending is said.
func (t *T) within(limit time.Duration, what string, holds func() (bool, string)) time.Duration {
	start := time.Now()
	for {
		ok, pending := holds()
		took := time.Since(start)
		switch {
		case ok:
			return took
		case t.ctx.Err() != nil:
			t.fatalf("%s: %v", what, context.Cause(t.ctx))
		case took > limit:
			t.fatalf("%s: not within %s: %s", what, limit, pending)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
