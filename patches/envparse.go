package patches

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// envWord is one argument in the value of a variable: its bytes in the file and what they mean.
type envWord struct {
	from, to int
	text     string
	isPlain  bool // the bytes are the text
}

// assignment is the last one of a variable in an environment file.
type assignment struct {
	found    bool
	from, to int    // the value with its quotes
	quote    byte   // around the whole value; 0 when there are none
	text     string // the value without its quotes
	words    []envWord
	problem  *Refusal // why it cannot be read for certain
}

func (a assignment) args() []string {
	var args []string
	for _, w := range a.words {
		args = append(args, w.text)
	}
	return args
}

// means says whether two assignments give the same arguments.
func (a assignment) means(b assignment) bool { return slices.Equal(a.args(), b.args()) }

// envByte is a byte of a value after the quotes of the file are taken off, and where it stands.
type envByte struct {
	b        byte
	from, to int
}

// readEnv finds the last assignment of a variable, reading as systemd does: the value is unquoted once by the file
// and split, with quotes respected again, where $VARIABLE stands in a unit. All variables are returned as well.
func readEnv(file []byte, variable string) (assignment, map[string]assignment, error) {
	none := assignment{}
	if !variableName.MatchString(variable) {
		return none, nil, fmt.Errorf("editing an environment file: %q is not the name of a variable", variable)
	}
	if err := checkText(file); err != nil {
		return none, nil, err
	}
	all := map[string]assignment{}
	afterOpenComment := false
	for at := 0; at < len(file); {
		end := len(file)
		if newline := bytes.IndexByte(file[at:], '\n'); newline >= 0 {
			end = at + newline + 1
		}
		line := string(file[at:end])
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';' {
			afterOpenComment = strings.HasSuffix(trimmed, "\\")
			at = end
			continue
		}
		left, _, isAssignment := strings.Cut(line, "=")
		if !isAssignment {
			at = end
			continue
		}
		name := strings.TrimSpace(left)
		a, next := readAssignment(file, at+len(left)+1)
		if fields := strings.Fields(name); len(fields) == 2 && fields[0] == "export" && a.problem == nil {
			name = fields[1]
			a.problem = refuse(lineAt(file, at), "remove export, which systemd does not know", "%s is assigned behind export", name)
		}
		if afterOpenComment && a.problem == nil {
			a.problem = refuse(lineAt(file, at), "remove the backslash",
				"the comment above ends in a backslash, so older systemd takes this line for a part of it")
		}
		all[name] = a
		afterOpenComment = false
		at = next
	}
	found := all[variable]
	if found.problem != nil {
		return none, nil, found.problem
	}
	return found, all, nil
}

func lineAt(file []byte, at int) int { return 1 + bytes.Count(file[:at], []byte("\n")) }

// readAssignment reads a value that begins behind the equals sign; next is where the next line begins.
func readAssignment(file []byte, at int) (a assignment, next int) {
	start := at
	for at < len(file) && (file[at] == ' ' || file[at] == '\t') {
		at++
	}
	var value []envByte
	a = assignment{found: true, from: at}
	if at < len(file) && (file[at] == '"' || file[at] == '\'') {
		a.quote = file[at]
		value, a.to, a.problem = quotedValue(file, at)
		for next = a.to; next < len(file) && file[next] != '\n'; next++ {
			if !isSpace(file[next]) && a.problem == nil {
				a.problem = refuse(lineAt(file, start), "put one pair of quotes around the whole value", "the value is quoted in pieces")
			}
		}
		next = min(next+1, len(file))
	} else {
		value, next = bareValue(file, at)
		a.to = at
		if len(value) > 0 {
			a.to = value[len(value)-1].to
		}
	}
	text := make([]byte, len(value))
	for i, b := range value {
		text[i] = b.b
	}
	a.text = string(text)
	a.words = splitWords(file, value)
	return a, next
}

// quotedValue reads up to the closing quote; in double quotes a backslash escapes only what has a meaning there.
func quotedValue(file []byte, open int) (value []envByte, end int, problem *Refusal) {
	quote := file[open]
	for i := open + 1; i < len(file); i++ {
		switch c := file[i]; {
		case c == quote:
			return value, i + 1, nil
		case c == '\\' && quote == '"' && i+1 < len(file):
			switch after := file[i+1]; after {
			case '"', '\\', '$', '`':
				value = append(value, envByte{after, i, i + 2})
				i++
			case '\n':
				i++
			default:
				value = append(value, envByte{c, i, i + 1})
			}
		default:
			value = append(value, envByte{c, i, i + 1})
		}
	}
	return nil, len(file), refuse(lineAt(file, open), "close the quote", "a quote is opened and never closed")
}

// bareValue reads up to the end of the line; a backslash escapes any character, and continues the line at its end.
func bareValue(file []byte, at int) (value []envByte, next int) {
	i := at
	for ; i < len(file) && file[i] != '\n'; i++ {
		if file[i] == '\\' && i+1 < len(file) {
			if file[i+1] != '\n' {
				value = append(value, envByte{file[i+1], i, i + 2})
			}
			i++
			continue
		}
		value = append(value, envByte{file[i], i, i + 1})
	}
	for len(value) > 0 && isSpace(value[len(value)-1].b) {
		value = value[:len(value)-1]
	}
	return value, min(i+1, len(file))
}

func splitWords(file []byte, value []envByte) []envWord {
	var words []envWord
	for i := 0; i < len(value); {
		if isSpace(value[i].b) {
			i++
			continue
		}
		w := envWord{from: value[i].from}
		var text strings.Builder
		quote := byte(0)
		for ; i < len(value) && (quote != 0 || !isSpace(value[i].b)); i++ {
			switch c := value[i].b; {
			case c == '\\' && i+1 < len(value):
				i++
				text.WriteByte(value[i].b)
			case quote != 0 && c == quote:
				quote = 0
			case quote == 0 && (c == '"' || c == '\''):
				quote = c
			default:
				text.WriteByte(c)
			}
			w.to = value[i].to
		}
		w.text = text.String()
		w.isPlain = string(file[w.from:w.to]) == w.text
		words = append(words, w)
	}
	return words
}
