package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/host/sandbox"
)

// leap is a clock that does not wait: sleeping moves it.
type leap struct {
	mu    sync.Mutex
	now   time.Time
	slept func(n int) // may be nil
	n     int
}

func (l *leap) Now() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *leap) Sleep(ctx context.Context, d time.Duration) error {
	l.mu.Lock()
	l.now = l.now.Add(d)
	l.n++
	n := l.n
	l.mu.Unlock()
	if l.slept != nil {
		l.slept(n)
	}
	return ctx.Err()
}

// demoEngine opens the demo's node and cluster for an app, on a clock that does not wait.
func demoEngine(t *testing.T, a *app) (*engine, *sandbox.Node, *leap) {
	t.Helper()
	clock := &leap{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	node, err := sandbox.New(sandbox.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Remove() })
	e, _ := a.openDemo(node, clock)
	t.Cleanup(e.m.guards.(*demoGuards).stop)
	return e, node, clock
}

// demoRun runs the demo in a temporary directory of its own and gives what is left there.
func demoRun(t *testing.T, ctx context.Context, clock *leap, args ...string) (code int, out, errs string, left []string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	if clock.now.IsZero() {
		clock.now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	}
	testOnlyDemoClock = clock
	t.Cleanup(func() { testOnlyDemoClock = nil })
	var stdout, stderr bytes.Buffer
	code = Run(ctx, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr}, append([]string{"demo"}, args...))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return code, stdout.String(), stderr.String(), left
}

// inOrder wants the texts one after the other.
func inOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("%q does not come next in\n%s", text, out)
		}
		rest = after
	}
}

// sameDigests wants the two digests of the proof to be one.
func sameDigests(t *testing.T, out string) {
	t.Helper()
	m := regexp.MustCompile(`before sha256 ([0-9a-f]{64})\nafter  sha256 ([0-9a-f]{64})\n`).FindStringSubmatch(out)
	if m == nil || m[1] != m[2] {
		t.Errorf("digests: %v", m)
	}
}

func TestDemoYes(t *testing.T) {
	code, out, errs, left := demoRun(t, t.Context(), &leap{}, "--yes")
	if code != exitDone || errs != "" || len(left) > 0 {
		t.Fatalf("exit code %d, stderr %q, left %v\n%s", code, errs, left, out)
	}
	inOrder(t, out,
		"A sandbox: ", "\nAssess\n", "\nall ", "\nPlan\n", "kube-apiserver.yaml", "NetworkPolicy shop/deny-all-ingress",
		"\nApply on the node\n", "proven for apiserver-anonymous-auth", "proven for audit-policy", "applied", "\nApply on the cluster\n", "applied",
		"\nApply in what kubeadm keeps\n", "ConfigMap kube-system/kubeadm-config is as it was shown", "applied",
		"\nAssess again\n", " failed before, ", "The plan of the same choices is empty now.",
		"\nUndo 2", " in what kubeadm keeps\n", "undone, every gate has passed", "\nUndo 2", " on the cluster\n", "undone, every gate has passed", "\nUndo 2", " on the node\n", "undone, every gate has passed",
		"\nProof\n", "40 files and 15", "before sha256", "Everything is as it was.")
	sameDigests(t, out)
	for line := range strings.Lines(out) {
		if len(line) > 81 && !strings.Contains(line, "/") && !strings.Contains(line, "--") {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}
}

// A sandbox has no connections to lead: it says so, and goes on the plain way.
func TestDemoDoesNotHandOver(t *testing.T) {
	code, out, errs, _ := demoRun(t, t.Context(), &leap{}, "--yes", "--handover", "--control", "apiserver-profiling")
	if code != exitDone || errs != "" {
		t.Fatalf("exit code %d, stderr %q\n%s", code, errs, out)
	}
	inOrder(t, strings.Join(strings.Fields(out), " "),
		"kube-apiserver does not hand over, and restarts the plain way: connections cannot be led elsewhere here: this is no live node",
		"Apply on the node", "applied, every gate has passed")
}

func TestDemoFail(t *testing.T) {
	code, out, errs, left := demoRun(t, t.Context(), &leap{}, "--fail")
	if code != exitDone || errs != "" || len(left) > 0 {
		t.Fatalf("exit code %d, stderr %q, left %v\n%s", code, errs, left, out)
	}
	inOrder(t, out, "\nApply on the node, ", "kube-apiserver.yaml is written", "failed ", "gate of kube-apiserver: 2 new instances have exited",
		"undoing ", "kube-apiserver.yaml is as before", "has undone itself", "\nProof\n", "Everything is as it was.")
	inOrder(t, strings.Join(strings.Fields(out), " "), "listen tcp 0.0.0.0:6443: bind: address already in use")
	sameDigests(t, out)
}

func TestDemoKeep(t *testing.T) {
	code, out, _, left := demoRun(t, t.Context(), &leap{}, "--fail", "--keep")
	if code != exitDone || len(left) != 1 {
		t.Fatalf("exit code %d, left %v", code, left)
	}
	inOrder(t, out, "The sandbox's root is kept: "+left[0]+"\n")
	for _, p := range []string{"etc/kubernetes/manifests/kube-apiserver.yaml", "var/lib/kubectl-harden/transactions"} {
		if _, err := os.Stat(filepath.Join(left[0], p)); err != nil {
			t.Error(err)
		}
	}
}

func TestDemoSelection(t *testing.T) {
	code, out, _, left := demoRun(t, t.Context(), &leap{}, "--yes", "--control", "apiserver-profiling")
	if code != exitDone || len(left) > 0 || strings.Contains(out, "NetworkPolicy ") || strings.Contains(out, "unit restarts") {
		t.Errorf("exit code %d, left %v\n%s", code, left, out)
	}
	code, _, errs, left := demoRun(t, t.Context(), &leap{}, "--yes", "--control", "nope")
	if code != exitUsage || len(left) > 0 || !strings.Contains(errs, `unknown control: "nope"`) {
		t.Errorf("exit code %d, left %v, %s", code, left, errs)
	}
}

func TestDemoHasItsOwnPlace(t *testing.T) {
	for _, args := range [][]string{
		{"--root", "/"}, {"--offline"}, {"--no-cluster"}, {"--kubeconfig", "x"}, {"--context", "x"}, {"--state-dir", "/x"}, {"extra"},
	} {
		code, out, errs, left := demoRun(t, t.Context(), &leap{}, append(args, "--yes")...)
		if code != exitUsage || out != "" || errs == "" || len(left) > 0 {
			t.Errorf("%v: exit code %d, %q, left %v", args, code, out, left)
		}
	}
}

// Interrupted at any wait, it undoes what it has done and leaves nothing behind.
func TestDemoInterrupted(t *testing.T) {
	for _, at := range []int{1, 5, 20, 40, 60} {
		ctx, cancel := context.WithCancel(t.Context())
		code, out, errs, left := demoRun(t, ctx, &leap{slept: func(n int) {
			if n == at {
				cancel()
			}
		}}, "--yes")
		cancel()
		if code != exitUndone || len(left) > 0 {
			t.Errorf("at wait %d: exit code %d, %s, left %v\n%s", at, code, errs, left, out)
		}
	}
}

// The proof finds what is not as before.
func TestDemoProof(t *testing.T) {
	policy := harden.ObjectRef{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy", Namespace: "shop", Name: "extra"}
	tests := []struct {
		name string
		do   func(*story) error
		want string // "" when it holds
	}{
		{"nothing", func(*story) error { return nil }, ""},
		{"the history", func(s *story) error { return s.node.Files().Mkdir(defaultStateDir, 0o700) }, ""},
		{"a mode", func(s *story) error { return s.node.Files().Chmod("/etc/hostname", 0o600) }, "these are not as before: /etc/hostname"},
		{"a directory", func(s *story) error { return s.node.Files().Mkdir("/etc/extra", 0o700) }, "these are not as before: /etc/extra"},
		{"a file less", func(s *story) error { return s.node.Files().Remove("/etc/machine-id") }, "these are not as before: /etc/machine-id"},
		{"an object", func(s *story) error {
			_, _, err := s.cluster.Create(t.Context(), policy, []byte("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: extra, namespace: shop}\nspec: {podSelector: {}}\n"))
			return err
		}, "its objects are not as before"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			clock := &leap{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
			node, err := sandbox.New(sandbox.Options{Clock: clock})
			if err != nil {
				t.Fatal(err)
			}
			defer node.Remove()
			a := &app{Streams: Streams{Out: io.Discard, Err: io.Discard}, areas: catalog.Areas()}
			e, join := a.openDemo(node, clock)
			cluster, err := join(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s := &story{app: a, e: e, node: node, cluster: cluster, out: io.Discard}
			if err := s.remember(); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(s); err != nil {
				t.Fatal(err)
			}
			err = s.prove()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// Without --yes it is the walk, here the one in lines.
func TestDemoWalk(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out bytes.Buffer
	code := Run(t.Context(), Streams{In: strings.NewReader("q\n"), Out: &out, Err: &out}, []string{"demo"})
	if code != exitDone {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	inOrder(t, out.String(), "SANDBOX", "Node cp1, v1.37.2", "Nothing was changed.")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestAMissingFileWasSaidAfterAWholeAssessment: the demo looks at its choices before it does anything.
func TestAMissingFileWasSaidAfterAWholeAssessment(t *testing.T) {
	code, out, errs, left := demoRun(t, t.Context(), &leap{}, "--yes", "--file", "/nowhere/choices.json")
	if code != exitError || out != "" || !strings.Contains(errs, "/nowhere/choices.json") || len(left) > 0 {
		t.Errorf("exit code %d, left %v\n%s\n%s", code, left, out, errs)
	}
}

func TestFolded(t *testing.T) {
	long := strings.Repeat("word ", 30)
	for i, line := range strings.Split(folded(long, 10, 4), "\n") {
		width, lead := len(line), "    word"
		if i == 0 {
			width, lead = width+10, "word"
		}
		if width > 80 || !strings.HasPrefix(line, lead) {
			t.Errorf("line %d: %q", i, line)
		}
	}
	if got := folded("a\x1b[31mb", 0, 2); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}
