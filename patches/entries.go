package patches

import (
	"bytes"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

// text is a value as it is, or will be, written: in the line of its key or dash, and in whole lines below.
type text struct {
	from, to    int // in the line; from == to when there is nothing
	first, last int // lines below; last < first when there are none
	inline      string
	below       []string
}

// replace puts another value in the place of the whole node.
func (d *document) replace(s spot, value any, l layout) ([]splice, error) {
	if err := editable(s.node); err != nil {
		return nil, err
	}
	if err := disposable(s.node); err != nil {
		return nil, err
	}
	t, err := d.oldText(s, value)
	if err != nil {
		return nil, err
	}
	d.newText(&t, s, value, l)
	head := splice{t.from, t.to, t.inline}
	switch {
	case t.inline == "":
		head.from = d.trimLeft(t.from)
	case t.from == t.to && s.parent != nil:
		head.text = " " + t.inline
	case t.from == t.to:
		return []splice{d.addLines(d.lineEnd(d.line(t.to)), append([]string{t.inline}, t.below...))}, nil
	}
	if len(t.below) == 0 && t.last < t.first {
		return []splice{head}, nil
	}
	return []splice{head, d.replaceLines(t.first, t.last, t.below)}, nil
}

// oldText finds the text of a value that is going to be replaced.
func (d *document) oldText(s spot, value any) (text, error) {
	old := s.node
	from := d.content(old)
	to, err := d.end(old)
	if err != nil {
		return text{}, err
	}
	last := d.line(to)
	t := text{from: from, to: to, first: last + 1, last: last}
	switch isLiteral := old.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0; {
	case isLiteral && (s.key != nil || !isCollection(value)):
		b := d.block(old, from)
		t.to, t.first, t.last = from+len(b.header), b.first, b.last
	case s.key != nil && len(old.Content) > 0 && old.Line > s.key.Line:
		t.from = d.colon(s.key)
		t.to, t.first, t.last = t.from, old.Line, last
		if !isCollection(value) {
			t.first = s.key.Line + 1
		}
	}
	return t, nil
}

// newText renders the value that takes the place.
func (d *document) newText(t *text, s spot, value any, l layout) {
	eol := d.eol(d.line(t.from))
	if s.node.Kind == yaml.ScalarNode {
		l.style = s.node.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
	}
	switch {
	case isCollection(value) && s.key != nil:
		column := s.key.Column - 1 + l.step
		if _, isList := value.([]any); isList {
			column = s.key.Column - 1 + l.seqStep
		}
		t.below = indented(writeBlock(value, column, l), column)
	case isCollection(value):
		t.inline = strings.Join(writeBlock(value, d.columnInPlace(s), l), eol)
	default:
		column := d.columnInPlace(s)
		if s.key != nil {
			column = s.key.Column - 1 + l.step
		}
		if s.node.Style&yaml.LiteralStyle != 0 {
			if b := d.block(s.node, t.from); b.indent > 0 {
				column = b.indent
			}
		}
		lines := writeBlock(value, column, l)
		t.inline, t.below = lines[0], lines[1:]
	}
}

// columnInPlace is where the lines of a value stand that hangs on a dash, or on nothing.
func (d *document) columnInPlace(s spot) int {
	switch {
	case s.parent == nil:
		return 0
	case len(s.node.Content) > 0:
		return s.node.Column - 1
	}
	return s.parent.Column + 1
}

func isCollection(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

// trimLeft moves an offset to the left over spaces.
func (d *document) trimLeft(at int) int {
	for at > 0 && (d.src[at-1] == ' ' || d.src[at-1] == '\t') {
		at--
	}
	return at
}

// colon is the offset behind the colon of a key.
func (d *document) colon(key *yaml.Node) int {
	end, err := d.end(key)
	if err != nil {
		return d.offset(key)
	}
	if at := bytes.IndexByte(d.src[end:], ':'); at >= 0 {
		return end + at + 1
	}
	return end
}

// addEntry inserts a key into a block mapping that has entries.
func (d *document) addEntry(s spot, key string, value any, l layout) ([]splice, error) {
	m := s.node
	if err := editable(m); err != nil {
		return nil, err
	}
	keys := keysOf(m)
	at := len(keys)
	if sort.StringsAreSorted(keys) {
		at = sort.SearchStrings(keys, key)
	}
	column := m.Content[0].Column - 1
	lines := indented(writeEntry(key, value, column, l), column)
	if at == 0 {
		if where, ok := d.beforeFirst(s, m.Content[0]); ok {
			return []splice{d.addLines(where, lines)}, nil
		}
		at = 1
	}
	end, err := d.end(m.Content[2*at-1])
	if err != nil {
		return nil, err
	}
	return []splice{d.addLines(d.lineEnd(d.line(end)), lines)}, nil
}

// beforeFirst is where a new first entry of a block collection goes: directly below its key, so that comments above
// the entry that was first stay with it. ok is false when the first entry shares its line with a dash.
func (d *document) beforeFirst(s spot, first *yaml.Node) (where int, ok bool) {
	if s.key != nil {
		return d.lineEnd(s.key.Line), true
	}
	if !d.startsLine(d.offset(first)) {
		return 0, false
	}
	line := first.Line
	for line > 1 && bytes.HasPrefix(bytes.TrimSpace(d.text(line-1)), []byte("#")) {
		line--
	}
	// A comment at the very top speaks of the file, not of its first key.
	if line == 1 {
		line = first.Line
	}
	return d.lineStart(line), true
}

// dash is the offset of the dash of an item of a block sequence.
func (d *document) dash(seq, item *yaml.Node) (int, error) {
	for line := min(item.Line, len(d.starts)); line >= seq.Line; line-- {
		text := d.text(line)
		at := seq.Column - 1
		if at < len(text) && text[at] == '-' && len(bytes.Trim(text[:at], " -")) == 0 {
			return d.lineStart(line) + at, nil
		}
	}
	return 0, refuse(item.Line, "", "the dash of this list item could not be found")
}

// addItems inserts values into a block sequence behind the item after, or before the first one when it is -1.
func (d *document) addItems(s spot, after int, values []any, l layout) ([]splice, error) {
	items := s.node.Content
	like := items[max(after, 0)]
	dash, err := d.dash(s.node, like)
	if err != nil {
		return nil, err
	}
	if start := d.offset(like); d.line(start) == d.line(dash) {
		l.gap = max(1, start-dash-1)
	}
	if like.Kind == yaml.MappingNode {
		l.keys = keysOf(like)
	}
	l.style = commonQuotes(items)
	column := s.node.Column - 1
	var lines []string
	for _, value := range values {
		lines = append(lines, indented(writeItem(value, column, l), column)...)
	}
	if after < 0 {
		if where, ok := d.beforeFirst(s, &yaml.Node{Line: d.line(dash), Column: s.node.Column}); ok {
			return []splice{d.addLines(where, lines)}, nil
		}
		after = 0
	}
	end, err := d.end(items[after])
	if err != nil {
		return nil, err
	}
	return []splice{d.addLines(d.lineEnd(d.line(end)), lines)}, nil
}

// commonQuotes is the quoting that all scalars of a list share, not counting the first of several: in a command that
// is the program.
func commonQuotes(items []*yaml.Node) yaml.Style {
	if len(items) > 1 {
		items = items[1:]
	}
	var common yaml.Style
	for i, item := range items {
		style := item.Style & (yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle)
		if i > 0 && style != common {
			return 0
		}
		common = style
	}
	return common
}

// remove deletes the last node of a trail, with its key or dash.
func (d *document) remove(trail []spot, l layout) ([]splice, error) {
	s := trail[len(trail)-1]
	if s.parent == nil {
		return nil, refuse(s.node.Line, "", "a whole document cannot be deleted from its file")
	}
	if err := disposable(s.node); err != nil {
		return nil, err
	}
	end, err := d.end(s.node)
	if err != nil {
		return nil, err
	}
	last := d.line(end)
	if s.key == nil {
		if len(s.parent.Content) == 1 {
			return d.replace(trail[len(trail)-2], []any{}, l)
		}
		dash, err := d.dash(s.parent, s.node)
		if err != nil {
			return nil, err
		}
		if !d.startsLine(dash) {
			return nil, refuse(d.line(dash), "write the inner list on lines of its own", "the item shares its line with another list")
		}
		// The comments of a list or mapping go with it, but one before a scalar may speak of its neighbours.
		if s.node.Kind == yaml.ScalarNode && s.node.Line > d.line(dash) {
			return nil, refuse(d.line(dash), "put the value on the line of its dash", "the list item stands on a line below its dash")
		}
		return []splice{d.replaceLines(d.line(dash), last, nil)}, nil
	}
	if len(s.parent.Content) == 2 {
		return d.replace(trail[len(trail)-2], map[string]any{}, l)
	}
	start := d.offset(s.key)
	if s.node.Kind == yaml.ScalarNode && s.node.Line > s.key.Line {
		return nil, refuse(s.key.Line, "put the value on the line of its key", "the value of %q stands on a line below it", s.key.Value)
	}
	if d.startsLine(start) {
		return []splice{d.replaceLines(s.key.Line, last, nil)}, nil
	}
	if s.index != 1 {
		return nil, refuse(s.key.Line, "write the key plainly", "the key %q does not stand at the start of its line", s.key.Value)
	}
	// The first key stands behind a dash: the next one moves up to it, unless comments stand between.
	next := s.parent.Content[2]
	if next.Line == last+1 {
		return []splice{{start, d.offset(next), ""}}, nil
	}
	return []splice{{d.trimLeft(start), d.lineStart(last) + len(d.text(last)), ""}}, nil
}
