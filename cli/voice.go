package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"kubectl-harden.io/kubectl-harden/tui"
)

// inert makes text of others safe for a terminal; what we print keeps its line structure.
func inert(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = tui.Inert(l, false)
	}
	return strings.Join(lines, "\n")
}

// oneLine is inert on a single line.
func oneLine(s string) string { return tui.Inert(s, false) }

// sentence is inert, and errors that were joined line by line are one line.
func sentence(s string) string { return oneLine(strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ")) }

// writeJSON prints a value for programs. It stays inert on a terminal: what is not printable is escaped.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() {
		switch {
		case r < utf8.RuneSelf && r != 0x7f, unicode.IsPrint(r):
			out.WriteRune(r)
		default:
			for _, unit := range utf16.AppendRune(nil, r) {
				fmt.Fprintf(&out, `\u%04x`, unit)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// table prints rows in columns; cells are made inert.
func table(w io.Writer, rows [][]string) {
	whole := bufio.NewWriter(w) // a tabwriter writes cell by cell
	tw := tabwriter.NewWriter(whole, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t "))
	}
	tw.Flush()
	whole.Flush()
}

// cause takes the operation and path off a file error whose caller names the file itself.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func checkFormat(got string, known ...string) error {
	for _, k := range known {
		if got == k {
			return nil
		}
	}
	return usagef("-o is %s, not %q", strings.Join(known, " or "), got)
}
