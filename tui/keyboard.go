package tui

import (
	"io"
	"os"

	tea "charm.land/bubbletea/v2"
)

// keyboard is the input as the terminal library gets it. When it has ended nobody can answer any more, and the library would
// wait on, so the end is told. An error is an end and no more: told of it, the library would end at once, not in order.
type keyboard struct {
	io.Reader
	// stop returns when nobody reads; every read after it is the end. False: a read does not end. close gives up what stop
	// needs too.
	stop  func() bool
	close func()
	// suspend stops the process until its shell continues it.
	suspend tea.Cmd
}

// openKeyboard hears the end of the input.
func openKeyboard(in io.Reader, gone func()) (k *keyboard, err error) {
	k = &keyboard{stop: func() bool { return true }, close: func() {}, suspend: tea.Suspend}
	if f, ok := in.(*os.File); ok {
		return k, k.file(f, gone)
	}
	k.Reader = readerFunc(func(p []byte) (int, error) { return heard(in, p, gone) })
	return k, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func heard(in io.Reader, p []byte, gone func()) (int, error) {
	n, err := in.Read(p)
	if err != nil {
		gone()
		err = io.EOF
	}
	return n, err
}
