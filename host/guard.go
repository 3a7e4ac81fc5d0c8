package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"kubectl-harden.io/kubectl-harden/backups"
)

// Guard acts in our place: when its time is over, and at the next boot before other units start. It outlives our process,
// its terminal and, where systemd runs the machine, a reboot.
type Guard struct {
	Name   string     // of its units, without a suffix; a guard of the same name is replaced
	About  string     // one line, for people who look at the units
	Expiry [][]string // commands, one after the other while they succeed; the programs by their full paths
	Boot   [][]string // what is done at boot instead; nil: the same
	Before []string   // units that wait at boot until it has acted, well or not: "kubelet.service"
	Needs  []string   // paths whose file systems are mounted first
	// Stays: it is removed by its own commands, or by Disarm. Otherwise it removes itself once they have succeeded.
	Stays bool
}

// GuardPower is what a guard outlives.
type GuardPower string

const (
	GuardNone     GuardPower = ""
	GuardSystemd  GuardPower = "systemd"          // a timer of systemd, and a unit at boot
	GuardDetached GuardPower = "detached process" // a process of its own, which a reboot ends
)

// Guards arms guards on a machine.
type Guards struct {
	Files   backups.FS
	Systemd *Systemd
	Proc    string
	// detach starts a command in a session of its own.
	detach func(argv []string) (pid int, err error)
}

// Guards returns the running machine's guards, or ErrOffline.
func (r *Root) Guards() (*Guards, error) {
	s, err := r.Systemd()
	if err != nil {
		return nil, err
	}
	return &Guards{Files: r, Systemd: s, Proc: r.Proc, detach: detach}, nil
}

const (
	unitDir   = "/etc/systemd/system"
	bootUnit  = "multi-user.target" // what the kubelet's own package hooks it to
	wantsDir  = unitDir + "/" + bootUnit + ".d"
	guardMade = "# The directory was made with this file."
)

// guardFile is one file of a guard.
type guardFile struct{ path, text string }

func markerOf(name string) string  { return "/run/" + name }
func timerOf(name string) string   { return name + ".timer" }
func serviceOf(name string) string { return name + ".service" }
func bootOf(name string) string    { return name + "-boot.service" }
func wantsOf(name string) string   { return path.Join(wantsDir, name+".conf") }
func unitAt(unit string) string    { return path.Join(unitDir, unit) }
func draftOf(file string) string   { return path.Join(path.Dir(file), "."+path.Base(file)) }

// GuardPaths are all paths that an armed guard may have, for those who look for what is left.
func GuardPaths(name string) []string {
	return []string{wantsOf(name), unitAt(bootOf(name)), unitAt(timerOf(name)), unitAt(serviceOf(name)), markerOf(name)}
}

// Power says what a guard would outlive here.
func (g *Guards) Power(ctx context.Context) (GuardPower, error) {
	_, err := g.Systemd.UnitStatus(ctx, bootUnit)
	switch {
	case errors.Is(err, ErrNoSystemd):
		return GuardDetached, nil
	case err != nil:
		return GuardNone, err
	}
	return GuardSystemd, nil
}

// Arm makes a guard and starts its time, counted by a clock that nobody can set. It is armed, and durably so, when Arm
// returns without an error; otherwise parts of it may be there, for Disarm. Arming it again starts its time anew; the one
// before holds until then.
func (g *Guards) Arm(ctx context.Context, guard Guard, after time.Duration) (GuardPower, error) {
	if err := guard.check(after); err != nil {
		return GuardNone, fmt.Errorf("arming %q: %w", guard.Name, err)
	}
	power, err := g.Power(ctx)
	switch {
	case err != nil:
	case power == GuardDetached:
		err = g.armProcess(guard, after)
	default:
		err = g.armUnits(ctx, guard, after)
	}
	if err != nil {
		return GuardNone, fmt.Errorf("arming %s: %w", guard.Name, err)
	}
	return power, nil
}

func (guard Guard) check(after time.Duration) error {
	switch {
	case !validUnit(bootOf(guard.Name)) || strings.ContainsAny(guard.Name, `\@`):
		return errors.New("it is not the name of a unit")
	case after < time.Second:
		return fmt.Errorf("its time is too short: %s", after)
	case len(guard.Expiry) == 0 || strings.ContainsAny(guard.About, "\n\r"):
		return errors.New("it does nothing, or says so on more than one line")
	case slices.ContainsFunc(guard.Before, func(unit string) bool { return !validUnit(unit) }):
		return fmt.Errorf("it holds up what is not a unit: %q", guard.Before)
	}
	for _, command := range slices.Concat(guard.Expiry, guard.Boot) {
		if len(command) == 0 || !path.IsAbs(command[0]) || strings.Trim(command[0], wordRunes) != "" {
			return fmt.Errorf("not the path of a program: %q", command)
		}
		if slices.ContainsFunc(command, func(arg string) bool { return strings.ContainsRune(arg, 0) }) {
			return errors.New("an argument has a zero byte")
		}
	}
	return nil
}

const wordRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

// guardMarker is the content of the marker: what is armed in this boot. It is gone after a reboot, which is how the unit at
// boot knows that there was one.
type guardMarker struct {
	PID     int    `json:"pid,omitempty"` // of the detached process
	Ticks   uint64 `json:"ticks,omitempty"`
	MadeDir bool   `json:"madeDir,omitempty"`
}

func (g *Guards) mark(name string, m guardMarker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return g.place(guardFile{markerOf(name), string(data) + "\n"})
}

// marker is the zero value where there is none, or only half of one.
func (g *Guards) marker(name string) (m guardMarker, err error) {
	data, err := g.Files.ReadFile(markerOf(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	_ = json.Unmarshal(data, &m)
	return m, nil
}

func (g *Guards) armUnits(ctx context.Context, guard Guard, after time.Duration) error {
	there, made, err := g.wantsDirIsOurs()
	if err != nil {
		return err
	}
	if err := g.mark(guard.Name, guardMarker{MadeDir: made}); err != nil {
		return err
	}
	if !there {
		if err := g.Files.Mkdir(wantsDir, 0o755); err != nil {
			return err
		}
	}
	for _, f := range guard.files(after, made) {
		if err := g.place(f); err != nil {
			return err
		}
	}
	for _, dir := range []string{wantsDir, unitDir} {
		if err := g.Files.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := g.Systemd.DaemonReload(ctx); err != nil {
		return err
	}
	timer := timerOf(guard.Name)
	if err := g.Systemd.RestartUnit(ctx, timer); err != nil {
		return err
	}
	status, err := g.Systemd.UnitStatus(ctx, timer)
	if err == nil && status.Active != "active" {
		err = fmt.Errorf("%s is %s after its start", timer, status.Active)
	}
	return err
}

// wantsDirIsOurs says whether the directory of drop-ins that hook guards to the boot goes with the last guard: it does, unless
// it was there before the first one.
func (g *Guards) wantsDirIsOurs() (there, ours bool, err error) {
	names, err := g.Files.ReadDir(wantsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, true, nil
	}
	for _, name := range names {
		if data, err := g.Files.ReadFile(path.Join(wantsDir, name)); err == nil && strings.Contains(string(data), guardMade) {
			return true, true, nil
		}
	}
	return true, false, err
}

// files are the units, the timer after the services that it starts, and last what hooks them to the boot.
func (guard Guard) files(after time.Duration, madeDir bool) []guardFile {
	name := guard.Name
	head := "# Made by kubectl-harden, and removed by it: see kubectl-harden status.\n"
	unit := head + "[Unit]\nDescription=" + strings.ReplaceAll(guard.About, "%", "%%") + "\n"
	for _, p := range guard.Needs {
		unit += "RequiresMountsFor=" + unitWord(p) + "\n"
	}
	atBoot := unit + "ConditionPathExists=!" + markerOf(name) + "\n"
	if len(guard.Before) > 0 {
		atBoot += "Before=" + strings.Join(guard.Before, " ") + "\n"
	}
	boot := guard.Boot
	if boot == nil {
		boot = guard.Expiry
	}
	var gone string
	if !guard.Stays {
		gone = execLines(guard.gone(madeDir))
	}
	const oneshot = "\n[Service]\nType=oneshot\n"
	// What hangs must not keep a machine from booting for ever; at expiry there is nothing that it keeps.
	const bootTimeout = "TimeoutStartSec=180\n"
	timer := unit + fmt.Sprintf("\n[Timer]\nOnActiveSec=%dms\nAccuracySec=1s\n", after.Milliseconds())
	wants := head
	if madeDir {
		wants += guardMade + "\n"
	}
	wants += "[Unit]\nWants=" + bootOf(name) + " " + timerOf(name) + "\n"
	return []guardFile{
		{unitAt(serviceOf(name)), unit + oneshot + execLines(guard.Expiry) + gone},
		{unitAt(bootOf(name)), atBoot + oneshot + bootTimeout + execLines(boot) + gone},
		{unitAt(timerOf(name)), timer},
		{wantsOf(name), wants},
	}
}

// gone are the commands by which a guard removes itself. Those that begin with a minus may fail.
func (guard Guard) gone(madeDir bool) [][]string {
	out := [][]string{append([]string{"/bin/rm", "-f"}, GuardPaths(guard.Name)...)}
	if madeDir {
		out = append(out, []string{"-/bin/rmdir", wantsDir})
	}
	// What systemd expands of the script it would expand twice: here, and in the unit that waits.
	forget := strings.ReplaceAll(ForgetScript, "$", "$$")
	return append(out,
		[]string{"-/bin/systemctl", "--no-ask-password", "--no-block", "stop", timerOf(guard.Name)},
		[]string{"-/bin/systemd-run", "--quiet", "--collect", "--unit=" + guard.Name + "-forget.service", "--description=systemd forgets " + guard.Name, "--", "/bin/sh", "-c", forget, "sh", serviceOf(guard.Name), bootOf(guard.Name)})
}

func execLines(commands [][]string) string {
	var b strings.Builder
	for _, command := range commands {
		b.WriteString("ExecStart=" + command[0])
		for _, arg := range command[1:] {
			b.WriteString(" " + unitWord(arg))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// unitWord makes one word of a unit file of s, whatever is in it: quotes, specifiers and variables mean nothing there.
func unitWord(s string) string {
	if s != "" && strings.Trim(s, wordRunes) == "" {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$", "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// place puts a file there in one piece, durable but for its name.
func (g *Guards) place(f guardFile) error {
	draft := draftOf(f.path)
	if err := g.drop(draft); err != nil {
		return err
	}
	w, err := g.Files.Create(draft, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(f.text))
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = g.Files.Rename(draft, f.path)
	}
	if err != nil {
		return errors.Join(err, g.drop(draft))
	}
	return nil
}

// drop removes a file that may be missing.
func (g *Guards) drop(file string) error {
	err := g.Files.Remove(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Armed says whether a guard waits for its time, and what it outlives.
func (g *Guards) Armed(ctx context.Context, name string) (GuardPower, error) {
	m, err := g.marker(name)
	if err != nil {
		return GuardNone, fmt.Errorf("looking for %s: %w", name, err)
	}
	if m.PID > 0 {
		if now, err := ProcessTicks(g.Proc, m.PID); err == nil && now == m.Ticks {
			return GuardDetached, nil
		}
		return GuardNone, nil
	}
	status, err := g.Systemd.UnitStatus(ctx, timerOf(name))
	switch {
	case errors.Is(err, ErrNoSystemd):
		return GuardNone, nil
	case err != nil:
		return GuardNone, err
	case status.Active == "active" && status.Sub == "waiting":
		return GuardSystemd, nil
	}
	return GuardNone, nil
}

// Names are the guards whose name begins with prefix and of which something is there, whatever it is.
func (g *Guards) Names(prefix string) ([]string, error) {
	var out []string
	for _, dir := range []string{unitDir, wantsDir, "/run"} {
		names, err := g.Files.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for guards: %w", err)
		}
		for _, name := range names {
			name = strings.TrimPrefix(name, ".")
			for _, suffix := range []string{"-boot.service", ".service", ".timer", ".conf"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if strings.HasPrefix(name, prefix) && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// armProcess starts a process that sleeps and then acts. Its sleep is not moved by a clock that is set.
func (g *Guards) armProcess(guard Guard, after time.Duration) error {
	before, err := g.marker(guard.Name)
	if err != nil {
		return err
	}
	commands := guard.Expiry
	if !guard.Stays {
		commands = append(slices.Clone(commands), []string{"/bin/rm", "-f", markerOf(guard.Name)})
	}
	script := fmt.Sprintf("sleep %d", int64((after+time.Second-1)/time.Second))
	for _, command := range commands {
		script += " &&"
		for _, arg := range command {
			script += " " + shellWord(arg)
		}
	}
	pid, err := g.detach([]string{"/bin/sh", "-c", script})
	if err != nil {
		return err
	}
	ticks, err := ProcessTicks(g.Proc, pid)
	if err == nil {
		err = g.mark(guard.Name, guardMarker{PID: pid, Ticks: ticks})
	}
	if err != nil {
		return errors.Join(err, EndSession(g.Proc, pid, ticks))
	}
	if before.PID > 0 {
		return EndSession(g.Proc, before.PID, before.Ticks)
	}
	return nil
}

func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
