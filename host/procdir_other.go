//go:build !linux

package host

// procDir is for Linux.
type procDir struct{}

func openProc(string) (procDir, error)          { return procDir{}, errNotHere }
func (procDir) close()                          {}
func (procDir) readLink(string) (string, error) { return "", errNotHere }
func (procDir) read(string) ([]byte, error)     { return nil, errNotHere }
func (procDir) eachSocket(func(uint64) bool)    {}
