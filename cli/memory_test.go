package cli

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestMemoryIsCollectedAsEverAfterTheFirstTime: what waits for confirm or shows the UI must not hold what it has let go.
func TestMemoryIsCollectedAsEverAfterTheFirstTime(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	collectLate()
	collectLate() // as another run in the same process would
	runtime.GC()
	for range 100 {
		if debug.SetMemoryLimit(-1) == math.MaxInt64 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	usual := debug.SetGCPercent(100)
	if limit := debug.SetMemoryLimit(-1); usual != 100 || limit != math.MaxInt64 {
		t.Errorf("after the first collection it is done at %d%% and %d bytes", usual, limit)
	}
}
