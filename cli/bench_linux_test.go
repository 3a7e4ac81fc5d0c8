package cli

import (
	"os/exec"
	"slices"
	"testing"
	"time"
)

// BenchmarkVersion and BenchmarkAssess are whole runs of the program, by the clock and by what they cost (design.md 6).
func BenchmarkVersion(b *testing.B) { benchmarkRun(b, exitDone, "version") }

func BenchmarkAssess(b *testing.B) {
	root := b.TempDir()
	if err := makeRoot(b, root, "1.37"); err != nil {
		b.Fatal(err)
	}
	benchmarkRun(b, exitDone, at(root, "assess")...)
}

// BenchmarkAssessAfterManyRuns is the same on a node on which a lot was applied and undone.
func BenchmarkAssessAfterManyRuns(b *testing.B) {
	root := b.TempDir()
	if err := makeRoot(b, root, "1.37"); err != nil {
		b.Fatal(err)
	}
	for range 10 {
		for _, args := range [][]string{{"apply", "--all", "--yes"}, {"rollback", "--yes"}} {
			if err := exec.Command(program, at(root, args...)...).Run(); err != nil {
				b.Fatal(err)
			}
		}
	}
	benchmarkRun(b, exitDone, at(root, "assess")...)
}

func benchmarkRun(b *testing.B, want int, args ...string) {
	var took, cpu []time.Duration
	for b.Loop() {
		cmd := exec.Command(program, args...)
		start := time.Now()
		err := cmd.Run()
		took = append(took, time.Since(start))
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != want {
			b.Fatal(err)
		}
		cpu = append(cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	for metric, list := range map[string][]time.Duration{"p95-ms": took, "p95-cpu-ms": cpu} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)*95/100].Microseconds())/1000, metric)
	}
}
