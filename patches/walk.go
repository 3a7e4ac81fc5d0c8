package patches

import (
	"errors"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// spot is a node and where it hangs.
type spot struct {
	node   *yaml.Node
	parent *yaml.Node // nil for the root
	key    *yaml.Node // of a value in a mapping
	index  int        // of the node in parent.Content
}

const flowHint = "write it as a block, one entry a line"

// editable refuses a node on an edited path whose text means more, or stands elsewhere, than it seems.
func editable(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return refuse(n.Line, "write the value out", "the value is an alias (*%s)", n.Value)
	case n.Anchor != "":
		return refuse(n.Line, "write the value out where it is used", "the value has an anchor (&%s)", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		return refuse(n.Line, "remove the tag", "the value has an explicit tag (%s)", n.Tag)
	case n.Style&yaml.FlowStyle != 0 && len(n.Content) > 0:
		return refuse(n.Line, flowHint, "the value is written in flow style (%s)", flowSign(n))
	}
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if isMerge(n.Content[i]) {
				return refuse(n.Content[i].Line, "write the merged keys out", "the mapping has a merge key (<<)")
			}
		}
	}
	return nil
}

func flowSign(n *yaml.Node) string {
	if n.Kind == yaml.SequenceNode {
		return "[...]"
	}
	return "{...}"
}

// disposable refuses to overwrite or delete what is used elsewhere.
func disposable(n *yaml.Node) error {
	if n.Anchor != "" {
		return refuse(n.Line, "write the value out where it is used", "the value has an anchor (&%s)", n.Anchor)
	}
	for _, child := range n.Content {
		if err := disposable(child); err != nil {
			return err
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func find(mapping *yaml.Node, key string) int {
	for i := 0; i < len(mapping.Content); i += 2 {
		if k := mapping.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key && !isMerge(k) {
			return i
		}
	}
	return -1
}

// walk follows path as far as it exists; rest is what does not. The spots lead from the root to the last node.
func (d *document) walk(path Path) (trail []spot, rest Path, err error) {
	if d.root == nil {
		return nil, path, nil
	}
	trail = []spot{{node: d.root}}
	for i, step := range path {
		n := trail[len(trail)-1].node
		if err := editable(n); err != nil {
			return nil, nil, err
		}
		if isNull(n) {
			return trail, path[i:], nil
		}
		switch step := step.(type) {
		case string:
			if n.Kind != yaml.MappingNode {
				return nil, nil, refuse(n.Line, "", "%s is expected to be a mapping, but is not", name(path[:i]))
			}
			at := find(n, step)
			if at < 0 {
				return trail, path[i:], nil
			}
			key := n.Content[at]
			if key.Anchor != "" || key.Style&yaml.TaggedStyle != 0 {
				return nil, nil, refuse(key.Line, "write the key plainly", "the key %q has an anchor or a tag", step)
			}
			trail = append(trail, spot{node: n.Content[at+1], parent: n, key: key, index: at + 1})
		case int:
			if n.Kind != yaml.SequenceNode {
				return nil, nil, refuse(n.Line, "", "%s is expected to be a list, but is not", name(path[:i]))
			}
			if step >= len(n.Content) {
				return trail, path[i:], nil
			}
			trail = append(trail, spot{node: n.Content[step], parent: n, index: step})
		}
	}
	return trail, nil, nil
}

func name(path Path) string {
	if len(path) == 0 {
		return "the document"
	}
	return path.String()
}

// grafted is the tree with another node at the end of the trail; the tree itself is left alone. A nil node removes
// the value, and its key.
func grafted(trail []spot, n *yaml.Node) *yaml.Node {
	for i := len(trail) - 1; i > 0; i-- {
		parent := *trail[i].parent
		parent.Content = slices.Clone(parent.Content)
		at := trail[i].index
		switch {
		case n != nil:
			parent.Content[at] = n
		case trail[i].key != nil:
			parent.Content = slices.Delete(parent.Content, at-1, at+1)
		default:
			parent.Content = slices.Delete(parent.Content, at, at+1)
		}
		n = &parent
	}
	return n
}

// withEntry is the mapping with one more entry.
func withEntry(mapping *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	m := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	if mapping != nil && mapping.Kind == yaml.MappingNode {
		m.Content = slices.Clone(mapping.Content)
	}
	m.Content = append(m.Content, encode(key), value)
	return m
}

// change is what an edit does to the text, and the tree that the result must parse to.
type change struct {
	splices  []splice
	expected *yaml.Node
}

// edit changes the text as change says and verifies that the result means what is expected, and nothing else.
func edit(src []byte, plan func(d *document) (change, error)) ([]byte, error) {
	d, err := open(src)
	if err != nil {
		return nil, err
	}
	c, err := plan(d)
	if err != nil {
		return nil, err
	}
	if len(c.splices) == 0 {
		return src, nil
	}
	slices.SortStableFunc(c.splices, func(a, b splice) int { return a.from - b.from })
	first := d.line(c.splices[0].from)
	after, err := d.splice(c.splices...)
	if err != nil {
		return nil, refuse(first, "", "the values stand too close together to be changed in one step")
	}
	result, err := open(after)
	if err != nil {
		var r *Refusal
		if errors.As(err, &r) {
			return nil, refuse(first, "", "an edit here would make the file unreadable (%s)", strings.TrimSpace(r.Error()))
		}
		return nil, err
	}
	if !same(c.expected, result.root) {
		return nil, refuse(first, "", "an edit here would change more than was asked for")
	}
	return after, nil
}
