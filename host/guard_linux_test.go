package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"kubectl-harden.io/kubectl-harden/backups/backupstest"
)

var waitingTimer = map[string]godbus.Variant{
	"LoadState": godbus.MakeVariant("loaded"), "ActiveState": godbus.MakeVariant("active"), "SubState": godbus.MakeVariant("waiting"),
}

// newGuards has a root of its own and a systemd that only answers, or none.
func newGuards(t *testing.T, fake *fakeSystemd) (*Guards, string) {
	t.Helper()
	root, dir := newRoot(t)
	must(t, os.MkdirAll(filepath.Join(dir, unitDir), 0o755))
	g := &Guards{Files: root, Systemd: &Systemd{Private: "/nonexistent", Bus: "/nonexistent"}, Proc: "/proc", detach: detach}
	if fake != nil {
		if fake.services == nil {
			fake.services = map[string]godbus.Variant{"LoadState": godbus.MakeVariant("not-found"), "ActiveState": godbus.MakeVariant("inactive")}
		}
		g.Systemd.Private = fake.listen(t)
	}
	return g, dir
}

var canary = Guard{
	Name: "kubectl-harden-canary-1", About: "removes 100% of the canary", Before: []string{"kubelet.service"}, Needs: []string{"/etc/kubernetes"},
	Expiry: [][]string{{"/bin/rm", "-f", `/etc/kubernetes/manifests/a "b" $c %d\e.yaml`}},
}

// tree lists all files below a directory.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			out = append(out, strings.TrimPrefix(p, dir))
		}
		return err
	}))
	return out
}

func TestGuardIsArmedAndDisarmed(t *testing.T) {
	fake := &fakeSystemd{properties: waitingTimer, result: "done"}
	g, dir := newGuards(t, fake)
	before := tree(t, dir)
	power, err := g.Arm(t.Context(), canary, 90*time.Second)
	if err != nil || power != GuardSystemd {
		t.Fatalf("Arm = %q, %v", power, err)
	}
	for file, want := range map[string]string{
		"/etc/systemd/system/kubectl-harden-canary-1.service": `[Unit]
Description=removes 100%% of the canary
RequiresMountsFor=/etc/kubernetes

[Service]
Type=oneshot
ExecStart=/bin/rm -f "/etc/kubernetes/manifests/a \"b\" $$c %%d\\e.yaml"
ExecStart=/bin/rm -f /etc/systemd/system/multi-user.target.d/kubectl-harden-canary-1.conf /etc/systemd/system/kubectl-harden-canary-1-boot.service /etc/systemd/system/kubectl-harden-canary-1.timer /etc/systemd/system/kubectl-harden-canary-1.service /run/kubectl-harden-canary-1
ExecStart=-/bin/rmdir /etc/systemd/system/multi-user.target.d
ExecStart=-/bin/systemctl --no-ask-password --no-block stop kubectl-harden-canary-1.timer
ExecStart=-/bin/systemd-run --quiet --collect "--unit=kubectl-harden-canary-1-forget.service" "--description=systemd forgets kubectl-harden-canary-1" -- /bin/sh -c "i=0\nwhile `,
		"/etc/systemd/system/kubectl-harden-canary-1-boot.service": `ConditionPathExists=!/run/kubectl-harden-canary-1
Before=kubelet.service

[Service]
Type=oneshot
TimeoutStartSec=180
ExecStart=/bin/rm -f`,
		"/etc/systemd/system/kubectl-harden-canary-1.timer": "[Timer]\nOnActiveSec=90000ms\n",
		"/etc/systemd/system/multi-user.target.d/kubectl-harden-canary-1.conf": `# The directory was made with this file.
[Unit]
Wants=kubectl-harden-canary-1-boot.service kubectl-harden-canary-1.timer
`,
		"/run/kubectl-harden-canary-1": `{"madeDir":true}`,
	} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v\n%s", file, err, got)
		}
	}
	if power, err := g.Armed(t.Context(), canary.Name); err != nil || power != GuardSystemd {
		t.Errorf("Armed = %q, %v", power, err)
	}
	if names, err := g.Names("kubectl-harden-"); err != nil || !slices.Equal(names, []string{canary.Name}) {
		t.Errorf("Names = %q, %v", names, err)
	}
	must(t, g.Disarm(t.Context(), canary.Name))
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("left is %q", after)
	}
	var asked []string
	for _, call := range drain(fake.calls) {
		if !strings.HasPrefix(call, "AddMatch") && !strings.HasPrefix(call, "GetAll") {
			asked = append(asked, call)
		}
	}
	if want := []string{
		"Reload[]", "RestartUnit[kubectl-harden-canary-1.timer replace]", "StopUnit[kubectl-harden-canary-1.timer replace]", "Reload[]",
	}; !slices.Equal(asked, want) {
		t.Errorf("systemd was asked %q, want %q", asked, want)
	}
	must(t, g.Disarm(t.Context(), canary.Name))
	if again := drain(fake.calls); len(again) > 0 {
		t.Errorf("disarming what is gone asked systemd %q", again)
	}
}

// TestGuardThatDisarmsItselfIsNotReloaded: systemd would hold a running service to the time limit of a unit without a file.
func TestGuardThatDisarmsItselfIsNotReloaded(t *testing.T) {
	g, dir := newGuards(t, &fakeSystemd{properties: waitingTimer, result: "done"})
	before := tree(t, dir)
	_, err := g.Arm(t.Context(), canary, time.Minute)
	must(t, err)
	fires := &fakeSystemd{properties: waitingTimer, result: "done", services: map[string]godbus.Variant{
		"LoadState": godbus.MakeVariant("loaded"), "ActiveState": godbus.MakeVariant("activating"),
	}}
	g.Systemd.Private = fires.listen(t)
	must(t, g.Disarm(t.Context(), canary.Name))
	asked := strings.Join(drain(fires.calls), "\n")
	if strings.Contains(asked, "Reload") || !strings.Contains(asked, "StartTransientUnit[kubectl-harden-canary-1-forget.service fail") {
		t.Errorf("systemd was asked\n%s", asked)
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("left is %q", after)
	}
}

func TestGuardLeavesDirectoryOfOthers(t *testing.T) {
	for name, prepare := range map[string]string{"empty": "", "with a file": "other.conf"} {
		g, dir := newGuards(t, &fakeSystemd{properties: waitingTimer, result: "done"})
		must(t, os.MkdirAll(filepath.Join(dir, wantsDir), 0o755))
		if prepare != "" {
			put(t, dir, filepath.Join(wantsDir, prepare), "[Unit]\n")
		}
		before := tree(t, dir)
		_, err := g.Arm(t.Context(), canary, time.Minute)
		must(t, err)
		service, err := os.ReadFile(filepath.Join(dir, unitAt(serviceOf(canary.Name))))
		must(t, err)
		if strings.Contains(string(service), "rmdir") {
			t.Errorf("%s: the guard would remove the directory of others", name)
		}
		must(t, g.Disarm(t.Context(), canary.Name))
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: left is %q", name, after)
		}
	}
}

func TestTwoGuardsLeaveNothing(t *testing.T) {
	g, dir := newGuards(t, &fakeSystemd{properties: waitingTimer, result: "done"})
	before := tree(t, dir)
	other := canary
	other.Name, other.Stays = "kubectl-harden-switch-1", true
	for _, guard := range []Guard{canary, other, other} {
		_, err := g.Arm(t.Context(), guard, time.Minute)
		must(t, err)
	}
	must(t, g.Disarm(t.Context(), canary.Name))
	if names, err := g.Names("kubectl-harden-"); err != nil || !slices.Equal(names, []string{other.Name}) {
		t.Errorf("Names = %q, %v", names, err)
	}
	must(t, g.Disarm(t.Context(), other.Name))
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("left is %q", after)
	}
}

func TestGuardThatDoesNotStartIsNotArmed(t *testing.T) {
	for name, fake := range map[string]*fakeSystemd{
		"the timer fails":        {properties: waitingTimer, result: "failed"},
		"the timer is not there": {result: "done"},
		"it does not stay": {result: "done", properties: map[string]godbus.Variant{
			"LoadState": godbus.MakeVariant("loaded"), "ActiveState": godbus.MakeVariant("inactive"),
		}},
	} {
		g, dir := newGuards(t, fake)
		before := tree(t, dir)
		if power, err := g.Arm(t.Context(), canary, time.Minute); err == nil || power != GuardNone {
			t.Errorf("%s: Arm = %q, %v", name, power, err)
		}
		fake.becomes(waitingTimer, "done")
		must(t, g.Disarm(t.Context(), canary.Name))
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Errorf("%s: left is %q", name, after)
		}
	}
}

// TestGuardInterrupted stops arming before each operation; Disarm then leaves nothing, and at no moment is the unit hooked to
// the boot while its services are missing.
func TestGuardInterrupted(t *testing.T) {
	errKilled := errors.New("killed")
	for nth := 1; ; nth++ {
		fake := &fakeSystemd{properties: waitingTimer, result: "done"}
		g, dir := newGuards(t, fake)
		root := g.Files
		before := tree(t, dir)
		watch := &backupstest.Watch{FS: root}
		watch.Before = func(op backupstest.Op) error {
			if op.N >= nth {
				return errKilled
			}
			return nil
		}
		g.Files = watch
		_, err := g.Arm(t.Context(), canary, time.Minute)
		g.Files = root
		if _, hooked := os.Stat(filepath.Join(dir, wantsOf(canary.Name))); hooked == nil {
			for _, p := range GuardPaths(canary.Name) {
				if _, missing := os.Stat(filepath.Join(dir, p)); missing != nil {
					t.Errorf("killed before operation %d: hooked to the boot without %s", nth, p)
				}
			}
		}
		must(t, g.Disarm(t.Context(), canary.Name))
		if after := tree(t, dir); !slices.Equal(before, after) {
			t.Fatalf("killed before operation %d: left is %q", nth, after)
		}
		if err == nil {
			break
		}
	}
}

func TestGuardWithoutSystemd(t *testing.T) {
	g, dir := newGuards(t, nil)
	done := filepath.Join(dir, `it's "done"`)
	quick := Guard{Name: "kubectl-harden-switch-2", About: "x", Expiry: [][]string{{"/bin/sh", "-c", `: >"$1"`, "sh", done}}, Stays: true}
	power, err := g.Arm(t.Context(), quick, time.Hour)
	if err != nil || power != GuardDetached {
		t.Fatalf("Arm = %q, %v", power, err)
	}
	if power, err := g.Armed(t.Context(), quick.Name); err != nil || power != GuardDetached {
		t.Errorf("Armed = %q, %v", power, err)
	}
	first := marker(t, g, quick.Name)
	if sid, err := exec.Command("ps", "-o", "sid=", "-p", strings.TrimSpace(first)).Output(); err == nil && strings.TrimSpace(string(sid)) != first {
		t.Errorf("process %s is in session %s", first, sid)
	}
	// Armed anew, the first process is gone and the second one acts.
	_, err = g.Arm(t.Context(), quick, time.Second)
	must(t, err)
	if second := marker(t, g, quick.Name); second == first {
		t.Errorf("process %s was not replaced", first)
	}
	for {
		if _, err := os.Stat(done); err == nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("the guard never acted")
		}
		syscall.Select(0, nil, nil, nil, &syscall.Timeval{Usec: 20000})
	}
	must(t, g.Disarm(t.Context(), quick.Name))
	if _, err := g.Files.Stat(markerOf(quick.Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the marker is left: %v", err)
	}
}

// disarmFrom is what a guard's own command does in the end: the guard goes, and then something is left to do.
func disarmFrom(dir string) error {
	root, err := OpenRoot(dir)
	if err != nil {
		return err
	}
	g := &Guards{Files: root, Systemd: &Systemd{Private: "/nonexistent", Bus: "/nonexistent"}, Proc: "/proc", detach: detach}
	if err := g.Disarm(context.Background(), ownGuard); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "closed"), nil, 0o600)
}

const ownGuard = "kubectl-harden-switch-3"

// The program that a detached guard had started ended the guard's process group when it disarmed it, and itself with that, before
// its transaction was closed.
func TestDetachedGuardDisarmedByItsOwnCommandEndedThatCommand(t *testing.T) {
	g, dir := newGuards(t, nil)
	self, err := os.Executable()
	must(t, err)
	const script = `HOST_TEST_DISARM=$1 "$2" && : >"$1/went on"`
	for name, command := range map[string][]string{
		"in its group":            {"/bin/sh", "-c", script, "sh", dir, self},
		"in a session of its own": {"/bin/sh", "-c", `HOST_TEST_DISARM=$1 setsid -w "$2" && : >"$1/went on"`, "sh", dir, self},
	} {
		_, err := g.Arm(t.Context(), Guard{Name: ownGuard, About: "x", Expiry: [][]string{command}, Stays: true}, time.Second)
		must(t, err)
		for _, file := range []string{"closed", "went on"} {
			for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				if err := os.Remove(filepath.Join(dir, file)); err == nil {
					break
				}
				if time.Since(began) > 20*time.Second {
					t.Fatalf("%s: the guard's command ended before %q", name, file)
				}
			}
		}
		if _, err := g.Files.Stat(markerOf(ownGuard)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the marker is left: %v", name, err)
		}
	}
}

func marker(t *testing.T, g *Guards, name string) string {
	t.Helper()
	data, err := g.Files.ReadFile(markerOf(name))
	must(t, err)
	_, rest, _ := strings.Cut(string(data), `"pid":`)
	pid, _, _ := strings.Cut(rest, ",")
	return pid
}

func TestGuardsThatAreRefused(t *testing.T) {
	g, dir := newGuards(t, &fakeSystemd{properties: waitingTimer, result: "done"})
	before := tree(t, dir)
	for name, change := range map[string]func(*Guard){
		"a path as name":   func(x *Guard) { x.Name = "../kubelet" },
		"no name":          func(x *Guard) { x.Name = "" },
		"nothing to do":    func(x *Guard) { x.Expiry = nil },
		"a relative path":  func(x *Guard) { x.Expiry = [][]string{{"rm"}} },
		"a prefix":         func(x *Guard) { x.Expiry = [][]string{{"-/bin/rm"}} },
		"a zero byte":      func(x *Guard) { x.Expiry = [][]string{{"/bin/rm", "a\x00b"}} },
		"two lines":        func(x *Guard) { x.About = "a\nExecStart=/bin/sh" },
		"no unit to hold":  func(x *Guard) { x.Before = []string{"kubelet\nWants=x"} },
		"an empty command": func(x *Guard) { x.Boot = [][]string{{}} },
	} {
		bad := canary
		change(&bad)
		if _, err := g.Arm(t.Context(), bad, time.Minute); err == nil {
			t.Errorf("%s: armed", name)
		}
	}
	if _, err := g.Arm(t.Context(), canary, 0); err == nil {
		t.Error("armed for no time")
	}
	if after := tree(t, dir); !slices.Equal(before, after) {
		t.Errorf("left is %q", after)
	}
}

// TestUnitsAsSystemdReadsThem lets systemd itself judge the files, where it is installed.
func TestUnitsAsSystemdReadsThem(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	var units []string
	for _, f := range canary.files(time.Minute, true) {
		p := filepath.Join(dir, filepath.Base(f.path))
		must(t, os.WriteFile(p, []byte(f.text), 0o644))
		if !strings.HasSuffix(p, ".conf") {
			units = append(units, p)
		}
	}
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if strings.Contains(string(out), "kubectl-harden-canary-1") {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}

func TestSignalReachesTheRightProcessOnly(t *testing.T) {
	c := exec.Command("sleep", "3600")
	must(t, c.Start())
	defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	ticks, err := ProcessTicks("/proc", c.Process.Pid)
	must(t, err)
	if err := Signal("/proc", c.Process.Pid, ticks+1, syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("another process of that number: %v", err)
	}
	must(t, EndSession("/proc", c.Process.Pid, ticks+1))
	must(t, Signal("/proc", c.Process.Pid, ticks, 0))
	must(t, Signal("/proc", c.Process.Pid, ticks, syscall.SIGSTOP))
	must(t, Signal("/proc", c.Process.Pid, ticks, syscall.SIGKILL))
	_ = c.Wait()
	if err := Signal("/proc", c.Process.Pid, ticks, 0); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("a process that has ended: %v", err)
	}
}
