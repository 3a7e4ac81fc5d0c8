package collect

import (
	"bufio"
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// kernelKeys are what the kubelet wants of the kernel (pkg/kubelet/cm/container_manager_linux.go); with
// protectKernelDefaults it exits where one differs.
var kernelKeys = []string{
	"vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes",
}

// sysctlDirs by precedence: a file hides files of the same name in later ones (sysctl.d(5)).
var sysctlDirs = []string{"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"}

// collectSysctls reads what the kernel has and what the files set. One that cannot be read makes the group unknown, as it may
// set what another one does, and otherwise.
func collectSysctls(n Node, live Live, f *harden.Facts) error {
	if live != nil {
		for _, key := range kernelKeys {
			if v, err := live.Sysctl(key); err == nil {
				f.Sysctls[key] = v
			}
		}
	}
	files := map[string]string{}
	for _, dir := range sysctlDirs {
		names, err := n.List(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".conf") && files[name] == "" {
				files[name] = path.Join(dir, name)
			}
		}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	paths := []string{}
	for _, name := range names {
		paths = append(paths, files[name])
	}
	paths = append(paths, harden.SysctlConf)
	for _, p := range paths {
		if masked(n, p) {
			continue
		}
		file := readFile(n, p)
		if !file.Unread.IsZero() {
			return fmt.Errorf("reading kernel settings: %s", file.Unread)
		}
		f.SysctlFiles = append(f.SysctlFiles, sysctlSettings(p, file.State.Data)...)
	}
	return nil
}

// masked: a link to /dev/null is how a file of this name in a later directory is switched off (sysctl.d(5)).
func masked(n Node, p string) bool {
	attrs, ok := n.(Attributes)
	if !ok {
		return false
	}
	s, err := attrs.Look(p)
	return err == nil && s.Kind == harden.StatLink && s.Target == "/dev/null"
}

// sysctlSettings reads "key = value" lines; "-key" (errors ignored) and keys with slashes mean the same key.
func sysctlSettings(p string, data []byte) []harden.SysctlSetting {
	var out []harden.SysctlSetting
	sc := bufio.NewScanner(bytes.NewReader(data))
	for sc.Scan() {
		text := strings.TrimSpace(sc.Text())
		if text == "" || text[0] == '#' || text[0] == ';' {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			continue
		}
		key = strings.TrimPrefix(strings.TrimSpace(key), "-")
		if strings.Contains(key, "/") && !strings.Contains(strings.SplitN(key, "/", 2)[0], ".") {
			key = strings.ReplaceAll(key, "/", ".")
		}
		out = append(out, harden.SysctlSetting{Path: p, Key: key, Value: strings.TrimSpace(value)})
	}
	return out
}
