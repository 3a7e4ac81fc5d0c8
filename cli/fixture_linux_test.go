package cli

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
)

var update = flag.Bool("update", false, "write the golden files anew; read them before they are committed")

const (
	apiserverManifest = "etc/kubernetes/manifests/kube-apiserver.yaml"
	kubeletConfig     = "var/lib/kubelet/config.yaml"
)

// versions are the minors that are supported, each with the real node that it is made from. Those without a node of their
// own are one whose images have other tags.
var versions = []struct{ name, fixture, tag string }{
	{"1.29", "1.30", "v1.29.15"},
	{"1.30", "1.30", ""},
	{"1.31", "1.30", "v1.31.14"},
	{"1.32", "1.30", "v1.32.13"},
	{"1.33", "1.30", "v1.33.13"},
	{"1.34", "1.34", ""},
	{"1.35", "1.34", "v1.35.4"},
	{"1.36", "1.34", "v1.36.3"},
	{"1.37", "1.37", ""},
}

// makeVersion makes a node of that version.
func makeVersion(t *testing.T, dir, fixture, tag string) {
	t.Helper()
	if err := makeRoot(t, dir, fixture); err != nil {
		t.Fatal(err)
	}
	if tag == "" {
		return
	}
	image := regexp.MustCompile(`(image: registry\.k8s\.io/kube-[a-z-]+:)v.*`)
	for _, c := range []string{"apiserver", "controller-manager", "scheduler"} {
		edit(t, dir, "etc/kubernetes/manifests/kube-"+c+".yaml", func(s string) string {
			out := image.ReplaceAllString(s, "${1}"+tag)
			if out == s {
				t.Fatalf("kube-%s.yaml has no image", c)
			}
			return out
		})
	}
}

// edit changes a file's text and keeps its mode.
func edit(t *testing.T, root, name string, change func(string) string) {
	t.Helper()
	p := filepath.Join(root, name)
	data, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(change(string(data))), 0); err != nil {
		t.Fatal(err)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "fixtures", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what happened:\n%s", file, strings.Join(lineChanges(string(want), got), "\n"))
	}
}

// verdicts are a line for each finding, with what was seen.
func verdicts(t *testing.T, root string) string {
	t.Helper()
	var a struct {
		APIVersion string           `json:"apiVersion"`
		Target     harden.Identity  `json:"target"`
		Summary    map[string]int   `json:"summary"`
		Findings   []harden.Finding `json:"findings"`
	}
	if err := json.Unmarshal([]byte(must(t, exitDone, at(root, "assess", "-o", "json")...)), &a); err != nil {
		t.Fatal(err)
	}
	if a.APIVersion != "harden/v1" || a.Target.Root != root || !a.Target.Offline {
		t.Errorf("the target is %+v", a.Target)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s on %s\n", a.Target.KubernetesVersion, a.Target.Node)
	counted := map[string]int{}
	for _, f := range a.Findings {
		counted[string(f.Status)]++
		fmt.Fprintf(&out, "%-14s%s: %s\n", f.Status, f.Control, f.Message)
		if len(f.Evidence) == 0 && (f.Status == harden.StatusPass || f.Status == harden.StatusFail) {
			t.Errorf("%s has no evidence", f.Control)
		}
		for _, e := range f.Evidence {
			fmt.Fprintf(&out, "%14s%s: %s\n", "", e.Source, e.Value)
		}
	}
	for s, n := range a.Summary {
		if counted[s] != n {
			t.Errorf("the summary says %d %s, the findings %d", n, s, counted[s])
		}
	}
	return out.String()
}

// changes are what happened to a tree, line by line.
func changes(before, after map[string]entry) string {
	var out strings.Builder
	paths := map[string]bool{}
	for p := range before {
		paths[p] = true
	}
	for p := range after {
		paths[p] = true
	}
	all := make([]string, 0, len(paths))
	for p := range paths {
		all = append(all, p)
	}
	slices.Sort(all)
	for _, p := range all {
		b, a := before[p], after[p]
		if a == b {
			continue
		}
		fmt.Fprintf(&out, "%s: %s\n", p, attributes(b, a))
		for _, l := range lineChanges(b.data, a.data) {
			fmt.Fprintf(&out, "  %s\n", l)
		}
	}
	return out.String()
}

func attributes(b, a entry) string {
	show := func(e entry) string {
		if e.mode == 0 {
			return "nothing"
		}
		return fmt.Sprintf("%06o %d:%d%s", e.mode, e.uid, e.gid, e.xattrs)
	}
	if show(a) == show(b) {
		return show(a)
	}
	return show(b) + " -> " + show(a)
}

// lineChanges is a plain longest common subsequence: the judge is not the code that is judged. It works from the end, so
// that an inserted block begins where it would be said to begin.
func lineChanges(before, after string) []string {
	b, a := strings.SplitAfter(before, "\n"), strings.SplitAfter(after, "\n")
	slices.Reverse(b)
	slices.Reverse(a)
	long := make([][]int, len(b)+1)
	for i := range long {
		long[i] = make([]int, len(a)+1)
	}
	for i := len(b) - 1; i >= 0; i-- {
		for j := len(a) - 1; j >= 0; j-- {
			if long[i][j] = max(long[i+1][j], long[i][j+1]); b[i] == a[j] {
				long[i][j] = long[i+1][j+1] + 1
			}
		}
	}
	var out []string
	add := func(sign, line string) {
		if line != "" {
			out = append(out, sign+strings.TrimSuffix(line, "\n"))
		}
	}
	i, j := 0, 0
	for i < len(b) || j < len(a) {
		switch {
		case i < len(b) && j < len(a) && b[i] == a[j]:
			i, j = i+1, j+1
		case j < len(a) && (i == len(b) || long[i][j+1] >= long[i+1][j]):
			add("+", a[j])
			j++
		default:
			add("-", b[i])
			i++
		}
	}
	slices.Reverse(out)
	return out
}

// Every node is assessed truly, changed exactly as the list beside this test says, and brought back.
func TestWholeWalkOnEveryVersion(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			root := tempRoot(t)
			makeVersion(t, root, v.fixture, v.tag)
			before := tree(t, root)
			golden(t, v.name+".verdicts.txt", strings.ReplaceAll(verdicts(t, root), root, "ROOT"))
			golden(t, v.name+".changes.txt", walkThrough(t, root, before))
		})
	}
}

// walkThrough plans, applies, plans again and rolls back. It gives what applying changed.
func walkThrough(t *testing.T, root string, before map[string]entry) string {
	t.Helper()
	diff := must(t, exitDone, at(root, "plan", "--all", "-o", "diff")...)
	if d := differences(before, tree(t, root)); len(d) > 0 {
		t.Fatalf("looking changed something: %q", d)
	}
	patched := applyDiff(t, root, diff)
	must(t, exitDone, at(root, "apply", "--all", "--yes")...)
	after := tree(t, root)
	for p, e := range patched {
		if after[p].data != e.data {
			t.Errorf("%s: what was applied is not what the diff says: %q", p, lineChanges(e.data, after[p].data))
		}
	}
	for p, e := range after {
		if _, ok := patched[p]; !ok && e.data != "" {
			t.Errorf("%s is not in the diff", p)
		}
	}
	if diff := must(t, exitDone, at(root, "plan", "--all")...); !strings.Contains(diff, "# nothing to do\n") || strings.Contains(diff, "diff --git") {
		t.Errorf("the same plan again is not empty:\n%s", diff)
	}
	must(t, exitDone, at(root, "apply", "--all", "--yes")...)
	if d := differences(after, tree(t, root)); len(d) > 0 {
		t.Errorf("applying the same again changed something: %q", d)
	}
	must(t, exitDone, at(root, "rollback", "--yes")...)
	if d := differences(before, tree(t, root)); len(d) > 0 {
		t.Errorf("after the rollback: %q", d)
	}
	return changes(before, after)
}

// applyDiff wants git and patch to take the diff in the root, and gives the tree that patch makes of a copy.
func applyDiff(t *testing.T, root, diff string) map[string]entry {
	t.Helper()
	for _, name := range []string{"git", "patch"} {
		if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
			t.Skipf("%s is not installed", name)
		}
	}
	input := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(diff)
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(root), "LC_ALL=C")
		if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("fuzz")) || bytes.Contains(out, []byte("offset")) {
			t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
	}
	input(root, "git", "apply", "--check", "-")
	input(root, "patch", "-p1", "--dry-run")
	twin := filepath.Join(tempRoot(t), "twin")
	if out, err := exec.Command("cp", "-a", root, twin).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	input(twin, "patch", "-p1", "--binary", "--no-backup-if-mismatch")
	return tree(t, twin)
}
