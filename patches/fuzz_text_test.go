package patches

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func FuzzEnvFlag(f *testing.F) {
	for _, file := range envFiles {
		f.Add(file, "node-ip", "192.0.2.11")
		f.Add(file, "hostname-override", "")
		f.Add(file, "a", "b=c")
		f.Add(file, "8", "b=c")
	}
	f.Fuzz(func(t *testing.T, file, flag, value string) {
		const variable = "KUBELET_EXTRA_ARGS"
		before, err := EnvFlags([]byte(file), variable)
		if err != nil || tooLong(file) || checkFlag(flag, value) != nil {
			t.Skip()
		}
		after, err := SetEnvFlag([]byte(file), variable, flag, value)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		flags, err := EnvFlags(after, variable)
		if err != nil {
			t.Fatalf("the result cannot be read: %v\n%s", err, after)
		}
		strip := func(flags []Flag, but string) (rest []Flag, named []Flag) {
			for _, f := range flags {
				f.Line = 0
				if f.Name == flagName(but) {
					named = append(named, f)
				} else {
					rest = append(rest, f)
				}
			}
			return rest, named
		}
		a, _ := strip(before, flag)
		b, found := strip(flags, flag)
		if !slices.Equal(a, b) {
			t.Errorf("other flags changed:\n%v\n%v", a, b)
		}
		if !slices.Equal(found, []Flag{{Name: flagName(flag), Value: value, HasValue: true}}) {
			t.Errorf("--%s is %v", flag, found)
		}
		again, err := SetEnvFlag(after, variable, flag, value)
		if err != nil || !bytes.Equal(again, after) {
			t.Errorf("the same edit again: %v\n%s", err, again)
		}
		requireOtherLines(t, []byte(file), after, envLines(t, []byte(file), variable))
		removed, err := RemoveEnvFlag(after, variable, flag)
		if err != nil {
			requireRefusal(t, err)
			return
		}
		requireOtherLines(t, after, removed, envLines(t, after, variable))
		flags, err = EnvFlags(removed, variable)
		if rest, found := strip(flags, flag); err != nil || len(found) > 0 || !slices.Equal(rest, b) {
			t.Errorf("after the removal: %v %v %v", rest, found, err)
		}
	})
}

// applyUnified applies a unified diff of one file; it shares nothing with the code that wrote it.
func applyUnified(before, diff []byte) ([]byte, error) {
	source := strings.SplitAfter(string(before), "\n")
	if source[len(source)-1] == "" {
		source = source[:len(source)-1]
	}
	var out strings.Builder
	at := 0
	lines := strings.SplitAfter(string(diff), "\n")
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], "@@ -") {
			continue
		}
		head := strings.Fields(lines[i])
		start, oldLeft, err := unifiedRange(head[1][1:])
		if err != nil {
			return nil, err
		}
		_, newLeft, err := unifiedRange(head[2][1:])
		if err != nil {
			return nil, err
		}
		if oldLeft > 0 {
			start--
		}
		for ; at < start; at++ {
			out.WriteString(source[at])
		}
		for oldLeft > 0 || newLeft > 0 {
			i++
			sign, text := lines[i][0], lines[i][1:]
			if i+1 < len(lines) && strings.HasPrefix(lines[i+1], "\\") {
				text = strings.TrimSuffix(text, "\n")
			}
			switch sign {
			case '\\':
				continue
			case ' ', '-':
				if at >= len(source) || source[at] != text {
					return nil, fmt.Errorf("line %d is not %q", at+1, text)
				}
				at++
				oldLeft--
			}
			if sign != '-' {
				out.WriteString(text)
				newLeft--
			}
		}
	}
	for ; at < len(source); at++ {
		out.WriteString(source[at])
	}
	return []byte(out.String()), nil
}

func unifiedRange(text string) (start, count int, err error) {
	first, second, found := strings.Cut(text, ",")
	start, err = strconv.Atoi(first)
	if err != nil || !found {
		return start, 1, err
	}
	count, err = strconv.Atoi(second)
	return start, count, err
}

func FuzzDiff(f *testing.F) {
	for _, pair := range diffPairs {
		f.Add(pair[0], pair[1], 3)
		f.Add(pair[1], pair[0], 0)
	}
	f.Fuzz(func(t *testing.T, before, after string, context int) {
		if tooLong(before, after) {
			t.Skip()
		}
		d, err := Diff([]byte(before), []byte(after), DiffOptions{Context: context % 8, OldName: "a b", NewName: "a b"})
		if err != nil {
			requireRefusal(t, err)
			return
		}
		got, err := applyUnified([]byte(before), d.Unified())
		if err != nil || string(got) != after {
			t.Fatalf("applied: %v\n%q\nwant\n%q\n%s", err, got, after, d.Unified())
		}
		added, removed := 0, 0
		for _, line := range changedLines([]byte(before), []byte(after)) {
			if line[0] == '+' {
				added++
			} else {
				removed++
			}
		}
		// A final newline that comes or goes is one line of a diff, but not of changedLines.
		if d.Added > added+1 || d.Removed > removed+1 {
			t.Errorf("not minimal: +%d -%d, possible is +%d -%d", d.Added, d.Removed, added, removed)
		}
		for _, h := range d.Hunks {
			for _, line := range h.Lines {
				end := 0
				for _, span := range line.Spans {
					if span.Start < end || span.End <= span.Start || span.End > len(line.Text) {
						t.Errorf("span %v of %q", span, line.Text)
					}
					end = span.End
				}
			}
		}
	})
}

func FuzzMerge3(f *testing.F) {
	for _, row := range mergeRows {
		f.Add(row.base, row.ours, row.theirs)
	}
	f.Fuzz(func(t *testing.T, base, ours, theirs string) {
		if tooLong(base, ours, theirs) {
			t.Skip()
		}
		check := func(name, a, b, c, want string) {
			got, conflicts, err := Merge3([]byte(a), []byte(b), []byte(c))
			if err != nil || len(conflicts) > 0 || string(got) != want {
				t.Errorf("%s: %v, %d conflicts\n%q\nwant\n%q", name, err, len(conflicts), got, want)
			}
		}
		check("only we changed", base, ours, base, ours)
		check("only they changed", base, base, theirs, theirs)
		check("both changed the same", base, ours, ours, ours)
		merged, conflicts, err := Merge3([]byte(base), []byte(ours), []byte(theirs))
		if err != nil {
			t.Fatal(err)
		}
		swapped, others, err := Merge3([]byte(base), []byte(theirs), []byte(ours))
		if err != nil || len(conflicts) != len(others) {
			t.Fatalf("the other way round: %v, %d and %d conflicts", err, len(conflicts), len(others))
		}
		if len(conflicts) == 0 && !bytes.Equal(merged, swapped) {
			t.Errorf("the other way round:\n%q\n%q", merged, swapped)
		}
		known := map[string]bool{}
		for _, text := range []string{base, ours, theirs} {
			for _, line := range strings.Split(text, "\n") {
				known[line] = true
			}
		}
		for _, line := range strings.Split(string(merged), "\n") {
			if !known[line] {
				t.Errorf("the line %q comes from none of the three", line)
			}
		}
		for _, c := range conflicts {
			for _, side := range []struct {
				text, part string
				line       int
			}{{base, c.Base, c.BaseLine}, {ours, c.Ours, c.OursLine}, {theirs, c.Theirs, c.TheirsLine}} {
				lines := strings.SplitAfter(side.text, "\n")
				if side.line > len(lines)+1 || !strings.HasPrefix(strings.Join(lines[min(side.line-1, len(lines)):], ""), side.part) {
					t.Errorf("line %d of %q does not begin %q", side.line, side.text, side.part)
				}
			}
		}
	})
}
