package tui

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// TestTheProposedCommandWasCutWithinIds: what is pasted is taken by a shell as the words that are meant, at every width.
func TestTheProposedCommandWasCutWithinIds(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("there is no sh")
	}
	e := newFake(t)
	area := harden.Area{ID: "many", Title: "Many"}
	var ids []string
	for i := range 40 {
		id := fmt.Sprintf("many-control-%d%s", i, strings.Repeat("-long", i%4))
		ids = append(ids, id)
		area.Controls = append(area.Controls, harden.Control{ID: id, Title: id})
	}
	e.areas = []harden.Area{area}
	root := "/mnt/a b's \\ disk/" + strings.Repeat("with a long name/", 12)
	value := "it's \\ " + strings.Repeat("a value, ", 30)
	for width := 20; width < 200; width++ {
		m := NewModel(t.Context(), e, Options{Command: "sudo kubectl-harden --root " + shell(root)})
		for _, id := range ids {
			m.choices[id] = harden.Choice{Control: id}
		}
		m.choices[ids[3]] = harden.Choice{Control: ids[3], Remedy: "r", Options: harden.Values{"o": value}, Accept: true}
		d := newDoc(m.theme, width)
		d.command(2, m.command(d.w-commandRoom))
		text := ansi.Strip(strings.Join(d.lines, "\n"))
		if width >= MinWidth {
			for _, l := range d.lines {
				if cells(l) > width {
					t.Errorf("at %d cells a line has %d: %q", width, cells(l), l)
				}
			}
			for _, id := range ids {
				if !strings.Contains(text, id) {
					t.Errorf("at %d cells %s is cut:\n%s", width, id, text)
				}
			}
		}
		said, err := exec.Command(sh, "-c", `sudo() { printf '%s\0' "$@"; }`+"\n"+text+"\n").Output()
		if err != nil {
			t.Fatalf("at %d cells: %v\n%s", width, err, text)
		}
		got := strings.Split(strings.TrimSuffix(string(said), "\x00"), "\x00")
		var controls, rest []string
		for i := 0; i < len(got); i++ {
			if got[i] == "--control" {
				i++
				controls = append(controls, strings.Split(got[i], ",")...)
			} else {
				rest = append(rest, got[i])
			}
		}
		want := []string{"kubectl-harden", "--root", root, "apply", "--remedy", ids[3] + "=r", "--set", ids[3] + ".o=" + value, "--accept", ids[3]}
		if !slices.Equal(controls, ids) || !slices.Equal(rest, want) {
			t.Fatalf("at %d cells a shell takes\n%q\n%q\nof\n%s", width, controls, rest, text)
		}
	}
}
