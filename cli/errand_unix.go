//go:build unix

package cli

import (
	"os"
	"syscall"
)

// mine says that a file belongs to the user that this process acts as.
func mine(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}
