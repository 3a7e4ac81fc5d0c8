package patches

import (
	"bytes"
	"fmt"
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
	if bytes.Equal(before, after) {
		return d, nil
	}
	for _, side := range [][]byte{before, after} {
		if at := bytes.Index(bytes.ToValidUTF8(side, []byte{0}), []byte{0}); at >= 0 {
			return d, refuse(1+bytes.Count(side[:min(at, len(side))], []byte("\n")), "look at the file with a hex viewer",
				"there is a byte that is not text, so no diff can be shown")
		}
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
