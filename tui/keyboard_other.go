//go:build !linux

package tui

import "os"

func (k *keyboard) file(f *os.File, gone func()) error {
	k.Reader = heardFile{f, gone}
	return nil
}

// heardFile stays a file, so that the library can set its terminal to raw mode.
type heardFile struct {
	*os.File
	gone func()
}

func (f heardFile) Read(p []byte) (int, error) { return heard(f.File, p, f.gone) }
