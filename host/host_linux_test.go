package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// newRoot makes an empty root with the directories of a node that tests use, all owned by us and closed to others.
func newRoot(t testing.TB) (*Root, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"etc/kubernetes/manifests", "var/lib/kubelet", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, dir
}

func put(t testing.TB, dir, path, data string) string {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	return full
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantUnsafe(t *testing.T, err error, why string) {
	t.Helper()
	var refused *UnsafeError
	if !errors.As(err, &refused) {
		t.Fatalf("got error %v, want a refusal because %s", err, why)
	}
	if !strings.Contains(refused.Why, why) {
		t.Errorf("refused because %q, want %q", refused.Why, why)
	}
	if strings.ContainsFunc(err.Error(), func(c rune) bool { return c < ' ' || c == 0x7f }) {
		t.Errorf("the message carries control characters: %q", err.Error())
	}
}
