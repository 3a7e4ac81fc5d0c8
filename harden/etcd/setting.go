package etcd

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// setting is what etcd goes by: with a configuration file that alone, else a flag, else a variable of its environment.
type setting struct {
	value string // lists are comma separated
	set   bool
	seen  harden.Evidence
	// unknown says why it cannot be told.
	unknown harden.Message
}

func (s setting) list() []string { return harden.FlagFact{Values: []string{s.value}}.List() }

// is says whether a switch is on; etcd's are off unless set.
func (s setting) is(want bool) bool {
	on, err := strconv.ParseBool(s.value)
	return (err == nil && on) == want
}

// sections of the configuration file hold the settings that have another name as flags.
var sections = map[string][2]string{
	certFlag: {"client-transport-security", "cert-file"}, keyFlag: {"client-transport-security", "key-file"},
	caFlag: {"client-transport-security", "trusted-ca-file"}, authFlag: {"client-transport-security", "client-cert-auth"},
	autoFlag:     {"client-transport-security", "auto-tls"},
	peerCertFlag: {"peer-transport-security", "cert-file"}, peerKeyFlag: {"peer-transport-security", "key-file"},
	peerCAFlag: {"peer-transport-security", "trusted-ca-file"}, peerAuthFlag: {"peer-transport-security", "client-cert-auth"},
	peerAutoFlag: {"peer-transport-security", "auto-tls"},
}

// read gives a setting as it is in force.
func read(f *harden.Facts, name string) setting {
	c := f.Component(harden.Etcd)
	if at := configFile(c); at != "" {
		return fromFile(f, at, name)
	}
	if flag := c.Flag(name); flag.Set {
		return setting{value: strings.Join(flag.List(), ","), set: true, seen: flag.Evidence(name)}
	}
	if v, ok := variable(c, name); ok {
		return setting{value: v, set: true, seen: harden.Evidence{Source: c.Effective, Value: variableName(name) + "=" + v}}
	}
	return setting{seen: c.Flag(name).Evidence(name)}
}

// configFile is the path of etcd's configuration file in its container, "" where there is none.
func configFile(c *harden.ComponentFacts) string {
	if flag := c.Flag(configFlag); flag.Set {
		return flag.Last()
	}
	v, _ := variable(c, configFlag)
	return v
}

func variableName(flag string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// variable is the value that the manifest gives to a flag's variable.
func variable(c *harden.ComponentFacts, flag string) (string, bool) {
	if c.Pod == nil {
		return "", false
	}
	ct := harden.ContainerOf(c.Pod, harden.Etcd)
	if ct == nil {
		return "", false
	}
	for _, e := range ct.Env {
		if e.Name == variableName(flag) {
			return e.Value, true
		}
	}
	return "", false
}

func fromFile(f *harden.Facts, at, name string) setting {
	file := f.Referred(harden.Etcd, at)
	s := setting{seen: harden.Evidence{Source: f.Component(harden.Etcd).Effective, Value: "--" + configFlag + "=" + at}}
	switch {
	case !file.Known:
		s.unknown = harden.Msg("etcd goes by its configuration file %s, which is not known here; look at it", at)
		return s
	case !file.State.Exists:
		s.unknown = harden.Msg("etcd goes by its configuration file %s, which does not exist", file.Path)
		return s
	}
	var config map[string]any
	if err := harden.ReadYAML(file.State.Data, &config); err != nil {
		s.unknown = harden.Msg("etcd goes by its configuration file %s, which cannot be read: %s", file.Path, err)
		return s
	}
	key := fileKey(name)
	var v any = config
	for _, step := range strings.Split(key, ".") {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	s.seen = harden.Evidence{Source: file.Path, Value: key + " is not set"}
	if v == nil {
		return s
	}
	s.set, s.value = true, fmt.Sprint(v)
	if items, ok := v.([]any); ok {
		var texts []string
		for _, i := range items {
			texts = append(texts, fmt.Sprint(i))
		}
		s.value = strings.Join(texts, ",")
	}
	s.seen.Value = key + ": " + s.value
	return s
}

func fileKey(name string) string {
	if s, ok := sections[name]; ok {
		return s[0] + "." + s[1]
	}
	return name
}

// put asks for a setting where it counts.
func put(f *harden.Facts, name string, value any) (harden.Intent, error) {
	c := f.Component(harden.Etcd)
	at := configFile(c)
	if at == "" {
		text := fmt.Sprint(value)
		if items, ok := value.([]string); ok {
			text = strings.Join(items, ",")
		}
		return harden.SetFlag(harden.Etcd, name, text), nil
	}
	file := f.Referred(harden.Etcd, at)
	if !file.Known || !file.State.Exists {
		return harden.Intent{}, fmt.Errorf("etcd's configuration file %s is not known here; set %s in it by hand", path.Clean(at), fileKey(name))
	}
	return harden.SetField(file.Path, fileKey(name), value, harden.Etcd), nil
}

func putAll(f *harden.Facts, values map[string]any, order ...string) ([]harden.Intent, error) {
	var out []harden.Intent
	for _, name := range order {
		i, err := put(f, name, values[name])
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}
