package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"kubectl-harden.io/kubectl-harden/cluster"
	"kubectl-harden.io/kubectl-harden/harden"
)

// program is how everything below the command line calls this program in the commands that it proposes.
const program = "kubectl-harden"

// name is how the operator called the program: as a kubectl plugin it is "kubectl harden", and what is not on the PATH is
// called by its path.
func name() string { return nameOf(os.Args[0]) }

func nameOf(as string) string {
	if plugin(as) != "" {
		return "kubectl harden"
	}
	if filepath.Base(as) != program || !strings.Contains(as, "/") {
		return program
	}
	if onPath, err := exec.LookPath(program); err == nil && sameDir(onPath, as) {
		return program
	}
	return shellWord(as)
}

// plugin is the kubectl that has called the program; "" where none did. kubectl says so from 1.37 on. An older one puts the
// program in its own place, by its whole path; who had called kubectl is then still in what sudo and the shell say.
func plugin(as string) string {
	traces := []string{os.Getenv("KUBECTL_PATH")}
	if filepath.IsAbs(as) {
		by, _, _ := strings.Cut(os.Getenv("SUDO_COMMAND"), " ")
		for _, p := range []string{by, os.Getenv("_")} {
			if filepath.Base(p) == "kubectl" {
				traces = append(traces, p)
			}
		}
	}
	if i := slices.IndexFunc(traces, filepath.IsAbs); i >= 0 {
		return traces[i]
	}
	return ""
}

// sudoPath is where sudo looks for programs, whatever the operator's own PATH is.
var sudoPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// callable is name for a command with sudo before it, or with nothing: what sudo would not find is called by its path.
func callable(sudo string) string {
	exe, err := os.Executable()
	by := plugin(os.Args[0])
	found := func(p string) bool { return slices.Contains(sudoPath, filepath.Dir(p)) }
	switch {
	case sudo == "", os.Geteuid() == 0, err != nil, strings.Contains(name(), "/"):
	case !found(exe), by != "" && !found(by):
		return sudo + shellWord(exe)
	}
	return sudo + name()
}

// called is how to call the program for the same node, cluster and state.
func (w whereFlags) called() string {
	words := []string{callable(w.sudo())}
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
	return strings.Join(words, " ")
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
	return a.againBy(a.where.sudo(), more...)
}

// without is this very command line without a flag that takes no value.
func (a *app) without(flag string) string {
	b := *a
	b.args = slices.DeleteFunc(slices.Clone(a.args), func(arg string) bool { return arg == flag || strings.HasPrefix(arg, flag+"=") })
	b.where.offline = false
	return b.again()
}

// againBy is again by root, or as whoever runs it.
func (a *app) againBy(sudo string, more ...string) string {
	words := []string{callable(sudo)}
	for _, arg := range slices.Concat(a.args, more) {
		words = append(words, shellWord(arg))
	}
	return strings.Join(words, " ")
}

// rootTools are programs of others in proposed commands that want root on a node.
var rootTools = []string{"df", "findmnt", "journalctl", "lsattr", "namei", "ss", "systemctl", "systemd-machine-id-setup"}

// pasteable makes a proposed command one that works for this node when it is pasted; "" where the program that it takes is not
// installed here, or there is no such node for it. Words for people stay as they are.
func (w whereFlags) pasteable(hint string) string {
	if rest, ok := strings.CutPrefix(hint, program+" "); ok {
		if w.sandbox {
			return ""
		}
		return w.called() + " " + rest
	}
	tool, rest, _ := strings.Cut(hint, " ")
	switch {
	case tool == "kubectl":
		config, by := w.kubeconfig, ""
		if config == "" {
			config, by = filepath.Join(w.root, cluster.AdminKubeconfig), w.sudo()
		}
		hint = by + "kubectl --kubeconfig " + shellWord(config)
		if w.context != "" {
			hint += " --context " + shellWord(w.context)
		}
		hint += " " + rest
	case slices.Contains(rootTools, tool):
		hint = w.sudo() + hint
	default:
		return hint
	}
	if w.sandbox {
		return ""
	}
	if _, err := exec.LookPath(tool); err != nil {
		return ""
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
	res.Hints = w.pasteables(res.Hints)
	return res
}

func (w whereFlags) pasteables(hints []string) []string {
	out := make([]string, 0, len(hints))
	for _, h := range hints {
		if h = w.pasteable(h); h != "" {
			out = append(out, h)
		}
	}
	return out
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
