package host

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	containerID = "4f1c9a0b2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccdde"
	podUID      = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
	staticUID   = "8c1d2e3f405162738495a6b7c8d9e0f1"
)

func TestParseCmdline(t *testing.T) {
	many := strings.Repeat("--flag=value\x00", 32<<10)
	for _, tt := range []struct {
		data string
		want []string
	}{
		{"", nil},
		{"kubelet\x00", []string{"kubelet"}},
		{"kubelet\x00--a=b c\x00--\n\x1b[2J\x00", []string{"kubelet", "--a=b c", "--\n\x1b[2J"}},
		{"kubelet\x00\x00--x\x00\x00", []string{"kubelet", "", "--x", ""}},
		{"a title without an end", []string{"a title without an end"}},
		{"\x00", []string{""}},
		{many, slices.Repeat([]string{"--flag=value"}, 32<<10)},
	} {
		if got := parseCmdline([]byte(tt.data)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseCmdline(%.40q) = %.80q, want %.80q", tt.data, got, tt.want)
		}
	}
}

func TestParseStat(t *testing.T) {
	tail := " S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 0 0"
	for _, tt := range []struct {
		data  string
		ticks uint64
		ok    bool
	}{
		{"42 (kubelet)" + tail, 123456, true},
		{"42 (a) S 1 (b))" + tail, 123456, true},
		{"42 (line\nbreak)" + tail, 123456, true},
		{"42 (kubelet) S 7 1 1", 0, false},
		{"42 (kubelet)" + strings.Replace(tail, "123456", "soon", 1), 0, false},
		{"42 kubelet" + tail, 0, false},
		{"", 0, false},
	} {
		ticks, err := parseStat([]byte(tt.data))
		if ticks != tt.ticks || (err == nil) != tt.ok {
			t.Errorf("parseStat(%q) = %d, %v", tt.data, ticks, err)
		}
	}
}

func TestParseCgroup(t *testing.T) {
	underscored := strings.ReplaceAll(podUID, "-", "_")
	for _, tt := range []struct{ name, data, container, pod string }{
		{"containerd, systemd driver", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + underscored + ".slice/cri-containerd-" + containerID + ".scope\n", containerID, podUID},
		{"guaranteed, systemd driver", "0::/kubepods.slice/kubepods-pod" + underscored + ".slice/crio-" + containerID + ".scope\n", containerID, podUID},
		{"static pod", "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + staticUID + ".slice/cri-containerd-" + containerID + ".scope\n", containerID, staticUID},
		{"cgroupfs driver", "0::/kubepods/burstable/pod" + staticUID + "/" + containerID + "\n", containerID, staticUID},
		{"v1, below another container", "12:pids:/docker/" + strings.Repeat("a", 64) + "/kubepods/pod" + podUID + "/" + containerID + "\n1:name=systemd:/docker/" + strings.Repeat("a", 64) + "/kubepods/pod" + podUID + "/" + containerID + "\n", containerID, podUID},
		{"v1, colons", "11:memory:/system.slice/containerd.service/kubepods-besteffort-pod" + underscored + ".slice:cri-containerd:" + containerID + "\n", containerID, ""},
		{"kubelet", "0::/system.slice/kubelet.service\n", "", ""},
		{"hex, but too short", "0::/kubepods/podabc/" + containerID[:63] + "\n", "", ""},
		{"a name with pod in it", "0::/system.slice/podman-" + containerID[:12] + ".scope\n", "", ""},
		{"none", "", "", ""},
	} {
		if container, pod := parseCgroup(tt.data); container != tt.container || pod != tt.pod {
			t.Errorf("%s: container %q, pod %q", tt.name, container, pod)
		}
	}
}

// fakeProc makes the proc of a node with a kubelet, an API server, a kernel thread and somebody's impostor.
func fakeProc(t *testing.T) *Root {
	t.Helper()
	proc := t.TempDir()
	write := func(name, data string) {
		full := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	process := func(pid, ppid, uid, ticks int, exe, cmdline, cgroup string) {
		dir := fmt.Sprint(pid, "/")
		write(dir+"stat", fmt.Sprintf("%d (x) S %d 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 9 0 %d 0 0", pid, ppid, ticks))
		write(dir+"status", fmt.Sprintf("Name:\tx\nUid:\t1\t%d\t1\t1\n", uid))
		write(dir+"cmdline", cmdline)
		write(dir+"cgroup", cgroup)
		if exe != "" {
			if err := os.Symlink(exe, filepath.Join(proc, dir, "exe")); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 9\n")
	write("version", "Linux\n")
	process(2, 0, 0, 1, "", "", "0::/\n")
	process(812, 1, 0, 2250, "/usr/bin/kubelet (deleted)", "/usr/bin/kubelet\x00--config=/var/lib/kubelet/config.yaml\x00", "0::/system.slice/kubelet.service\n")
	process(1203, 1100, 0, 4000, "/usr/local/bin/kube-apiserver", "kube-apiserver\x00--profiling=false\x00",
		"0::/kubepods/burstable/pod"+staticUID+"/"+containerID+"\n")
	process(4000, 1, 1000, 90000, "/usr/bin/sleep", "kube-apiserver\x00100\x00", "0::/user.slice\n")
	write("9999/status", "Uid:\t0\t0\t0\t0\n") // ended while being read: the other files are gone
	return &Root{Proc: proc, MaxFile: DefaultMaxFile}
}

func TestProcesses(t *testing.T) {
	r := fakeProc(t)
	boot := time.Unix(1700000000, 0)
	kubelet := Process{PID: 812, Exe: "/usr/bin/kubelet", Argv: []string{"/usr/bin/kubelet", "--config=/var/lib/kubelet/config.yaml"},
		Started: boot.Add(22500 * time.Millisecond), Ticks: 2250}
	server := Process{PID: 1203, Exe: "/usr/local/bin/kube-apiserver", Argv: []string{"kube-apiserver", "--profiling=false"},
		Started: boot.Add(40 * time.Second), Ticks: 4000, ContainerID: containerID}
	impostor := Process{PID: 4000, UID: 1000, Exe: "/usr/bin/sleep", Argv: []string{"kube-apiserver", "100"},
		Started: boot.Add(900 * time.Second), Ticks: 90000}
	thread := Process{PID: 2, Started: boot.Add(10 * time.Millisecond), Ticks: 1}
	for name, want := range map[string][]Process{
		"kubelet": {kubelet}, "kube-apiserver": {server, impostor}, "etcd": nil, "etcd kubelet": {kubelet}, "": {thread, kubelet, server, impostor},
	} {
		if got, err := r.Processes(strings.Fields(name)...); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Processes(%q) = %+v, %v", name, got, err)
		}
	}
	r.Proc = ""
	if got, err := r.Processes(); got != nil || err != nil {
		t.Errorf("an offline root has processes: %+v, %v", got, err)
	}
	r.Proc = t.TempDir()
	if _, err := r.Processes(); err == nil {
		t.Error("a proc that cannot be read is no error")
	}
}

func TestDamagedProcessIsAnError(t *testing.T) {
	r := fakeProc(t)
	if err := os.WriteFile(filepath.Join(r.Proc, "812/stat"), []byte("812 (kubelet"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Processes("kubelet"); err == nil || !strings.Contains(err.Error(), "reading process 812: ") {
		t.Errorf("got %v", err)
	}
	if got, err := r.Processes("kube-apiserver"); len(got) != 2 || err != nil {
		t.Errorf("another program is not found beside it: %v, %v", got, err)
	}
}

func FuzzProcessFiles(f *testing.F) {
	f.Add([]byte("42 (kubelet) S 7 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 9 0 123456 0 0"))
	f.Add([]byte("kubelet\x00--a=b\x00\x00"))
	f.Add([]byte("0::/kubepods/burstable/pod" + staticUID + "/" + containerID + "\n"))
	f.Add([]byte("Uid:\t0\t0\t0\t0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if argv := parseCmdline(data); argv != nil {
			if joined := strings.Join(argv, "\x00"); joined != strings.TrimSuffix(string(data), "\x00") {
				t.Errorf("arguments %q are not those of %q", argv, data)
			}
		}
		_, _ = parseStat(data)
		_, _ = parseUID(data)
		container, pod := parseCgroup(string(data))
		if container != "" && (len(container) != 64 || !strings.Contains(string(data), container)) {
			t.Errorf("container %q out of %q", container, data)
		}
		if pod != "" && !isUID(pod) {
			t.Errorf("pod %q out of %q", pod, data)
		}
	})
}
