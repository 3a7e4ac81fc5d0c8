package catalog_test

import (
	"testing"

	"kubectl-harden.io/kubectl-harden/harden"
	"kubectl-harden.io/kubectl-harden/harden/catalog"
	"kubectl-harden.io/kubectl-harden/harden/hardentest"
)

// The whole of an assessment's own work: reading the facts of a node in memory, and every verdict on them.
func BenchmarkAssess(b *testing.B) {
	n := hardentest.Fixture(b, "1.37")
	areas := catalog.Areas()
	b.Run("facts", func(b *testing.B) {
		for b.Loop() {
			n.Facts(b)
		}
	})
	f := n.Facts(b)
	b.Run("verdicts", func(b *testing.B) {
		for b.Loop() {
			harden.Assess(f, areas)
		}
	})
}
