package harden

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// EtcdSetting is what etcd goes by: with a configuration file that alone, else a flag, else a variable of its environment.
type EtcdSetting struct {
	Value string // lists are comma separated
	Set   bool
	Seen  Evidence
	// Unknown says why it cannot be told.
	Unknown Message
}

// List is a comma separated value.
func (s EtcdSetting) List() []string { return FlagFact{Values: []string{s.Value}}.List() }

// Is says whether a switch is on; etcd's are off unless set.
func (s EtcdSetting) Is(want bool) bool {
	on, err := strconv.ParseBool(s.Value)
	return (err == nil && on) == want
}

// etcdSections of the configuration file hold the settings that have another name as flags.
var etcdSections = map[string]string{
	"cert-file": "client-transport-security.cert-file", "key-file": "client-transport-security.key-file",
	"trusted-ca-file": "client-transport-security.trusted-ca-file", "client-cert-auth": "client-transport-security.client-cert-auth",
	"auto-tls": "client-transport-security.auto-tls", "client-key-file": "client-transport-security.client-key-file",
	"peer-cert-file": "peer-transport-security.cert-file", "peer-key-file": "peer-transport-security.key-file",
	"peer-trusted-ca-file": "peer-transport-security.trusted-ca-file", "peer-client-cert-auth": "peer-transport-security.client-cert-auth",
	"peer-auto-tls": "peer-transport-security.auto-tls",
}

// EtcdFileKey is the path of a flag's setting in etcd's configuration file.
func EtcdFileKey(flag string) string {
	if key, ok := etcdSections[flag]; ok {
		return key
	}
	return flag
}

const etcdConfigFlag = "config-file"

// EtcdSetting is a setting, by the name of its flag, as it is in force; not set where this node runs no etcd.
func (f *Facts) EtcdSetting(flag string) EtcdSetting {
	c := f.Component(Etcd)
	if c == nil {
		return EtcdSetting{}
	}
	if at := c.EtcdConfigFile(); at != "" {
		return f.etcdFromFile(c, at, flag)
	}
	if set := c.Flag(flag); set.Set {
		return EtcdSetting{Value: strings.Join(set.List(), ","), Set: true, Seen: set.Evidence(flag)}
	}
	if v, ok := c.EtcdVariable(flag); ok {
		return EtcdSetting{Value: v, Set: true, Seen: Evidence{Source: c.Effective, Value: etcdVariableName(flag) + "=" + v}}
	}
	return EtcdSetting{Seen: c.Flag(flag).Evidence(flag)}
}

// EtcdServes is the first address at which etcd serves over TLS, by the setting that lists them; "" where none is known.
func (f *Facts) EtcdServes(flag string) string {
	for _, text := range f.EtcdSetting(flag).List() {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
			return net.JoinHostPort("127.0.0.1", u.Port())
		}
		return u.Host
	}
	return ""
}

// EtcdPath is the host's path of the file or directory that a setting names; "" where none is named or nothing of the host is there.
func (f *Facts) EtcdPath(flag string) string {
	c := f.Component(Etcd)
	if c == nil {
		return ""
	}
	host, _ := c.HostPath(f.EtcdSetting(flag).Value)
	return host
}

// EtcdConfigFile is the path of etcd's configuration file in its container, "" where there is none.
func (c *ComponentFacts) EtcdConfigFile() string {
	if flag := c.Flag(etcdConfigFlag); flag.Set {
		return flag.Last()
	}
	v, _ := c.EtcdVariable(etcdConfigFlag)
	return v
}

func etcdVariableName(flag string) string {
	return "ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// EtcdVariable is the value that the manifest gives to a flag's variable.
func (c *ComponentFacts) EtcdVariable(flag string) (string, bool) {
	if c.Pod == nil {
		return "", false
	}
	ct := ContainerOf(c.Pod, Etcd)
	if ct == nil {
		return "", false
	}
	for _, e := range ct.Env {
		if e.Name == etcdVariableName(flag) {
			return e.Value, true
		}
	}
	return "", false
}

func (f *Facts) etcdFromFile(c *ComponentFacts, at, flag string) EtcdSetting {
	file := f.Referred(Etcd, at)
	s := EtcdSetting{Seen: Evidence{Source: c.Effective, Value: "--" + etcdConfigFlag + "=" + at}}
	switch {
	case !file.Known:
		s.Unknown = Msg("etcd goes by its configuration file %s, which is not known here; look at it", at)
		return s
	case !file.State.Exists:
		s.Unknown = Msg("etcd goes by its configuration file %s, which does not exist", file.Path)
		return s
	}
	var config map[string]any
	if err := ReadYAML(file.State.Data, &config); err != nil {
		s.Unknown = Msg("etcd goes by its configuration file %s, which cannot be read: %s", file.Path, err)
		return s
	}
	key := EtcdFileKey(flag)
	var v any = config
	for step := range strings.SplitSeq(key, ".") {
		m, _ := v.(map[string]any)
		v = m[step]
	}
	s.Seen = Evidence{Source: file.Path, Value: key + " is not set"}
	if v == nil {
		return s
	}
	s.Set, s.Value = true, fmt.Sprint(v)
	if items, ok := v.([]any); ok {
		var texts []string
		for _, i := range items {
			texts = append(texts, fmt.Sprint(i))
		}
		s.Value = strings.Join(texts, ",")
	}
	s.Seen.Value = key + ": " + s.Value
	return s
}
