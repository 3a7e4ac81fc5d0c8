// Package apart does things that change a thread for good, such as its network namespace, where that hurts nobody.
package apart

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Do runs do on a thread that ends with it, and waits. It is never the first thread of the process: that one does not end, and all
// of /proc/self is its own, so that whoever looks there would see its network for the process's.
func Do(do func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread ends with this function, as it is never unlocked
		if unix.Gettid() != os.Getpid() {
			done <- do()
			return
		}
		// While this one is held, another one has to do it.
		done <- Do(do)
		runtime.UnlockOSThread()
	}()
	return <-done
}
