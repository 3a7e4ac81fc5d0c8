package collect

import (
	"bufio"
	"bytes"
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

func collectSysctls(n Node, live Live, f *harden.Facts) error {
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
	paths = append(paths, "/etc/sysctl.conf") // sysctl --system reads it last
	for _, p := range paths {
		f.SysctlFiles = append(f.SysctlFiles, sysctlSettings(p, readFile(n, p).State.Data)...)
	}
	if live == nil {
		return nil
	}
	for _, key := range kernelKeys {
		if v, err := live.Sysctl(key); err == nil {
			f.Sysctls[key] = v
		}
	}
	return nil
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
