package kubelet

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/gates"
	"kubectl-harden.io/kubectl-harden/patches"
)

// origin is which layer decides a setting.
type origin int

const (
	fromDefault origin = iota
	fromFile
	fromDropIn
	fromFlag
)

// reading is a setting as the kubelet takes it.
type reading struct {
	value any
	valid bool // the kubelet accepts the value
	from  origin
	// home is the file that decides the field once no flag does.
	home string
	// evidence has the deciding source first, then what it wins over.
	evidence []harden.Evidence
}

// read merges the layers as the kubelet does: flags over drop-ins over the file, drop-ins as JSON merge patches, in
// which null deletes; then the defaults.
func (s setting) read(k *harden.KubeletFacts) reading {
	out := reading{value: s.preset, valid: true, home: k.Config.Path}
	if k.Config.Path == "" && s.legacy != nil {
		out.value = s.legacy
	}
	fallback := out.value
	for _, l := range s.layers(k) {
		raw, state := lookup(l.Fields, s.field)
		if state == absent {
			continue
		}
		flag, inFlag := flagSource(l.Source)
		from := fromFile
		switch {
		case inFlag:
			from = fromFlag
		case l.Source != k.Config.Path:
			from = fromDropIn
		}
		if from != fromFlag {
			out.home = l.Source
		}
		for i, e := range out.evidence {
			if !strings.HasSuffix(e.Value, overridden) {
				out.evidence[i].Value += overridden
			}
		}
		if state == null {
			out.value, out.valid, out.from = fallback, true, fromDefault
			out.evidence = slices.Insert(out.evidence, 0, harden.Evidence{Source: at(k, l.Source, s.field), Value: s.field + ": null"})
			continue
		}
		seen := harden.Evidence{Source: at(k, l.Source, s.field), Value: fmt.Sprintf("%s: %s", s.field, show(raw))}
		if from == fromFlag {
			seen = harden.Evidence{Source: flag, Value: fmt.Sprintf("--%s=%s", s.flag, show(raw))}
			if s.flag == "" {
				seen.Value = fmt.Sprintf("%s: %s", s.field, show(raw))
			}
		}
		out.evidence = slices.Insert(out.evidence, 0, seen)
		out.value, out.valid = like(s.preset, raw, from == fromFlag)
		if text, ok := raw.(string); ok && !out.valid {
			out.evidence[0].Value = fmt.Sprintf("%s: %q", s.field, text)
		}
		out.from = from
		if out.valid && s.zeroIsUnset && from != fromFlag && isZero(out.value) {
			out.value, out.from = fallback, fromDefault
			out.evidence[0].Value += fmt.Sprintf(", for which the kubelet takes its default %s", show(fallback))
		}
	}
	if s.gate != "" && out.from == fromDefault {
		out = s.byStage(k, out)
	}
	if len(out.evidence) == 0 {
		out.evidence = []harden.Evidence{{Source: source(k), Value: fmt.Sprintf("%s is not set; the kubelet takes %s", s.field, show(out.value))}}
	}
	return out
}

// byStage is a gate that nothing sets by its name: AllAlpha or AllBeta may.
func (s setting) byStage(k *harden.KubeletFacts, out reading) reading {
	var all reading
	on, by := gates.Turned(s.gate, func(name string) (on, set bool) {
		if name == s.gate {
			return false, false
		}
		all = setting{field: gatesField + "." + name, preset: false}.read(k)
		return all.value == true, all.valid && all.from != fromDefault
	})
	if by != "" {
		out.value, out.evidence = on, append(all.evidence, out.evidence...)
	}
	return out
}

const overridden = ", overridden"

// layers are the kubelet's, with a layer for a flag of the live process that none of them speaks of.
func (s setting) layers(k *harden.KubeletFacts) []harden.KubeletLayer {
	if s.flag == "" {
		return k.Layers
	}
	flag := k.Flag(s.flag)
	if !flag.Set {
		return k.Layers
	}
	for _, l := range k.Layers {
		if _, ok := flagSource(l.Source); ok {
			if _, state := lookup(l.Fields, s.field); state != absent {
				return k.Layers
			}
		}
	}
	var fields any = flag.Last()
	if _, list := s.preset.([]string); list {
		fields = strings.Join(flag.List(), ",")
	}
	keys := strings.Split(s.field, ".")
	for _, key := range slices.Backward(keys) {
		fields = map[string]any{key: fields}
	}
	return append(slices.Clone(k.Layers), harden.KubeletLayer{
		Source: flagPrefix + s.flag + flagOwner + flag.Source, Fields: fields.(map[string]any),
	})
}

// A layer that is a flag names it and where it was seen: "flag --read-only-port in /etc/default/kubelet", or "of process
// 1234 (kubelet)" where no environment file holds it.
const (
	flagPrefix = "flag --"
	flagFile   = " in "
	flagOwner  = " of "
)

func flagSource(layer string) (place string, ok bool) {
	if !strings.HasPrefix(layer, flagPrefix) {
		return "", false
	}
	for _, before := range []string{flagFile, flagOwner} {
		if _, place, ok := strings.Cut(layer, before); ok {
			return place, true
		}
	}
	return layer, true
}

// presence of a field in one layer.
type presence int

const (
	absent presence = iota
	null            // it, or something above it, is null
	present
)

func lookup(fields map[string]any, path string) (any, presence) {
	var v any = fields
	for _, key := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, absent
		}
		if v, ok = m[key]; !ok {
			return nil, absent
		}
		if v == nil {
			return nil, null
		}
	}
	return v, present
}

// at names the line of a file that sets a field, as far as the file was read.
func at(k *harden.KubeletFacts, path, field string) string {
	for _, f := range append([]harden.FileFact{k.Config}, k.DropIns...) {
		if f.Path != path {
			continue
		}
		var doc yaml.Node
		if yaml.Unmarshal(f.State.Data, &doc) == nil && len(doc.Content) == 1 {
			if n := keyLine(doc.Content[0], strings.Split(field, ".")); n > 0 {
				return fmt.Sprintf("%s:%d", path, n)
			}
		}
	}
	return path
}

func keyLine(n *yaml.Node, keys []string) int {
	if n.Kind != yaml.MappingNode {
		return 0
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != keys[0] {
			continue
		}
		if len(keys) == 1 {
			return n.Content[i].Line
		}
		return keyLine(n.Content[i+1], keys[1:])
	}
	return 0
}

func source(k *harden.KubeletFacts) string {
	if k.Config.Path != "" {
		return k.Config.Path
	}
	return "kubelet.service"
}

// flagRemovals take the setting's flag out of the environment files that hold it. A flag anywhere else is the
// operator's to remove: units belong to packages.
func (s setting) flagRemovals(k *harden.KubeletFacts) ([]harden.Intent, error) {
	if s.read(k).from != fromFlag {
		return nil, nil
	}
	if s.flag == "" {
		return nil, fmt.Errorf("a flag sets %s along with others (%s): change it there, restart the kubelet, and plan again", s.field, s.read(k).evidence[0].Source)
	}
	return s.envRemovals(k)
}

// envRemovals take the flag out of the environment files, but for those whose own it is.
func (s setting) envRemovals(k *harden.KubeletFacts, but ...string) ([]harden.Intent, error) {
	var out []harden.Intent
	found, kept := 0, 0
	for _, e := range k.EnvFiles {
		if !e.File.State.Exists {
			continue
		}
		flags, err := patches.EnvFlags(e.File.State.Data, e.Variable)
		if err != nil {
			return nil, fmt.Errorf("--%s wins over the configuration file, and %s cannot be read for it: %w", s.flag, e.File.Path, err)
		}
		switch n := s.count(flags); {
		case slices.Contains(but, e.File.Path):
			kept += n
		case n > 0:
			found += n
			out = append(out, harden.RemoveEnvFlag(e.File.Path, e.Variable, s.flag, harden.Kubelet))
		}
	}
	if found == 0 || s.count(patches.ParseArgs(k.Args)) > found+kept {
		return nil, fmt.Errorf("--%s wins over the configuration file and stands in the kubelet's unit, not in its environment files: "+
			"take it out with \"systemctl edit --full kubelet\", restart the kubelet, and plan again", s.flag)
	}
	return out, nil
}

func (s setting) count(flags []patches.Flag) int {
	n := 0
	for _, f := range flags {
		if f.Name == s.flag {
			n++
		}
	}
	return n
}

// flagSeen is a flag as something seen: of the process where one runs, and in the environment files that hold it.
func flagSeen(k *harden.KubeletFacts, name string) []harden.Evidence {
	var out []harden.Evidence
	if fact := k.Flag(name); k.Process != nil || !fact.Set {
		out = append(out, fact.Evidence(name))
	}
	for _, e := range k.EnvFiles {
		flags, err := patches.EnvFlags(e.File.State.Data, e.Variable)
		if err != nil {
			continue
		}
		for _, f := range flags {
			if f.Name == name {
				out = append(out, harden.Evidence{Source: e.File.Path, Value: "--" + name + "=" + f.Value})
			}
		}
	}
	if len(out) == 0 {
		out = append(out, k.Flag(name).Evidence(name))
	}
	return out
}
