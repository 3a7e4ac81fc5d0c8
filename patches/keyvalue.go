package patches

import (
	"fmt"
	"strings"
)

// SetKeyValue makes key be value in a file of "key = value" lines, such as those of sysctl.d. Of several lines with
// the key the last one counts, and is changed; a missing one is added at the end, in the way the others are written.
func SetKeyValue(file []byte, key, value string) ([]byte, error) {
	if err := checkPair(key, value); err != nil {
		return nil, err
	}
	if err := checkText(file); err != nil {
		return nil, byHand(err, "write %s = %s", key, value)
	}
	d := &document{src: file, starts: lineStarts(file)}
	separator := " = "
	for line := len(d.starts); line >= 1; line-- {
		p, ok := d.pair(line)
		if !ok {
			continue
		}
		if sameKey(p.key, key) {
			if string(file[p.from:p.to]) == value {
				return file, nil
			}
			return d.splice(splice{p.from, p.to, value})
		}
		separator = p.separator
	}
	return d.splice(d.addLines(len(file), []string{key + separator + value}))
}

func checkPair(key, value string) error {
	if key == "" || strings.ContainsAny(key, "= \t\r\n#;") || strings.HasPrefix(key, "-") {
		return fmt.Errorf("editing key=value lines: %q is not a key", key)
	}
	if strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return !isVisible(r) }) {
		return fmt.Errorf("editing key=value lines: %s: the value %q is not visible text", key, value)
	}
	return nil
}

// pair is a line with a key; from and to are the place of its value.
type pair struct {
	key, separator string
	from, to       int
}

func (d *document) pair(line int) (pair, bool) {
	text := string(d.text(line))
	trimmed := strings.TrimLeft(text, " \t")
	left, right, found := strings.Cut(text, "=")
	if !found || strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
		return pair{}, false
	}
	key := strings.TrimRight(left, " \t")
	value := strings.TrimLeft(right, " \t")
	from := d.lineStart(line) + len(text) - len(value)
	p := pair{
		key:       strings.TrimPrefix(strings.TrimSpace(key), "-"),
		separator: text[len(key) : len(text)-len(value)],
		from:      from,
		to:        from + len(strings.TrimRight(value, " \t")),
	}
	return p, true
}

// sameKey takes net/ipv4/ip_forward for net.ipv4.ip_forward, as sysctl does.
func sameKey(a, b string) bool {
	return a == b || strings.ReplaceAll(a, "/", ".") == strings.ReplaceAll(b, "/", ".")
}
