//go:build linux

package lab

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRestoreTree(t *testing.T) {
	tests := []struct {
		name   string
		change func(root string) error
	}{
		{"nothing", func(string) error { return nil }},
		{"content", func(root string) error { return os.WriteFile(root+"/etc/conf", []byte("other"), 0o644) }},
		{"content, its size and modification time kept", func(root string) error {
			info, err := os.Stat(root + "/etc/conf")
			if err != nil {
				return err
			}
			if err := os.WriteFile(root+"/etc/conf", []byte("CONF\n"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(root+"/etc/conf", info.ModTime(), info.ModTime())
		}},
		{"mode", func(root string) error { return os.Chmod(root+"/etc/conf", 0o600) }},
		{"mode of a directory", func(root string) error { return os.Chmod(root+"/etc", 0o700) }},
		{"removed file", func(root string) error { return os.Remove(root + "/etc/conf") }},
		{"removed tree", func(root string) error { return os.RemoveAll(root + "/etc") }},
		{"new tree", func(root string) error { return os.MkdirAll(root+"/a/b", 0o755) }},
		{"file replaced by a directory", func(root string) error {
			if err := os.Remove(root + "/etc/conf"); err != nil {
				return err
			}
			return os.MkdirAll(root+"/etc/conf/d", 0o755)
		}},
		{"directory replaced by a link", func(root string) error {
			if err := os.Rename(root+"/etc", root+"/other"); err != nil {
				return err
			}
			return os.Symlink("other", root+"/etc")
		}},
		{"link to elsewhere", func(root string) error {
			if err := os.Remove(root + "/link"); err != nil {
				return err
			}
			return os.Symlink("/etc/passwd", root+"/link")
		}},
		{"swapped files", func(root string) error {
			for _, r := range [][2]string{{"/etc/conf", "/tmp"}, {"/etc/mode", "/etc/conf"}, {"/tmp", "/etc/mode"}} {
				if err := os.Rename(root+r[0], root+r[1]); err != nil {
					return err
				}
			}
			return nil
		}},
		{"extended attribute of a directory", func(root string) error {
			return syscall.Setxattr(root+"/etc", "user.lab", []byte("x"), 0)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			makeTree(t, src)
			if err := copyTree(t.Context(), src, dst); err != nil {
				t.Fatal(err)
			}
			since, err := settle(t.Context(), filepath.Join(dir, "mark"))
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(dst); err != nil {
				t.Fatal(err)
			}
			n, err := restoreTree(t.Context(), src, dst, since)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := listing(t, dst), listing(t, src); got != want {
				t.Errorf("restored tree:\n%s\nwant:\n%s", got, want)
			}
			if tt.name == "nothing" && n != 0 {
				t.Errorf("%d paths changed in an untouched tree", n)
			}
		})
	}
}

func makeTree(t *testing.T, root string) {
	t.Helper()
	if err := os.MkdirAll(root+"/etc/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{"/etc/conf": 0o644, "/etc/mode": 0o600} {
		if err := os.WriteFile(root+path, []byte("conf\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(root+"/etc/conf", root+"/etc/hard"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("etc/conf", root+"/link"); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1_700_000_000, 5)
	if err := os.Chtimes(root+"/etc", old, old); err != nil {
		t.Fatal(err)
	}
}

// listing describes all that restoreTree has to keep.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := walk(t.Context(), root, func(rel string, info fs.FileInfo) error {
		fmt.Fprintf(&b, "%s %v %d %d", rel, info.Mode(), info.Sys().(*syscall.Stat_t).Nlink, info.ModTime().UnixNano())
		path := filepath.Join(root, rel)
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", data)
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case fs.ModeDir:
			attrs, err := attributes(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", attrs)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
