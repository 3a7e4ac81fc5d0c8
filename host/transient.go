package host

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Transient is a command that systemd runs as a service of its own, outside of the session of whoever asks for it. No file
// describes it, and nothing is left when it has ended.
type Transient struct {
	Name  string // of the unit: "x.service"
	About string
	Argv  []string // the program by its full path
	// StopTimeout is how long it may take to end when it is stopped, as at a shutdown.
	StopTimeout time.Duration
	// Wait: it is to end, and well, before the call returns.
	Wait bool
	// Watchdog: it tells systemd when it is ready, and that it lives, at least this often; one that does not is killed. The call
	// returns when it is ready.
	Watchdog time.Duration
	// After is run when it has ended, however that was.
	After []string
}

// RunTransient starts the command, and where it is to be waited for gives its failure.
func (s *Systemd) RunTransient(ctx context.Context, t Transient) error {
	if len(t.Argv) == 0 || !path.IsAbs(t.Argv[0]) {
		return fmt.Errorf("running %q: not the path of a program: %q", t.Name, t.Argv)
	}
	err := s.ask(ctx, t.Name, func(c *dbus.Conn) error {
		done := make(chan string, 1)
		if _, err := c.StartTransientUnitContext(ctx, t.Name, "fail", t.properties(), done); err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return fmt.Errorf("it ended as %q", result)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func(systemctl string) error {
		_, err := run(ctx, path.Join(path.Dir(systemctl), "systemd-run"), t.options()...)
		return err
	})
	if err != nil {
		return fmt.Errorf("running %q: %w", t.Name, err)
	}
	return nil
}

func (t Transient) kind() string {
	switch {
	case t.Wait:
		return "oneshot"
	case t.Watchdog > 0:
		return "notify"
	}
	return "simple"
}

func (t Transient) properties() []dbus.Property {
	p := func(name string, value any) dbus.Property {
		return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
	}
	out := []dbus.Property{
		dbus.PropDescription(t.About), dbus.PropExecStart(plain(t.Argv), false), p("Type", t.kind()), p("CollectMode", "inactive-or-failed"),
		p("KillMode", "mixed"), p("WorkingDirectory", "/"),
	}
	if t.Watchdog > 0 {
		// A process that is stopped hears no other signal.
		out = append(out, p("WatchdogUSec", uint64(t.Watchdog.Microseconds())), p("WatchdogSignal", int32(syscall.SIGKILL)))
	}
	if len(t.After) > 0 {
		after := dbus.PropExecStart(plain(t.After), false)
		after.Name = "ExecStopPost"
		out = append(out, after)
	}
	if t.StopTimeout > 0 {
		out = append(out, p("TimeoutStopUSec", uint64(t.StopTimeout.Microseconds())))
	}
	return out
}

// options are the same for systemd-run.
func (t Transient) options() []string {
	out := []string{
		"--quiet", "--no-ask-password", "--unit=" + t.Name, "--description=" + t.About, "--collect", "--service-type=" + t.kind(),
		"--property=KillMode=mixed", "--property=WorkingDirectory=/",
	}
	if t.StopTimeout > 0 {
		out = append(out, fmt.Sprintf("--property=TimeoutStopSec=%d", int64(t.StopTimeout/time.Second)))
	}
	if t.Watchdog > 0 {
		out = append(out, fmt.Sprintf("--property=WatchdogSec=%dms", t.Watchdog.Milliseconds()), "--property=WatchdogSignal=SIGKILL")
	}
	if len(t.After) > 0 {
		words := make([]string, len(t.After))
		for i, w := range t.After {
			words[i] = unitWord(w)
		}
		out = append(out, "--property=ExecStopPost="+strings.Join(words, " "))
	}
	return append(append(out, "--"), plain(t.Argv)...)
}

// plain are the arguments as systemd leaves them alone: it would put variables in.
func plain(argv []string) []string {
	var out []string
	for _, arg := range argv {
		out = append(out, strings.ReplaceAll(arg, "$", "$$"))
	}
	return out
}

// Try runs a command once, as a guard runs its own: where systemd would start it, or in a session of its own.
func (g *Guards) Try(ctx context.Context, name string, argv []string) error {
	err := g.Systemd.RunTransient(ctx, Transient{Name: serviceOf(name), About: "kubectl-harden tries a guard", Argv: argv, Wait: true})
	if !errors.Is(err, ErrNoSystemd) {
		return err
	}
	return runDetached(ctx, argv)
}
