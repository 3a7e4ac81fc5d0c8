package cli

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
)

// unquoted are the words of a command line, as a shell takes them.
func unquoted(line string) []string {
	var words []string
	word, in, quoted := "", false, false
	for _, r := range line {
		switch {
		case r == '\'':
			quoted, in = !quoted, true
		case r == ' ' && !quoted:
			if in {
				words = append(words, word)
			}
			word, in = "", false
		default:
			word, in = word+string(r), true
		}
	}
	if in {
		words = append(words, word)
	}
	return words
}

// withoutLead takes sudo, env and assignments away.
func withoutLead(words []string) []string {
	for len(words) > 0 && (words[0] == "sudo" || words[0] == "env" || strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "-")) {
		words = words[1:]
	}
	return words
}

// ours are the arguments of a command of this program.
func ours(words []string) ([]string, bool) {
	switch {
	case len(words) > 0 && filepath.Base(words[0]) == program:
		return words[1:], true
	case len(words) > 1 && words[0] == "kubectl" && words[1] == "harden":
		return words[2:], true
	}
	return nil, false
}

// placeholders stand in the source for what is known only when the program runs.
var placeholders = []string{"TX", "CONTROL", "FILE"}

// taken asks the real command tree whether it takes a command, and whether it is of use: plan and apply want a selection,
// names have to be known.
func taken(args []string) error {
	a := &app{areas: catalog.Areas()}
	cmd, rest, err := a.root().Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := cmd.Flags().GetBool("help"); help {
		return nil
	}
	given := cmd.Flags().Args()
	if err := cmd.ValidateArgs(given); err != nil {
		return err
	}
	if cmd.Args == nil || cmd.Hidden {
		return fmt.Errorf("%s is no command for people", cmd.Name())
	}
	for _, check := range []error{a.where.check(), a.look.check()} {
		if check != nil {
			return check
		}
	}
	if name := cmd.Name(); name == "plan" || name == "apply" && len(given) == 0 {
		if a.sel.file = ""; !a.sel.given() && !cmd.Flags().Changed("file") {
			return fmt.Errorf("%s without a selection", name)
		}
	}
	known := slices.Clone(placeholders)
	for _, area := range a.areas {
		for _, c := range area.Controls {
			known = append(known, c.ID)
		}
	}
	for _, c := range harden.Components {
		known = append(known, string(c.ID))
	}
	names := slices.Concat(a.sel.controls, a.sel.accept)
	for _, r := range a.sel.remedies {
		names = append(names, strings.Split(r, "=")[0])
	}
	for _, s := range a.sel.set {
		names = append(names, strings.Split(s, ".")[0])
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("%s is no control and no component", n)
		}
	}
	return nil
}

// flat is the text of strings that are joined; what is no literal is the placeholder of a transaction.
func flat(e ast.Expr) []string {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		if x.Op == token.ADD {
			return append(flat(x.X), flat(x.Y)...)
		}
	case *ast.BasicLit:
		if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING {
			return []string{s}
		}
	case *ast.ParenExpr:
		return flat(x.X)
	case *ast.Ident:
		switch x.Name {
		case "program":
			return []string{program}
		case "rest": // what a hint had behind its command
			return nil
		}
	case *ast.SelectorExpr:
		if x.Sel.Name == "Command" || x.Sel.Name == "Walk" {
			return []string{program}
		}
	case *ast.CallExpr:
		if s, ok := x.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "called" {
			return []string{program}
		}
		if f, ok := x.Fun.(*ast.Ident); ok && f.Name == "pasted" {
			return []string{"--all"} // a selection
		}
		// Options.shell puts the program before its words.
		if s, ok := x.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "shell" && len(x.Args) == 1 {
			return append([]string{program + " "}, flat(x.Args[0])...)
		}
	}
	return []string{"TX"}
}

// commandIn finds commands of this program in text, where a verb of a format may stand for its name.
var commandIn = regexp.MustCompile(`(?:kubectl-harden|kubectl harden|%s)((?: -\S+)*) (assess|plan|apply|confirm|rollback|recover|history|status|waive|demo)\b([^\n,;:"]*)`)

// proseAfter are words that go on with the sentence behind a command.
var proseAfter = regexp.MustCompile(` (is run|on a node|or |proves )|\. |\.$`)

// commandsIn are the commands that a text proposes.
func commandsIn(text string) []string {
	var out []string
	for _, m := range commandIn.FindAllStringSubmatch(text, -1) {
		rest := m[3]
		if i := proseAfter.FindStringIndex(rest); i != nil {
			rest = rest[:i[0]]
		}
		rest = regexp.MustCompile(`%\[?\d*\]?[svq]`).ReplaceAllString(rest, "TX")
		out = append(out, program+m[1]+" "+m[2]+rest)
	}
	return out
}

// leftOut are texts of cobra, which have a test of their own, and what hints are only compared with.
func leftOut(n ast.Node) bool {
	switch x := n.(type) {
	case *ast.KeyValueExpr:
		key, ok := x.Key.(*ast.Ident)
		return ok && (key.Name == "Example" || key.Name == "Long")
	case *ast.CallExpr:
		f, ok := x.Fun.(*ast.SelectorExpr)
		return ok && (f.Sel.Name == "HasPrefix" || f.Sel.Name == "CutPrefix")
	}
	return false
}

// inSource are the commands that the source of the program proposes, by where they stand.
func inSource(t *testing.T) map[string]string {
	out := map[string]string{}
	for _, dir := range []string{"cli", "tui", "harden", "host", "cluster", "backups", "patches"} {
		err := filepath.WalkDir(filepath.Join("..", dir), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, p, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if leftOut(n) {
					return false
				}
				e, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				for _, c := range commandsIn(strings.Join(flat(e), "")) {
					out[c] = set.Position(e.Pos()).String()
				}
				_, joined := e.(*ast.BinaryExpr)
				return !joined // its parts alone are no commands
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestEveryHintInTheSourceIsTaken: each command that the program can propose is one that it takes. What the engine proposes is
// completed by what was selected, for a plan and for an undo.
func TestEveryHintInTheSourceIsTaken(t *testing.T) {
	found := inSource(t)
	if len(found) < 15 {
		t.Errorf("only %d commands were found", len(found))
	}
	choice := harden.Choice{Control: "apiserver-profiling", Options: harden.Values{"x": "y z"}, Accept: true}
	plans := []harden.Plan{
		{Choices: []harden.Choice{choice}, Accepted: []harden.ComponentID{harden.APIServer}},
		{Undoes: "TX"}, {Undoes: "TX", UndoesControls: []string{"apiserver-profiling"}},
	}
	e := &engine{areas: catalog.Areas()}
	for command, at := range found {
		all := []string{command}
		if strings.HasPrefix(at, filepath.Join("..", "harden")) {
			all = nil
			for _, p := range plans {
				all = append(all, e.withSelection(p, harden.Result{Hints: []string{command}}).Hints...)
			}
		}
		for _, c := range all {
			for _, plug := range []string{"", "/usr/bin/kubectl"} {
				t.Setenv("KUBECTL_PATH", plug)
				for _, w := range []whereFlags{{root: "/", stateDir: defaultStateDir}, {root: "/two words", stateDir: "/srv/x", offline: true, noCluster: true}} {
					line := w.pasteable(c)
					args, ok := ours(withoutLead(unquoted(line)))
					if !ok {
						t.Fatalf("%s: %s is no command of this program", at, line)
					}
					if err := taken(args); err != nil {
						t.Errorf("%s: %s: %v", at, line, err)
					}
				}
			}
		}
	}
}

// TestTheExamplesAreTaken: what --help shows as an example is taken.
func TestTheExamplesAreTaken(t *testing.T) {
	a := &app{areas: catalog.Areas()}
	root := a.root()
	for _, cmd := range append(root.Commands(), root) {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
			line, _, _ = strings.Cut(line, "   ")
			line, _, _ = strings.Cut(line, " > ")
			if args, ok := ours(withoutLead(unquoted(strings.ReplaceAll(line, `"`, "'")))); !ok {
				t.Errorf("%s: %q is no command of this program", cmd.Name(), line)
			} else if err := taken(args); err != nil {
				t.Errorf("%s: %s: %v", cmd.Name(), line, err)
			}
		}
	}
}

// proposed are lines that propose a command, by what stands before it.
var proposed = regexp.MustCompile(`^(?:hint|undo|confirm|way out by hand|  by hand|  way out by hand|see the diff of the remedies|.*; settle it|.*; try again|.*; prove and settle it|.*; remove (?:it|them)): (.*)$|^.* waits: (.*)$`)

// forPeople are hints that are words.
var forPeople = []string{"did you mean ", "known are ", "options of remedy "}

// wrongHint says what is wrong with the commands that an output proposes; "" for nothing.
func wrongHint(output string) string {
	for line := range strings.Lines(output) {
		m := proposed.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		if strings.HasSuffix(m[1], " by hand") {
			continue // what the program refuses to do is said in words
		}
		for _, command := range strings.Split(m[1]+m[2], ", or ") {
			if slices.ContainsFunc(forPeople, func(p string) bool { return strings.HasPrefix(command, p) }) {
				continue
			}
			words := withoutLead(unquoted(command))
			if len(words) == 0 {
				return command + ": it is no command"
			}
			if args, ok := ours(words); ok {
				if err := taken(args); err != nil {
					return command + ": " + err.Error()
				}
				continue
			}
			if _, err := exec.LookPath(words[0]); err != nil {
				return command + ": " + err.Error()
			}
			if words[0] == "sh" {
				if _, err := os.Stat(words[1]); err != nil && !strings.Contains(words[1], "/m/") {
					return command + ": " + err.Error()
				}
			}
		}
	}
	return ""
}

// TestWrongHintsAreSeen: what judges the scripts' output can tell a good hint from a bad one.
func TestWrongHintsAreSeen(t *testing.T) {
	for hint, good := range map[string]bool{
		"hint: kubectl-harden plan --all":                                             true,
		"hint: sudo kubectl harden --root '/a b' --offline recover":                   true,
		"hint: did you mean x?":                                                       true,
		"hint: write it as a block, or set x to 1 by hand":                            true,
		"transaction 1 waits: kubectl-harden confirm 1, or kubectl-harden rollback 1": true,
		"hint: kubectl-harden plan":                                                   false,
		"hint: kubectl-harden plan --accept":                                          false,
		"hint: kubectl-harden demo rollback TX":                                       false,
		"hint: kubectl-harden apply --control none":                                   false,
		"hint: kubectl-harden history a b":                                            false,
		"hint: kubectl-harden sttaus":                                                 false,
		"undo: kubectl-harden rollback --all":                                         false,
		"hint: no-such-tool -x":                                                       false,
		"transaction 1 waits: kubectl-harden confirm, or kubectl-harden rollback 1":   false,
	} {
		if wrong := wrongHint(hint); (wrong == "") != good {
			t.Errorf("%s: %q", hint, wrong)
		}
	}
}

// TestHintsOfAnotherShell: who needs sudo is told a command that sudo finds, and tools of others are given what they need.
func TestHintsOfAnotherShell(t *testing.T) {
	w := whereFlags{root: "/", stateDir: defaultStateDir, kubeconfig: "my conf", context: "x"}
	t.Setenv("SUDO_USER", "")
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if got := w.pasteable("df -h /"); got != "" {
		t.Errorf("a tool that is not there: %q", got)
	}
	for _, tool := range []string{"df", "kubectl"} {
		if err := os.WriteFile(filepath.Join(dir, tool), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.pasteable("kubectl get pods"), "kubectl --kubeconfig 'my conf' --context x get pods"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w.kubeconfig, w.context = "", ""
	t.Setenv("SUDO_USER", "mei")
	if got, want := w.pasteable("kubectl get pods"), "sudo kubectl --kubeconfig /etc/kubernetes/admin.conf get pods"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := w.pasteable("df -h /"), "sudo df -h /"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := w.pasteable(program+" status"), "sudo kubectl-harden status"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	w.sandbox = true
	for _, hint := range []string{program + " status", "df -h /"} {
		if got := w.pasteable(hint); got != "" {
			t.Errorf("of a sandbox: %q", got)
		}
	}
	if got := w.pasteable("did you mean x?"); got == "" {
		t.Error("words for people are lost")
	}
}
