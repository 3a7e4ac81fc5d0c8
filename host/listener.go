package host

import (
	"bufio"
	"bytes"
	"encoding/hex"
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

// Listener is a socket of the host's network that takes connections, or datagrams, from whoever reaches it. Ports of pods
// that are forwarded by rules, such as node ports, are none.
type Listener struct {
	Protocol string // "tcp" or "udp"
	Address  netip.Addr
	Port     uint16
	// PID is 0 where no process has the socket open: it is the kernel's (VXLAN, NFS).
	PID int
	// Name of the process's program; empty with PID 0.
	Name string
}

// socketStates are the ones that take what comes: LISTEN of TCP, and unconnected UDP.
var socketStates = map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"}

// Sockets are the host's: those of the network of process 1, whatever namespace we run in. The kernel's tables are read once, when
// they are first asked for: the kernel goes through all that could be a connection for each of them.
type Sockets struct {
	root   *Root
	tables map[string][]byte
}

// Sockets are to be looked at now, and thrown away.
func (r *Root) Sockets() *Sockets { return &Sockets{r, map[string][]byte{}} }

// table is a file such as /proc/net/tcp; one that is not there is empty.
func (s *Sockets) table(name string) ([]byte, error) {
	if data, read := s.tables[name]; read {
		return data, nil
	}
	data, err := os.ReadFile(path.Join(s.root.Proc, "1/net", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // no IPv6 here
		return nil, cause(err)
	}
	s.tables[name] = data
	return data, nil
}

// Listeners lists what listens.
func (s *Sockets) Listeners() ([]Listener, error) {
	if s.root.Proc == "" {
		return nil, ErrOffline
	}
	sockets := map[uint64][]int{} // inode -> places in out
	var out []Listener
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		data, err := s.table(table)
		if err != nil {
			return nil, fmt.Errorf("listing listeners: %w", err)
		}
		found, err := parseSockets(data, socketStates[table])
		if err != nil {
			return nil, fmt.Errorf("listing listeners: /proc/1/net/%s: %w", table, err)
		}
		for _, f := range found {
			f.Protocol = strings.TrimSuffix(table, "6")
			if f.inode != 0 {
				sockets[f.inode] = append(sockets[f.inode], len(out))
			}
			out = append(out, f.Listener)
		}
	}
	if err := s.root.owners(sockets, out); err != nil {
		return nil, fmt.Errorf("listing listeners: %w", err)
	}
	slices.SortStableFunc(out, func(a, b Listener) int {
		if a.Port != b.Port {
			return int(a.Port) - int(b.Port)
		}
		if a.Protocol != b.Protocol {
			return strings.Compare(a.Protocol, b.Protocol)
		}
		return a.Address.Compare(b.Address)
	})
	return out, nil
}

type socket struct {
	Listener
	remote netip.AddrPort // of one that is connected
	inode  uint64
}

// parseSockets reads a table such as /proc/net/tcp. Its first line is the head; fields are separated by blanks.
func parseSockets(data []byte, state string) ([]socket, error) {
	var out []socket
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 1<<20)
	for first := true; sc.Scan(); first = false {
		fields := strings.Fields(sc.Text())
		if first || len(fields) == 0 {
			continue
		}
		const local, remote, status, inode = 1, 2, 3, 9
		if len(fields) <= inode {
			return nil, fmt.Errorf("a line has %d fields", len(fields))
		}
		if fields[status] != state {
			continue
		}
		var s socket
		var err error
		if s.Address, s.Port, err = parseEndpoint(fields[local]); err != nil {
			return nil, err
		}
		if state == connected {
			a, p, err := parseEndpoint(fields[remote])
			if err != nil {
				return nil, err
			}
			s.remote = netip.AddrPortFrom(a, p)
		}
		if s.inode, err = strconv.ParseUint(fields[inode], 10, 64); err != nil {
			return nil, fmt.Errorf("inode %q: %w", fields[inode], err)
		}
		out = append(out, s)
	}
	return out, sc.Err()
}

// parseEndpoint reads "0100007F:1F90". Each 32-bit word of the address is in the machine's own order, which is little
// endian on all that we build for; the port is in network order.
func parseEndpoint(text string) (netip.Addr, uint16, error) {
	address, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(address)
	if !ok || err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, 0, fmt.Errorf("address %q", text)
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("port %q", text)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a.Unmap(), uint16(p), nil
}

// owners finds the processes behind sockets. Processes of other networks cannot have them, which leaves out pods. Process 1 comes
// last: it has the sockets of programs that it starts by them, and those are who answers.
func (r *Root) owners(sockets map[uint64][]int, out []Listener) error {
	names, err := os.ReadDir(r.Proc)
	if err != nil {
		return cause(err)
	}
	host, err := os.Readlink(path.Join(r.Proc, "1/ns/net"))
	if err != nil {
		return cause(err)
	}
	left := len(sockets)
	if at := slices.IndexFunc(names, func(e os.DirEntry) bool { return e.Name() == "1" }); at >= 0 {
		names = slices.Concat(names[:at], names[at+1:], names[at:at+1])
	}
	for _, entry := range names {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || left == 0 {
			continue
		}
		d, err := openProc(path.Join(r.Proc, entry.Name()))
		if err != nil {
			continue // gone
		}
		left -= d.claim(pid, host, sockets, out)
		d.close()
	}
	return nil
}

// claim notes the process at the sockets that it has open, and says how many these are.
func (d procDir) claim(pid int, host string, sockets map[uint64][]int, out []Listener) (found int) {
	if ns, err := d.readLink("ns/net"); err != nil || ns != host {
		return 0 // gone, or in another network
	}
	name, read := "", false
	d.eachSocket(func(inode uint64) bool {
		places, wanted := sockets[inode]
		if !wanted {
			return true
		}
		if !read {
			p, err := d.process(nil)
			if err != nil {
				return false // it ended
			}
			name, read = programName(p), true
		}
		for _, i := range places {
			if out[i].PID == 0 {
				out[i].PID, out[i].Name = pid, name
			}
		}
		delete(sockets, inode) // the first process that has it: children inherit it
		found++
		return true
	})
	return found
}

// socketInode reads "socket:[12345]".
func socketInode(link string) (uint64, bool) {
	number, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
	return inode, err == nil
}

func programName(p Process) string {
	if p.Exe != "" {
		return path.Base(p.Exe)
	}
	if len(p.Argv) > 0 {
		return path.Base(p.Argv[0])
	}
	return ""
}
