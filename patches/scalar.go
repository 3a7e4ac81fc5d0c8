package patches

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"
)

// notPlain are strings that some YAML reader, old or new, takes for something else when they are not quoted.
var notPlain = regexp.MustCompile(`(?i)^(y|n|yes|no|on|off|true|false|null|~|=|[-+]?[0-9][0-9_]*(:[0-9]+)+(\.[0-9_]*)?)$`)

// isPlain says whether a string can stand unquoted in a block collection.
func isPlain(s string) bool {
	if s == "" || strings.TrimSpace(s) != s || notPlain.MatchString(s) {
		return false
	}
	if strings.ContainsRune("!&*%@`|>'\"#,[]{}", rune(s[0])) {
		return false
	}
	if strings.ContainsRune("-?:", rune(s[0])) && (len(s) == 1 || s[1] == ' ') {
		return false
	}
	if strings.HasPrefix(s, "---") || strings.HasPrefix(s, "...") {
		return false
	}
	if strings.Contains(s, ": ") || strings.HasSuffix(s, ":") || strings.Contains(s, " #") {
		return false
	}
	for _, r := range s {
		if !isVisible(r) {
			return false
		}
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: s}
	return n.ShortTag() == "!!str"
}

func isVisible(r rune) bool { return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) }

// writeScalar renders a value in one line, in the style of the node it replaces where that is possible.
func writeScalar(value any, style yaml.Style) string {
	s, isString := value.(string)
	if !isString {
		switch v := value.(type) {
		case nil:
			return "null"
		case []any:
			return "[]"
		case map[string]any:
			return "{}"
		case float64:
			return strconv.FormatFloat(v, 'g', -1, 64)
		default:
			return fmt.Sprint(v)
		}
	}
	visible := !strings.ContainsFunc(s, func(r rune) bool { return !isVisible(r) })
	switch {
	case style&yaml.SingleQuotedStyle != 0 && visible:
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	case style&yaml.DoubleQuotedStyle != 0:
		return doubleQuoted(s)
	case isPlain(s):
		return s
	case visible && strings.ContainsAny(s, `"\`):
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	return doubleQuoted(s)
}

func doubleQuoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case isVisible(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// layout says how new lines look next to their neighbours.
type layout struct {
	step    int      // how much deeper a mapping stands below its key
	seqStep int      // the same of a sequence
	gap     int      // spaces behind a dash
	keys    []string // preferred order of the keys of a mapping, from a sibling; others follow sorted
	style   yaml.Style
}

// writeBlock renders a value as lines without line endings; the first line continues one that is already there
// (behind "key:" or "-"), so it begins without indentation. column is where a nested mapping's keys stand.
func writeBlock(value any, column int, l layout) []string {
	switch v := value.(type) {
	case map[string]any:
		if len(v) == 0 {
			break
		}
		var lines []string
		for _, key := range ordered(v, l.keys) {
			lines = append(lines, indented(writeEntry(key, v[key], column, l), column)...)
		}
		lines[0] = strings.TrimLeft(lines[0], " ")
		return lines
	case []any:
		if len(v) == 0 {
			break
		}
		var lines []string
		for _, item := range v {
			lines = append(lines, indented(writeItem(item, column, l), column)...)
		}
		lines[0] = strings.TrimLeft(lines[0], " ")
		return lines
	case string:
		if lines, ok := writeLiteral(v, column); ok {
			return lines
		}
	}
	return []string{writeScalar(value, l.style)}
}

// indented puts the first line at column; the others are already in place.
func indented(lines []string, column int) []string {
	lines[0] = strings.Repeat(" ", column) + lines[0]
	return lines
}

// writeEntry renders "key: value" for a mapping whose keys stand at column; the first line is not indented.
func writeEntry(key string, value any, column int, l layout) []string {
	name := writeScalar(key, 0)
	l.style, l.keys, l.gap = 0, nil, 0
	switch v := value.(type) {
	case map[string]any:
		if len(v) > 0 {
			return append([]string{name + ":"}, indented(writeBlock(v, column+l.step, l), column+l.step)...)
		}
	case []any:
		if len(v) > 0 {
			return append([]string{name + ":"}, indented(writeBlock(v, column+l.seqStep, l), column+l.seqStep)...)
		}
	case string:
		if lines, ok := writeLiteral(v, column+l.step); ok {
			return append([]string{name + ": " + lines[0]}, lines[1:]...)
		}
	}
	return []string{name + ": " + writeScalar(value, 0)}
}

// writeItem renders "- value" for a sequence whose dashes stand at column; the first line is not indented.
func writeItem(value any, column int, l layout) []string {
	gap := max(l.gap, 1)
	lines := writeBlock(value, column+1+gap, l)
	lines[0] = "-" + strings.Repeat(" ", gap) + lines[0]
	return lines
}

// writeLiteral renders a text of several lines as a literal block, if that shows it faithfully.
func writeLiteral(s string, column int) ([]string, bool) {
	if !strings.Contains(s, "\n") || strings.TrimSpace(s) == "" || s[0] == ' ' || s[0] == '\n' || s[0] == '\t' {
		return nil, false
	}
	for _, r := range s {
		if r != '\n' && r != '\t' && !isVisible(r) {
			return nil, false
		}
	}
	body := strings.TrimRight(s, "\n")
	header := map[int]string{0: "|-", 1: "|"}[len(s)-len(body)]
	if header == "" {
		return nil, false
	}
	lines := []string{header}
	for _, line := range strings.Split(body, "\n") {
		if line != "" {
			line = strings.Repeat(" ", column) + line
		}
		lines = append(lines, line)
	}
	return lines, true
}

// ordered sorts the keys of m, those that a sibling has in the sibling's order first.
func ordered(m map[string]any, like []string) []string {
	keys := make([]string, 0, len(m))
	for _, key := range like {
		if _, found := m[key]; found {
			keys = append(keys, key)
		}
	}
	known := len(keys)
	for key := range m {
		if !slices.Contains(keys[:known], key) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys[known:])
	return keys
}
