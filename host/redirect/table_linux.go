package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrKernel says that the kernel does not know what a table needs.
var ErrKernel = errors.New("this kernel cannot tie a table of nftables to the process that holds it (Linux 5.12 can)")

// Table is one of nftables that is gone with the process that has opened it.
type Table struct {
	conn   *nftables.Conn
	table  *nftables.Table
	chains []*nftables.Chain
}

// priority is before that of whoever leads Services to their endpoints: the first translation of a connection counts.
const priority = -110

// Open makes the table, with chains that lead nothing anywhere. One of that name that another process holds is an error.
func Open(name string) (*Table, error) {
	var socket *netlink.Conn
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		socket = c
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	t := &Table{conn: conn, table: &nftables.Table{Name: name, Family: nftables.TableFamilyINet}}
	err = createOwned(socket, name)
	if err == nil {
		for _, hook := range []struct {
			name string
			at   *nftables.ChainHook
		}{{"prerouting", nftables.ChainHookPrerouting}, {"output", nftables.ChainHookOutput}} {
			t.chains = append(t.chains, conn.AddChain(&nftables.Chain{
				Name: hook.name, Table: t.table, Type: nftables.ChainTypeNAT, Hooknum: hook.at, Priority: nftables.ChainPriorityRef(priority),
			}))
		}
		err = conn.Flush()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making table inet %s: %w", name, err), conn.CloseLasting())
	}
	return t, nil
}

const tableOwner = 0x2 // NFT_TABLE_F_OWNER

// createOwned makes a table that is the socket's: the library knows no flags of tables.
func createOwned(socket *netlink.Conn, name string) error {
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binary.BigEndian.AppendUint32(nil, tableOwner)},
	})
	if err != nil {
		return err
	}
	header := func(family byte, resource uint16) []byte {
		return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
	}
	_, err = socket.SendMessages([]netlink.Message{
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_BEGIN, Flags: netlink.Request}, Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)},
		{
			Header: netlink.Header{
				Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append(header(unix.NFPROTO_INET, 0), attrs...),
		},
		{Header: netlink.Header{Type: unix.NFNL_MSG_BATCH_END, Flags: netlink.Request}, Data: header(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)},
	})
	if err == nil {
		_, err = socket.Receive()
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %w", ErrKernel, err)
	}
	return err
}

// Lead lets new connections go where the redirect says, from one moment to the next.
func (t *Table) Lead(r Redirect) error { return t.lead(r, only{}) }

func (t *Table) lead(r Redirect, limit only) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("leading connections: %w", err)
	}
	t.conn.FlushTable(t.table)
	for _, c := range t.chains {
		for _, match := range [][]expr.Any{toService(r), toNode(r)} {
			t.conn.AddRule(&nftables.Rule{Table: t.table, Chain: c, Exprs: join(family(r.Address), limit.match(c.Name), match, to(r))})
		}
	}
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("leading connections: %w", err)
	}
	return nil
}

// Release lets new connections go where they would without us. Those that were led stay where they are: the chains are still
// there, without which the kernel may forget how to translate them.
func (t *Table) Release() error {
	t.conn.FlushTable(t.table)
	if err := t.conn.Flush(); err != nil {
		return fmt.Errorf("leading connections no more: %w", err)
	}
	return nil
}

// Close removes the table.
func (t *Table) Close() error {
	t.conn.DelTable(t.table)
	if err := errors.Join(t.conn.Flush(), t.conn.CloseLasting()); err != nil {
		return fmt.Errorf("removing table inet %s: %w", t.table.Name, err)
	}
	return nil
}

// Left says whether a table of that name is there, whoever holds it.
func Left(name string) (bool, error) {
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("opening netlink: %w", err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("listing tables: %w", err)
	}
	for _, t := range tables {
		if t.Name == name {
			return true, nil
		}
	}
	return false, nil
}

func join(parts ...[]expr.Any) (all []expr.Any) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// equal loads something and compares it.
func equal(load expr.Any, data []byte) []expr.Any {
	return []expr.Any{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

// family is TCP of an address's family.
func family(a netip.Addr) []expr.Any {
	proto := byte(unix.NFPROTO_IPV6)
	if a.Is4() {
		proto = unix.NFPROTO_IPV4
	}
	return append(equal(&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, []byte{proto}),
		equal(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, []byte{unix.IPPROTO_TCP})...)
}

func tableFamily(a netip.Addr) nftables.TableFamily {
	if a.Is4() {
		return nftables.TableFamilyIPv4
	}
	return nftables.TableFamilyIPv6
}

// Offsets in the headers.
const (
	source4, dest4, source6, dest6 = 12, 16, 8, 24
	destPort                       = 2
)

func address(a netip.Addr, at4, at6 uint32) expr.Any {
	p := &expr.Payload{Base: expr.PayloadBaseNetworkHeader, DestRegister: 1, Offset: at6, Len: 16}
	if a.Is4() {
		p.Offset, p.Len = at4, 4
	}
	return p
}

func toPort(n uint16) []expr.Any {
	return equal(&expr.Payload{Base: expr.PayloadBaseTransportHeader, DestRegister: 1, Offset: destPort, Len: 2}, binaryutil.BigEndian.PutUint16(n))
}

func toService(r Redirect) []expr.Any {
	return append(equal(address(r.Service.Addr(), dest4, dest6), r.Service.Addr().AsSlice()), toPort(r.Service.Port())...)
}

// toNode is any address of this node but the loopback's: what was sent from there cannot leave it.
func toNode(r Redirect) []expr.Any {
	mask, loopback := []byte{255, 0, 0, 0}, []byte{127, 0, 0, 0}
	if !r.Address.Is4() {
		mask, loopback = make([]byte, 16), netip.IPv6Loopback().AsSlice()
		for i := range mask {
			mask[i] = 255
		}
	}
	out := equal(&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true}, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))
	out = append(out, address(r.Address, dest4, dest6),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: loopback})
	return append(out, toPort(uint16(r.Secure))...)
}

func to(r Redirect) []expr.Any {
	proto := uint32(unix.NFPROTO_IPV6)
	if r.Address.Is4() {
		proto = unix.NFPROTO_IPV4
	}
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: r.Address.AsSlice()},
		&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(uint16(r.To))},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: proto, RegAddrMin: 1, RegProtoMin: 2},
	}
}

func (o only) match(chain string) []expr.Any {
	switch {
	case !o.from.IsValid():
		return nil
	case chain == "output":
		return equal(&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, binaryutil.NativeEndian.PutUint32(o.mark))
	}
	return equal(address(o.from, source4, source6), o.from.AsSlice())
}
