package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/host"
)

// Components count where kubeadm runs them, and kubeadm wherever root runs it; what others have named so counts never.
func TestWhoseProcessesCount(t *testing.T) {
	proc := t.TempDir()
	write := func(name, text string) {
		full := filepath.Join(proc, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("stat", "btime 1700000000\n")
	process := func(pid, uid int, program, cgroup string) {
		dir := fmt.Sprint(pid, "/")
		write(dir+"cmdline", program+"\x00--x\x00")
		write(dir+"stat", fmt.Sprintf("%d (x) S 1 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 9 0 %d 0 0", pid, pid))
		write(dir+"status", fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", uid, uid, uid, uid))
		write(dir+"cgroup", "0::"+cgroup+"\n")
	}
	inPod := "/kubepods/besteffort/pod8c1d2e3f405162738495a6b7c8d9e0f1/" + strings.Repeat("ab", 32)
	process(10, 0, "kubelet", "/system.slice/kubelet.service")
	process(11, 0, "kubelet", inPod)
	process(20, 0, "kube-apiserver", inPod)
	process(21, 0, "kube-apiserver", "/user.slice")
	process(22, 1000, "kube-apiserver", inPod)
	process(30, 0, "kubeadm", "/user.slice")
	process(31, 0, "/opt/kubeadm", inPod)
	process(32, 1000, "kubeadm", "/user.slice")
	n := &hostNode{root: &host.Root{Proc: proc, MaxFile: host.DefaultMaxFile}}
	for name, want := range map[string]string{
		string(harden.Kubelet): "[10]", string(harden.APIServer): "[20]", harden.KubeadmProgram: "[30 31]", string(harden.Etcd): "[]",
	} {
		ps, err := n.Processes(name)
		got := []int{}
		for _, p := range ps[name] {
			got = append(got, p.PID)
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: processes %v, want %s, %v", name, got, want, err)
		}
	}
}

// Without a runtime the same process was another instance once somebody had set the clock.
func TestAnInstanceIsTheSameAfterTheClockIsSet(t *testing.T) {
	before := harden.ProcessFact{PID: 20, Container: strings.Repeat("ab", 32), Started: time.Unix(1700000020, 0)}
	after := before
	after.Started = before.Started.Add(-time.Hour)
	one, err := newestOf([]harden.ProcessFact{before})
	two, err2 := newestOf([]harden.ProcessFact{after})
	if err != nil || err2 != nil || one.ID != two.ID || one.ID != before.Container {
		t.Errorf("%q and %q, wanted the container's id twice; %v, %v", one.ID, two.ID, err, err2)
	}
}
