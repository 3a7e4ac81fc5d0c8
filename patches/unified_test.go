package patches

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tree is a directory of files that a patch is applied to.
type tree map[string]string

func (files tree) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// command runs a program in dir and fails the test when it fails. Without the program the test is left out, except where
// every change is tested (CI).
func command(t *testing.T, dir string, input []byte, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil && os.Getenv("CI") == "" {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, input)
	}
	return string(out)
}

func (files tree) verify(t *testing.T, dir, program string) {
	t.Helper()
	for name, text := range files {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || string(got) != text {
			t.Errorf("%s: %s: %v\n%q\nwant\n%q", program, name, err, got, text)
		}
	}
}

func TestUnifiedIsAccepted(t *testing.T) {
	manifest := string(fixture(t, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml"))
	type file struct {
		name          string
		before, after string
		opts          DiffOptions
	}
	rows := map[string][]file{
		"created":              {{"etc/new.yaml", "", "a: 1\nb: 2\n", DiffOptions{Created: true, NewMode: 0o600}}},
		"created, no newline":  {{"etc/new.yaml", "", "a: 1\nb: 2", DiffOptions{Created: true, NewMode: 0o644}}},
		"created, empty":       {{"etc/new.yaml", "", "", DiffOptions{Created: true, NewMode: 0o644}}},
		"deleted":              {{"etc/old.yaml", "a: 1\n", "", DiffOptions{Deleted: true, OldMode: 0o644}}},
		"deleted, no newline":  {{"etc/old.yaml", "a: 1", "", DiffOptions{Deleted: true, OldMode: 0o644}}},
		"mode":                 {{"etc/a", "a\n", "a\n", DiffOptions{OldMode: 0o644, NewMode: 0o600}}},
		"mode and text":        {{"etc/a", "a\n", "b\n", DiffOptions{OldMode: 0o644, NewMode: 0o600}}},
		"space in the name":    {{"etc/a b.yaml", "a\nb\n", "a\nc\n", DiffOptions{OldMode: 0o644, NewMode: 0o644}}},
		"quoted name":          {{"etc/a\"é\t.yaml", "a\nb\n", "a\nc\n", DiffOptions{}}},
		"CRLF":                 {{"a", "a\r\nb\r\nc\r\n", "a\r\nB\r\nc\r\n", DiffOptions{}}},
		"CRLF becomes LF":      {{"a", "a\r\nb\r\n", "a\nb\n", DiffOptions{}}},
		"newline added":        {{"a", "a\nb", "a\nb\n", DiffOptions{}}},
		"newline removed":      {{"a", "a\nb\n", "a\nb", DiffOptions{}}},
		"neither has newline":  {{"a", "a\nb", "c\nb", DiffOptions{}}},
		"emptied":              {{"a", "a\n", "", DiffOptions{}}},
		"filled":               {{"a", "", "a\n", DiffOptions{}}},
		"lines like headers":   {{"a", "-- a\n@@ -1 +1 @@\ndiff --git\n", "++ b\n-- a\n@@ -1 +1 @@\n\\ no\n", DiffOptions{}}},
		"two files, three ops": {{"a", "1\n", "2\n", DiffOptions{}}, {"b/c", "", "x\n", DiffOptions{Created: true, NewMode: 0o644}}, {"d", "y\n", "", DiffOptions{Deleted: true, OldMode: 0o644}}},
		"absolute name":        {{"etc/a", "1\n", "2\n", DiffOptions{OldName: "/etc/a", NewName: "/etc/a"}}},
	}
	for _, v := range podVariants {
		before := v.make(manifest)
		after, err := SetFlag([]byte(before), "kube-apiserver", "profiling", "false")
		if err != nil {
			t.Fatal(err)
		}
		after, err = AddMount(after, "kube-apiserver", Mount{HostPath: "/var/log/kubernetes/audit", MountPath: "/var/log/kubernetes/audit"})
		if err != nil {
			t.Fatal(err)
		}
		after, err = RemoveFlag(after, "kube-apiserver", "tls-private-key-file")
		if err != nil {
			t.Fatal(err)
		}
		rows["manifest, "+v.name] = []file{{"etc/kubernetes/manifests/kube-apiserver.yaml", before, string(after), DiffOptions{OldMode: 0o644, NewMode: 0o644}}}
	}
	for i, pair := range diffPairs {
		if _, err := Diff([]byte(pair[0]), []byte(pair[1]), DiffOptions{}); err == nil {
			rows[fmt.Sprintf("pair %d", i)] = []file{{"a", pair[0], pair[1], DiffOptions{}}}
		}
	}
	for name, files := range rows {
		t.Run(name, func(t *testing.T) {
			before, after := tree{}, tree{}
			var patch []byte
			gone := []string{}
			for _, f := range files {
				if f.opts.OldName == "" {
					f.opts.OldName, f.opts.NewName = f.name, f.name
				}
				d, err := Diff([]byte(f.before), []byte(f.after), f.opts)
				if err != nil {
					t.Fatal(err)
				}
				patch = append(patch, d.Unified()...)
				if !f.opts.Created {
					before[f.name] = f.before
				}
				if f.opts.Deleted {
					gone = append(gone, f.name)
				} else {
					after[f.name] = f.after
				}
			}
			for _, apply := range [][]string{{"git", "apply"}, {"patch", "-p1"}} {
				dir := t.TempDir()
				before.write(t, dir)
				check := append(apply[1:len(apply):len(apply)], map[string]string{"git": "--check", "patch": "--dry-run"}[apply[0]])
				command(t, dir, patch, apply[0], check...)
				out := command(t, dir, patch, apply[0], apply[1:]...)
				if strings.Contains(out, "fuzz") || strings.Contains(out, "offset") {
					t.Errorf("%s: %s\n%s", apply[0], out, patch)
				}
				after.verify(t, dir, apply[0])
				for _, name := range gone {
					if _, err := os.Stat(filepath.Join(dir, name)); !os.IsNotExist(err) {
						t.Errorf("%s: %s is still there", apply[0], name)
					}
				}
			}
		})
	}
}

func TestUnifiedText(t *testing.T) {
	d, err := Diff([]byte("a: 1\nb:\n  c: 2\n"), []byte("a: 1\nb:\n  c: 3\n"), DiffOptions{OldName: "/x/y.yaml", NewName: "/x/y.yaml", OldMode: 0o600, NewMode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	want := "diff --git a/x/y.yaml b/x/y.yaml\n--- a/x/y.yaml\n+++ b/x/y.yaml\n@@ -1,3 +1,3 @@ b.c\n a: 1\n b:\n-  c: 2\n+  c: 3\n"
	if got := string(d.Unified()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	same, err := Diff([]byte("a"), []byte("a"), DiffOptions{OldName: "a", NewName: "a", OldMode: 0o600, NewMode: 0o600})
	if err != nil || len(same.Unified()) > 0 {
		t.Errorf("no change: %v\n%s", err, same.Unified())
	}
}
