package patches

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Op says what happens to a line.
type Op byte

const (
	Equal  Op = ' '
	Add    Op = '+'
	Remove Op = '-'
)

// Beyond these sizes a diff is not computed, only counted.
const (
	maxDiffLines   = 200_000 // of one side
	maxDiffChanged = 40_000  // of both sides, when equal ends and lines of one side only are left out
)

// FileDiff is how one file changes.
type FileDiff struct {
	OldName, NewName string // relative to the root, without a/ and b/
	Created, Deleted bool
	OldMode, NewMode uint32 // permission bits; 0 when unknown
	Hunks            []Hunk
	TooLarge         bool // Hunks were left out
	Added, Removed   int  // lines
}

// Hunk is a run of changed lines and the lines around them. The numbers are those of a unified diff.
type Hunk struct {
	OldStart, OldLines, NewStart, NewLines int
	Section                                string // path in the YAML document of the first change, if there is one
	Lines                                  []Line
}

// Line is one line of a hunk.
type Line struct {
	Op           Op
	OldNo, NewNo int    // 1-based; 0 on the side where the line is not
	Text         string // without its line ending
	EOL          string // "\n", "\r\n", or "" at the end of a file without a final newline
	Spans        []Span // what changed within the line; empty when all of it did
}

// Span is a range of bytes of a line's text.
type Span struct{ Start, End int }

// DiffOptions names the two sides.
type DiffOptions struct {
	Context          int // lines around a change: 0 is 3, a negative number the whole file
	OldName, NewName string
	Created, Deleted bool
	OldMode, NewMode uint32
}

// Diff compares two versions of a text file line by line. Invalid UTF-8 is an error: it cannot be shown truthfully.
func Diff(before, after []byte, opts DiffOptions) (FileDiff, error) {
	d := FileDiff{
		OldName: opts.OldName, NewName: opts.NewName,
		Created: opts.Created, Deleted: opts.Deleted,
		OldMode: opts.OldMode, NewMode: opts.NewMode,
	}
	for _, side := range [][]byte{before, after} {
		if at := bytes.Index(bytes.ToValidUTF8(side, []byte{0}), []byte{0}); at >= 0 {
			return d, refuse(1+bytes.Count(side[:min(at, len(side))], []byte("\n")), "look at the file with a hex viewer",
				"there is a byte that is not text, so no diff can be shown")
		}
	}
	if bytes.Equal(before, after) {
		return d, nil
	}
	old, new := splitLines(before), splitLines(after)
	ops, ok := diffLines(old, new)
	if !ok {
		d.TooLarge = true
		d.Added, d.Removed = countLines(old, new)
		return d, nil
	}
	lines, err := numbered(ops, old, new)
	if err != nil {
		return d, fmt.Errorf("comparing %s and %s: %w", opts.OldName, opts.NewName, err)
	}
	for _, line := range lines {
		switch line.Op {
		case Add:
			d.Added++
		case Remove:
			d.Removed++
		}
	}
	context := opts.Context
	switch {
	case context == 0:
		context = 3
	case context < 0:
		context = len(lines)
	}
	d.Hunks = hunks(lines, context)
	markWords(d.Hunks)
	markSections(d.Hunks, before, after)
	return d, nil
}

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

// lineRun is a number of lines that share an Op.
type lineRun struct {
	op    Op
	count int
}

// diffLines finds the fewest changes. Each distinct line becomes one rune, as go-diff works on runes; lines that
// only one side has cannot be equal to any, so they are left out of the search and put back behind it.
func diffLines(old, new []string) ([]lineRun, bool) {
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
	runs := []lineRun{{Equal, head}}
	i, j := 0, 0
	onlyOld := func() {
		for i < len(oldMid) && !inNew[oldMid[i]] {
			runs, i = append(runs, lineRun{Remove, 1}), i+1
		}
	}
	onlyNew := func() {
		for j < len(newMid) && !inOld[newMid[j]] {
			runs, j = append(runs, lineRun{Add, 1}), j+1
		}
	}
	for _, diff := range dmp.DiffMainRunes(oldRunes, newRunes, false) {
		for range []rune(diff.Text) {
			switch diff.Type {
			case diffmatchpatch.DiffEqual:
				onlyOld()
				onlyNew()
				runs = append(runs, lineRun{Equal, 1})
				i, j = i+1, j+1
			case diffmatchpatch.DiffDelete:
				onlyOld()
				runs, i = append(runs, lineRun{Remove, 1}), i+1
			case diffmatchpatch.DiffInsert:
				onlyNew()
				runs, j = append(runs, lineRun{Add, 1}), j+1
			}
		}
	}
	onlyOld()
	onlyNew()
	return append(runs, lineRun{Equal, tail}), true
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

// numbered lays the runs over both texts, and fails when they do not give back exactly those.
func numbered(runs []lineRun, old, new []string) ([]Line, error) {
	var lines []Line
	i, j := 0, 0
	for at := 0; at < len(runs); {
		if runs[at].op == Equal {
			for range runs[at].count {
				if i >= len(old) || j >= len(new) || old[i] != new[j] {
					return nil, fmt.Errorf("the diff does not give back both texts")
				}
				lines = append(lines, newLine(Equal, old[i], i+1, j+1))
				i, j = i+1, j+1
			}
			at++
			continue
		}
		removed, added := 0, 0
		for ; at < len(runs) && (runs[at].op != Equal || runs[at].count == 0); at++ {
			switch runs[at].op {
			case Remove:
				removed += runs[at].count
			case Add:
				added += runs[at].count
			}
		}
		if i+removed > len(old) || j+added > len(new) {
			return nil, fmt.Errorf("the diff does not give back both texts")
		}
		for ; removed > 0; removed-- {
			lines = append(lines, newLine(Remove, old[i], i+1, 0))
			i++
		}
		for ; added > 0; added-- {
			lines = append(lines, newLine(Add, new[j], 0, j+1))
			j++
		}
	}
	if i != len(old) || j != len(new) {
		return nil, fmt.Errorf("the diff does not give back both texts")
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
