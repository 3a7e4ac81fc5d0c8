package patches

import (
	"iter"
	"slices"
	"strings"
)

// Flag is one flag of a command line.
type Flag struct {
	Name     string // without dashes, words separated by dashes
	Value    string
	HasValue bool // false for a bare --flag
	Line     int  // 1-based line of the file, 0 for a process
}

// ParseArgs reads the flags of a process from its arguments, of which the first is the program.
func ParseArgs(args []string) []Flag {
	return slices.Collect(FlagsIn(args))
}

// FlagsIn are those of ParseArgs, one by one.
func FlagsIn(args []string) iter.Seq[Flag] {
	return func(yield func(Flag) bool) {
		if len(args) == 0 {
			return
		}
		eachFlag(args[1:], func(f argFlag) bool { return yield(f.Flag) })
	}
}

// argFlag is a flag and the arguments that it takes up: one, or two for "--flag value".
type argFlag struct {
	Flag
	first, last int
	prefix      string // what stands before the value: "--flag=", or "" when the value is an argument of its own
}

func (f argFlag) sortKey() string {
	if f.HasValue {
		return f.Name + "=" + f.Value
	}
	return f.Name
}

func scanFlags(args []string) []argFlag {
	var flags []argFlag
	eachFlag(args, func(f argFlag) bool { flags = append(flags, f); return true })
	return flags
}

// eachFlag reads flags the way pflag does, except that the type of a flag is not known: an argument without dashes
// behind a bare flag is taken for its value.
func eachFlag(args []string, yield func(argFlag) bool) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			break
		}
		if !isFlag(arg) {
			continue
		}
		f := argFlag{first: i, last: i}
		name, value, hasValue := strings.Cut(arg, "=")
		f.Name, f.Value, f.HasValue = flagName(name), value, hasValue
		switch {
		case hasValue:
			f.prefix = arg[:len(name)+1]
		case i+1 < len(args) && !isFlag(args[i+1]) && args[i+1] != "--":
			i++
			f.Value, f.HasValue, f.last = args[i], true, i
		}
		if !yield(f) {
			return
		}
	}
}

// isFlag takes a dash before a digit for a negative number.
func isFlag(arg string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if name == arg || name == "" {
		return false
	}
	return name[0] != '=' && name[0] != '-' && (name[0] < '0' || name[0] > '9')
}

// flagName is the name by which Kubernetes knows a flag, where --a_b is --a-b.
func flagName(arg string) string {
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "_", "-")
}

// position is the index in flags before which a new flag goes: sorted when the flags are, else behind the last.
func position(flags []argFlag, name, value string) int {
	byText := func(a, b argFlag) int { return strings.Compare(a.sortKey(), b.sortKey()) }
	byName := func(a, b argFlag) int { return strings.Compare(a.Name, b.Name) }
	added := argFlag{Flag: Flag{Name: name, Value: value, HasValue: true}}
	for _, compare := range []func(a, b argFlag) int{byText, byName} {
		if slices.IsSortedFunc(flags, compare) {
			at, _ := slices.BinarySearchFunc(flags, added, compare)
			return at
		}
	}
	return len(flags)
}

// named are the flags of that name.
func named(flags []argFlag, name string) []argFlag {
	var found []argFlag
	for _, f := range flags {
		if f.Name == name {
			found = append(found, f)
		}
	}
	return found
}

// argEdit is a change of an argument list: replace the text of some, drop some, add one before another.
type argEdit struct {
	replace map[int]string
	drop    map[int]bool
	add     string
	addAt   int // index of the argument before which add goes
	adds    bool
}

func (e argEdit) isEmpty() bool { return len(e.replace) == 0 && len(e.drop) == 0 && !e.adds }

// setFlag plans that name is there once, with value. Of repeats the one that has the value stays, else the last,
// which is the one that counts.
func setFlag(args []string, flags []argFlag, name, value string) argEdit {
	found := named(flags, name)
	if len(found) == 0 {
		return addFlag(args, flags, name, value)
	}
	keep := len(found) - 1
	for i, f := range found {
		if f.HasValue && f.Value == value {
			keep = i
		}
	}
	e := argEdit{replace: map[int]string{}, drop: map[int]bool{}}
	e.dropAll(slices.Delete(slices.Clone(found), keep, keep+1))
	e.rewrite(args, found[keep], value)
	return e
}

func addFlag(args []string, flags []argFlag, name, value string) argEdit {
	e := argEdit{adds: true, add: "--" + name + "=" + value}
	at := position(flags, name, value)
	switch {
	case at < len(flags):
		e.addAt = flags[at].first
	case len(flags) > 0:
		e.addAt = flags[len(flags)-1].last + 1
	default:
		e.addAt = len(args)
		if terminator := slices.Index(args, "--"); terminator >= 0 {
			e.addAt = terminator
		}
	}
	return e
}

func (e argEdit) rewrite(args []string, f argFlag, value string) {
	switch {
	case f.HasValue && f.Value == value:
	case f.first != f.last:
		e.replace[f.last] = value
		if value == "" || isFlag(value) || value == "--" {
			e.replace[f.first] = args[f.first] + "=" + value
			delete(e.replace, f.last)
			e.drop[f.last] = true
		}
	case f.HasValue:
		e.replace[f.first] = f.prefix + value
	default:
		e.replace[f.first] = args[f.first] + "=" + value
	}
}

func (e argEdit) dropAll(flags []argFlag) {
	for _, f := range flags {
		for i := f.first; i <= f.last; i++ {
			e.drop[i] = true
		}
	}
}

func removeFlag(flags []argFlag, name string) argEdit {
	e := argEdit{drop: map[int]bool{}}
	e.dropAll(named(flags, name))
	return e
}

// mergeList plans that the entries of a comma separated list, over all repeats of its flag, are in one flag, the
// first, with add and without remove.
func mergeList(args []string, flags []argFlag, name string, add, remove []string) argEdit {
	found := named(flags, name)
	var entries []string
	changed := len(found) > 1
	for _, f := range found {
		for _, entry := range strings.Split(f.Value, ",") {
			switch trimmed := strings.TrimSpace(entry); {
			case trimmed == "" || slices.Contains(entries, trimmed):
			case slices.Contains(remove, trimmed):
				changed = true
			default:
				entries = append(entries, trimmed)
			}
		}
	}
	for _, entry := range add {
		if !slices.Contains(entries, entry) && !slices.Contains(remove, entry) {
			entries = append(entries, entry)
			changed = true
		}
	}
	value := strings.Join(entries, ",")
	switch {
	case !changed:
		return argEdit{}
	case len(entries) == 0:
		return removeFlag(flags, name)
	case len(found) == 0:
		return addFlag(args, flags, name, value)
	}
	e := argEdit{replace: map[int]string{}, drop: map[int]bool{}}
	e.dropAll(found[1:])
	e.rewrite(args, found[0], value)
	return e
}

// apply is the list of arguments after the edit.
func (e argEdit) apply(args []string) []string {
	out := make([]string, 0, len(args)+1)
	for i := 0; i <= len(args); i++ {
		if e.adds && e.addAt == i {
			out = append(out, e.add)
		}
		if i == len(args) || e.drop[i] {
			continue
		}
		if text, found := e.replace[i]; found {
			out = append(out, text)
			continue
		}
		out = append(out, args[i])
	}
	return out
}

// WithFlag gives a process's arguments in which the flag is there once, behind all others.
func WithFlag(args []string, name, value string) []string {
	return append(WithoutFlag(args, name), "--"+name+"="+value)
}

// WithoutFlag gives a process's arguments, of which the first is the program, without a flag.
func WithoutFlag(args []string, name string) []string {
	if len(args) == 0 {
		return nil
	}
	out := slices.Clone(args[:1])
	rest := args[1:]
	at := 0
	for _, f := range named(scanFlags(rest), name) {
		out = append(out, rest[at:f.first]...)
		at = f.last + 1
	}
	return append(out, rest[at:]...)
}
