package patches

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// content is where the value of a node begins, behind its anchor and tag.
func (d *document) content(n *yaml.Node) int {
	i, _ := d.properties(n)
	return i
}

// properties are passed over: behind them comes the value of a node, where it has one. end is where the last of them ends.
func (d *document) properties(n *yaml.Node) (value, end int) {
	i := d.offset(n)
	if n.Kind == yaml.AliasNode || n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 {
		return i, i
	}
	for end = i; i < len(d.src) && (d.src[i] == '&' || d.src[i] == '!'); i = d.skip(end) {
		for end = i; end < len(d.src) && !isSpace(d.src[end]); {
			end++
		}
	}
	return i, end
}

// skip passes over spaces, line endings and comments.
func (d *document) skip(i int) int {
	for i < len(d.src) {
		switch {
		case isSpace(d.src[i]):
			i++
		case d.src[i] == '#':
			i = d.lineEnd(d.line(i))
		default:
			return i
		}
	}
	return i
}

// end is the offset behind the last byte of a node's text, comments and line endings not included.
func (d *document) end(n *yaml.Node) (int, error) {
	switch n.Kind {
	case yaml.AliasNode:
		return d.offset(n) + 1 + len(n.Value), nil
	case yaml.ScalarNode:
		return d.scalarEnd(n)
	}
	if n.Style&yaml.FlowStyle != 0 {
		return d.flowEnd(n)
	}
	if len(n.Content) == 0 {
		return d.offset(n), nil
	}
	return d.end(n.Content[len(n.Content)-1])
}

func (d *document) flowEnd(n *yaml.Node) (int, error) {
	at := d.content(n) + 1
	if len(n.Content) > 0 {
		end, err := d.end(n.Content[len(n.Content)-1])
		if err != nil {
			return 0, err
		}
		at = max(at, end)
	}
	for at = d.skip(at); at < len(d.src); at = d.skip(at + 1) {
		switch d.src[at] {
		case ']', '}':
			return at + 1, nil
		case ',', ':', '?':
		default:
			return 0, d.lost(n)
		}
	}
	return 0, d.lost(n)
}

func (d *document) scalarEnd(n *yaml.Node) (int, error) {
	at, empty := d.properties(n)
	switch {
	case n.Value == "" && n.Style&^yaml.TaggedStyle == 0:
		return empty, nil
	case n.Style&yaml.DoubleQuotedStyle != 0:
		for i := at + 1; i < len(d.src); i++ {
			switch d.src[i] {
			case '\\':
				i++
			case '"':
				return i + 1, nil
			}
		}
	case n.Style&yaml.SingleQuotedStyle != 0:
		for i := at + 1; i < len(d.src); i++ {
			if d.src[i] != '\'' {
				continue
			}
			if i+1 < len(d.src) && d.src[i+1] == '\'' {
				i++
				continue
			}
			return i + 1, nil
		}
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return d.blockEnd(n, at)
	default:
		return d.plainEnd(n, at)
	}
	return 0, d.lost(n)
}

// plainEnd follows a plain scalar, whose lines the parser has folded, by comparing all that is not white space.
func (d *document) plainEnd(n *yaml.Node, at int) (int, error) {
	for _, r := range n.Value {
		if r < utf8.RuneSelf && isSpace(byte(r)) {
			continue
		}
		for at < len(d.src) && isSpace(d.src[at]) {
			at++
		}
		found, size := utf8.DecodeRune(d.src[at:])
		if found != r {
			return 0, d.lost(n)
		}
		at += size
	}
	return at, nil
}

// block describes the text of a literal or folded scalar.
type block struct {
	header      string // indicators: |, >, |-, ...
	indent      int    // of the content; 0 when there is none
	first, last int    // content lines; last < first when there are none
}

func (d *document) block(n *yaml.Node, at int) block {
	line := d.line(at)
	header := string(d.text(line)[at-d.lineStart(line):])
	if cut := strings.IndexAny(header, " \t"); cut >= 0 {
		header = header[:cut]
	}
	b := block{header: header, first: line + 1, last: line}
	text := strings.TrimLeft(n.Value, "\n")
	if text == "" {
		if strings.Contains(header, "+") {
			for b.last < len(d.starts) && len(bytes.TrimSpace(d.text(b.last+1))) == 0 {
				b.last++
			}
		}
		return b
	}
	l := line + 1
	for l <= len(d.starts) && len(bytes.TrimSpace(d.text(l))) == 0 {
		l++
	}
	if l > len(d.starts) {
		return b
	}
	// With an indentation indicator the first line may itself begin with spaces; the value shows how many.
	b.indent = indentOf(d.text(l)) - indentOf([]byte(text))
	for ; l <= len(d.starts); l++ {
		blank := len(bytes.TrimSpace(d.text(l))) == 0
		if !blank && indentOf(d.text(l)) < b.indent {
			break
		}
		if !blank || strings.Contains(header, "+") {
			b.last = l
		}
	}
	return b
}

func (d *document) blockEnd(n *yaml.Node, at int) (int, error) {
	b := d.block(n, at)
	if b.last < b.first {
		return at + len(b.header), nil
	}
	return d.lineStart(b.last) + len(d.text(b.last)), nil
}

func (d *document) lost(n *yaml.Node) *Refusal {
	return refuse(n.Line, "write the value in one line", "the end of the value that begins here could not be found")
}

func indentOf(line []byte) int { return len(line) - len(bytes.TrimLeft(line, " ")) }

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\r' || b == '\n' }
