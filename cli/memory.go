package cli

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
)

// roomy is what the program may hold before anything is collected: more than assessing a node takes.
const roomy = 64 << 20

// collectLate leaves the heap alone while it is small: a run that ends soon need not tidy up. From the first collection on, memory
// is collected as ever, as the UI lives long and a cluster can be large.
func collectLate() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return // somebody knows better
	}
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(roomy)
	first := &struct{ dead *byte }{}
	const usual = 100 // runtime/debug: where GOGC says nothing
	runtime.AddCleanup(first, func(percent int) {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(math.MaxInt64)
	}, usual)
}
