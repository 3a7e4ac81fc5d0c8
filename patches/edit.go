package patches

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// Set makes the value at path be value: a scalar is replaced in its place and style, a key that is missing is
// inserted together with its missing parents (in sorted position where the keys are sorted, else last), and of lists
// and mappings only the entries that differ change. Scalars, slices and maps with string keys can be written.
func Set(doc []byte, path Path, value any) ([]byte, error) {
	if err := path.check(); err != nil {
		return nil, err
	}
	value, err := normal(value)
	if err != nil {
		return nil, err
	}
	out, err := edit(doc, func(d *document) (change, error) { return d.set(path, value) })
	return out, byHand(err, "set %s to %s", path, show(value))
}

// Insert appends value to the list at path, which is made if it is missing. A list that has the value stays as it is.
func Insert(doc []byte, path Path, value any) ([]byte, error) {
	if err := path.check(); err != nil {
		return nil, err
	}
	value, err := normal(value)
	if err != nil {
		return nil, err
	}
	out, err := edit(doc, func(d *document) (change, error) { return d.insert(path, value) })
	return out, byHand(err, "add %s to %s", show(value), path)
}

// Delete removes the value at path, with its key and the comment behind it; comments above it stay. What is absent
// is left so. A mapping or list that loses its last entry becomes {} or [].
func Delete(doc []byte, path Path) ([]byte, error) {
	if err := path.check(); err != nil {
		return nil, err
	}
	out, err := edit(doc, func(d *document) (change, error) { return d.delete(path) })
	return out, byHand(err, "delete %s", path)
}

// lookup is nil when there is nothing at path.
func lookup(n *yaml.Node, path Path) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if len(path) == 0 {
		return n
	}
	switch step := path[0].(type) {
	case int:
		if n.Kind == yaml.SequenceNode && step >= 0 && step < len(n.Content) {
			return lookup(n.Content[step], path[1:])
		}
	case string:
		if n.Kind != yaml.MappingNode {
			return nil
		}
		if at := find(n, step); at >= 0 {
			return lookup(n.Content[at+1], path[1:])
		}
		for i := 0; i < len(n.Content); i += 2 {
			if !isMerge(n.Content[i]) {
				continue
			}
			sources := []*yaml.Node{n.Content[i+1]}
			if sources[0].Kind == yaml.SequenceNode {
				sources = sources[0].Content
			}
			for _, source := range sources {
				if found := lookup(source, path); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

func show(value any) string {
	switch v := value.(type) {
	case string:
		return doubleQuoted(v)
	case []any, map[string]any:
		return fmt.Sprint(v)
	}
	return writeScalar(value, 0)
}

func (d *document) set(path Path, value any) (change, error) {
	trail, rest, err := d.walk(path)
	if err != nil {
		return change{}, err
	}
	if len(rest) == 0 {
		last := trail[len(trail)-1]
		splices, err := d.assign(last, value, d.layout(trail))
		return change{splices, grafted(trail, encode(value))}, err
	}
	key, value, err := missing(path, rest, value)
	if err != nil {
		return change{}, err
	}
	if len(trail) == 0 {
		l := layout{step: 2}
		text := writeEntry(key, value, 0, l)
		return change{[]splice{d.addLines(len(d.src), text)}, withEntry(nil, key, encode(value))}, nil
	}
	last := trail[len(trail)-1]
	expected := grafted(trail, withEntry(last.node, key, encode(value)))
	if last.node.Kind == yaml.MappingNode && len(last.node.Content) > 0 {
		splices, err := d.addEntry(last, key, value, d.layout(trail))
		return change{splices, expected}, err
	}
	splices, err := d.replace(last, map[string]any{key: value}, d.layout(trail))
	return change{splices, expected}, err
}

// missing folds the part of a path that does not exist into the value.
func missing(path, rest Path, value any) (key string, nested any, err error) {
	for i := len(rest) - 1; i > 0; i-- {
		step, ok := rest[i].(string)
		if !ok {
			return "", nil, refuse(0, "", "there is no %s", path[:len(path)-len(rest)+i+1])
		}
		value = map[string]any{step: value}
	}
	key, ok := rest[0].(string)
	if !ok {
		return "", nil, refuse(0, "", "there is no %s", path[:len(path)-len(rest)+1])
	}
	return key, value, nil
}

func (d *document) insert(path Path, value any) (change, error) {
	trail, rest, err := d.walk(path)
	if err != nil {
		return change{}, err
	}
	if len(rest) > 0 || isNull(trail[len(trail)-1].node) {
		return d.set(path, []any{value})
	}
	last := trail[len(trail)-1]
	if last.node.Kind != yaml.SequenceNode {
		return change{}, refuse(last.node.Line, "", "%s is expected to be a list, but is not", path)
	}
	for _, item := range last.node.Content {
		if same(item, encode(value)) {
			return change{}, nil
		}
	}
	if err := editable(last.node); err != nil {
		return change{}, err
	}
	if len(last.node.Content) == 0 {
		return d.set(path, []any{value})
	}
	list := *last.node
	list.Content = append(list.Content[:len(list.Content):len(list.Content)], encode(value))
	splices, err := d.addItems(last, len(last.node.Content)-1, []any{value}, d.layout(trail))
	return change{splices, grafted(trail, &list)}, err
}

func (d *document) delete(path Path) (change, error) {
	trail, rest, err := d.walk(path)
	if err != nil || len(rest) > 0 || len(trail) == 0 {
		return change{}, err
	}
	splices, err := d.remove(trail, d.layout(trail))
	return change{splices, grafted(trail, nil)}, err
}
