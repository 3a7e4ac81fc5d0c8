//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// spawn boots the node's root filesystem in a container that outlives this program.
func (n *Node) spawn(ctx context.Context) (machine, error) {
	m := machine{Booted: time.Now()}
	console, err := os.Create(n.consoleFile())
	if err != nil {
		return m, err
	}
	defer console.Close()

	nspawn := []string{"systemd-nspawn", "--directory=" + n.root(), "--machine=" + n.machineName(), "--hostname=" + n.name,
		"--register=no", "--keep-unit", "--boot", "--network-namespace-path=/run/netns/" + n.netns(), "--capability=all",
		"--system-call-filter=@known", "--bind=/dev/kmsg", "--console=read-only", "--resolv-conf=off", "--timezone=off"}
	env := []string{"PATH=" + os.Getenv("PATH"), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"}
	if !unifiedCgroups() {
		env[2] = "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0"
	}
	// The container gets cgroups of its own, so that what it leaves can be removed: from systemd where there is one.
	argv := []string{"systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes", fmt.Sprintf("--property=CPUWeight=%d", nodeWeight*100),
		"--unit=" + n.machineName()}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		argv = nil
		if m.Cgroups, err = createCgroups(n.machineName()); err != nil {
			return m, err
		}
	}
	// systemd-nspawn asks for another run after a reboot by exit status 133. The containers' cgroups do not outlive a boot.
	script := `groups=
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit; groups="$groups $1"; shift; done; shift
while :; do
` + n.connectScript() + `
"$@"
[ $? -eq 133 ] || exit
for g in $groups; do find "$g" -mindepth 1 -depth -type d -exec rmdir {} +; done
done`
	argv = slices.Concat(argv, []string{"sh", "-c", script, "sh"}, m.Cgroups, []string{"--"}, nspawn)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return m, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	if m.Supervisor, err = findProcess(cmd.Process.Pid); err != nil {
		return m, err
	}
	deadline := time.After(20 * time.Second)
	for {
		if m.Init, err = initOf(m.Supervisor.PID); err == nil {
			return m, nil
		}
		select {
		case err := <-ended:
			return m, fmt.Errorf("systemd-nspawn ended: %v: %s", err, lastLines(n.consoleFile(), 5))
		case <-deadline:
			m.Supervisor.killGroup()
			return m, fmt.Errorf("systemd-nspawn started no init: %s", lastLines(n.consoleFile(), 5))
		case <-ctx.Done():
			m.Supervisor.killGroup()
			return m, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (n *Node) machineName() string { return "khlab-" + n.cluster.cfg.Name + "-" + n.name }

// initOf returns the systemd that systemd-nspawn below the supervisor has started.
func initOf(supervisor int) (process, error) {
	pid := supervisor
	for _, name := range []string{"systemd-nspawn", "systemd"} {
		var err error
		if pid, err = childOf(pid, name); err != nil {
			return process{}, err
		}
	}
	return findProcess(pid)
}

func childOf(parent int, name string) (int, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", parent, parent))
	if err != nil {
		return 0, err
	}
	for field := range strings.FieldsSeq(string(children)) {
		comm, _ := os.ReadFile("/proc/" + field + "/comm")
		if strings.TrimSpace(string(comm)) == name {
			return strconv.Atoi(field)
		}
	}
	return 0, fmt.Errorf("process %d has no child %s", parent, name)
}

func findProcess(pid int) (process, error) {
	fields, err := statFields(pid)
	if err != nil {
		return process{}, err
	}
	return process{PID: pid, Start: fields[19]}, nil
}

// alive is false of a zombie too.
func (p process) alive() bool {
	fields, err := statFields(p.PID)
	return err == nil && fields[19] == p.Start && fields[0] != "Z"
}

func (p process) kill() error { return p.signal(p.PID) }

// killGroup kills all processes of the group that p leads.
func (p process) killGroup() error { return p.signal(-p.PID) }

func (p process) signal(pid int) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}

// statFields returns the fields of /proc/PID/stat from the state on, which is the third.
func statFields(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	_, rest, ok := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return nil, fmt.Errorf("reading /proc/%d/stat: %q", pid, data)
	}
	return fields, nil
}

func unifiedCgroups() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

// createCgroups makes a group of that name below our own in every hierarchy.
func createCgroups(name string) ([]string, error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	var groups []string
	for line := range strings.Lines(string(own)) {
		// hierarchy-id:controllers:path
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("reading /proc/self/cgroup: %q", line)
		}
		mount := filepath.Join("/sys/fs/cgroup", strings.TrimPrefix(fields[1], "name="))
		if fields[1] == "" && !unifiedCgroups() {
			mount = "/sys/fs/cgroup/unified"
		}
		if _, err := os.Stat(mount); err != nil {
			continue // a hierarchy that is not mounted
		}
		group := filepath.Join(mount, fields[2], name)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, err
		}
		// A new v1 cpuset is empty, and nothing can be put into it.
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(filepath.Dir(group), f))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(group, f), value, 0o644); err != nil {
				return nil, err
			}
		}
		if err := weigh(group); err != nil {
			return nil, err
		}
		groups = append(groups, group)
	}
	return groups, nil
}

// nodeWeight is the node's share of the processors, where a process beside its group has one. Its programs together count as one
// otherwise, and a build beside it lets them miss every deadline.
const nodeWeight = 8

func weigh(group string) error {
	for file, one := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
		path := filepath.Join(group, file)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(nodeWeight*one)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes groups and all below them, which the kernel allows a moment after their processes have ended.
func removeCgroups(ctx context.Context, groups []string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, group := range groups {
		for {
			err := removeGroup(group)
			if err == nil {
				break
			}
			if pause(ctx, 20*time.Millisecond) != nil {
				return fmt.Errorf("removing cgroup: %w", err)
			}
		}
	}
	return nil
}

func removeGroup(group string) error {
	var dirs []string
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	for _, dir := range slices.Backward(dirs) {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return err
}
