package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
)

func TestRestart(t *testing.T) {
	b := newBench(t, Options{})
	old := b.instance()
	b.flags("--profiling=false")
	if now := b.instance(); now.ID != old.ID || !b.Serving() {
		t.Fatal("the old one is gone at once")
	}
	b.pass(stopping)
	if b.Serving() {
		t.Error("the old one still serves")
	}
	b.pass(creating)
	now := b.instance()
	if now.ID == old.ID || now.PID == old.PID || !strings.Contains(strings.Join(now.Args, " "), " --profiling=false ") {
		t.Errorf("the new one is %+v", now)
	}
	if r := b.get("/livez"); r.Err == nil {
		t.Errorf("it answers before it serves: %+v", r)
	}
	b.pass(booting)
	if r := b.get("/livez"); r.Status != 403 {
		t.Errorf("before the roles are read: %+v", r)
	}
	b.pass(rbacRead)
	if r := b.get("/livez"); r.Status != 200 {
		t.Errorf("in the end: %+v", r)
	}
	if n, words := b.words(); n != 0 {
		t.Errorf("%d crashes: %s", n, words)
	}
}

// What changes a file and what it means to the kubelet.
func TestStaticPodFiles(t *testing.T) {
	tests := []struct {
		name    string
		do      func(*testing.T, *bench)
		restart bool
		gone    bool
		flag    string // of the instance in the end
	}{
		{name: "a comment", do: func(_ *testing.T, b *bench) { b.write(manifest, "# hello\n"+b.read(manifest)) }},
		{name: "keys in another order", do: func(_ *testing.T, b *bench) {
			b.replace(manifest, "kind: Pod\n", "")
			b.write(manifest, b.read(manifest)+"kind: Pod\n")
		}},
		{name: "an annotation", restart: true, do: func(_ *testing.T, b *bench) { b.replace(manifest, "  annotations:\n", "  annotations:\n    a: b\n") }},
		{name: "a copy that sorts later", restart: true, flag: "--v=9", do: func(_ *testing.T, b *bench) {
			b.write(manifest+".bak", strings.Replace(b.read(manifest), "--allow-privileged=true", "--v=9", 1))
		}},
		{name: "a copy that sorts before", do: func(_ *testing.T, b *bench) {
			b.write("/etc/kubernetes/manifests/a.yaml", strings.Replace(b.read(manifest), "--allow-privileged=true", "--v=9", 1))
		}},
		{name: "a dot-file", do: func(_ *testing.T, b *bench) {
			b.write("/etc/kubernetes/manifests/.z.yaml", strings.Replace(b.read(manifest), "--allow-privileged=true", "--v=9", 1))
		}},
		{name: "removed", gone: true, do: func(t *testing.T, b *bench) {
			if err := os.Remove(filepath.Join(b.dir, manifest)); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "no YAML", gone: true, do: func(_ *testing.T, b *bench) { b.write(manifest, "a: [") }},
		{name: "cut off", gone: true, do: func(_ *testing.T, b *bench) { b.write(manifest, "") }},
		{name: "unknown field", do: func(_ *testing.T, b *bench) {
			b.replace(manifest, "  hostNetwork: true\n", "  hostNetwork: true\n  foo: 1\n")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			old := b.instance()
			tt.do(t, b)
			b.pass(10 * time.Second)
			if tt.gone {
				if _, err := b.Instance(t.Context(), apiServerComponent); err == nil || b.Serving() {
					t.Error("it still runs")
				}
				return
			}
			now := b.instance()
			if (now.ID != old.ID) != tt.restart || !b.Serving() {
				t.Errorf("restarted: %v, want %v", now.ID != old.ID, tt.restart)
			}
			if tt.flag != "" && !strings.Contains(strings.Join(now.Args, " "), tt.flag) {
				t.Errorf("it runs without %s", tt.flag)
			}
		})
	}
}

func TestCrashLoop(t *testing.T) {
	b := newBench(t, Options{})
	b.flags("--foo")
	whole := strings.Replace(b.read(manifest), "    - --foo\n", "", 1)
	// 10 s after the first crash, 20 s after the second one, and so on.
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{5 * time.Second, 1}, {8 * time.Second, 2}, {15 * time.Second, 2}, {10 * time.Second, 3}, {30 * time.Second, 3}, {15 * time.Second, 4}} {
		b.pass(tt.at)
		if n, _ := b.words(); n != tt.want {
			t.Errorf("%d crashes, want %d", n, tt.want)
		}
	}
	since := b.clock.Now()
	b.write(manifest, whole)
	b.pass(5 * time.Second)
	if n, _, err := b.Crashes(t.Context(), apiServerComponent, since); n != 0 || err != nil || !b.Serving() {
		t.Errorf("the old file: %d crashes, %v, serving %v", n, err, b.Serving())
	}
}

func TestMounts(t *testing.T) {
	tests := []struct {
		path, kind, why string
	}{
		{"/etc/none", "Directory", "hostPath type check failed: /etc/none is not a directory"},
		{"/etc/hostname", "Directory", "hostPath type check failed: /etc/hostname is not a directory"},
		{"/etc/hostname", "DirectoryOrCreate", "hostPath type check failed: /etc/hostname is not a directory"},
		{"/etc/none", "File", "hostPath type check failed: /etc/none is not a file"},
		{"/etc", "File", "hostPath type check failed: /etc is not a file"},
		{"/etc", "FileOrCreate", "hostPath type check failed: /etc is not a file"},
		{"/etc/none", "DirectoryOrCreate", ""}, {"/etc/kubernetes", "Directory", ""}, {"/etc/hostname", "File", ""}, {"/etc/none", "FileOrCreate", ""},
		{"/etc/none", `""`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.kind+" "+tt.path, func(t *testing.T) {
			b := newBench(t, Options{})
			b.replace(manifest, "  volumes:\n", "  volumes:\n  - hostPath:\n      path: "+tt.path+"\n      type: "+tt.kind+"\n    name: extra\n")
			b.pass(10 * time.Second)
			why := b.pod(harden.APIServer).why
			if tt.why == "" {
				if why != "" || !b.Serving() {
					t.Errorf("it waits: %q", why)
				}
				return
			}
			if want := `MountVolume.SetUp failed for volume "extra" : ` + tt.why; why != want || b.Serving() {
				t.Errorf("it waits for %q, want %q", why, want)
			}
			if n, _ := b.words(); n != 0 {
				t.Errorf("%d crashes of what never started", n)
			}
			if err := os.MkdirAll(filepath.Join(b.dir, tt.path), 0o755); tt.path == "/etc/none" && tt.kind == "Directory" && err == nil {
				b.pass(10 * time.Second)
				if !b.Serving() {
					t.Error("it does not start once the directory is there")
				}
			}
		})
	}
}

// A policy file that the kubelet would have made is empty.
func TestFileOrCreate(t *testing.T) {
	b := newBench(t, Options{})
	b.flags("--audit-policy-file=/policy.yaml")
	b.replace(manifest, "    volumeMounts:\n", "    volumeMounts:\n    - mountPath: /policy.yaml\n      name: extra\n")
	b.replace(manifest, "  volumes:\n", "  volumes:\n  - hostPath:\n      path: /etc/none\n      type: FileOrCreate\n    name: extra\n")
	b.pass(5 * time.Second)
	if n, words := b.words(); n != 1 || !strings.Contains(words, "in policy: from file /policy.yaml") {
		t.Errorf("%d crashes: %s", n, words)
	}
	if _, err := os.Stat(filepath.Join(b.dir, "etc/none")); err == nil {
		t.Error("the file was really made")
	}
}

// With a broken node every new configuration fails, and the first one works again.
func TestBroken(t *testing.T) {
	b := newBench(t, Options{Broken: true})
	whole := b.read(manifest)
	b.flags("--profiling=false")
	b.pass(20 * time.Second)
	n, words := b.words()
	if n != 2 || !strings.HasSuffix(words, `       1 run.go:72] "command failed" err="failed to create listener: failed to listen on 0.0.0.0:6443: listen tcp 0.0.0.0:6443: bind: address already in use"`) {
		t.Errorf("%d crashes: %s", n, words)
	}
	b.write(manifest, whole)
	b.pass(10 * time.Second)
	if r := b.get("/readyz"); r.Status != 200 {
		t.Errorf("the first one: %+v", r)
	}
}
