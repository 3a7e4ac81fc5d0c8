package patches

import (
	"maps"
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
	if strings.ContainsAny(value, " \"'\\$`") {
		err := refuse(0, "", "the value %q would have to be quoted twice", value)
		return nil, byHand(err, "set --%s in %s", flag, variable)
	}
	out, err := editEnv(file, variable, flag, func(args []string, flags []argFlag) argEdit {
		return setFlag(args, flags, flagName(flag), value)
	})
	return out, byHand(err, "set --%s=%s in %s", flag, value, variable)
}

// RemoveEnvFlag removes all occurrences of a flag from the variable.
func RemoveEnvFlag(file []byte, variable, flag string) ([]byte, error) {
	if err := checkFlag(flag, ""); err != nil {
		return nil, err
	}
	out, err := editEnv(file, variable, flag, func(args []string, flags []argFlag) argEdit {
		return removeFlag(flags, flagName(flag))
	})
	return out, byHand(err, "remove --%s from %s", flag, variable)
}

// EnvFlags lists the flags in the variable; of several assignments the last one counts.
func EnvFlags(file []byte, variable string) ([]Flag, error) {
	env, _, err := readEnv(file, variable)
	if err != nil {
		return nil, err
	}
	var flags []Flag
	for _, f := range scanFlags(env.args()) {
		f.Line = lineAt(file, env.words[f.first].from)
		flags = append(flags, f.Flag)
	}
	return flags, nil
}

// EnvValue is the value of a variable in an environment file, as systemd reads it: of several assignments the last one
// counts. found says that there is one; it may be empty.
func EnvValue(file []byte, variable string) (value string, found bool, err error) {
	env, _, err := readEnv(file, variable)
	return env.text, env.found, err
}

// SplitArgs gives the arguments that systemd makes of a command line in a unit, or of the value of a $VARIABLE there: it
// splits at white space outside of quotes, which are dropped.
func SplitArgs(line string) []string {
	value := make([]envByte, len(line))
	for i := range len(line) {
		value[i] = envByte{line[i], i, i + 1}
	}
	return assignment{words: splitWords([]byte(line), value)}.args()
}

func editEnv(file []byte, variable, flag string, plan func(args []string, flags []argFlag) argEdit) ([]byte, error) {
	env, all, err := readEnv(file, variable)
	if err != nil {
		return nil, err
	}
	args := env.args()
	flags := scanFlags(args)
	e := plan(args, flags)
	if e.isEmpty() {
		return file, nil
	}
	if !slices.Equal(others(flags, flag), others(scanFlags(e.apply(args)), flag)) {
		return nil, refuse(lineAt(file, env.from), "", misread)
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
	after, allAfter, err := readEnv(out, variable)
	delete(all, variable)
	delete(allAfter, variable)
	if err != nil || !slices.Equal(after.args(), e.apply(args)) || !maps.EqualFunc(all, allAfter, assignment.means) {
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
