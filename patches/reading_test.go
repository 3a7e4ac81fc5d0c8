package patches

import "gopkg.in/yaml.v3"

// What follows reads documents as a whole, for tests to compare with.

// Get returns the value at path, with aliases and merge keys resolved: nil, bool, int, float64, string, []any or
// map[string]any. ok is false when there is none.
func Get(doc []byte, path Path) (value any, ok bool, err error) {
	d, err := read(doc)
	if err != nil || d.root == nil {
		return nil, false, err
	}
	n := lookup(d.root, path)
	if n == nil {
		return nil, false, nil
	}
	value, err = decode(n)
	return value, err == nil, err
}

// decode turns a node into plain Go values; what is neither a number nor a boolean, such as a date, stays a string.
func decode(n *yaml.Node) (any, error) {
	budget := 1 << 20
	return decodeWithin(n, &budget)
}

// decodeWithin stops when aliases make the value much larger than its text.
func decodeWithin(n *yaml.Node, budget *int) (any, error) {
	if *budget--; *budget < 0 {
		return nil, refuse(n.Line, "write the aliased values out", "aliases make this value too large")
	}
	switch n.Kind {
	case yaml.AliasNode:
		return decodeWithin(n.Alias, budget)
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		var merged []*yaml.Node
		for i := 0; i < len(n.Content); i += 2 {
			if isMerge(n.Content[i]) {
				merged = append(merged, n.Content[i+1])
				continue
			}
			value, err := decodeWithin(n.Content[i+1], budget)
			if err != nil {
				return nil, err
			}
			m[n.Content[i].Value] = value
		}
		for _, source := range merged {
			if err := mergeInto(m, source, budget); err != nil {
				return nil, err
			}
		}
		return m, nil
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			value, err := decodeWithin(item, budget)
			if err != nil {
				return nil, err
			}
			list[i] = value
		}
		return list, nil
	}
	return decodeScalar(n), nil
}

func mergeInto(m map[string]any, source *yaml.Node, budget *int) error {
	value, err := decodeWithin(source, budget)
	if err != nil {
		return err
	}
	sources, isList := value.([]any)
	if !isList {
		sources = []any{value}
	}
	for _, s := range sources {
		fields, ok := s.(map[string]any)
		if !ok {
			return refuse(source.Line, "repair the merge key", "a merge key (<<) leads to something that is not a mapping")
		}
		for key, value := range fields {
			if _, found := m[key]; !found {
				m[key] = value
			}
		}
	}
	return nil
}

// Flags lists the flags of a container in the order of its command and args.
func Flags(pod []byte, container string) ([]Flag, error) {
	d, err := read(pod)
	if err != nil {
		return nil, err
	}
	c, err := d.container(container)
	if err != nil {
		return nil, err
	}
	var flags []Flag
	for _, f := range c.flags {
		f.Line = c.items[f.first].Line
		flags = append(flags, f.Flag)
	}
	return flags, nil
}
