package patches

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

var diffPairs = [][2]string{
	{"", "a\n"},
	{"a\nb\nc\n", "a\nB\nc\n"},
	{"a\nb", "a\nb\n"},
	{"a\r\nb\r\n", "a\r\nc\r\n"},
	{"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n", "0\na\nb\nc\nd\ne\nf\ng\nh\ni\n"},
	{"- a: 1\n  b: 2\n- a: 3\n  b: 2\n", "- a: 1\n  b: 2\n- a: 2\n  b: 2\n- a: 3\n  b: 2\n"},
	{"x\n\x1b[31m\u202e\u2028y\n", "x\n\ty\u0085 \n"},
	{"a\x00b", "a\xffb"},
	{"    - --enable-admission-plugins=NodeRestriction\n", "    - --enable-admission-plugins=NodeRestriction,ResourceQuota\n"},
}

// hunkText writes hunks in a form that is easy to compare: the head, then the lines with marks around the spans.
func hunkText(hunks []Hunk) string {
	var b strings.Builder
	for _, h := range hunks {
		fmt.Fprintf(&b, "@%d,%d %d,%d %s\n", h.OldStart, h.OldLines, h.NewStart, h.NewLines, h.Section)
		for _, line := range h.Lines {
			text := line.Text
			for i := len(line.Spans) - 1; i >= 0; i-- {
				span := line.Spans[i]
				text = text[:span.Start] + "<" + text[span.Start:span.End] + ">" + text[span.End:]
			}
			fmt.Fprintf(&b, "%c%d %d %s\n", line.Op, line.OldNo, line.NewNo, text)
		}
	}
	return b.String()
}

func TestDiffHunks(t *testing.T) {
	for _, row := range []struct {
		name, before, after string
		context             int
		want                string
	}{
		{"words of a similar line", "a: 1\nlist: x,y # c\n", "a: 1\nlist: x,zz # c\n", 1, "@1,2 1,2 list\n 1 1 a: 1\n-2 0 list: x,<y> # c\n+0 2 list: x,<zz> # c\n"},
		{"no words of an unlike line", "list: x,y\n", "other: [1]\n", 1, "@1,1 1,1 list\n-1 0 list: x,y\n+0 1 other: [1]\n"},
		{"no words of a long line", strings.Repeat("x ", 130) + "\n", strings.Repeat("x ", 130) + "y\n", 1,
			"@1,1 1,1 \n-1 0 " + strings.Repeat("x ", 130) + "\n+0 1 " + strings.Repeat("x ", 130) + "y\n"},
		{"words of the pair that is similar", "- --a=1\n- --b=2 x\n", "- --b=3 x\n", 1, "@1,2 1,1 \n-1 0 - --a=1\n-2 0 - --b=<2> x\n+0 1 - --b=<3> x\n"},
		{"two hunks", "1\n2\n3\n4\n5\n6\n7\n", "0\n2\n3\n4\n5\n6\n8\n", 2, "@1,3 1,3 \n-1 0 1\n+0 1 0\n 2 2 2\n 3 3 3\n@5,3 5,3 \n 5 5 5\n 6 6 6\n-7 0 7\n+0 7 8\n"},
		{"two changes in one hunk", "1\n2\n3\n4\n5\n6\n", "0\n2\n3\n4\n5\n0\n", 2, "@1,6 1,6 \n-1 0 1\n+0 1 0\n 2 2 2\n 3 3 3\n 4 4 4\n 5 5 5\n-6 0 6\n+0 6 0\n"},
		{"the whole file", "1\n2\n3\n4\n5\n", "1\n2\n3\n4\n6\n", -1, "@1,5 1,5 \n 1 1 1\n 2 2 2\n 3 3 3\n 4 4 4\n-5 0 5\n+0 5 6\n"},
		{"a new file", "", "1\n2\n", 3, "@0,0 1,2 \n+0 1 1\n+0 2 2\n"},
		{"an item begins at its dash", "l:\n- a: 1\n  b: 2\n- a: 3\n  b: 2\n", "l:\n- a: 1\n  b: 2\n- a: 2\n  b: 2\n- a: 3\n  b: 2\n", 1,
			"@3,2 3,4 l[1].a\n 3 3   b: 2\n+0 4 - a: 2\n+0 5   b: 2\n 4 6 - a: 3\n"},
		{"an item that begins like the next one", "l:\n- a: 1\n  b: 2\n", "l:\n- a: 1\n  b: 9\n- a: 1\n  b: 2\n", 1,
			"@1,2 1,4 l[0].a\n 1 1 l:\n+0 2 - a: 1\n+0 3   b: 9\n 2 4 - a: 1\n"},
		{"a deleted item begins at its dash", "l:\n- b: 2\n  a: 1\n- b: 3\n  a: 1\nz: 1\n", "l:\n- b: 2\n  a: 1\nz: 1\n", 1,
			"@3,4 3,2 l[1].b\n 3 3   a: 1\n-4 0 - b: 3\n-5 0   a: 1\n 6 4 z: 1\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, err := Diff([]byte(row.before), []byte(row.after), DiffOptions{Context: row.context})
			if err != nil {
				t.Fatal(err)
			}
			if got := hunkText(d.Hunks); got != row.want {
				t.Errorf("got\n%s\nwant\n%s", got, row.want)
			}
		})
	}
}

func TestDiffOfTheSame(t *testing.T) {
	for _, text := range []string{"", "a", "a\n"} {
		d, err := Diff([]byte(text), []byte(text), DiffOptions{})
		if err != nil || len(d.Hunks) > 0 || d.Added+d.Removed > 0 {
			t.Errorf("%q: %v, %v", text, d, err)
		}
	}
}

func TestDiffRefusesWhatItCannotShow(t *testing.T) {
	for _, pair := range [][2]string{{"a\xff\n", "a\xfe\n"}, {"a\n", "a\n\x00"}} {
		_, err := Diff([]byte(pair[0]), []byte(pair[1]), DiffOptions{})
		if !errors.As(err, new(*Refusal)) {
			t.Errorf("%q: %v", pair, err)
		}
	}
}

// numberedLines makes n lines, of which every step-th is changed.
func numberedLines(n, step int) (before, after []byte) {
	var b, a strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  key-%d: %d\n", i, i%97)
		if i%step == 0 {
			fmt.Fprintf(&a, "  key-%d: %d\n", i, i%97+1)
		} else {
			fmt.Fprintf(&a, "  key-%d: %d\n", i, i%97)
		}
	}
	return []byte(b.String()), []byte(a.String())
}

func TestDiffOfManyLines(t *testing.T) {
	before, after := numberedLines(20_000, 2)
	d, err := Diff(before, after, DiffOptions{})
	if err != nil || d.TooLarge || d.Added != 10_000 || d.Removed != 10_000 {
		t.Errorf("%v: +%d -%d, too large %v", err, d.Added, d.Removed, d.TooLarge)
	}
	// The same lines in another order are the one case that costs time.
	shuffled := strings.SplitAfter(string(before), "\n")
	for i := range shuffled {
		j := i * 7919 % len(shuffled)
		shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
	}
	d, err = Diff(before, []byte(strings.Join(append(shuffled, shuffled[:5000]...), "")), DiffOptions{})
	if err != nil || !d.TooLarge || d.Added != 5000 || d.Removed != 0 || len(d.Hunks) > 0 || d.Unified() != nil {
		t.Errorf("%v: too large %v, +%d -%d", err, d.TooLarge, d.Added, d.Removed)
	}
}
