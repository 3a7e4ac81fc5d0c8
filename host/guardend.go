package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Disarm removes what there is of a guard; nothing is no error. After an error it may be tried again. What the guard has begun
// to do it goes on doing.
func (g *Guards) Disarm(ctx context.Context, name string) error {
	if !validUnit(bootOf(name)) || strings.ContainsAny(name, `\@`) {
		return fmt.Errorf("disarming %q: it is not the name of a unit", name)
	}
	if err := g.disarm(ctx, name); err != nil {
		return fmt.Errorf("disarming %s: %w", name, err)
	}
	return nil
}

func (g *Guards) disarm(ctx context.Context, name string) error {
	there, ourDir, err := g.look(name)
	if err != nil || len(there) == 0 {
		return err
	}
	stopped := g.stop(ctx, name)
	// The files go in any case: what systemd does not hear of now is gone with the next boot.
	errs := []error{stopped}
	units := false
	for _, file := range there {
		errs = append(errs, g.drop(file))
		units = units || path.Dir(file) != "/run"
	}
	if ourDir {
		if names, err := g.Files.ReadDir(wantsDir); err == nil && len(names) == 0 {
			errs = append(errs, g.Files.Remove(wantsDir))
		}
	}
	if units {
		errs = append(errs, g.Files.SyncDir(unitDir))
		if err := g.forget(ctx, name); !errors.Is(err, ErrNoSystemd) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// ForgetScript lets systemd forget units ($@) whose files are gone, once they have ended: one that runs meanwhile would get the
// defaults of a unit without a file, and be stopped by their time limit.
const ForgetScript = `i=0
while systemctl show -p ActiveState -- "$@" | grep -Eq 'activating|=active'; do i=$((i+1)); [ $i -lt 900 ] || exit 1; sleep 1; done
systemctl daemon-reload && systemctl reset-failed -- "$@" 2>/dev/null || :`

// forget makes systemd forget the units. While one of them runs, which may be us, another unit waits for its end.
func (g *Guards) forget(ctx context.Context, name string) error {
	units := []string{serviceOf(name), bootOf(name)}
	for _, unit := range units {
		status, err := g.Systemd.UnitStatus(ctx, unit)
		if err != nil {
			return err
		}
		switch status.Active {
		case "active", "activating", "deactivating":
			return g.Systemd.RunTransient(ctx, Transient{
				Name: name + "-forget.service", About: "systemd forgets a guard of kubectl-harden",
				Argv: append([]string{"/bin/sh", "-c", ForgetScript, "sh"}, units...),
			})
		}
	}
	if err := g.Systemd.DaemonReload(ctx); err != nil {
		return err
	}
	for _, unit := range units {
		if err := g.Systemd.ResetFailed(ctx, unit); err != nil {
			return err
		}
	}
	return nil
}

// look finds what there is of a guard, the marker last: while it is there, the unit at boot does nothing.
func (g *Guards) look(name string) (there []string, ourDir bool, err error) {
	for _, file := range GuardPaths(name) {
		for _, p := range []string{draftOf(file), file} {
			_, err := g.Files.Stat(p)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, false, err
			}
			there = append(there, p)
		}
	}
	data, err := g.Files.ReadFile(wantsOf(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	m, err := g.marker(name)
	return there, m.MadeDir || strings.Contains(string(data), guardMade), err
}

// stop ends what waits for the guard's time.
func (g *Guards) stop(ctx context.Context, name string) error {
	m, err := g.marker(name)
	if err != nil {
		return err
	}
	if m.PID > 0 {
		return EndSession(g.Proc, m.PID, m.Ticks)
	}
	err = g.Systemd.StopUnit(ctx, timerOf(name))
	if errors.Is(err, ErrNoSystemd) {
		return nil
	}
	return err
}
