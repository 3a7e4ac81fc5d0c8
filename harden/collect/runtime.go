package collect

import (
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// RuntimeConfig is a Live that can ask the container runtime how it is configured.
type RuntimeConfig interface {
	RuntimeConfig() (*harden.RuntimeFact, error)
}

func collectRuntime(n Node, live Live, f *harden.Facts) {
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
	if f.Registries, err = registries(n, live, f.Runtime); err != nil {
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

const (
	containerdConfig  = "/etc/containerd/config.toml"
	containerdImports = "/etc/containerd/conf.d/*.toml"
	dockerHosts       = "/etc/docker/certs.d"
	containerdHosts   = "/etc/containerd/certs.d"
	// maxHostFiles bounds how many registries are looked at, maxTOML how long a file may be.
	maxHostFiles = 200
	maxTOML      = 1 << 20
)

// registries are what the runtime tells of them and, where that is a directory, or nothing, what its files say.
func registries(n Node, live Live, r *harden.RuntimeFact) (*harden.RegistriesFact, error) {
	if r.Name != harden.Containerd {
		return nil, fmt.Errorf("%s does not tell over CRI which registries it trusts without proof: look into /etc/containers/registries.conf, "+
			"into the files below registries.conf.d beside it, and for insecure_registries in \"crio status config\"", r)
	}
	out := &harden.RegistriesFact{}
	var hosts string
	if told := r.Registries; told != nil {
		hosts = told.ConfigPath
		out.Looked = append(out.Looked, r.Evidence("registry.config_path", hosts))
		for _, host := range told.Unverified {
			out.Unverified = append(out.Unverified, r.Evidence("registry.configs."+host+".tls.insecure_skip_verify", true))
		}
		for _, mirror := range told.Mirrors {
			if plainHTTP(mirror) {
				out.Unverified = append(out.Unverified, r.Evidence("registry.mirrors endpoint", mirror))
			}
		}
	} else {
		var err error
		if hosts, err = readConfigs(n, newestProcess(live, harden.Containerd), r.Version, out); err != nil {
			return nil, err
		}
	}
	return out, readHosts(n, hosts, out)
}

// configOf is the configuration file that containerd was given.
func configOf(running *harden.ProcessFact) string {
	if running == nil {
		return containerdConfig
	}
	for i, arg := range running.Args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || name != "config" && name != "c" {
			continue
		}
		if !joined && i+1 < len(running.Args) {
			value = running.Args[i+1]
		}
		return value
	}
	return containerdConfig
}

// The few settings that count here are found by their names, wherever they stand: a setting too many makes somebody look, one too few
// would be a wrong pass. Comments are taken away before.
var (
	tomlConfigPath = regexp.MustCompile(`\bconfig_path["']?\s*=\s*["']([^"'\n]*)["']`)
	tomlImports    = regexp.MustCompile(`(?s)\bimports["']?\s*=\s*\[(.*?)\]`)
	tomlEndpoint   = regexp.MustCompile(`(?s)\bendpoint["']?\s*=\s*\[(.*?)\]`)
	tomlSkipVerify = regexp.MustCompile(`\bskip_verify["']?\s*=\s*true\b`)
	tomlText       = regexp.MustCompile(`"([^"\n]*)"|'([^'\n]*)'`)
)

// readConfigs reads containerd's files, where it does not tell what they make: containerd 2. It checks certificates there whatever an
// older file asks for (RegistryConfig in internal/cri/config has no TLS any more).
func readConfigs(n Node, running *harden.ProcessFact, version string, out *harden.RegistriesFact) (hosts string, err error) {
	files := []string{configOf(running)}
	if since22(version) {
		hosts = containerdHosts + ":" + dockerHosts
		files = append(files, containerdImports)
	}
	var found []string
	for i := 0; i < len(files) && i < maxHostFiles; i++ {
		matches, err := glob(n, files[i])
		if err != nil {
			return "", err
		}
		for _, p := range matches {
			text, there, err := readTOML(n, p)
			if err != nil {
				return "", err
			}
			if !there {
				continue
			}
			seen := harden.Evidence{Source: p, Value: "read for registries"}
			if attrs, ok := n.(Attributes); ok && running != nil {
				if s, err := attrs.Look(p); err == nil && s.Modified.After(running.Started) {
					seen.Value += "; it was changed after containerd started, which goes by an older one"
					out.Changed = true
				}
			}
			out.Looked = append(out.Looked, seen)
			for _, m := range tomlConfigPath.FindAllStringSubmatch(text, -1) {
				if m[1] != "" {
					found = append(found, m[1])
				}
			}
			for _, m := range tomlEndpoint.FindAllStringSubmatch(text, -1) {
				for _, mirror := range texts(m[1]) {
					if plainHTTP(mirror) {
						out.Unverified = append(out.Unverified, harden.Evidence{Source: p, Value: "mirror " + mirror})
					}
				}
			}
			for _, m := range tomlImports.FindAllStringSubmatch(text, -1) {
				for _, more := range texts(m[1]) {
					if !path.IsAbs(more) {
						more = path.Join(path.Dir(p), more)
					}
					if !slices.Contains(files, more) {
						files = append(files, more)
					}
				}
			}
		}
	}
	if len(found) > 0 {
		hosts = strings.Join(found, ":")
	}
	return hosts, nil
}

// since22: containerd looks into directories of hosts without being told since 2.2.
func since22(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor)
	return err == nil && (major > 2 || major == 2 && minor >= 2)
}

// readHosts looks into the hosts.toml of each registry below directories joined by colons.
func readHosts(n Node, dirs string, out *harden.RegistriesFact) error {
	for _, dir := range strings.Split(dirs, ":") {
		if dir == "" {
			continue
		}
		names, err := n.List(dir)
		if err != nil {
			return fmt.Errorf("looking for registries: %w", err)
		}
		if len(names) > maxHostFiles {
			return fmt.Errorf("looking for registries: %s: more than %d lie there", dir, maxHostFiles)
		}
		read := 0
		for _, name := range names {
			p := path.Join(dir, name, "hosts.toml")
			text, there, err := readTOML(n, p)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			read++
			if tomlSkipVerify.MatchString(text) {
				out.Unverified = append(out.Unverified, harden.Evidence{Source: p, Value: "skip_verify = true"})
			}
			for _, host := range texts(text) {
				if plainHTTP(host) {
					out.Unverified = append(out.Unverified, harden.Evidence{Source: p, Value: host})
				}
			}
		}
		out.Looked = append(out.Looked, harden.Evidence{Source: dir, Value: fmt.Sprintf("hosts.toml of %d registries read", read)})
	}
	return nil
}

// readTOML gives a file without its comments.
func readTOML(n Node, p string) (text string, there bool, err error) {
	file := readFile(n, p)
	switch {
	case !file.Unread.IsZero():
		return "", false, fmt.Errorf("looking for registries: %s", file.Unread)
	case !file.State.Exists || file.State.Dir:
		return "", false, nil
	case len(file.State.Data) > maxTOML:
		return "", false, fmt.Errorf("looking for registries: %s: it is longer than %d bytes", p, maxTOML)
	}
	return withoutComments(string(file.State.Data)), true, nil
}

func withoutComments(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = line[:commentAt(line)]
	}
	return strings.Join(lines, "\n")
}

// commentAt is where a line's comment begins, or its end.
func commentAt(line string) int {
	quote := rune(0)
	for at, r := range line {
		switch {
		case quote == 0 && r == '#':
			return at
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case r == quote:
			quote = 0
		}
	}
	return len(line)
}

func texts(s string) []string {
	var out []string
	for _, m := range tomlText.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1]+m[2])
	}
	return out
}

// glob are the files of a pattern whose last element alone may have wildcards; a plain path is itself.
func glob(n Node, pattern string) ([]string, error) {
	dir, last := path.Split(pattern)
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	if strings.ContainsAny(dir, `*?[\`) {
		return nil, fmt.Errorf("looking for registries: containerd imports %q, whose directories cannot be told here", pattern)
	}
	names, err := n.List(path.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("looking for registries: %w", err)
	}
	var out []string
	for _, name := range names {
		if ok, err := path.Match(last, name); err == nil && ok {
			out = append(out, path.Join(dir, name))
		}
	}
	return out, nil
}

// plainHTTP says that a URL leads over the network without TLS.
func plainHTTP(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !address.IsLoopback())
}
