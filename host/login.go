package host

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Connection is one of TCP that is open, by both of its ends.
type Connection struct {
	Local, Remote netip.AddrPort
	PID           int // of a process that has it open; 0 where none is known
	Name          string
}

// String is "198.51.100.7:51234 to 192.0.2.11:22".
func (c Connection) String() string { return c.Remote.String() + " to " + c.Local.String() }

const connected = "01" // TCP_ESTABLISHED

// Connections are those of TCP that are open. Who has them open costs a look at every process.
func (s *Sockets) Connections(owners bool) ([]Connection, error) {
	if s.root.Proc == "" {
		return nil, ErrOffline
	}
	sockets := map[uint64][]int{}
	var out []Connection
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := s.table(table)
		if err != nil {
			return nil, fmt.Errorf("listing connections: %w", err)
		}
		found, err := parseSockets(data, connected)
		if err != nil {
			return nil, fmt.Errorf("listing connections: /proc/1/net/%s: %w", table, err)
		}
		for _, f := range found {
			if f.inode != 0 {
				sockets[f.inode] = append(sockets[f.inode], len(out))
			}
			out = append(out, Connection{Local: netip.AddrPortFrom(f.Address, f.Port), Remote: f.remote})
		}
	}
	if !owners {
		return out, nil
	}
	held := make([]Listener, len(out))
	if err := s.root.owners(sockets, held); err != nil {
		return nil, fmt.Errorf("listing connections: %w", err)
	}
	for i := range out {
		out[i].PID, out[i].Name = held[i].PID, held[i].Name
	}
	return out, nil
}

// Logins are the open connections of SSH servers.
func (r *Root) Logins() ([]Connection, error) {
	all, err := r.Sockets().Connections(true)
	return slices.DeleteFunc(all, func(c Connection) bool { return !isLoginServer(c.Name) }), err
}

// isLoginServer knows the programs of OpenSSH that hold a connection, newer ones by parts, and dropbear.
func isLoginServer(program string) bool {
	return program == "sshd" || strings.HasPrefix(program, "sshd-") || program == "dropbear"
}

// Login is how whoever runs this process has come to the machine.
type Login struct {
	// Remote says that it was by SSH; then Connection names which, as Connection.String does.
	Remote     bool
	Connection string
}

// OwnLogin goes from this process to its ancestors, to the first that holds a connection of an SSH server, or that was told of one
// (SSH_CONNECTION, which sudo keeps from what it runs). Where there is none, nobody came by SSH.
func (r *Root) OwnLogin(pid int) (Login, error) {
	open, err := r.Logins()
	if err != nil {
		return Login{}, err
	}
	var server bool
	for range 256 {
		if i := slices.IndexFunc(open, func(c Connection) bool { return c.PID == pid }); i >= 0 {
			return Login{true, open[i].String()}, nil
		}
		dir := path.Join(r.Proc, strconv.Itoa(pid))
		environ, err := os.ReadFile(path.Join(dir, "environ"))
		if err != nil && !errors.Is(err, fs.ErrPermission) {
			return Login{}, fmt.Errorf("reading process %d: %w", pid, cause(err))
		}
		if told, ok := toldConnection(environ); ok {
			return Login{true, told}, nil
		}
		p, err := readProcess(dir, nil)
		if err != nil {
			return Login{}, fmt.Errorf("reading process %d: %w", pid, err)
		}
		server = server || isLoginServer(programName(p))
		if pid, err = parentOf(dir); err != nil {
			return Login{}, fmt.Errorf("reading process %d: %w", pid, err)
		}
		if pid <= 1 {
			break
		}
	}
	if server {
		return Login{}, errors.New("an SSH server has started this process, and by which connection cannot be seen")
	}
	return Login{}, nil
}

// toldConnection reads SSH_CONNECTION: the client's address and port, then the server's.
func toldConnection(environ []byte) (string, bool) {
	for v := range strings.SplitSeq(string(environ), "\x00") {
		text, ok := strings.CutPrefix(v, "SSH_CONNECTION=")
		if !ok {
			continue
		}
		fields := strings.Fields(text)
		if len(fields) != 4 {
			return strings.Join(fields, " "), len(fields) > 0
		}
		from, errFrom := endpoint(fields[0], fields[1])
		to, errTo := endpoint(fields[2], fields[3])
		if errFrom != nil || errTo != nil {
			return strings.Join(fields, " "), true // it equals none that is open
		}
		return Connection{Local: to, Remote: from}.String(), true
	}
	return "", false
}

func endpoint(address, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(p)), err
}

// parentOf reads the number of the parent of a process.
func parentOf(dir string) (int, error) {
	data, err := os.ReadFile(path.Join(dir, "status"))
	if err != nil {
		return 0, cause(err)
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(text))
		}
	}
	return 0, errors.New("its parent is not said")
}
