// Package hardentest gives tests real kubeadm nodes to work on, in memory.
package hardentest

import (
	"path/filepath"
	"runtime"
	"testing"
)

// Minors are the Kubernetes minors of the fixtures.
var Minors = []string{"1.30", "1.34", "1.37"}

// Root is the folder with the files of a real node, for a minor such as "1.37".
func Root(t testing.TB, minor string) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "host", "sandbox", "fixtures", "kubeadm-"+minor, "root")
}
