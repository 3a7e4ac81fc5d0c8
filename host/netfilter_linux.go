package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// errOtherNetwork is returned where this process does not see the host's network.
var errOtherNetwork = errors.New("this process is not in the host's network namespace")

// InputHooks lists the chains of nftables at the input hook, and the tables that the older iptables has loaded. It asks the
// kernel and runs no program.
func (r *Root) InputHooks() (hooks []Hook, legacy []string, err error) {
	if r.Proc == "" {
		return nil, nil, ErrOffline
	}
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		data, err := os.ReadFile(path.Join(r.Proc, "1/net", name))
		if err == nil {
			legacy = append(legacy, strings.Fields(string(data))...)
		}
	}
	if err := r.InHostNetwork(); err != nil {
		return nil, legacy, fmt.Errorf("looking for packet filters: %w", err)
	}
	if hooks, err = inputHooks(); err != nil {
		return nil, legacy, fmt.Errorf("looking for packet filters: %w", err)
	}
	return hooks, legacy, nil
}

// InHostNetwork says why what this process sees of the network is not the host's; nil where it is.
func (r *Root) InHostNetwork() error {
	if r.Proc == "" {
		return ErrOffline
	}
	host, errHost := os.Readlink(path.Join(r.Proc, "1/ns/net"))
	own, errOwn := os.Readlink(path.Join(r.Proc, "self/ns/net"))
	if err := errors.Join(errHost, errOwn); err != nil {
		return cause(err)
	}
	if host != own {
		return errOtherNetwork
	}
	return nil
}

const (
	hookLocalIn = 1       // NF_INET_LOCAL_IN
	drop        = 0       // NF_DROP
	nested      = 1 << 15 // NLA_F_NESTED
)

var families = map[byte]string{1: "inet", unix.AF_INET: "ip", unix.AF_INET6: "ip6"}

func inputHooks() ([]Hook, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	defer unix.Close(s)
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	request := make([]byte, unix.SizeofNlMsghdr+4)
	binary.NativeEndian.PutUint32(request[0:], uint32(len(request)))
	binary.NativeEndian.PutUint16(request[4:], unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETCHAIN)
	binary.NativeEndian.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	if err := unix.Sendto(s, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("asking for chains: %w", err)
	}
	var out []Hook
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(s, buf, 0)
		if err != nil {
			return nil, fmt.Errorf("asking for chains: %w", err)
		}
		hooks, done, err := parseChains(buf[:n])
		out = append(out, hooks...)
		if done || err != nil {
			return out, err
		}
	}
}

// parseChains reads netlink messages about chains. A kernel without nf_tables answers with an error that means none.
func parseChains(data []byte) (out []Hook, done bool, err error) {
	for len(data) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(data))
		if size < unix.SizeofNlMsghdr || size > len(data) {
			return out, true, errors.New("asking for chains: a message is cut short")
		}
		kind, body := binary.NativeEndian.Uint16(data[4:]), data[unix.SizeofNlMsghdr:size]
		switch {
		case kind == unix.NLMSG_DONE:
			return out, true, nil
		case kind == unix.NLMSG_ERROR && len(body) >= 4:
			number := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
			if number == unix.EOPNOTSUPP || number == unix.EINVAL || number == unix.EPROTONOSUPPORT {
				return out, true, nil
			}
			return out, true, fmt.Errorf("asking for chains: %w", number)
		case len(body) >= 4:
			if h, ok := parseChain(families[body[0]], body[4:]); ok {
				out = append(out, h)
			}
		}
		data = data[min(len(data), (size+3)&^3):]
	}
	return out, false, nil
}

func parseChain(family string, attrs []byte) (Hook, bool) {
	h := Hook{Family: family}
	input := false
	eachAttr(attrs, func(kind uint16, value []byte) {
		switch {
		case kind == unix.NFTA_CHAIN_TABLE:
			h.Table = strings.TrimRight(string(value), "\x00")
		case kind == unix.NFTA_CHAIN_NAME:
			h.Chain = strings.TrimRight(string(value), "\x00")
		case kind == unix.NFTA_CHAIN_POLICY && len(value) >= 4:
			h.Drops = binary.BigEndian.Uint32(value) == drop
		case kind == unix.NFTA_CHAIN_HOOK:
			eachAttr(value, func(kind uint16, value []byte) {
				switch {
				case kind == unix.NFTA_HOOK_HOOKNUM && len(value) >= 4:
					input = binary.BigEndian.Uint32(value) == hookLocalIn
				case kind == unix.NFTA_HOOK_PRIORITY && len(value) >= 4:
					h.Priority = int(int32(binary.BigEndian.Uint32(value)))
				}
			})
		}
	})
	return h, input && family != ""
}

func eachAttr(data []byte, fn func(kind uint16, value []byte)) {
	for len(data) >= 4 {
		size := int(binary.NativeEndian.Uint16(data))
		if size < 4 || size > len(data) {
			return
		}
		fn(binary.NativeEndian.Uint16(data[2:])&^nested, data[4:size])
		data = data[min(len(data), (size+3)&^3):]
	}
}
