package host

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// procDir is the open directory of a process, which never turns into that of a later process with the same number. There are
// hundreds of processes on a node: so it goes without os.Root and os.File, which ask the kernel about each file that they open.
type procDir int

func openProc(dir string) (procDir, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return procDir(fd), err
}

func (d procDir) close() { unix.Close(int(d)) }

func (d procDir) readLink(name string) (string, error) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(int(d), name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// read reads a file of the process, of at most maxProcFile bytes.
func (d procDir) read(name string) ([]byte, error) {
	fd, err := unix.Openat(int(d), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for data := make([]byte, 0, 1024); ; {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) > maxProcFile {
			return nil, fmt.Errorf("%s is larger than %d bytes", name, maxProcFile)
		}
		if len(data) == cap(data) {
			data = slices.Grow(data, len(data))
		}
	}
}

// eachSocket gives the inodes of the sockets that the process has open, until yield has enough.
func (d procDir) eachSocket(yield func(inode uint64) bool) {
	fds, err := unix.Openat(int(d), "fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fds)
	names, err := namesIn(fds)
	if err != nil {
		return
	}
	var buf [64]byte // more than "socket:[18446744073709551615]"
	for _, name := range names {
		n, err := unix.Readlinkat(fds, name, buf[:])
		if err != nil {
			continue
		}
		if inode, ok := socketInode(string(buf[:n])); ok && !yield(inode) {
			return
		}
	}
}
