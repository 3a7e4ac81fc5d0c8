package collect

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"kubectl-harden.io/kubectl-harden/harden"
)

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
func registries(n Node, running processes, r *harden.RuntimeFact) (*harden.RegistriesFact, error) {
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
		if hosts, err = readConfigs(n, running.newest(harden.Containerd), r.Version, out); err != nil {
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
			settings, there, err := readTOML(n, p)
			if err != nil {
				return "", err
			}
			if !there {
				continue
			}
			out.Looked = append(out.Looked, lookedAt(n, running, p, out))
			for _, dir := range textsOf(settings, "config_path") {
				if dir != "" {
					found = append(found, dir)
				}
			}
			for _, mirror := range listsOf(settings, "endpoint") {
				if plainHTTP(mirror) {
					out.Unverified = append(out.Unverified, harden.Evidence{Source: p, Value: "mirror " + mirror})
				}
			}
			for _, more := range listsOf(settings, "imports") {
				if !path.IsAbs(more) {
					more = path.Join(path.Dir(p), more)
				}
				if !slices.Contains(files, more) {
					files = append(files, more)
				}
			}
		}
	}
	if len(found) > 0 {
		hosts = strings.Join(found, ":")
	}
	return hosts, nil
}

// lookedAt is the evidence of a file that was read; containerd may have been started before it was as it is.
func lookedAt(n Node, running *harden.ProcessFact, p string, out *harden.RegistriesFact) harden.Evidence {
	seen := harden.Evidence{Source: p, Value: "read for registries"}
	attrs, ok := n.(Attributes)
	if !ok || running == nil {
		return seen
	}
	if s, err := attrs.Look(p); err == nil && s.Modified.After(running.Started) {
		seen.Value += "; it was changed after containerd started, which goes by an older one"
		out.Changed = true
	}
	return seen
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
			settings, there, err := readTOML(n, p)
			if err != nil {
				return err
			}
			if !there {
				continue
			}
			read++
			out.Unverified = append(out.Unverified, unverified(p, settings)...)
		}
		out.Looked = append(out.Looked, harden.Evidence{Source: dir, Value: fmt.Sprintf("hosts.toml of %d registries read", read)})
	}
	return nil
}

// unverified is what a hosts.toml lets pass without proof: registries are named by its server and by the keys of its host tables.
func unverified(p string, settings map[string]any) (out []harden.Evidence) {
	hosts := textsOf(settings, "server")
	each(settings, func(name string, value any) {
		switch table, isTable := value.(map[string]any); {
		case name == "skip_verify" && value == true:
			out = append(out, harden.Evidence{Source: p, Value: "skip_verify = true"})
		case name == "host" && isTable:
			hosts = slices.AppendSeq(hosts, maps.Keys(table))
		}
	})
	slices.Sort(hosts)
	for _, host := range hosts {
		if plainHTTP(host) {
			out = append(out, harden.Evidence{Source: p, Value: host})
		}
	}
	return out
}

func readTOML(n Node, p string) (settings map[string]any, there bool, err error) {
	file := readFile(n, p)
	switch {
	case !file.Unread.IsZero():
		return nil, false, fmt.Errorf("looking for registries: %s", file.Unread)
	case !file.State.Exists || file.State.Dir:
		return nil, false, nil
	case len(file.State.Data) > maxTOML:
		return nil, false, fmt.Errorf("looking for registries: %s: it is longer than %d bytes", p, maxTOML)
	}
	if err := toml.Unmarshal(file.State.Data, &settings); err != nil {
		return nil, false, fmt.Errorf("looking for registries: %s: it is no TOML", p) // the decoder's words have lines of the file
	}
	return settings, true, nil
}

// each visits every setting, wherever it stands: the few that count here are known by their names. One too many makes somebody look, one
// too few would be a wrong pass.
func each(value any, visit func(name string, value any)) {
	switch v := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(name, v[name])
			each(v[name], visit)
		}
	case []any:
		for _, one := range v {
			each(one, visit)
		}
	}
}

// textsOf are the texts that stand under a name.
func textsOf(settings map[string]any, name string) (out []string) {
	each(settings, func(is string, value any) {
		if text, ok := value.(string); ok && is == name {
			out = append(out, text)
		}
	})
	return out
}

// listsOf are the texts in the lists that stand under a name.
func listsOf(settings map[string]any, name string) (out []string) {
	each(settings, func(is string, value any) {
		if list, ok := value.([]any); ok && is == name {
			for _, one := range list {
				if text, ok := one.(string); ok {
					out = append(out, text)
				}
			}
		}
	})
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
