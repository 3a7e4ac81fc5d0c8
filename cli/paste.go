package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/harden"
)

// program is how everything below the command line calls this program in the commands that it proposes.
const program = "kubectl-harden"

// name is how the operator called the program: as a kubectl plugin it is "kubectl harden".
func name() string {
	if filepath.IsAbs(os.Getenv("KUBECTL_PATH")) {
		return "kubectl harden"
	}
	return program
}

// called is how to call the program for the same node, cluster and state.
func (w whereFlags) called() string {
	words := []string{name()}
	for _, f := range []struct{ flag, value, usual string }{
		{"--root", w.root, "/"}, {"--kubeconfig", w.kubeconfig, ""}, {"--context", w.context, ""}, {"--state-dir", w.stateDir, defaultStateDir},
	} {
		if f.value != f.usual {
			words = append(words, f.flag, shellWord(f.value))
		}
	}
	if w.offline {
		words = append(words, "--offline")
	}
	if w.noCluster {
		words = append(words, "--no-cluster")
	}
	return w.sudo() + strings.Join(words, " ")
}

// flags are for another process of this program, wherever it runs.
func (w whereFlags) flags() []string {
	out := []string{"--root", absolute(w.root), "--state-dir", w.stateDir}
	if w.kubeconfig != "" {
		out = append(out, "--kubeconfig", absolute(w.kubeconfig))
	}
	if w.context != "" {
		out = append(out, "--context", w.context)
	}
	if w.offline {
		out = append(out, "--offline")
	}
	if w.noCluster {
		out = append(out, "--no-cluster")
	}
	return out
}

// absolute is the path as another working directory sees it; one that cannot be told stays.
func absolute(p string) string {
	if abs, err := filepath.Abs(p); err == nil {
		return abs
	}
	return p
}

// sudo is what the operator puts before a command that needs root, as far as can be told from this run.
func (w whereFlags) sudo() string {
	switch uid := os.Geteuid(); {
	case uid == 0 && os.Getenv("SUDO_USER") != "", uid > 0 && !w.offline:
		return "sudo "
	}
	return ""
}

// again is this very command line with more words behind it.
func (a *app) again(more ...string) string {
	words := []string{name()}
	for _, arg := range slices.Concat(a.args, more) {
		words = append(words, shellWord(arg))
	}
	return a.where.sudo() + strings.Join(words, " ")
}

// pasteable makes a proposed command one that works for this node when it is pasted.
func (w whereFlags) pasteable(hint string) string {
	if rest, ok := strings.CutPrefix(hint, program+" "); ok {
		return w.called() + " " + rest
	}
	return hint
}

// byHand is the command that undoes a transaction without this program.
func (w whereFlags) byHand(script string) string {
	if w.root == "/" {
		return w.sudo() + "sh " + shellWord(script)
	}
	env := "ROOT=" + shellWord(w.root)
	if w.sudo() != "" {
		env = "sudo env " + env
	}
	return env + " sh " + shellWord(script)
}

// forTheWalk makes the commands in a result pasteable where the UI shows them.
func (w whereFlags) forTheWalk(res harden.Result) harden.Result {
	hints := make([]string, 0, len(res.Hints))
	for _, h := range res.Hints {
		hints = append(hints, w.pasteable(h))
	}
	res.Hints = hints
	return res
}

// shellWord quotes for a POSIX shell where it has to be.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
