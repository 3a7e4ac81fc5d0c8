package host

import (
	"os"
	"testing"
)

// asRoot leaves a test out where it cannot be run: owners, mounts, devices and file flags are root's to make. Where every
// change is tested (CI), there has to be root.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs root")
	}
	t.Skip("this test needs root")
}
