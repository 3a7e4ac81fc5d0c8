package patches

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// MergeValues applies what changed from base to ours to theirs, value by value: for YAML mappings whose lines theirs has written
// anew. Arguments of a pod's containers are told by their flags, items of a list by their mount path or name. A change that
// theirs has too is made once; what theirs has changed to something else stays, and its place is among the conflicts.
// A document that is no mapping, and an edit that this package refuses, is an error.
func MergeValues(base, ours, theirs []byte) (merged []byte, conflicts []ValueConflict, err error) {
	var docs [2]any
	for i, doc := range [][]byte{base, ours} {
		if docs[i], err = valuesOf(doc); err != nil {
			return nil, nil, fmt.Errorf("merging by values: %w", err)
		}
	}
	merged = theirs
	for _, c := range valueChanges(nil, docs[0], docs[1]) {
		bad, err := c.apply(&merged)
		if err != nil {
			return nil, nil, fmt.Errorf("merging by values: %s: %w", c.at, err)
		}
		conflicts = append(conflicts, bad...)
	}
	return merged, conflicts, nil
}

// ValueConflict is a value that both sides changed differently.
type ValueConflict struct {
	Place string // "spec.containers[kube-apiserver] --profiling"
	Flag  bool   // it is a flag of a container
}

// argsKey is where valuesOf puts the flags of a container: no key of YAML that we read is empty.
const argsKey = ""

// valuesOf reads a mapping. The arguments of its containers become flags: their names, with the list of their values.
func valuesOf(doc []byte) (any, error) {
	d, err := read(doc)
	if err != nil {
		return nil, err
	}
	var root map[string]any
	if d.root == nil {
		return nil, errors.New("it is empty")
	}
	if err := d.root.Decode(&root); err != nil || root == nil {
		return nil, errors.New("it is no mapping")
	}
	spec, _ := root["spec"].(map[string]any)
	for _, kind := range []string{"containers", "initContainers"} {
		list, _ := spec[kind].([]any)
		for _, item := range list {
			if c, ok := item.(map[string]any); ok {
				foldArgs(c)
			}
		}
	}
	return root, nil
}

func foldArgs(container map[string]any) {
	var args []string
	for _, key := range []string{"command", "args"} {
		list, _ := container[key].([]any)
		for _, item := range list {
			args = append(args, fmt.Sprint(item))
		}
	}
	if len(args) == 0 || isShell(args[0]) {
		return
	}
	flags := map[string]any{}
	for _, f := range ParseArgs(args) {
		values, _ := flags[f.Name].([]any)
		flags[f.Name] = append(values, f.Value)
	}
	delete(container, "command")
	delete(container, "args")
	container[argsKey] = flags
}

// absent is the value of what is not there.
type absent struct{}

// itemOf leads to the item of a list whose field has that value.
type itemOf struct{ field, value string }

// places lead to a value: keys, and named items.
type places []any

func (p places) with(step any) places { return append(p[:len(p):len(p)], step) }

func (p places) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case itemOf:
			b.WriteString("[" + step.value + "]")
		case string:
			b.WriteString("." + step)
		}
	}
	text := strings.TrimPrefix(b.String(), ".")
	if _, flag, ok := p.flag(); ok {
		text = strings.TrimSuffix(text, ".."+flag) + " --" + flag
	}
	return text
}

func (p places) conflict() ValueConflict {
	_, _, flag := p.flag()
	return ValueConflict{Place: p.String(), Flag: flag}
}

// flag gives the container and the flag that the places lead to.
func (p places) flag() (container, flag string, ok bool) {
	n := len(p)
	if n < 3 || p[n-2] != argsKey {
		return "", "", false
	}
	c, ok := p[n-3].(itemOf)
	flag, _ = p[n-1].(string)
	return c.value, flag, ok
}

// valueChange is a value that becomes another one.
type valueChange struct {
	at      places
	was, is any
}

func valueChanges(at places, was, is any) []valueChange {
	if reflect.DeepEqual(was, is) {
		return nil
	}
	steps, before, after := parts(was, is)
	if steps == nil {
		return []valueChange{{at, was, is}}
	}
	var out []valueChange
	for _, step := range steps {
		out = append(out, valueChanges(at.with(step), valueAt(before, step), valueAt(after, step))...)
	}
	return out
}

// parts are the steps into two mappings, or two lists whose items have names; nil for what has no parts that can be compared.
func parts(a, b any) (steps []any, partsA, partsB map[any]any) {
	partsA, partsB = map[any]any{}, map[any]any{}
	mapA, okA := a.(map[string]any)
	mapB, okB := b.(map[string]any)
	if okA && okB {
		for k, v := range mapA {
			partsA[k] = v
		}
		for k, v := range mapB {
			partsB[k] = v
		}
	} else {
		listA, okA := a.([]any)
		listB, okB := b.([]any)
		field := itemField(listA, listB)
		if !okA || !okB || field == "" {
			return nil, nil, nil
		}
		for part, list := range map[*map[any]any][]any{&partsA: listA, &partsB: listB} {
			for _, item := range list {
				(*part)[itemOf{field, item.(map[string]any)[field].(string)}] = item
			}
		}
	}
	all := maps.Clone(partsA)
	maps.Copy(all, partsB)
	steps = slices.Collect(maps.Keys(all))
	slices.SortFunc(steps, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return steps, partsA, partsB
}

// itemField is a field by which each item of both lists can be told from the others of its list.
func itemField(lists ...[]any) string {
	for _, field := range []string{"mountPath", "name"} {
		if !slices.ContainsFunc(lists, func(list []any) bool { return !distinct(list, field) }) {
			return field
		}
	}
	return ""
}

func distinct(list []any, field string) bool {
	seen := map[string]bool{}
	for _, item := range list {
		m, _ := item.(map[string]any)
		name, ok := m[field].(string)
		if !ok || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

func valueAt(parts map[any]any, step any) any {
	if v, ok := parts[step]; ok {
		return v
	}
	return absent{}
}

// find gives what a document has at the places, and the path to it. Where only the last of the places is missing, the path is
// the one by which it would be put there; of a list's item, the list's.
func (p places) find(root any) (value any, path Path, reachable bool) {
	value = root
	for i, step := range p {
		last := i == len(p)-1
		switch step := step.(type) {
		case string:
			m, ok := value.(map[string]any)
			if !ok {
				return absent{}, nil, false
			}
			path = path.with(step)
			if value, ok = m[step]; !ok {
				return absent{}, append(path, keySteps(p[i+1:])...), onlyKeys(p[i+1:])
			}
		case itemOf:
			list, _ := value.([]any)
			at := slices.IndexFunc(list, func(item any) bool {
				m, _ := item.(map[string]any)
				return m[step.field] == step.value
			})
			if at < 0 {
				return absent{}, path, last
			}
			value, path = list[at], path.with(at)
		}
	}
	return value, path, true
}

func onlyKeys(p places) bool {
	return !slices.ContainsFunc(p, func(step any) bool { _, ok := step.(string); return !ok })
}

func keySteps(p places) Path {
	var out Path
	for _, step := range p {
		if key, ok := step.(string); ok {
			out = append(out, key)
		}
	}
	return out
}

// apply makes the change in a document, as far as what stands there is what it begins with.
func (c valueChange) apply(doc *[]byte) (conflicts []ValueConflict, err error) {
	root, err := valuesOf(*doc)
	if err != nil {
		return nil, err
	}
	now, path, reachable := c.at.find(root)
	switch {
	case reflect.DeepEqual(now, c.is):
		return nil, nil
	case reflect.DeepEqual(now, c.was) && reachable:
		*doc, err = c.write(*doc, path)
		return nil, err
	}
	// Both sides have made it, or one has removed what the other changed: part by part.
	changed, other := c.was, c.is
	if c.was == any(absent{}) {
		changed, other = c.is, c.was
	}
	steps, mine, _ := parts(changed, now)
	if other != any(absent{}) || steps == nil {
		return []ValueConflict{c.at.conflict()}, nil
	}
	for _, step := range steps {
		part, ok := mine[step]
		if !ok {
			continue
		}
		next := valueChange{c.at.with(step), part, absent{}}
		if c.was == any(absent{}) {
			next = valueChange{c.at.with(step), absent{}, part}
		}
		bad, err := next.apply(doc)
		if err != nil {
			return nil, err
		}
		conflicts = append(conflicts, bad...)
	}
	return conflicts, nil
}

func (c valueChange) write(doc []byte, path Path) ([]byte, error) {
	if container, flag, ok := c.at.flag(); ok {
		values, _ := c.is.([]any)
		switch len(values) {
		case 0:
			return RemoveFlag(doc, container, flag)
		case 1:
			return SetFlag(doc, container, flag, values[0].(string))
		}
		return nil, refuse(0, "set it by hand", "--%s was there more than once", flag)
	}
	if c.at[len(c.at)-1] == argsKey || holdsArgs(c.is) {
		return nil, refuse(0, "change it by hand", "a container is not what it was")
	}
	_, item := c.at[len(c.at)-1].(itemOf)
	switch {
	case c.is == any(absent{}):
		return Delete(doc, path)
	case c.was == any(absent{}) && item:
		return Insert(doc, path, c.is)
	}
	return Set(doc, path, c.is)
}

// holdsArgs says that a value has arguments that were folded into flags.
func holdsArgs(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if k == argsKey || holdsArgs(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, holdsArgs)
	}
	return false
}
