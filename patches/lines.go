package patches

import (
	"errors"
	"slices"
	"strings"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// splitLines cuts behind every line feed; only the last line may lack one.
func splitLines(text []byte) []string {
	if len(text) == 0 {
		return nil
	}
	lines := strings.SplitAfter(string(text), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// diffLines finds the fewest changes, as one Op for each line. Each distinct line becomes one rune, as go-diff works
// on runes; lines that only one side has cannot be equal to any, so they are left out of the search and put back
// behind it.
func diffLines(old, new []string) (ops []Op, ok bool) {
	if len(old) > maxDiffLines || len(new) > maxDiffLines {
		return nil, false
	}
	head := 0
	for head < len(old) && head < len(new) && old[head] == new[head] {
		head++
	}
	tail := 0
	for tail < len(old)-head && tail < len(new)-head && old[len(old)-1-tail] == new[len(new)-1-tail] {
		tail++
	}
	oldMid, newMid := old[head:len(old)-tail], new[head:len(new)-tail]
	inOld, inNew := lineSet(oldMid), lineSet(newMid)
	ids := map[string]rune{}
	oldRunes, newRunes := commonRunes(oldMid, inNew, ids), commonRunes(newMid, inOld, ids)
	if len(oldRunes)+len(newRunes) > maxDiffChanged {
		return nil, false
	}

	dmp := diffmatchpatch.New()
	dmp.DiffTimeout = 0
	ops = slices.Repeat([]Op{Equal}, head)
	i, j := 0, 0
	only := func() {
		for ; i < len(oldMid) && !inNew[oldMid[i]]; i++ {
			ops = append(ops, Remove)
		}
		for ; j < len(newMid) && !inOld[newMid[j]]; j++ {
			ops = append(ops, Add)
		}
	}
	for _, diff := range dmp.DiffMainRunes(oldRunes, newRunes, false) {
		for range []rune(diff.Text) {
			only()
			switch diff.Type {
			case diffmatchpatch.DiffEqual:
				ops = append(ops, Equal)
				i, j = i+1, j+1
			case diffmatchpatch.DiffDelete:
				ops = append(ops, Remove)
				i++
			case diffmatchpatch.DiffInsert:
				ops = append(ops, Add)
				j++
			}
		}
	}
	only()
	ops = append(ops, slices.Repeat([]Op{Equal}, tail)...)
	removedFirst(ops)
	slide(ops, old, new)
	// A change may have come to lie behind another one.
	removedFirst(ops)
	return ops, true
}

func lineSet(lines []string) map[string]bool {
	set := make(map[string]bool, len(lines))
	for _, line := range lines {
		set[line] = true
	}
	return set
}

func commonRunes(lines []string, other map[string]bool, ids map[string]rune) []rune {
	var runes []rune
	for _, line := range lines {
		if !other[line] {
			continue
		}
		id, found := ids[line]
		if !found {
			id = rune(len(ids) + 1)
			// Surrogates are no valid runes: go-diff would turn them all into the same one.
			if id >= 0xD800 {
				id += 0x800
			}
			ids[line] = id
		}
		runes = append(runes, id)
	}
	return runes
}

// removedFirst puts the removed lines of each change before the added ones.
func removedFirst(ops []Op) {
	for at := 0; at < len(ops); {
		end := at
		removed := 0
		for ; end < len(ops) && ops[end] != Equal; end++ {
			if ops[end] == Remove {
				removed++
			}
		}
		for i := at; i < end; i++ {
			ops[i] = Add
			if i < at+removed {
				ops[i] = Remove
			}
		}
		at = end + 1
	}
}

// slide moves changes that only add or only remove over equal lines, to where a person would see them: beginning at
// the line that is indented least, so that a new list item begins at its dash.
func slide(ops []Op, old, new []string) {
	i, j := 0, 0
	for at := 0; at < len(ops); {
		if ops[at] == Equal {
			at, i, j = at+1, i+1, j+1
			continue
		}
		end := at
		for end < len(ops) && ops[end] == ops[at] {
			end++
		}
		lines, pos := old, i
		if ops[at] == Add {
			lines, pos = new, j
		}
		size := end - at
		isAlone := (at == 0 || ops[at-1] == Equal) && (end == len(ops) || ops[end] == Equal)
		if by := bestSlide(ops, lines, at, end, pos); isAlone && by != 0 {
			op := ops[at]
			for k := min(at, at+by); k < max(end, end+by); k++ {
				ops[k] = Equal
			}
			for k := at + by; k < end+by; k++ {
				ops[k] = op
			}
			i, j, at, end = i+by, j+by, at+by, end+by
		}
		if ops[at] == Add {
			j += size
		} else {
			i += size
		}
		at = end
	}
}

// bestSlide says by how many lines the change ops[at:end], which begins at lines[pos], is better moved.
func bestSlide(ops []Op, lines []string, at, end, pos int) int {
	size := end - at
	up := 0
	for at-up > 0 && ops[at-up-1] == Equal && lines[pos-up-1] == lines[pos-up-1+size] {
		up++
	}
	down := 0
	for end+down < len(ops) && ops[end+down] == Equal && lines[pos+down] == lines[pos+down+size] {
		down++
	}
	best, least := 0, startIndent(lines[pos])
	for by := -up; by <= down; by++ {
		if indent := startIndent(lines[pos+by]); indent < least {
			best, least = by, indent
		}
	}
	return best
}

// startIndent ranks a line as the first of a change; blank lines are worst.
func startIndent(line string) int {
	text := strings.TrimLeft(line, " \t")
	if strings.TrimSpace(text) == "" {
		return 1 << 20
	}
	return len(line) - len(text)
}

// numbered lays the ops over both texts, and fails when they do not give back exactly those.
func numbered(ops []Op, old, new []string) ([]Line, error) {
	broken := errors.New("the diff does not give back both texts")
	lines := make([]Line, 0, len(ops))
	i, j := 0, 0
	for _, op := range ops {
		if op != Add && i >= len(old) || op != Remove && j >= len(new) || op == Equal && old[i] != new[j] {
			return nil, broken
		}
		switch op {
		case Equal:
			lines = append(lines, newLine(op, old[i], i+1, j+1))
			i, j = i+1, j+1
		case Remove:
			lines = append(lines, newLine(op, old[i], i+1, 0))
			i++
		case Add:
			lines = append(lines, newLine(op, new[j], 0, j+1))
			j++
		}
	}
	if i != len(old) || j != len(new) {
		return nil, broken
	}
	return lines, nil
}

func newLine(op Op, text string, oldNo, newNo int) Line {
	line := Line{Op: op, OldNo: oldNo, NewNo: newNo, Text: text}
	for _, eol := range []string{"\r\n", "\n"} {
		if rest, found := strings.CutSuffix(text, eol); found {
			line.Text, line.EOL = rest, eol
			break
		}
	}
	return line
}

// countLines counts the lines that are on one side only, wherever they stand.
func countLines(old, new []string) (added, removed int) {
	balance := map[string]int{}
	for _, line := range old {
		balance[line]--
	}
	for _, line := range new {
		balance[line]++
	}
	for _, n := range balance {
		added += max(n, 0)
		removed += max(-n, 0)
	}
	return added, removed
}
