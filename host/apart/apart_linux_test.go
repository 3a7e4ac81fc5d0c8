package apart

import (
	"errors"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheFirstThreadIsNeverTaken: once it was, and its network was taken for the host's.
func TestTheFirstThreadIsNeverTaken(t *testing.T) {
	failed := errors.New("failed")
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			err := Do(func() error {
				if unix.Gettid() == os.Getpid() {
					t.Error("it is done on the first thread")
				}
				return failed
			})
			if err != failed {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
}

func TestTheNetworkOfTheProcessStays(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root")
	}
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Skip(err)
	}
	for range 100 {
		if err := Do(func() error { return unix.Unshare(unix.CLONE_NEWNET) }); err != nil {
			t.Fatal(err)
		}
		if now, _ := os.Readlink("/proc/self/ns/net"); now != before {
			t.Fatalf("it is %s, and was %s", now, before)
		}
	}
}
