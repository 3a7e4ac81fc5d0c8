package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// ErrNoSystemd is returned where systemd does not run the machine.
var ErrNoSystemd = errors.New("systemd does not run this machine")

// Systemd is the service manager of the running machine: over D-Bus, or by systemctl where no socket answers. Each call
// lasts no longer than its context.
type Systemd struct {
	Private   string   // systemd's own socket, for root only; needs no bus
	Bus       string   // the system bus
	Systemctl []string // where systemctl may be; the first that exists is used
	Booted    string   // the directory that is there where systemd runs the machine, which systemctl alone does not tell (sd_booted)
}

// UnitStatus is what systemd says about a unit now.
type UnitStatus struct {
	Load        string // "loaded", "not-found", "masked", ...
	Active      string // "active", "activating", "failed", ...
	Sub         string // "running", "auto-restart", ...
	MainPID     int
	NRestarts   int       // restarts by systemd itself since it was started on purpose
	ActiveEnter time.Time // zero when it never was active
}

// Systemd returns the running machine's service manager, or ErrOffline.
func (r *Root) Systemd() (*Systemd, error) {
	if r.Proc == "" {
		return nil, ErrOffline
	}
	return &Systemd{
		Private:   "/run/systemd/private",
		Bus:       "/run/dbus/system_bus_socket",
		Systemctl: []string{"/usr/bin/systemctl", "/bin/systemctl"},
		Booted:    bootedDir,
	}, nil
}

// UnitStatus asks for a unit. One that does not exist has Load "not-found".
func (s *Systemd) UnitStatus(ctx context.Context, unit string) (UnitStatus, error) {
	var status UnitStatus
	err := s.ask(ctx, unit, func(c *dbus.Conn) error {
		properties, err := c.GetAllPropertiesContext(ctx, unit)
		status = statusFromBus(properties)
		return err
	}, func(systemctl string) error {
		out, err := run(ctx, systemctl, "show", "--property="+strings.Join(shownProperties, ","), "--", unit)
		if err != nil {
			return err
		}
		status, err = statusFromShow(out)
		return err
	})
	if err != nil {
		return UnitStatus{}, fmt.Errorf("asking systemd for %q: %w", unit, err)
	}
	return status, nil
}

// RestartUnit restarts a unit, or starts it, and waits until systemd has done so, which says nothing about the health of
// what it started.
func (s *Systemd) RestartUnit(ctx context.Context, unit string) error {
	err := s.job(ctx, unit, "restart", func(c *dbus.Conn, done chan<- string) error {
		_, err := c.RestartUnitContext(ctx, unit, "replace", done)
		return err
	})
	if err != nil {
		return fmt.Errorf("restarting %q: %w", unit, err)
	}
	return nil
}

// ReloadUnit lets a unit that is active reload, and starts one that is not, and waits until systemd has done so.
func (s *Systemd) ReloadUnit(ctx context.Context, unit string) error {
	err := s.job(ctx, unit, "reload-or-restart", func(c *dbus.Conn, done chan<- string) error {
		_, err := c.ReloadOrRestartUnitContext(ctx, unit, "replace", done)
		return err
	})
	if err != nil {
		return fmt.Errorf("reloading %q: %w", unit, err)
	}
	return nil
}

// StopUnit stops a unit and waits until systemd has done so. One that systemd does not know is stopped.
func (s *Systemd) StopUnit(ctx context.Context, unit string) error {
	status, err := s.UnitStatus(ctx, unit)
	if err == nil && status.Load == "not-found" && status.Active != "active" {
		return nil
	}
	if err == nil {
		err = s.job(ctx, unit, "stop", func(c *dbus.Conn, done chan<- string) error {
			_, err := c.StopUnitContext(ctx, unit, "replace", done)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("stopping %q: %w", unit, err)
	}
	return nil
}

// job lets systemd do something with a unit, and waits for the end of that.
func (s *Systemd) job(ctx context.Context, unit, verb string, onBus func(c *dbus.Conn, done chan<- string) error) error {
	return s.ask(ctx, unit, func(c *dbus.Conn) error {
		done := make(chan string, 1)
		if err := onBus(c, done); err != nil {
			return err
		}
		select {
		case result := <-done:
			if result != "done" {
				return fmt.Errorf("the %s ended as %q", verb, result)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}, func(systemctl string) error {
		_, err := run(ctx, systemctl, verb, "--no-ask-password", "--", unit)
		return err
	})
}

// ResetFailed makes systemd forget that a unit failed. One that did not, or does not exist, is no error.
func (s *Systemd) ResetFailed(ctx context.Context, unit string) error {
	status, err := s.UnitStatus(ctx, unit)
	if err == nil && status.Active == "failed" {
		err = s.ask(ctx, unit, func(c *dbus.Conn) error {
			return c.ResetFailedUnitContext(ctx, unit)
		}, func(systemctl string) error {
			_, err := run(ctx, systemctl, "reset-failed", "--no-ask-password", "--", unit)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("forgetting the failure of %q: %w", unit, err)
	}
	return nil
}

// DaemonReload makes systemd read all unit files again.
func (s *Systemd) DaemonReload(ctx context.Context) error {
	err := s.ask(ctx, "reload.service", func(c *dbus.Conn) error {
		return c.ReloadContext(ctx)
	}, func(systemctl string) error {
		_, err := run(ctx, systemctl, "daemon-reload", "--no-ask-password")
		return err
	})
	if err != nil {
		return fmt.Errorf("reloading systemd's units: %w", err)
	}
	return nil
}

// ask uses the bus or, only where nothing listens there, systemctl: an answer that is an error is final, for what was
// asked may have begun.
func (s *Systemd) ask(ctx context.Context, unit string, onBus func(*dbus.Conn) error, byCommand func(systemctl string) error) error {
	if !validUnit(unit) {
		return errors.New("it is not the name of a unit")
	}
	conn, dialed := s.dial(ctx)
	if dialed == nil {
		defer conn.Close()
		err := onBus(conn)
		if stopped := ctx.Err(); stopped != nil && err != nil {
			return stopped // the library says only that the connection was closed
		}
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := os.Stat(s.Booted); s.Booted != "" && errors.Is(err, fs.ErrNotExist) {
		return ErrNoSystemd
	}
	for _, path := range s.Systemctl {
		if _, err := os.Stat(path); err == nil {
			return byCommand(path)
		}
	}
	if errors.Is(dialed, fs.ErrNotExist) {
		return ErrNoSystemd
	}
	return dialed
}

func (s *Systemd) dial(ctx context.Context) (*dbus.Conn, error) {
	conn, private := s.dialSocket(ctx, s.Private, false)
	if private == nil {
		return conn, nil
	}
	conn, bus := s.dialSocket(ctx, s.Bus, true)
	if bus == nil {
		return conn, nil
	}
	if errors.Is(bus, fs.ErrNotExist) {
		return nil, private
	}
	return nil, bus
}

// dialSocket connects to systemd itself, or to a bus, which wants a greeting. The addresses that the D-Bus library takes
// from the environment play no part.
func (s *Systemd) dialSocket(ctx context.Context, socket string, hello bool) (*dbus.Conn, error) {
	if _, err := os.Stat(socket); err != nil {
		return nil, err
	}
	return dbus.NewConnection(func() (*godbus.Conn, error) {
		conn, err := godbus.Dial("unix:path="+godbus.EscapeBusAddressValue(socket), godbus.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		err = conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(os.Getuid()))})
		if err == nil && hello {
			err = conn.Hello()
		}
		if err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	})
}

func validUnit(unit string) bool {
	return unit != "" && len(unit) < 256 && unit[0] != '-' && strings.Contains(unit, ".") &&
		strings.Trim(unit, `abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\@`) == ""
}

// statusFromBus picks what we want out of the properties of a unit. What is absent stays zero: a unit that does not
// exist has few of them.
func statusFromBus(properties map[string]any) UnitStatus {
	u := UnitStatus{
		Load:      property[string](properties, "LoadState"),
		Active:    property[string](properties, "ActiveState"),
		Sub:       property[string](properties, "SubState"),
		MainPID:   int(property[uint32](properties, "MainPID")),
		NRestarts: int(property[uint32](properties, "NRestarts")),
	}
	if micros := property[uint64](properties, "ActiveEnterTimestamp"); micros != 0 {
		u.ActiveEnter = time.UnixMicro(int64(micros))
	}
	return u
}

func property[T any](properties map[string]any, name string) T {
	value, _ := properties[name].(T)
	return value
}
