package patches

import (
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// lineRange is lines of a document, 1-based, both included.
type lineRange struct{ first, last int }

// requireOtherLines verifies that every line outside the concerned ones is still there, with the same bytes, in its order and
// beside the same neighbours. Where no line is concerned, all that may happen is that lines are added in one place.
func requireOtherLines(t *testing.T, before, after []byte, concerned []lineRange) {
	t.Helper()
	old, new := linesWithEndings(before), linesWithEndings(after)
	if len(concerned) == 0 {
		if commonPrefix(old, new)+commonSuffix(old, new) < len(old) {
			t.Errorf("a line was changed where one was to be added:\n%s\n---\n%s", before, after)
		}
		return
	}
	slices.SortFunc(concerned, func(a, b lineRange) int { return a.first - b.first })
	var pieces [][]string
	from := 0
	for _, c := range concerned {
		if c.first-1 >= from {
			pieces = append(pieces, old[from:c.first-1])
		}
		from = max(from, c.last)
	}
	tail := old[from:]
	head := pieces[0]
	if len(new) < len(head)+len(tail) || commonPrefix(head, new) < len(head) || commonSuffix(tail, new) < len(tail) {
		t.Errorf("lines above or below %v changed:\n%s\n---\n%s", concerned, before, after)
		return
	}
	rest := new[len(head) : len(new)-len(tail)]
	for _, piece := range pieces[1:] {
		at := indexLines(rest, piece)
		if at < 0 {
			t.Errorf("lines between %v changed:\n%s\n---\n%s", concerned, before, after)
			return
		}
		rest = rest[at+len(piece):]
	}
}

// linesWithEndings are lines with their endings; an ending that the last one has not is the writer's to add, like the one before.
func linesWithEndings(doc []byte) []string {
	lines := strings.SplitAfter(string(doc), "\n")
	switch last := len(lines) - 1; {
	case lines[last] == "":
		lines = lines[:last]
	case last > 0 && strings.HasSuffix(lines[last-1], "\r\n"):
		lines[last] += "\r\n"
	default:
		lines[last] += "\n"
	}
	return lines
}

func commonPrefix(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

func indexLines(in, piece []string) int {
	for at := 0; at+len(piece) <= len(in); at++ {
		if slices.Equal(in[at:at+len(piece)], piece) {
			return at
		}
	}
	return -1
}

// linesOf is where a key (if it has one) and its value stand, up to the next node that is not a part of them; comments and blank
// lines before that one are not counted, unless they can be text of the value.
func linesOf(doc []byte, root, key, value *yaml.Node) lineRange {
	lines := linesWithEndings(doc)
	r := lineRange{first: value.Line, last: len(lines)}
	if key != nil {
		r.first = key.Line
	}
	within := value.Line
	eachNode(value, func(n *yaml.Node) { within = max(within, n.Line, quotedEnd(lines, n)) })
	eachNode(root, func(n *yaml.Node) {
		if n.Line > within {
			r.last = min(r.last, n.Line-1)
		}
	})
	r.last = max(r.last, within)
	// An empty value at the end stands on a line that is not there.
	r.first, within, r.last = min(r.first, len(lines)), min(within, len(lines)), min(r.last, len(lines))
	if last := lastScalar(value); last.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		for r.last > within && isBlankOrComment(lines[r.last-1]) {
			r.last--
		}
	}
	for at := r.first - 1; key == nil && at >= 1; at-- {
		if text := strings.TrimSpace(lines[at-1]); strings.HasSuffix(text, "-") && !strings.HasPrefix(text, "#") {
			r.first = at
		} else if !isBlankOrComment(lines[at-1]) {
			break
		}
	}
	return r
}

// quotedEnd is the line of a scalar's closing quote; 0 for what is not quoted.
func quotedEnd(lines []string, n *yaml.Node) int {
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 || n.Line > len(lines) {
		return 0
	}
	rest := string([]rune(lines[n.Line-1])[n.Column-1:])
	at := strings.IndexAny(rest, `"'`)
	if at < 0 {
		return 0
	}
	quote, rest := rest[at], rest[at+1:]
	for line := n.Line; ; line, rest = line+1, lines[line] {
		for i := 0; i < len(rest); i++ {
			switch {
			case quote == '"' && rest[i] == '\\', quote == '\'' && strings.HasPrefix(rest[i:], "''"):
				i++
			case rest[i] == quote:
				return line
			}
		}
		if line == len(lines) {
			return line
		}
	}
}

// textLines are those, 1-based, that can be text of a scalar and not a comment, whatever they look like.
func textLines(doc []byte) map[int]bool {
	text := map[int]bool{}
	root := parsedRoot(doc)
	if root == nil {
		return text
	}
	lines := linesWithEndings(doc)
	eachNode(root, func(n *yaml.Node) {
		end := quotedEnd(lines, n)
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			end = linesOf(doc, root, nil, n).last
		}
		for line := n.Line + 1; line <= end; line++ {
			text[line] = true
		}
	})
	return text
}

func isBlankOrComment(line string) bool {
	text := strings.TrimSpace(line)
	return text == "" || strings.HasPrefix(text, "#")
}

func eachNode(n *yaml.Node, do func(n *yaml.Node)) {
	do(n)
	for _, child := range n.Content {
		eachNode(child, do)
	}
}

func lastScalar(n *yaml.Node) *yaml.Node {
	for len(n.Content) > 0 {
		n = n.Content[len(n.Content)-1]
	}
	return n
}

// parsedRoot is nil where the parser fails or there is nothing.
func parsedRoot(doc []byte) *yaml.Node {
	var n yaml.Node
	if yaml.Unmarshal(doc, &n) != nil || len(n.Content) == 0 {
		return nil
	}
	return n.Content[0]
}

// childOf is a mapping's own key and value, without aliases and merges.
func childOf(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// flagLines are the lines that an edit of one flag may touch: those of the flag's arguments, and a list's key where the list is
// empty before or after.
func flagLines(before, after []byte, container, flag string) []lineRange {
	lists, root := argumentLists(before, container)
	afterLists, _ := argumentLists(after, container)
	var concerned []lineRange
	var items []*yaml.Node
	var args []string
	for _, name := range []string{"command", "args"} {
		list := lists[name]
		for _, item := range list.items() {
			items = append(items, item)
			args = append(args, item.Value)
		}
		if list.key != nil && (len(list.items()) == 0) != (len(afterLists[name].items()) == 0) {
			concerned = append(concerned, linesOf(before, root, list.key, list.value))
		}
	}
	for _, f := range named(scanFlags(args), flagName(flag)) {
		for _, item := range items[f.first : f.last+1] {
			concerned = append(concerned, linesOf(before, root, nil, item))
		}
	}
	return concerned
}

type argumentList struct{ key, value *yaml.Node }

func (l argumentList) items() []*yaml.Node {
	if l.value == nil || l.value.Kind != yaml.SequenceNode {
		return nil
	}
	return l.value.Content
}

func argumentLists(doc []byte, container string) (map[string]argumentList, *yaml.Node) {
	root := parsedRoot(doc)
	_, spec := childOf(root, "spec")
	_, containers := childOf(spec, "containers")
	lists := map[string]argumentList{}
	for _, item := range (argumentList{value: containers}).items() {
		if _, name := childOf(item, "name"); name == nil || name.Value != container {
			continue
		}
		for _, name := range []string{"command", "args"} {
			key, value := childOf(item, name)
			lists[name] = argumentList{key, value}
		}
		break
	}
	return lists, root
}

// fieldLines are the lines that an edit of one path may touch: those of the deepest value on the way to it that is there and is
// not an empty collection or null before or after.
func fieldLines(before, after []byte, path Path) []lineRange {
	root := parsedRoot(before)
	if root != nil && (isVoid(root) || isVoid(parsedRoot(after))) {
		return []lineRange{{1, len(linesWithEndings(before))}}
	}
	key, value, n := (*yaml.Node)(nil), (*yaml.Node)(nil), root
	for i, step := range path {
		childKey, child := stepInto(n, step)
		if child == nil {
			break
		}
		key, value, n = childKey, child, child
		isLast := i == len(path)-1
		if isLast {
			return []lineRange{linesOf(before, root, key, value)}
		}
		if isVoid(child) || isVoid(nodeAt(parsedRoot(after), path[:i+1])) {
			return []lineRange{linesOf(before, root, key, value)}
		}
	}
	if value != nil && isFlow(value) {
		return []lineRange{linesOf(before, root, key, value)}
	}
	return nil
}

func stepInto(n *yaml.Node, step any) (key, child *yaml.Node) {
	switch s := step.(type) {
	case string:
		return childOf(n, s)
	case int:
		if items := (argumentList{value: n}).items(); s >= 0 && s < len(items) {
			return nil, items[s]
		}
	}
	return nil, nil
}

func nodeAt(n *yaml.Node, path Path) *yaml.Node {
	for _, step := range path {
		_, n = stepInto(n, step)
	}
	return n
}

func isVoid(n *yaml.Node) bool {
	return n == nil || len(n.Content) == 0 && (n.Kind != yaml.ScalarNode || isNull(n))
}

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// envLines are the lines that an edit of a flag in an environment file may touch: those of the assignment that counts.
func envLines(t *testing.T, file []byte, variable string) []lineRange {
	t.Helper()
	a, _, err := readEnv(file, variable)
	if err != nil {
		t.Fatal(err)
	}
	if !a.found {
		return nil
	}
	return []lineRange{{lineAt(file, a.from), lineAt(file, max(a.from, a.to-1))}}
}
