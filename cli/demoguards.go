package cli

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

// demoGuards are the sandbox's: timers of this process, which has no service manager and nothing to outlive.
type demoGuards struct {
	files backups.FS
	clock interface{ Now() time.Time }
	began time.Time
	fire  func(tx string)

	mu    sync.Mutex
	armed map[string]*time.Timer
}

func newDemoGuards(e *engine) *demoGuards {
	g := &demoGuards{files: e.m.files, clock: e.clock, began: e.clock.Now(), armed: map[string]*time.Timer{}}
	g.fire = func(tx string) {
		_, _ = e.expire(context.Background(), tx, false, func(harden.Event) {}, func(string) {})
	}
	return g
}

func (g *demoGuards) Power(context.Context) (host.GuardPower, error) { return host.GuardDetached, nil }

func (g *demoGuards) Arm(_ context.Context, guard host.Guard, after time.Duration) (host.GuardPower, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.armed[guard.Name]; t != nil {
		t.Stop()
	}
	g.armed[guard.Name] = time.AfterFunc(after, func() { g.fire(strings.TrimPrefix(guard.Name, switchPrefix)) })
	return host.GuardDetached, nil
}

func (g *demoGuards) Disarm(_ context.Context, name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t := g.armed[name]; t != nil {
		t.Stop()
		delete(g.armed, name)
	}
	return nil
}

func (g *demoGuards) Armed(_ context.Context, name string) (host.GuardPower, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.armed[name] == nil {
		return host.GuardNone, nil
	}
	return host.GuardDetached, nil
}

func (g *demoGuards) Names(prefix string) ([]string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []string
	for name := range g.armed {
		if strings.HasPrefix(name, prefix) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Try says that the program can run: here it is this process.
func (g *demoGuards) Try(_ context.Context, _ string, argv []string) error {
	w, err := g.files.Create(path.Join(path.Dir(argv[1]), switchDrilled), 0o600)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(switchProgram + "\n"))
	return errors.Join(err, w.Close())
}

func (g *demoGuards) BootClock() (string, time.Duration, error) {
	return "demo", g.clock.Now().Sub(g.began), nil
}

// stop ends what is armed, with the demo.
func (g *demoGuards) stop() {
	names, _ := g.Names("")
	for _, name := range names {
		_ = g.Disarm(context.Background(), name)
	}
}
