package cli

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// output is stdout. It remembers that it could not be written: a verdict, or a diff that was to be seen before it is
// written, must not be lost in silence.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// lost says that nobody reads on: "kubectl-harden assess | head" needs no complaint.
func (o *output) lost() bool { return errors.Is(o.err, syscall.EPIPE) }

// surviveClosedPipes turns SIGPIPE into write errors, so that a reader who has seen enough does not kill a run half-way.
func surviveClosedPipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// terminal says whether a stream is one.
func terminal(stream any) bool {
	if o, ok := stream.(*output); ok {
		stream = o.w
	}
	f, ok := stream.(*os.File)
	return ok && isTerminal(f)
}
