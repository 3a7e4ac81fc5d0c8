package apiserver

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// authnConfig is what counts here of an AuthenticationConfiguration.
type authnConfig struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Anonymous  *anonymous `json:"anonymous"`
}

type anonymous struct {
	Enabled    bool `json:"enabled"`
	Conditions []struct {
		Path string `json:"path"`
	} `json:"conditions"`
}

func parseAuthn(data []byte) (authnConfig, error) {
	var c authnConfig
	if err := harden.ReadYAML(data, &c); err != nil {
		return c, fmt.Errorf("it cannot be read: %w", err)
	}
	if c.Kind != "AuthenticationConfiguration" || !strings.HasPrefix(c.APIVersion, "apiserver.config.k8s.io/") {
		return c, fmt.Errorf("it is no AuthenticationConfiguration")
	}
	return c, nil
}

// open are the paths that anonymous requests reach; all says that it is every path.
func (c authnConfig) open() (paths []string, all bool) {
	if c.Anonymous == nil {
		return nil, true // the flag's default counts
	}
	if !c.Anonymous.Enabled {
		return nil, false
	}
	for _, cond := range c.Anonymous.Conditions {
		paths = append(paths, cond.Path)
	}
	return paths, len(paths) == 0
}

func (c authnConfig) String() string {
	paths, all := c.open()
	switch {
	case c.Anonymous == nil:
		return "anonymous is not set"
	case all:
		return "anonymous: enabled without conditions"
	case len(paths) == 0:
		return "anonymous: not enabled"
	}
	return "anonymous: enabled for " + strings.Join(paths, ", ")
}

// healthOnlyIntents edits the file that is in use, or the one that lies ready where ours would go; else it writes ours.
func healthOnlyIntents(f *harden.Facts, v harden.Values) ([]harden.Intent, error) {
	c := f.Component(harden.APIServer)
	paths := healthPaths
	if v["token-joins"] == "true" {
		paths = append(paths[:len(paths):len(paths)], clusterInfo)
	}
	drop := harden.RemoveFlag(harden.APIServer, anonymousFlag)
	if flag := c.Flag(authnFlag); flag.Set {
		file, why, ok := configFile(f, flag, harden.Evidence{})
		if !ok {
			return nil, fmt.Errorf("the authentication configuration cannot be edited: %s", why.Message)
		}
		if _, err := parseAuthn(file.State.Data); err != nil {
			return nil, fmt.Errorf("%s cannot be edited: %w", file.Path, err)
		}
		return []harden.Intent{harden.SetField(file.Path, "anonymous", anonymousFor(paths), harden.APIServer), drop}, nil
	}
	intents := []harden.Intent{
		harden.SetFlag(harden.APIServer, authnFlag, authnFile),
		harden.MountPath(harden.APIServer, harden.MountDir("authn-config", authnDir, "Directory", true)),
		drop,
	}
	file := f.Files[authnFile]
	switch {
	case !file.Unread.IsZero():
		return nil, fmt.Errorf("%s is there already and could not be read: %s", authnFile, file.Unread)
	case !file.State.Exists:
		return append([]harden.Intent{
			harden.MakeDir(path.Dir(authnFile), 0o700),
			harden.WriteFile(authnFile, authnYAML(c.Version, paths), 0o600, ""),
		}, intents...), nil
	}
	if _, err := parseAuthn(file.State.Data); err != nil {
		return nil, fmt.Errorf("%s is there already, though not in use, and is not replaced: %w; move it away first", authnFile, err)
	}
	return append([]harden.Intent{harden.SetField(authnFile, "anonymous", anonymousFor(paths), "")}, intents...), nil
}

func anonymousFor(paths []string) map[string]any {
	var conditions []any
	for _, p := range paths {
		conditions = append(conditions, map[string]any{"path": p})
	}
	return map[string]any{"enabled": true, "conditions": conditions}
}

// authnYAML is a new configuration: v1 exists from 1.34 on.
func authnYAML(v harden.Version, paths []string) []byte {
	apiVersion := "apiserver.config.k8s.io/v1beta1"
	if v.AtLeast(1, 34) {
		apiVersion = "apiserver.config.k8s.io/v1"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "apiVersion: %s\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n", apiVersion)
	for _, p := range paths {
		fmt.Fprintf(&b, "  - path: %s\n", p)
	}
	return b.Bytes()
}
