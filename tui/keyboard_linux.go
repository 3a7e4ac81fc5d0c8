package tui

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sys/unix"
)

// ttyReader reads a terminal and can be stopped. The library's own reader cannot be relied on for that: it is given up after
// half a second, and at once where the library ends because of an error, and goes on with descriptors that were closed
// under it. On a busy machine that is a data race, and a reader that takes what is typed to the shell. This type has no
// Name method on purpose: to the library it is a terminal then, but not a file that it reads on its own terms.
type ttyReader struct {
	tty     *os.File
	gone    func()
	stopped atomic.Bool
	reading sync.Mutex
	bell    [2]int // a pipe that ends a wait
}

func (k *keyboard) file(f *os.File, gone func()) error {
	r := &ttyReader{tty: f, gone: gone}
	if err := unix.Pipe2(r.bell[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("opening the terminal: %w", err)
	}
	k.Reader, k.stop, k.close = r, r.stop, r.close
	k.suspend = tea.Sequence(func() tea.Msg { r.stop(); return nil }, tea.Exec(suspension{r}, nil))
	return nil
}

func (r *ttyReader) Fd() uintptr                 { return r.tty.Fd() }
func (r *ttyReader) Write(p []byte) (int, error) { return r.tty.Write(p) }
func (r *ttyReader) Close() error                { return nil } // whoever opened it closes it

func (r *ttyReader) Read(p []byte) (int, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	for !r.stopped.Load() {
		fds := []unix.PollFd{{Fd: int32(r.bell[0]), Events: unix.POLLIN}, {Fd: int32(r.tty.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		if fds[0].Revents == 0 && fds[1].Revents != 0 {
			return heard(r.tty, p, r.gone)
		}
	}
	return 0, io.EOF
}

// patience with a read that another program's read has left without input.
const patienceWithRead = time.Second

// stop returns when nobody reads, and true; every read after it is the end.
func (r *ttyReader) stop() bool {
	r.stopped.Store(true)
	_, _ = unix.Write(r.bell[1], []byte{0}) // a full pipe rings too
	out := make(chan struct{})
	go func() {
		r.reading.Lock()
		defer r.reading.Unlock()
		close(out)
	}()
	select {
	case <-out:
		return true
	case <-time.After(patienceWithRead):
		return false
	}
}

func (r *ttyReader) close() {
	if r.stop() {
		_ = unix.Close(r.bell[0])
		_ = unix.Close(r.bell[1])
	}
}

// listen lets reads be reads again.
func (r *ttyReader) listen() {
	var rings [16]byte
	for {
		if n, _ := unix.Read(r.bell[0], rings[:]); n <= 0 {
			break
		}
	}
	r.stopped.Store(false)
}

// suspension stops the process until its shell continues it, between two readers of the library.
type suspension struct{ r *ttyReader }

func (s suspension) Run() error {
	s.r.listen()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGCONT)
	defer signal.Stop(again)
	if err := syscall.Kill(0, syscall.SIGTSTP); err != nil {
		return fmt.Errorf("suspending: %w", err)
	}
	<-again
	return nil
}

func (suspension) SetStdin(io.Reader)  {}
func (suspension) SetStdout(io.Writer) {}
func (suspension) SetStderr(io.Writer) {}
