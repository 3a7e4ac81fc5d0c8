package patches

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// document is one parsed YAML document together with its text; nodes are only used to find places in the text.
type document struct {
	src    []byte
	starts []int      // offset of the first byte of each line
	root   *yaml.Node // nil when there is nothing but comments
}

// open parses a document that is going to be edited, and refuses what cannot be edited safely.
func open(src []byte) (*document, error) {
	if err := checkText(src); err != nil {
		return nil, err
	}
	d, err := read(src)
	if err != nil {
		// The parser does not always name the tab that it stumbles over.
		isTab := strings.Contains(err.Error(), "tab character") || strings.Contains(err.Error(), "cannot start any token")
		if line := firstTabbedLine(src); line > 0 && isTab {
			return nil, tabRefusal(line)
		}
		return nil, err
	}
	if err := d.checkTabs(); err != nil {
		return nil, err
	}
	return d, nil
}

// Check says why a document cannot be edited, as every edit of it would; nil where it can.
func Check(src []byte) error {
	_, err := open(src)
	return err
}

// read parses a document that is only looked at.
func read(src []byte) (d *document, err error) {
	d = &document{src: src, starts: lineStarts(src)}
	// The parser is known to panic on some malformed input; here that is one more unreadable file.
	defer func() {
		if p := recover(); p != nil {
			d, err = nil, refuse(0, "repair the YAML", "this is not valid YAML: the parser failed: %v", p)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(src))
	var node yaml.Node
	switch err := decoder.Decode(&node); {
	case errors.Is(err, io.EOF):
		return d, nil
	case err != nil:
		return nil, parseRefusal(err)
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case err == nil:
		line := second.Line
		return nil, refuse(line, "split the file into one file for each document", "a second YAML document begins here")
	case !errors.Is(err, io.EOF):
		return nil, parseRefusal(err)
	}
	d.root = node.Content[0]
	if err := checkKeys(d.root); err != nil {
		return nil, err
	}
	return d, nil
}

var yamlErrorLine = regexp.MustCompile(`^line (\d+): `)

func parseRefusal(err error) *Refusal {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlErrorLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	return refuse(line, "repair the YAML", "this is not valid YAML: %s", text)
}

// checkText refuses bytes that a person cannot see or that parsers take differently.
func checkText(src []byte) error {
	line := 1
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return refuse(line, "convert the file to UTF-8", "there is a byte that is not valid UTF-8 (0x%02x)", src[i])
		case r == '\n':
			line++
		case r == '\r' && (i+1 == len(src) || src[i+1] != '\n'):
			return refuse(line, "replace it by a normal line ending", "there is a carriage return without a line feed")
		case r == 0x85 || r == 0x2028 || r == 0x2029:
			return refuse(line, "replace it by a normal line ending", "there is an invisible line break (U+%04X)", r)
		case r == 0xFEFF:
			return refuse(line, "save the file without it", "there is a byte order mark (U+FEFF)")
		case r == 0:
			return refuse(line, "remove it", "there is a NUL byte")
		case r < 0x20 && r != '\t' && r != '\r' || r >= 0x7f && r < 0xa0:
			return refuse(line, "remove it", "there is a control character (U+%04X)", r)
		}
		i += size
	}
	return nil
}

func checkKeys(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]int, len(n.Content)/2)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				continue
			}
			if first, found := seen[key.Value]; found {
				return refuse(key.Line, "remove one of the two",
					"the key %q is a duplicate of the one in line %d", key.Value, first)
			}
			seen[key.Value] = key.Line
		}
	}
	for _, child := range n.Content {
		if err := checkKeys(child); err != nil {
			return err
		}
	}
	return nil
}

func tabRefusal(line int) *Refusal {
	return refuse(line, "replace the tab by spaces", "there is a tab in the indentation")
}

func isTabbed(line []byte) bool {
	rest := bytes.TrimLeft(line, " ")
	return len(rest) > 0 && rest[0] == '\t' && len(bytes.TrimSpace(rest)) > 0
}

func firstTabbedLine(src []byte) int {
	for i, line := range bytes.Split(src, []byte("\n")) {
		if isTabbed(line) {
			return i + 1
		}
	}
	return 0
}

// checkTabs refuses tabs in the indentation, but not those in the text of a scalar that spans several lines.
func (d *document) checkTabs() error {
	if bytes.IndexByte(d.src, '\t') < 0 {
		return nil
	}
	inside := map[int]bool{}
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			end, err := d.end(n)
			if err == nil {
				for l := n.Line + 1; l <= d.line(end); l++ {
					inside[l] = true
				}
			}
		}
		for _, child := range n.Content {
			collect(child)
		}
	}
	if d.root != nil {
		collect(d.root)
	}
	for l := 1; l <= len(d.starts); l++ {
		if !inside[l] && isTabbed(d.text(l)) {
			return tabRefusal(l)
		}
	}
	return nil
}

func lineStarts(src []byte) []int {
	starts := []int{0}
	for i, b := range src {
		if b == '\n' && i+1 < len(src) {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// line returns the 1-based line of an offset; the end of the text belongs to its last line.
func (d *document) line(offset int) int {
	return sort.SearchInts(d.starts, offset+1)
}

func (d *document) lineStart(line int) int { return d.starts[line-1] }

// lineEnd is the offset behind a line and its line ending.
func (d *document) lineEnd(line int) int {
	if line < len(d.starts) {
		return d.starts[line]
	}
	return len(d.src)
}

// text is a line without its line ending.
func (d *document) text(line int) []byte {
	text := d.src[d.lineStart(line):d.lineEnd(line)]
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}

// eol is the line ending of a line, or of the lines before it when it is the last one and has none.
func (d *document) eol(line int) string {
	for ; line >= 1; line-- {
		text := d.src[d.lineStart(line):d.lineEnd(line)]
		switch {
		case bytes.HasSuffix(text, []byte("\r\n")):
			return "\r\n"
		case bytes.HasSuffix(text, []byte("\n")):
			return "\n"
		}
	}
	return "\n"
}

// offset is where a node begins; the parser counts columns in runes.
func (d *document) offset(n *yaml.Node) int {
	if n.Line > len(d.starts) {
		return len(d.src)
	}
	i := d.lineStart(n.Line)
	for c := 1; c < n.Column && i < len(d.src); c++ {
		_, size := utf8.DecodeRune(d.src[i:])
		i += size
	}
	return i
}

// splice replaces the bytes from..to by text.
type splice struct {
	from, to int
	text     string
}

func (d *document) splice(splices ...splice) ([]byte, error) {
	sort.SliceStable(splices, func(i, j int) bool { return splices[i].from < splices[j].from })
	var out bytes.Buffer
	at := 0
	for _, s := range splices {
		if s.from < at || s.to < s.from || s.to > len(d.src) {
			return nil, fmt.Errorf("editing a document: two changes of one edit overlap at byte %d", s.from)
		}
		out.Write(d.src[at:s.from])
		out.WriteString(s.text)
		at = s.to
	}
	out.Write(d.src[at:])
	return out.Bytes(), nil
}
