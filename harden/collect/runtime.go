package collect

import (
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// RuntimeConfig is a Live that can ask the container runtime how it is configured.
type RuntimeConfig interface {
	RuntimeConfig() (*harden.RuntimeFact, error)
}

func collectRuntime(n Node, live Live, running processes, f *harden.Facts) {
	if live != nil {
		f.Modules = modules(n)
	}
	runtime, ok := live.(RuntimeConfig)
	if !ok {
		why := harden.Msg("how a container runtime is configured shows only where it runs")
		f.Missing[harden.NeedRuntimeConfig], f.Missing[harden.NeedRegistries] = why, why
		return
	}
	var err error
	if f.Runtime, err = runtime.RuntimeConfig(); err != nil {
		why := harden.Msg("%s", err.Error())
		f.Missing[harden.NeedRuntimeConfig], f.Missing[harden.NeedRegistries] = why, why
		return
	}
	if f.Registries, err = registries(n, running, f.Runtime); err != nil {
		f.Missing[harden.NeedRegistries] = harden.Msg("%s", err.Error())
	}
}

// modules goes by what containerd goes by (pkg/apparmor/apparmor_linux.go), and by whether SELinux enforces.
func modules(n Node) *harden.ModulesFact {
	says := func(file, what string) bool {
		return strings.HasPrefix(string(readFile(n, file).State.Data), what)
	}
	m := &harden.ModulesFact{SELinux: says("/sys/fs/selinux/enforce", "1")}
	mounted, err := n.List("/sys/kernel/security/apparmor")
	m.AppArmor = err == nil && len(mounted) > 0 && says("/sys/module/apparmor/parameters/enabled", "Y")
	for _, dir := range []string{"/sbin", "/usr/sbin"} { // the first is a link to the second on most distributions
		names, err := n.List(dir)
		m.Parser = m.Parser || err == nil && slices.Contains(names, "apparmor_parser")
	}
	return m
}
