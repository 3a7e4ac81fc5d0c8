//go:build linux

package lab

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPackageHoldsItsProgramAndTheNodesOwnUnitFiles(t *testing.T) {
	b := bundle{kubernetes: t.TempDir()}
	for name, files := range packageFiles {
		if err := os.WriteFile(filepath.Join(b.kubernetes, name), []byte("program "+name), 0o700); err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if err := writePackage(&written, b, files); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := map[string]string{}
		for r := tar.NewReader(&written); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			want := os.FileMode(0o644)
			if strings.HasPrefix(h.Name, "usr/bin/") {
				want = 0o755
			}
			if mode := h.FileInfo().Mode(); mode != want {
				t.Errorf("%s: %s has mode %s, wanted %s", name, h.Name, mode, want)
			}
			got[h.Name] = string(data)
		}
		if len(got) != len(files) || got["usr/bin/"+name] != "program "+name {
			t.Errorf("%s holds %q", name, got)
		}
		for path, data := range got {
			if unit, err := recipe.ReadFile("files/root/" + path); err == nil && string(unit) != data {
				t.Errorf("%s: %s is not as a new node has it: %q", name, path, data)
			}
		}
	}
	if err := writePackage(io.Discard, bundle{kubernetes: t.TempDir()}, packageFiles["kubeadm"]); err == nil {
		t.Error("a package without its program is no error")
	}
}
