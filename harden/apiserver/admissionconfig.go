package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

const (
	admissionFlag = harden.AdmissionFlag
	admissionDir  = "/etc/kubernetes/admission"
	admissionFile = admissionDir + "/config.yaml"
)

// admissionConfig is what counts here of an AdmissionConfiguration.
type admissionConfig struct {
	Kind    string            `json:"kind"`
	Plugins []admissionPlugin `json:"plugins"`
}

type admissionPlugin struct {
	Name          string          `json:"name"`
	Path          string          `json:"path"`
	Configuration json.RawMessage `json:"configuration"`
}

func parseAdmission(data []byte) (admissionConfig, error) {
	var c admissionConfig
	if err := harden.ReadYAML(data, &c); err != nil {
		return c, fmt.Errorf("it cannot be read: %w", err)
	}
	if c.Kind != "AdmissionConfiguration" {
		return c, errors.New("it is no AdmissionConfiguration")
	}
	return c, nil
}

// pluginConfig is where the configuration of an admission plugin is, and what it says.
type pluginConfig struct {
	config string // the AdmissionConfiguration on the host; "" where the API server is given none
	plugin int    // the plugin's index in it; -1: it is not there
	file   string // the host's file that has the plugin's configuration; "" where there is none
	field  string // leads to it in that file; "" where the file is the plugin's own
	data   []byte // the configuration itself
}

// configOf finds the configuration that the API server gives a plugin. Where it cannot be judged, the verdict says why.
func configOf(f *harden.Facts, name string) (pluginConfig, harden.Verdict, bool) {
	none := pluginConfig{plugin: -1}
	flag := f.Component(harden.APIServer).Flag(admissionFlag)
	if flag.Last() == "" {
		return none, harden.Verdict{}, true
	}
	seen := flag.Evidence(admissionFlag)
	file, v, ok := configFile(f, flag, seen)
	if !ok {
		return none, v, false
	}
	out, own, err := pluginIn(file.FileFact, name)
	if err != nil {
		return none, harden.NeedsPerson(harden.Msg("%s cannot be judged here: %s", file.Path, err), seen), false
	}
	if own == "" {
		return out, harden.Verdict{}, true
	}
	if !path.IsAbs(own) {
		own = path.Join(path.Dir(flag.Last()), own)
	}
	file, v, ok = configFile(f, harden.FlagFact{Set: true, Values: []string{own}}, harden.Evidence{Source: out.config, Value: name + ": path " + own})
	out.file, out.data = file.Path, file.State.Data
	return out, v, ok
}

// pluginIn finds a plugin in an AdmissionConfiguration; own is the file that it names for the plugin, as it is written.
func pluginIn(file harden.FileFact, name string) (out pluginConfig, own string, err error) {
	c, err := parseAdmission(file.State.Data)
	if err != nil {
		return out, "", err
	}
	// Of two entries the first one counts.
	i := slices.IndexFunc(c.Plugins, func(p admissionPlugin) bool { return p.Name == name })
	out = pluginConfig{config: file.Path, plugin: i}
	if i < 0 {
		return out, "", nil
	}
	if p := c.Plugins[i]; len(p.Configuration) > 0 && string(p.Configuration) != "null" {
		out.file, out.field, out.data = file.Path, fmt.Sprintf("plugins[%d].configuration", i), p.Configuration
	} else {
		own = p.Path
	}
	return out, own, nil
}

// evidence is where the plugin's configuration stands, with what of it counts.
func (pc pluginConfig) evidence(name, says string) harden.Evidence {
	if pc.file == "" {
		return harden.Evidence{Source: pc.config, Value: name + " is not configured"}
	}
	return harden.Evidence{Source: pc.file, Value: name + ": " + says}
}

// configure asks that a plugin has these fields in its configuration. head are the apiVersion and kind of a new one; the files
// that are there are edited, and what they say besides stays.
func configure(f *harden.Facts, name string, head, fields map[string]any) ([]harden.Intent, error) {
	flag := f.Component(harden.APIServer).Flag(admissionFlag)
	if flag.Last() != "" {
		pc, why, ok := configOf(f, name)
		if !ok {
			return nil, fmt.Errorf("the admission configuration cannot be edited: %s", why.Message)
		}
		return renders(f, pc.set(name, head, fields, harden.APIServer))
	}
	intents := []harden.Intent{
		harden.SetFlag(harden.APIServer, admissionFlag, admissionFile),
		harden.MountPath(harden.APIServer, harden.MountDir("admission-config", admissionDir, "Directory", true)),
	}
	file := f.Files[admissionFile]
	if !file.Unread.IsZero() {
		return nil, fmt.Errorf("%s is there already and could not be read: %s", admissionFile, file.Unread)
	}
	pc := pluginConfig{config: admissionFile, plugin: -1}
	if !file.State.Exists {
		intents = append([]harden.Intent{
			harden.MakeDir(admissionDir, 0o700),
			harden.WriteFile(admissionFile, []byte("apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"), 0o600, ""),
		}, intents...)
	} else {
		file.Path = admissionFile
		var own string
		var err error
		if pc, own, err = pluginIn(file, name); err == nil && own != "" {
			err = fmt.Errorf("%s has its configuration in %s", name, own)
		}
		if err != nil {
			return nil, fmt.Errorf("%s is there already, though not in use, and is not taken over: %w; move it away first", admissionFile, err)
		}
	}
	edits := pc.set(name, head, fields, "")
	if file.State.Exists {
		if _, err := renders(f, edits); err != nil {
			return nil, err
		}
	}
	return append(intents, edits...), nil
}

// renders tries edits of files that are there, as people write YAML in more ways than can be edited.
func renders(f *harden.Facts, edits []harden.Intent) ([]harden.Intent, error) {
	states := map[string]harden.State{}
	for _, i := range edits {
		s, ok := states[i.Path]
		if !ok {
			s = f.Files[i.Path].State
		}
		var err error
		if states[i.Path], err = i.Render(s); err != nil {
			return nil, fmt.Errorf("%s: %w", i.Path, err)
		}
	}
	return edits, nil
}

// set asks for the fields where the plugin's configuration is, or would be. Fields are dotted paths.
func (pc pluginConfig) set(name string, head, fields map[string]any, restarts harden.ComponentID) []harden.Intent {
	switch {
	case pc.plugin < 0:
		return []harden.Intent{harden.AddItem(pc.config, "plugins", name, map[string]any{"configuration": whole(head, fields)}, restarts)}
	case pc.file == "":
		return []harden.Intent{harden.SetField(pc.config, fmt.Sprintf("plugins[%d].configuration", pc.plugin), whole(head, fields), restarts)}
	}
	var out []harden.Intent
	for _, key := range sortedKeys(fields) {
		at := key
		if pc.field != "" {
			at = pc.field + "." + key
		}
		out = append(out, harden.SetField(pc.file, at, fields[key], restarts))
	}
	return out
}

// whole is a new configuration of dotted fields.
func whole(head, fields map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range head {
		out[k] = v
	}
	for _, key := range sortedKeys(fields) {
		at := out
		parts := strings.Split(key, ".")
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = fields[key]
	}
	return out
}

func sortedKeys(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
