package host

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"
)

// versionWait is how long a program may take to say its version.
const versionWait = 10 * time.Second

// ProgramVersion asks the program of a running process for its version (--version), and returns its first line. It is the
// very file that runs, also where another one has taken its place since.
func (r *Root) ProgramVersion(ctx context.Context, p Process) (string, error) {
	if r.Proc == "" {
		return "", ErrOffline
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("asking process %d for its version: %w", p.PID, err)
	}
	dir := path.Join(r.Proc, strconv.Itoa(p.PID))
	program, err := os.Open(path.Join(dir, "exe"))
	if err != nil {
		return fail(errno(err))
	}
	defer program.Close()
	// What was opened may be of a later process with that number.
	if now, err := readProcess(dir, nil); err != nil || now.Ticks != p.Ticks {
		return fail(os.ErrProcessDone)
	}
	ctx, cancel := context.WithTimeout(ctx, versionWait)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", "--version")
	cmd.Args[0], cmd.Dir, cmd.Env = path.Base(p.Exe), "/", []string{}
	cmd.ExtraFiles, cmd.Stdout, cmd.WaitDelay = []*os.File{program}, &out, time.Second
	if err := cmd.Run(); err != nil {
		return fail(err)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	return strings.TrimSpace(line), nil
}
