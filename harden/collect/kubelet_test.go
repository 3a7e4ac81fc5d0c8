package collect_test

import (
	"path"
	"testing"
	"time"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/collect"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// TestTheFullestPodCounts: by the most processes that it ever had where the kernel counts that, or else by what it has now.
func TestTheFullestPodCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  int
	}{
		"no pods":         {nil, -1},
		"peak":            {map[string]string{"burstable/pod1/pids.peak": "30\n", "burstable/pod1/pids.current": "7\n", "pod2/pids.current": "12\n"}, 30},
		"no peak":         {map[string]string{"burstable/pod1/pids.peak": "9\n", "pod2/pids.current": "12\n"}, 12},
		"peak not to see": {map[string]string{"pod2/pids.peak": "?\n", "pod2/pids.current": "12\n"}, 12},
		"all of them":     {map[string]string{"pids.peak": "90\n", "pod2/pids.current": "12\n"}, 12},
		"by systemd": {map[string]string{
			"kubepods-burstable.slice/pids.peak": "90\n", "kubepods-burstable.slice/kubepods-burstable-pod1.slice/pids.peak": "30\n", "kubepods-pod2.slice/pids.peak": "12\n",
		}, 30},
		"not a pod's": {map[string]string{"burstable/pids.peak": "30\n", "pod2/pids.current": "12\n"}, 12},
	} {
		n := hardentest.Fixture(t, "1.37")
		for file, data := range tt.files {
			file = path.Join("/sys/fs/cgroup/kubepods", file)
			n.Write(file, data, 0o444)
			for dir := path.Dir(file); dir != "/"; dir = path.Dir(dir) {
				n.Files[dir] = harden.State{Exists: true, Dir: true, Mode: 0o755}
			}
		}
		f, err := collect.FromNode(n, &filtering{}, collect.Options{Root: "/", Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if f.Kubelet.PeakPids != tt.want {
			t.Errorf("%s: %d, want %d", name, f.Kubelet.PeakPids, tt.want)
		}
	}
}
