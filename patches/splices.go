package patches

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// addLines inserts whole lines at the start of a line. At the end of a text without a final newline the new last
// line has none either.
func (d *document) addLines(at int, lines []string) splice {
	if at == len(d.src) && at > 0 && d.src[at-1] != '\n' {
		eol := d.eol(len(d.starts))
		return splice{at, at, eol + strings.Join(lines, eol)}
	}
	eol := d.eol(max(1, d.line(at-1)))
	return splice{at, at, strings.Join(lines, eol) + eol}
}

// replaceLines puts lines in the place of the lines first..last; none deletes them.
func (d *document) replaceLines(first, last int, lines []string) splice {
	if last < first {
		return d.addLines(d.lineEnd(last), lines)
	}
	from, to := d.lineStart(first), d.lineEnd(last)
	ended := to > 0 && d.src[to-1] == '\n'
	if len(lines) == 0 {
		// The new last line has no ending either; an empty one would be gone with it.
		if !ended && first > 1 && len(d.text(first-1)) > 0 {
			from = d.lineStart(first-1) + len(d.text(first-1))
		}
		return splice{from, to, ""}
	}
	eol := d.eol(last)
	text := strings.Join(lines, eol)
	if ended {
		text += eol
	}
	return splice{from, to, text}
}

// startsLine says whether there is nothing but spaces before an offset in its line.
func (d *document) startsLine(at int) bool {
	return strings.Trim(string(d.src[d.lineStart(d.line(at)):at]), " ") == ""
}

// layout looks at how the document is indented, near the trail first.
func (d *document) layout(trail []spot) layout {
	l := layout{step: -1, seqStep: -1, gap: 1}
	for i := len(trail) - 1; i >= 0; i-- {
		l.learn(trail[i].node, false)
	}
	if d.root != nil {
		l.learn(d.root, true)
	}
	if l.step < 0 {
		l.step = 2
	}
	l.seqStep = max(l.seqStep, 0)
	return l
}

func (l *layout) learn(n *yaml.Node, deep bool) {
	if l.step >= 0 && l.seqStep >= 0 || n.Style&yaml.FlowStyle != 0 {
		return
	}
	for i, child := range n.Content {
		isBlock := child.Style&yaml.FlowStyle == 0 && len(child.Content) > 0 && child.Anchor == "" && child.Kind != yaml.AliasNode
		if n.Kind == yaml.MappingNode && i%2 == 1 && isBlock {
			diff := child.Column - n.Content[i-1].Column
			if child.Kind == yaml.MappingNode && l.step < 0 && diff > 0 {
				l.step = diff
			}
			if child.Kind == yaml.SequenceNode && l.seqStep < 0 && diff >= 0 {
				l.seqStep = diff
			}
		}
		if deep {
			l.learn(child, true)
		}
	}
}

// assign makes the splices that turn the value at a spot into another, touching only what differs.
func (d *document) assign(s spot, value any, l layout) ([]splice, error) {
	old := s.node
	if same(old, encode(value)) {
		return nil, nil
	}
	if err := editable(old); err != nil {
		return nil, err
	}
	if err := disposable(old); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case map[string]any:
		if old.Kind == yaml.MappingNode && slices.ContainsFunc(keysOf(old), func(key string) bool { _, kept := v[key]; return kept }) {
			return d.assignMapping(s, v, l)
		}
	case []any:
		if old.Kind == yaml.SequenceNode && len(old.Content) > 0 && len(v) > 0 && len(old.Content)*len(v) < 1<<20 {
			return d.assignList(s, v, l)
		}
	}
	return d.replace(s, value, l)
}

func keysOf(mapping *yaml.Node) []string {
	var keys []string
	for i := 0; i < len(mapping.Content); i += 2 {
		keys = append(keys, mapping.Content[i].Value)
	}
	return keys
}

func (d *document) assignMapping(s spot, value map[string]any, l layout) ([]splice, error) {
	var all []splice
	for i := 0; i < len(s.node.Content); i += 2 {
		entry := spot{node: s.node.Content[i+1], parent: s.node, key: s.node.Content[i], index: i + 1}
		var splices []splice
		var err error
		if wanted, found := value[entry.key.Value]; found {
			splices, err = d.assign(entry, wanted, l)
		} else {
			splices, err = d.remove([]spot{s, entry}, l)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
	}
	for _, key := range ordered(value, nil) {
		if find(s.node, key) >= 0 {
			continue
		}
		splices, err := d.addEntry(s, key, value[key], l)
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
	}
	return all, nil
}

// assignList keeps the longest common subsequence of items; what was in the place of new items is replaced.
func (d *document) assignList(s spot, value []any, l layout) ([]splice, error) {
	old := s.node.Content
	wanted := make([]*yaml.Node, len(value))
	for i := range value {
		wanted[i] = encode(value[i])
	}
	length := make([][]int, len(old)+1)
	for i := range length {
		length[i] = make([]int, len(wanted)+1)
	}
	for i := len(old) - 1; i >= 0; i-- {
		for j := len(wanted) - 1; j >= 0; j-- {
			if same(old[i], wanted[j]) {
				length[i][j] = length[i+1][j+1] + 1
			} else {
				length[i][j] = max(length[i+1][j], length[i][j+1])
			}
		}
	}
	var all []splice
	for i, j := 0, 0; i < len(old) || j < len(wanted); {
		if i < len(old) && j < len(wanted) && same(old[i], wanted[j]) {
			i, j = i+1, j+1
			continue
		}
		i2, j2 := i, j
		for i2 < len(old) || j2 < len(wanted) {
			if i2 < len(old) && j2 < len(wanted) && same(old[i2], wanted[j2]) {
				break
			}
			if j2 == len(wanted) || i2 < len(old) && length[i2+1][j2] >= length[i2][j2+1] {
				i2++
			} else {
				j2++
			}
		}
		splices, err := d.exchange(s, i, i2, value[j:j2], l)
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
		i, j = i2, j2
	}
	return all, nil
}

// exchange puts values in the place of the items i..i2.
func (d *document) exchange(s spot, i, i2 int, values []any, l layout) ([]splice, error) {
	var all []splice
	for ; i < i2 && len(values) > 0; i, values = i+1, values[1:] {
		splices, err := d.assign(spot{node: s.node.Content[i], parent: s.node, index: i}, values[0], l)
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
	}
	for ; i < i2; i++ {
		item := spot{node: s.node.Content[i], parent: s.node, index: i}
		splices, err := d.remove([]spot{s, item}, l)
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
	}
	if len(values) > 0 {
		splices, err := d.addItems(s, i-1, values, l)
		if err != nil {
			return nil, err
		}
		all = append(all, splices...)
	}
	return all, nil
}
