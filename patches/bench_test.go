package patches

import "testing"

func BenchmarkSetFlag(b *testing.B) {
	pod := fixture(b, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml")
	benchmark(b, pod, func() error { return second(SetFlag(pod, "kube-apiserver", "profiling", "false")) })
}

func BenchmarkSetFlagLarge(b *testing.B) {
	pod := large(fixture(b, "kubeadm-1.37/root/etc/kubernetes/manifests/kube-apiserver.yaml"))
	benchmark(b, pod, func() error { return second(SetFlag(pod, "kube-apiserver", "profiling", "false")) })
}

func BenchmarkSetField(b *testing.B) {
	config := fixture(b, "kubeadm-1.37/root/var/lib/kubelet/config.yaml")
	path := Path{"authentication", "anonymous", "enabled"}
	benchmark(b, config, func() error { return second(Set(config, path, true)) })
}

func BenchmarkDiff(b *testing.B) {
	before, after := numberedLines(20_000, 10)
	benchmark(b, before, func() error {
		_, err := Diff(before, after, DiffOptions{})
		return err
	})
}

func BenchmarkDiffHalfChanged(b *testing.B) {
	before, after := numberedLines(20_000, 2)
	benchmark(b, before, func() error {
		_, err := Diff(before, after, DiffOptions{})
		return err
	})
}

func BenchmarkMerge3(b *testing.B) {
	base, ours := numberedLines(20_000, 10)
	benchmark(b, base, func() error {
		_, _, err := Merge3(base, ours, base)
		return err
	})
}

func benchmark(b *testing.B, input []byte, f func() error) {
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
}
