package tui

import (
	"maps"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	"kubectl-harden.io/kubectl-harden/harden"
)

// command is the command line that does the same as the choices, in words that are kept on one line; those that are lists
// take no more than w cells.
func (m *Model) command(w int) []string {
	choices := m.chosen()
	var ids []string
	for _, c := range choices {
		ids = append(ids, c.Control)
	}
	out := append(shellWords(m.opts.Command), "apply")
	out = append(out, listed("--control", ids, w)...)
	for _, c := range choices {
		if c.Remedy != "" && c.Remedy != m.defaultRemedy(c.Control) {
			out = append(out, "--remedy "+shell(c.Control+"="+c.Remedy))
		}
		for _, name := range slices.Sorted(maps.Keys(c.Options)) {
			out = append(out, "--set "+shell(c.Control+"."+name+"="+c.Options[name]))
		}
		if c.Accept {
			out = append(out, "--accept "+shell(c.Control))
		}
	}
	return out
}

// listed is a flag with its values, given as often as it takes for none to be wider than w.
func listed(flag string, values []string, w int) []string {
	var out []string
	for _, v := range values {
		v = shell(v)
		if last := len(out) - 1; last >= 0 && cells(out[last])+1+cells(v) <= w {
			out[last] += "," + v
		} else {
			out = append(out, flag+" "+v)
		}
	}
	return out
}

func (m *Model) defaultRemedy(control string) string {
	_, c, ok := harden.FindControl(m.areas, control)
	if !ok || m.facts == nil {
		return ""
	}
	r, _ := harden.DefaultRemedy(m.facts, c)
	return r.ID
}

// shell quotes a word for a POSIX shell where it has to be.
func shell(s string) string {
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%", r) {
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}

// shellWords are the words of a command line, quoted as they are in it.
func shellWords(s string) []string {
	var out []string
	from := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && (s[i] != ' ' || quoted(s[:i])) {
			continue
		}
		if i > from {
			out = append(out, s[from:i])
		}
		from = i + 1
	}
	return out
}

// quoted says that what follows s stands in single quotes, the only ones that shell makes.
func quoted(s string) bool {
	in := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\'':
			in = !in
		case s[i] == '\\' && !in:
			i++
		}
	}
	return in
}

// commandRoom is what a line of a command has less than the text's width: its indent and its continuation.
const commandRoom = 4 + 2

// command writes a command line so that a shell takes what is pasted as the same words: a line is continued after a word,
// and within one only where the word is longer than a line. What is left of such a word begins at the left edge.
func (d *doc) command(indent int, words []string) {
	line := ""
	for i, word := range words {
		word = d.t.inert(word)
		if line != "" && cells(line)+1+cells(word)+2 > d.w {
			d.raw(line + ` \`)
			line = ""
		}
		switch {
		case line != "":
			line += " "
		case i == 0:
			line = spaces(indent)
		default:
			line = spaces(indent + 2)
		}
		for cells(line)+cells(word)+2 > d.w {
			head, rest := brokenWord(word, d.w-cells(line))
			d.raw(line + head)
			line, word = "", rest
		}
		line += word
	}
	d.raw(line)
}

// brokenWord is the part of a word that fits into w cells with its continuation, and what follows on the next line.
func brokenWord(word string, w int) (head, rest string) {
	head = ansi.Truncate(word, max(w-2, 4), "")
	if strings.HasSuffix(head, `\`) && !quoted(head[:len(head)-1]) {
		head = head[:len(head)-1]
	}
	rest = word[len(head):]
	if quoted(head) {
		return head + `'\`, "'" + rest
	}
	return head + `\`, rest
}
