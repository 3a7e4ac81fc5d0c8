package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"

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

// writeJSON prints a value for programs.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows in columns; cells are made inert.
func table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = oneLine(cell)
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(row, "\t"), "\t "))
	}
	tw.Flush()
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

// terminal says whether a stream is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isTerminal(f)
}
