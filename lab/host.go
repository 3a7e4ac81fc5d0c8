//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// hostPrograms are what this machine must have, and the Debian and Ubuntu packages that they come from.
var hostPrograms = map[string]string{
	"debootstrap":    "debootstrap",
	"systemd-nspawn": "systemd-container",
	"ip":             "iproute2",
	"nsenter":        "util-linux",
}

// installHostPackages installs what is missing.
func installHostPackages(ctx context.Context, cfg Config) error {
	var missing []string
	for program, pkg := range hostPrograms {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	// debootstrap on Ubuntu does not bring it.
	if _, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg"); err != nil {
		missing = append(missing, "debian-archive-keyring")
	}
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this machine lacks: %s\nhint: install these packages (Debian's names) with your package manager", list)
	}
	return step(cfg, "installing "+list, func() error {
		script := "apt-get update && apt-get install -y --no-install-recommends " + list
		cmd := exec.CommandContext(ctx, "sh", "-c", script)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		return runWatched(cmd, cfg.Log)
	})
}

// inotifyInstances is how many the root of all nodes together may have. A kubelet that gets none does not start, and the usual
// 128 are used up by three nodes.
const (
	inotifyInstances = 8192
	inotifySetting   = "fs/inotify/max_user_instances"
)

// hostSysctls are settings of the whole machine that a kubelet or we change.
var hostSysctls = []string{inotifySetting, "kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops",
	"vm/overcommit_memory", "vm/panic_on_oom"}

func (cfg Config) sysctlFile() string { return filepath.Join(cfg.Dir, "clusters", "sysctls.json") }

// saveSysctls keeps the machine's own values, unless a cluster that runs has done so.
func saveSysctls(cfg Config) error {
	if _, err := os.Stat(cfg.sysctlFile()); err == nil {
		return nil
	}
	values := map[string]string{}
	for _, name := range hostSysctls {
		value, err := os.ReadFile(filepath.Join("/proc/sys", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		values[name] = string(value)
	}
	return writeJSON(cfg.sysctlFile(), values)
}

// raiseSysctls makes room for nodes.
func raiseSysctls() error {
	path := filepath.Join("/proc/sys", inotifySetting)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if now, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && now >= inotifyInstances {
		return nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(inotifyInstances)), 0o644); err != nil {
		return fmt.Errorf("raising the number of inotify instances: %w", err)
	}
	return nil
}

// restoreSysctls puts the machine's values back when no cluster is left.
func restoreSysctls(cfg Config) error {
	others, err := filepath.Glob(filepath.Join(cfg.Dir, "clusters", "*", "cluster.json"))
	if err != nil || len(others) > 0 {
		return err
	}
	var values map[string]string
	if err := readJSON(cfg.sysctlFile(), &values); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for name, value := range values {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("restoring sysctl: %w", err)
		}
	}
	return os.Remove(cfg.sysctlFile())
}
