package host

import (
	"encoding/binary"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func attr(kind uint16, value ...byte) []byte {
	out := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = append(out, value...)
	for len(out)%4 != 0 {
		out = append(out, 0)
	}
	return out
}

func number(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func message(kind uint16, body ...[]byte) []byte {
	var all []byte
	for _, b := range body {
		all = append(all, b...)
	}
	out := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(all)))
	out = binary.NativeEndian.AppendUint16(out, kind)
	return append(append(out, make([]byte, 10)...), all...)
}

// chain is what the kernel says of a base chain.
func chain(family byte, table, name string, hook, priority, policy int32) []byte {
	at := append(attr(unix.NFTA_HOOK_HOOKNUM, number(hook)...), attr(unix.NFTA_HOOK_PRIORITY, number(priority)...)...)
	return message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWCHAIN, []byte{family, 0, 0, 0},
		attr(unix.NFTA_CHAIN_TABLE, append([]byte(table), 0)...), attr(unix.NFTA_CHAIN_NAME, append([]byte(name), 0)...),
		attr(unix.NFTA_CHAIN_HOOK|nested, at...), attr(unix.NFTA_CHAIN_POLICY, number(policy)...))
}

func TestChainsOfTheInputHook(t *testing.T) {
	data := append(chain(1, "firewalld", "filter_INPUT", 1, 10, 1), chain(2, "filter", "INPUT", 1, 0, 0)...)
	data = append(data, chain(2, "nat", "PREROUTING", 0, -100, 1)...)
	data = append(data, message(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWCHAIN, []byte{2, 0, 0, 0}, attr(unix.NFTA_CHAIN_TABLE, 'x', 0), attr(unix.NFTA_CHAIN_NAME, 'y', 0))...)
	data = append(data, chain(7, "bridge", "in", 1, 0, 0)...)
	got, done, err := parseChains(data)
	want := []Hook{{"inet", "firewalld", "filter_INPUT", 10, false}, {"ip", "filter", "INPUT", 0, true}}
	if err != nil || done || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v %v", got, done, err)
	}
	if _, done, err := parseChains(message(unix.NLMSG_DONE)); !done || err != nil {
		t.Errorf("the end: %v %v", done, err)
	}
}

func TestAKernelWithoutChainsHasNone(t *testing.T) {
	refusal := func(n unix.Errno) []byte {
		return message(unix.NLMSG_ERROR, binary.NativeEndian.AppendUint32(nil, uint32(-int32(n))), make([]byte, 16))
	}
	if hooks, done, err := parseChains(refusal(unix.EOPNOTSUPP)); len(hooks) > 0 || !done || err != nil {
		t.Errorf("%v %v %v", hooks, done, err)
	}
	if _, _, err := parseChains(refusal(unix.EPERM)); err == nil {
		t.Error("a refusal counts as none")
	}
	if _, _, err := parseChains(chain(1, "a", "b", 1, 0, 0)[:30]); err == nil {
		t.Error("a message that is cut short is taken")
	}
}

func FuzzChains(f *testing.F) {
	f.Add(chain(1, "firewalld", "filter_INPUT", 1, 10, 1))
	f.Add(message(unix.NLMSG_DONE))
	f.Fuzz(func(t *testing.T, data []byte) {
		hooks, _, _ := parseChains(data)
		for _, h := range hooks {
			if h.Family == "" {
				t.Errorf("%+v", h)
			}
		}
	})
}
