package patches

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Path leads to a value in a YAML document: string keys and int indexes.
type Path []any

var plainPathKey = regexp.MustCompile(`^[^\s.\[\]"\\\x00-\x1f\x7f-\x{a0}]+$`)

// ParsePath reads the form that String writes: spec.containers[0].command, metadata.annotations["a.b/c"].
func ParsePath(text string) (Path, error) {
	var path Path
	rest := text
	for rest != "" {
		switch {
		case strings.HasPrefix(rest, `["`):
			quoted, err := strconv.QuotedPrefix(rest[1:])
			if err != nil || !strings.HasPrefix(rest[1+len(quoted):], "]") {
				return nil, fmt.Errorf("parsing path %q: a quoted key is not closed by \"]", text)
			}
			key, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("parsing path %q: %w", text, err)
			}
			path = append(path, key)
			rest = rest[len(quoted)+2:]
		case rest[0] == '[':
			digits, after, closed := strings.Cut(rest[1:], "]")
			index, err := strconv.Atoi(digits)
			if !closed || err != nil || index < 0 {
				return nil, fmt.Errorf("parsing path %q: %q is not an index", text, rest)
			}
			path = append(path, index)
			rest = after
		default:
			if len(path) > 0 {
				if rest[0] != '.' {
					return nil, fmt.Errorf("parsing path %q: no dot before %q", text, rest)
				}
				rest = rest[1:]
			}
			end := strings.IndexAny(rest, ".[")
			if end < 0 {
				end = len(rest)
			}
			if !plainPathKey.MatchString(rest[:end]) {
				return nil, fmt.Errorf("parsing path %q: %q is not a plain key", text, rest[:end])
			}
			path = append(path, rest[:end])
			rest = rest[end:]
		}
	}
	if len(path) == 0 {
		return nil, fmt.Errorf("parsing path %q: it is empty", text)
	}
	return path, nil
}

// String writes the path as people write it; keys with dots, brackets or anything invisible are quoted.
func (p Path) String() string {
	var b strings.Builder
	for i, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			switch {
			case !plainPathKey.MatchString(step):
				fmt.Fprintf(&b, "[%s]", strconv.QuoteToASCII(step))
			case i == 0:
				b.WriteString(step)
			default:
				b.WriteString("." + step)
			}
		}
	}
	return b.String()
}

// with returns the path extended by steps, in memory of its own.
func (p Path) with(steps ...any) Path {
	return append(p[:len(p):len(p)], steps...)
}

func (p Path) check() error {
	if len(p) == 0 {
		return fmt.Errorf("editing a document: the path is empty")
	}
	for _, step := range p {
		switch step := step.(type) {
		case string:
		case int:
			if step < 0 {
				return fmt.Errorf("editing a document: path %s: index %d is negative", p, step)
			}
		default:
			return fmt.Errorf("editing a document: path %s: a step is a %T, not a string or int", p, step)
		}
	}
	return nil
}
