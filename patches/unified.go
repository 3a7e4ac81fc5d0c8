package patches

import (
	"bytes"
	"fmt"
	"strings"
)

// Unified renders the diff as git does, so that `git apply` and `patch -p1` accept it. It is empty when nothing
// changes, neither text nor mode, and when the diff was too large to be computed.
func (d FileDiff) Unified() []byte {
	oldName, newName := strings.TrimLeft(d.OldName, "/"), strings.TrimLeft(d.NewName, "/")
	if d.Created || oldName == "" {
		oldName = newName
	}
	if d.Deleted || newName == "" {
		newName = oldName
	}
	modeChanged := !d.Created && !d.Deleted && d.OldMode != 0 && d.NewMode != 0 && d.OldMode != d.NewMode
	if d.TooLarge || len(d.Hunks) == 0 && !modeChanged && !d.Created && !d.Deleted {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "diff --git %s %s\n", quoteName("a/"+oldName), quoteName("b/"+newName))
	switch {
	case d.Created:
		fmt.Fprintf(&b, "new file mode %06o\n", fileMode(d.NewMode))
	case d.Deleted:
		fmt.Fprintf(&b, "deleted file mode %06o\n", fileMode(d.OldMode))
	case modeChanged:
		fmt.Fprintf(&b, "old mode %06o\nnew mode %06o\n", fileMode(d.OldMode), fileMode(d.NewMode))
	}
	if len(d.Hunks) == 0 {
		return b.Bytes()
	}
	left, right := headerName("a/"+oldName), headerName("b/"+newName)
	if d.Created {
		left = "/dev/null"
	}
	if d.Deleted {
		right = "/dev/null"
	}
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", left, right)
	for _, h := range d.Hunks {
		h.write(&b)
	}
	return b.Bytes()
}

func (h Hunk) write(b *bytes.Buffer) {
	fmt.Fprintf(b, "@@ -%s +%s @@", hunkRange(h.OldStart, h.OldLines), hunkRange(h.NewStart, h.NewLines))
	if h.Section != "" {
		b.WriteString(" " + h.Section)
	}
	b.WriteByte('\n')
	for _, line := range h.Lines {
		b.WriteByte(byte(line.Op))
		b.WriteString(line.Text)
		b.WriteString(line.EOL)
		if line.EOL == "" {
			b.WriteString("\n\\ No newline at end of file\n")
		}
	}
}

func hunkRange(start, lines int) string {
	if lines == 1 {
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, lines)
}

// fileMode is the mode of a regular file as git writes it.
func fileMode(permissions uint32) uint32 {
	if permissions == 0 {
		permissions = 0o644
	}
	return 0o100000 | permissions&0o7777
}

// quoteName quotes a name the way git does, when it has to be.
func quoteName(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == '"' || r == '\\' || r >= 0x7f }) {
		return name
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(name) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// headerName ends a name that has spaces by a tab, where patch and git stop reading.
func headerName(name string) string {
	quoted := quoteName(name)
	if quoted == name && strings.Contains(name, " ") {
		return name + "\t"
	}
	return quoted
}
