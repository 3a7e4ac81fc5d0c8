package patches

import (
	"fmt"
	"slices"
	"strings"
)

// Conflict is a place that both sides changed differently.
type Conflict struct {
	Base, Ours, Theirs             string // the three texts, with line endings
	BaseLine, OursLine, TheirsLine int    // 1-based line where each begins
}

// Merge3 applies the changes from base to theirs and those from base to ours, line by line. Changes that stand next
// to each other are both made, equal ones once; others are conflicts, for which merged keeps our text.
func Merge3(base, ours, theirs []byte) (merged []byte, conflicts []Conflict, err error) {
	baseLines := splitLines(base)
	a, err := changes(baseLines, splitLines(ours))
	if err != nil {
		return nil, nil, err
	}
	b, err := changes(baseLines, splitLines(theirs))
	if err != nil {
		return nil, nil, err
	}
	var out strings.Builder
	m := merger{base: baseLines, out: &out}
	m.merge(a, b)
	return []byte(out.String()), m.conflicts, nil
}

// chunk says that the lines from..to of the base became lines.
type chunk struct {
	from, to int
	lines    []string
	isOpen   bool // the last line has no line ending, so nothing can follow
}

func (c chunk) equal(other chunk) bool {
	return c.from == other.from && c.to == other.to && slices.Equal(c.lines, other.lines)
}

// overlaps is false for changes that only touch, but true for two insertions at the same place.
func (c chunk) overlaps(other chunk) bool {
	if c.isOpen && other.from >= c.to || other.isOpen && c.from >= other.to {
		return true
	}
	if c.from == c.to && other.from == other.to {
		return c.from == other.from
	}
	return c.from < other.to && other.from < c.to
}

func changes(base, side []string) ([]chunk, error) {
	ops, ok := diffLines(base, side)
	if !ok {
		return nil, fmt.Errorf("merging three versions: the texts are too large")
	}
	lines, err := numbered(ops, base, side)
	if err != nil {
		return nil, fmt.Errorf("merging three versions: %w", err)
	}
	var all []chunk
	at, open := 0, false
	for _, line := range lines {
		if line.Op == Equal {
			at, open = at+1, false
			continue
		}
		if !open {
			all = append(all, chunk{from: at, to: at})
			open = true
		}
		c := &all[len(all)-1]
		if line.Op == Remove {
			at++
			c.to = at
		} else {
			c.lines = append(c.lines, line.Text+line.EOL)
			c.isOpen = line.EOL == ""
		}
	}
	return all, nil
}

type merger struct {
	base      []string
	out       *strings.Builder
	at        int // lines of the base that are written
	conflicts []Conflict
}

func (m *merger) merge(a, b []chunk) {
	shiftA, shiftB := 0, 0
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && before(a[0], b[0]) && !a[0].overlaps(b[0]):
			shiftA += m.take(a[0])
			a = a[1:]
		case len(a) == 0 || !a[0].overlaps(b[0]):
			shiftB += m.take(b[0])
			b = b[1:]
		case a[0].equal(b[0]):
			shift := m.take(a[0])
			shiftA, shiftB = shiftA+shift, shiftB+shift
			a, b = a[1:], b[1:]
		default:
			region := chunk{from: min(a[0].from, b[0].from), to: max(a[0].to, b[0].to)}
			nA, nB := 0, 0
			for taken := -1; taken < nA+nB; {
				taken = nA + nB
				nA += region.swallow(a[nA:], nA == 0)
				nB += region.swallow(b[nB:], nB == 0)
			}
			from, to := region.from, region.to
			m.flush(from)
			textA, textB := m.side(a[:nA], from, to), m.side(b[:nB], from, to)
			m.conflicts = append(m.conflicts, Conflict{
				Base: strings.Join(m.base[from:to], ""), Ours: textA, Theirs: textB,
				BaseLine: from + 1, OursLine: from + shiftA + 1, TheirsLine: from + shiftB + 1,
			})
			m.out.WriteString(textA)
			m.at = to
			for _, c := range a[:nA] {
				shiftA += len(c.lines) - (c.to - c.from)
			}
			for _, c := range b[:nB] {
				shiftB += len(c.lines) - (c.to - c.from)
			}
			a, b = a[nA:], b[nB:]
		}
	}
	m.flush(len(m.base))
}

// swallow grows a region by the changes that overlap it, and by the first in any case if it is forced.
func (c *chunk) swallow(next []chunk, forced bool) int {
	n := 0
	for n < len(next) && (forced && n == 0 || next[n].overlaps(*c)) {
		c.to = max(c.to, next[n].to)
		c.isOpen = c.isOpen || next[n].isOpen
		n++
	}
	return n
}

// before orders changes that do not overlap: an insertion stands before a change of the line that it precedes.
func before(a, b chunk) bool {
	if a.from != b.from {
		return a.from < b.from
	}
	return a.to < b.to
}

func (m *merger) flush(to int) {
	for ; m.at < to; m.at++ {
		m.out.WriteString(m.base[m.at])
	}
}

// take applies a change and returns by how many lines it makes the text longer.
func (m *merger) take(c chunk) int {
	m.flush(c.from)
	for _, line := range c.lines {
		m.out.WriteString(line)
	}
	m.at = c.to
	return len(c.lines) - (c.to - c.from)
}

// side is the text of the lines from..to of the base after one side's changes.
func (m *merger) side(chunks []chunk, from, to int) string {
	var b strings.Builder
	for _, c := range chunks {
		b.WriteString(strings.Join(m.base[from:c.from], ""))
		b.WriteString(strings.Join(c.lines, ""))
		from = c.to
	}
	if from < to {
		b.WriteString(strings.Join(m.base[from:to], ""))
	}
	return b.String()
}
