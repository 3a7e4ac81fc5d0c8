package patches

import (
	"sort"

	"gopkg.in/yaml.v3"
)

// locate is the path that a 1-based line belongs to, for the heads of hunks. Items of a list of scalars belong to their list,
// comments and blank lines to the mapping or list around them. ok is false when the line belongs to the document as a whole.
func (d *document) locate(line int) (path Path, ok bool) {
	if d.root == nil || line < 1 || line > len(d.starts) {
		return nil, false
	}
	for n := d.root; ; {
		step, child := d.childAt(n, line)
		if child == nil {
			break
		}
		path = path.with(step)
		n = child
	}
	return path, len(path) > 0
}

// childAt is the child of n that the line lies in, if any.
func (d *document) childAt(n *yaml.Node, line int) (step any, child *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		after := sort.Search(len(n.Content)/2, func(i int) bool { return n.Content[2*i].Line > line })
		if after > 0 {
			step, child = n.Content[2*after-2].Value, n.Content[2*after-1]
		}
	case yaml.SequenceNode:
		after := sort.Search(len(n.Content), func(i int) bool { return d.itemLine(n, n.Content[i]) > line })
		if after > 0 {
			step, child = after-1, n.Content[after-1]
		}
		if child != nil && child.Kind == yaml.ScalarNode {
			return nil, nil
		}
	}
	if child == nil {
		return nil, nil
	}
	if end, err := d.end(child); err != nil || line > d.line(end) {
		return nil, nil
	}
	return step, child
}

// itemLine is the line of an item's dash.
func (d *document) itemLine(seq, item *yaml.Node) int {
	if dash, err := d.dash(seq, item); err == nil {
		return d.line(dash)
	}
	return item.Line
}
