package patches

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// SetEnvFlag makes a flag in the variable of an environment file, as systemd reads it, be value. A variable that is
// missing is added at the end of the file.
func SetEnvFlag(file []byte, variable, flag, value string) ([]byte, error) {
	if err := checkFlag(flag, value); err != nil {
		return nil, err
	}
	if strings.ContainsAny(value, " \"'\\$`;") {
		err := refuse(0, "", "the value %q would have to be quoted twice", value)
		return nil, byHand(err, "set --%s in %s", flag, variable)
	}
	out, err := editEnv(file, variable, func(args []string, flags []argFlag) argEdit {
		return setFlag(args, flags, flagName(flag), value)
	})
	return out, byHand(err, "set --%s=%s in %s", flag, value, variable)
}

// RemoveEnvFlag removes all occurrences of a flag from the variable.
func RemoveEnvFlag(file []byte, variable, flag string) ([]byte, error) {
	if err := checkFlag(flag, ""); err != nil {
		return nil, err
	}
	out, err := editEnv(file, variable, func(args []string, flags []argFlag) argEdit {
		return removeFlag(flags, flagName(flag))
	})
	return out, byHand(err, "remove --%s from %s", flag, variable)
}

// EnvFlags lists the flags in the variable; of several assignments the last one counts.
func EnvFlags(file []byte, variable string) ([]Flag, error) {
	env, err := readEnv(file, variable)
	if err != nil {
		return nil, err
	}
	var flags []Flag
	for _, f := range scanFlags(env.args()) {
		f.Line = 1 + bytes.Count(file[:env.words[f.first].from], []byte("\n"))
		flags = append(flags, f.Flag)
	}
	return flags, nil
}

// envWord is one argument in the value of a variable: its bytes and what they mean.
type envWord struct {
	from, to int
	text     string
	isPlain  bool // the bytes are the text
}

// assignment is the last one of a variable in an environment file.
type assignment struct {
	found    bool
	from, to int  // the value with its quotes
	quote    byte // around the whole value; 0 when there are none
	words    []envWord
}

func (a assignment) args() []string {
	var args []string
	for _, w := range a.words {
		args = append(args, w.text)
	}
	return args
}

func readEnv(file []byte, variable string) (assignment, error) {
	var last assignment
	if !variableName.MatchString(variable) {
		return last, fmt.Errorf("editing an environment file: %q is not the name of a variable", variable)
	}
	if err := checkText(file); err != nil {
		return last, err
	}
	for at := 0; at < len(file); {
		start := at
		end, err := logicalEnd(file, start)
		if err != nil {
			return last, err
		}
		at = end
		line := strings.TrimLeft(string(file[start:end]), " \t")
		lead := end - start - len(line)
		if rest, ok := strings.CutPrefix(line, "export"); ok && rest != strings.TrimLeft(rest, " \t") {
			name, _, _ := strings.Cut(strings.TrimLeft(rest, " \t"), "=")
			if name == variable {
				return last, refuse(1+bytes.Count(file[:start], []byte("\n")), "remove export, which systemd does not know",
					"%s is assigned behind export", variable)
			}
		}
		name, value, isAssignment := strings.Cut(line, "=")
		if !isAssignment || strings.TrimRight(name, " \t") != variable {
			continue
		}
		from := start + lead + len(name) + 1
		if last, err = readAssignment(file, from, from+len(value)); err != nil {
			return last, err
		}
	}
	return last, nil
}

// logicalEnd is the offset behind a line with the lines that continue it, by a backslash or inside quotes.
func logicalEnd(file []byte, at int) (int, error) {
	isComment := bytes.HasPrefix(bytes.TrimLeft(file[at:], " \t"), []byte("#")) || bytes.HasPrefix(bytes.TrimLeft(file[at:], " \t"), []byte(";"))
	start := at
	quote := byte(0)
	for ; at < len(file); at++ {
		switch c := file[at]; {
		case isComment && c != '\n':
		case c == '\n' && quote == 0:
			return at + 1, nil
		case c == '\\' && quote != '\'':
			if at++; at < len(file) && file[at] == '\r' {
				at++
			}
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
	}
	if quote != 0 {
		return 0, refuse(1+bytes.Count(file[:start], []byte("\n")), "close the quote", "a quote is opened and never closed")
	}
	return len(file), nil
}

// readAssignment splits the value into words. A quote around the whole value belongs to the file; quotes inside
// belong to the words, which systemd splits the same way.
func readAssignment(file []byte, from, to int) (assignment, error) {
	for from < to && isSpace(file[from]) {
		from++
	}
	for to > from && isSpace(file[to-1]) {
		to--
	}
	a := assignment{found: true, from: from, to: to}
	if to-from >= 2 && (file[from] == '"' || file[from] == '\'') && wholeQuote(file[from:to]) {
		a.quote = file[from]
		from, to = from+1, to-1
	}
	for at := from; at < to; {
		if isSpace(file[at]) {
			at++
			continue
		}
		if file[at] == '\\' && at+1 < to && (file[at+1] == '\n' || file[at+1] == '\r') {
			at += 2
			continue
		}
		w := envWord{from: at, isPlain: true}
		var text strings.Builder
		inner := byte(0)
		for ; at < to && (inner != 0 || !isSpace(file[at])); at++ {
			c := file[at]
			switch {
			case c == '\\' && a.quote != '\'' && at+1 < to && (file[at+1] == '\n' || file[at+1] == '\r'):
				w.isPlain = false
				if at++; file[at] == '\r' {
					at++
				}
			case c == '\\' && inner != '\'' && at+1 < to:
				w.isPlain = false
				at++
				text.WriteByte(file[at])
			case inner != 0 && c == inner:
				inner = 0
			case inner == 0 && (c == '"' || c == '\''):
				w.isPlain = false
				inner = c
			default:
				text.WriteByte(c)
			}
		}
		w.to, w.text = min(at, to), text.String()
		a.words = append(a.words, w)
	}
	return a, nil
}

// wholeQuote says whether the quote at the start is closed at the end, and not before.
func wholeQuote(value []byte) bool {
	for i := 1; i < len(value); i++ {
		switch {
		case value[i] == '\\' && value[0] == '"':
			i++
		case value[i] == value[0]:
			return i == len(value)-1
		}
	}
	return false
}

func editEnv(file []byte, variable string, plan func(args []string, flags []argFlag) argEdit) ([]byte, error) {
	env, err := readEnv(file, variable)
	if err != nil {
		return nil, err
	}
	args := env.args()
	e := plan(args, scanFlags(args))
	if e.isEmpty() {
		return file, nil
	}
	d := &document{src: file, starts: lineStarts(file)}
	var splices []splice
	if env.found {
		splices, err = env.splices(d, e)
	} else {
		splices = []splice{d.addLines(len(file), []string{variable + `="` + e.add + `"`})}
	}
	if err != nil {
		return nil, err
	}
	out, err := d.splice(splices...)
	if err != nil {
		return nil, refuse(d.line(env.from), "", "the flags stand too close together to be changed in one step")
	}
	after, err := readEnv(out, variable)
	if err != nil || !slices.Equal(after.args(), e.apply(args)) {
		return nil, refuse(d.line(env.from), "", "an edit of %s would change more than was asked for", variable)
	}
	return out, nil
}

func (a assignment) splices(d *document, e argEdit) ([]splice, error) {
	left := len(e.apply(a.args()))
	if len(a.words) == 0 || left == 0 {
		text := `""`
		if left > 0 {
			text = `"` + e.add + `"`
		}
		return []splice{{a.from, a.to, text}}, nil
	}
	var all []splice
	for i := 0; i < len(a.words); i++ {
		w := a.words[i]
		text, replaced := e.replace[i]
		switch {
		case e.drop[i]:
			first := i
			for e.drop[i+1] {
				i++
			}
			s := splice{w.from, a.words[i].to, ""}
			if first > 0 {
				s.from = a.words[first-1].to
			} else {
				s.to = a.words[i+1].from
			}
			all = append(all, s)
		case replaced && !w.isPlain:
			return nil, refuse(d.line(w.from), "", "the flag %s is quoted inside the value", w.text)
		case replaced:
			all = append(all, splice{w.from, w.to, text})
		}
	}
	if e.adds {
		if e.addAt < len(a.words) {
			at := a.words[e.addAt].from
			all = append(all, splice{at, at, e.add + " "})
		} else {
			at := a.words[len(a.words)-1].to
			all = append(all, splice{at, at, " " + e.add})
		}
	}
	if a.quote == 0 && left > 1 && len(a.words) == 1 {
		all = append([]splice{{a.from, a.from, `"`}}, append(all, splice{a.to, a.to, `"`})...)
	}
	return all, nil
}
