package host

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// UnitFiles is what the files below a root say about a service, as systemd would read them: without running it.
type UnitFiles struct {
	Fragment string   // the unit file itself, empty when there is none
	DropIns  []string // in the order in which they apply
	// The settings of the [Service] section once all files are merged. Texts are as written: specifiers and variables
	// are not expanded.
	ExecStart        []string
	Environment      []string // assignments, unquoted
	EnvironmentFiles []EnvironmentFile
}

// EnvironmentFile is a file of variables that a unit names; a pattern is possible.
type EnvironmentFile struct {
	Path     string
	Optional bool // it may be missing
}

// unitDirs is where systemd looks for system units, the winning directory first.
var unitDirs = []string{
	"/etc/systemd/system.control",
	"/run/systemd/system.control",
	"/run/systemd/transient",
	"/etc/systemd/system",
	"/run/systemd/system",
	"/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system",
	"/lib/systemd/system",
}

// UnitFiles finds and merges the files of a service such as kubelet.service. A unit without any is no error.
func (r *Root) UnitFiles(unit string) (UnitFiles, error) {
	var u UnitFiles
	if unit == "" || unit != path.Base(unit) || !strings.HasSuffix(unit, ".service") {
		return u, &UnsafeError{Path: unit, Why: "it is not the name of a service unit"}
	}
	var texts []string
	names := []string{unit}
	for _, dir := range unitDirs {
		file := path.Join(dir, unit)
		data, _, err := r.unitFile(file) // a masked one is empty
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return u, err
		}
		u.Fragment = file
		texts = append(texts, string(data))
		if real, err := r.Resolve(file); err == nil && strings.HasSuffix(real, ".service") && path.Base(real) != unit {
			names = append(names, path.Base(real)) // an alias: drop-ins for the real name count too
		}
		break
	}
	dropIns, err := r.dropIns(names)
	if err != nil {
		return u, err
	}
	for _, file := range dropIns {
		data, masked, err := r.unitFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a link that leads nowhere
		}
		if err != nil {
			return u, err
		}
		if !masked {
			u.DropIns = append(u.DropIns, file)
			texts = append(texts, string(data))
		}
	}
	for _, text := range texts {
		u.merge(text)
	}
	return u, nil
}

// unitFile reads a unit file or drop-in. Masked ones are empty, or links to /dev/null, which a disk image may lack.
func (r *Root) unitFile(file string) (data []byte, masked bool, err error) {
	if target, err := r.ReadLink(file); err == nil && (target == "/dev/null" || path.Join(path.Dir(file), target) == "/dev/null") {
		return nil, true, nil
	}
	data, err = r.Read(file)
	return data, err == nil && len(data) == 0, err
}

// dropIns lists the drop-in files of a service, ordered by file name wherever they lie; of several with one name the
// first directory's counts.
func (r *Root) dropIns(names []string) ([]string, error) {
	var dirs []string
	for _, name := range names {
		for _, dir := range unitDirs {
			dirs = append(dirs, path.Join(dir, name+".d"))
			for _, prefix := range dashPrefixes(name) {
				dirs = append(dirs, path.Join(dir, prefix+".service.d"))
			}
		}
	}
	for _, dir := range unitDirs {
		dirs = append(dirs, path.Join(dir, "service.d"))
	}
	chosen := make(map[string]string)
	for _, dir := range dirs {
		files, err := r.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, name := range files {
			if _, taken := chosen[name]; !taken && strings.HasSuffix(name, ".conf") && name[0] != '.' {
				chosen[name] = path.Join(dir, name)
			}
		}
	}
	return slices.SortedFunc(maps.Values(chosen), func(a, b string) int {
		return strings.Compare(path.Base(a), path.Base(b))
	}), nil
}

// dashPrefixes lists what a name shares drop-ins by: for a-b-c.service these are "a-b-" and "a-".
func dashPrefixes(unit string) []string {
	var prefixes []string
	stem := strings.TrimSuffix(unit, ".service")
	for i := len(stem) - 2; i > 0; i-- {
		if stem[i] == '-' {
			prefixes = append(prefixes, stem[:i+1])
		}
	}
	return prefixes
}

// merge applies the [Service] section of one file. In these settings an empty value takes back all before it.
func (u *UnitFiles) merge(text string) {
	for _, s := range parseUnit(text) {
		if s.section != "Service" {
			continue
		}
		switch s.key {
		case "ExecStart":
			u.ExecStart = accumulate(u.ExecStart, s.value)
		case "Environment":
			if s.value == "" {
				u.Environment = nil
			}
			u.Environment = append(u.Environment, splitWords(s.value)...)
		case "EnvironmentFile":
			file := strings.Trim(s.value, `"`)
			if file == "" {
				u.EnvironmentFiles = nil
				continue
			}
			file, optional := strings.CutPrefix(file, "-")
			u.EnvironmentFiles = append(u.EnvironmentFiles, EnvironmentFile{Path: file, Optional: optional})
		}
	}
}

func accumulate(list []string, value string) []string {
	if value == "" {
		return nil
	}
	return append(list, value)
}

type setting struct{ section, key, value string }

// parseUnit reads the lines of a unit file: sections, settings, comments, and lines continued by a backslash, between
// which comments may stand. What is none of these systemd ignores as well.
func parseUnit(text string) []setting {
	var settings []setting
	var section, pending string
	take := func(line string) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = line[1 : len(line)-1]
			return
		}
		if key, value, ok := strings.Cut(line, "="); ok {
			settings = append(settings, setting{section, strings.TrimSpace(key), strings.TrimSpace(value)})
		}
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimLeft(line, " \t"); strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
			continue
		}
		if begin, ok := strings.CutSuffix(line, `\`); ok {
			pending += begin + " "
			continue
		}
		take(pending + line)
		pending = ""
	}
	take(pending)
	return settings
}

// splitWords splits a value at white space outside of quotes, which are dropped.
func splitWords(value string) []string {
	var words []string
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value):
			i++
			word.WriteByte(value[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
			inWord = true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
