package tapnet

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/dhcp"
)

const (
	tablePrefix = "govmm_"

	// forwardTable is empty. That it is there says that IP forwarding was off before the first routed tap.
	forwardTable = "govmm_forward"

	forwardFile = "/proc/sys/net/ipv4/ip_forward"
)

func table(name string) *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyIPv4, Name: name}
}

func (r *routed) table() *nftables.Table { return table(tablePrefix + string(r.tap)) }

// masquerade makes a table with two chains: one drops what comes from the tap and is not from the guest's address, unless it asks for that
// address; the other gives what goes elsewhere from there the host's address.
func (r *routed) masquerade() error {
	c := &nftables.Conn{}
	t := r.table()
	// A table of that name may have been left by a process that was killed. To remove it, it must be there.
	c.AddTable(t)
	c.DelTable(t)
	c.AddTable(t)
	source := c.AddChain(&nftables.Chain{
		Name: "source", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	guest := r.guest().Addr()
	c.AddRule(&nftables.Rule{Table: t, Chain: source, Exprs: append(
		r.interfaceIs(expr.MetaKeyIIFNAME, expr.CmpOpEq), append(isDiscovery(), &expr.Verdict{Kind: expr.VerdictAccept})...)})
	c.AddRule(&nftables.Rule{Table: t, Chain: source, Exprs: append(
		r.interfaceIs(expr.MetaKeyIIFNAME, expr.CmpOpEq), append(sourceIs(guest, expr.CmpOpNeq), &expr.Verdict{Kind: expr.VerdictDrop})...)})
	post := c.AddChain(&nftables.Chain{
		Name: "masquerade", Table: t, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: t, Chain: post, Exprs: append(
		r.interfaceIs(expr.MetaKeyOIFNAME, expr.CmpOpNeq), append(sourceIs(guest, expr.CmpOpEq), &expr.Masq{})...)})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("masquerading by nftables: %w (as root: modprobe nft_masq)", err)
	}
	return nil
}

// interfaceIs compares the name of the interface by which a packet comes or goes with the tap's.
func (r *routed) interfaceIs(key expr.MetaKey, op expr.CmpOp) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, r.tap)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: name}}
}

// isDiscovery takes what a DHCP client without an address sends: from 0.0.0.0, to everybody, to the server's port by UDP.
func isDiscovery() []expr.Any {
	return slices.Concat(
		sourceIs(netip.IPv4Unspecified(), expr.CmpOpEq),
		field(expr.PayloadBaseNetworkHeader, 16, []byte{255, 255, 255, 255}, expr.CmpOpEq),
		field(expr.PayloadBaseNetworkHeader, 9, []byte{unix.IPPROTO_UDP}, expr.CmpOpEq),
		field(expr.PayloadBaseTransportHeader, 2, []byte{0, dhcp.ServerPort}, expr.CmpOpEq),
	)
}

// sourceIs compares the source address in an IPv4 header with an address.
func sourceIs(a netip.Addr, op expr.CmpOp) []expr.Any {
	return field(expr.PayloadBaseNetworkHeader, 12, a.AsSlice(), op)
}

// field compares some bytes of a header.
func field(base expr.PayloadBase, offset uint32, value []byte, op expr.CmpOp) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(value))},
		&expr.Cmp{Op: op, Register: 1, Data: value},
	}
}

// lockFile is what those who change tables and IP forwarding lock: a file of each network namespace that only its administrators may open, so that
// nobody else can keep them waiting. What is in it is no matter. Processes that have /proc mounted otherwise, as in a container with the host's network, do not see each other's
// locks.
const lockFile = "/proc/sys/net/ipv4/tcp_fastopen_key"

// lockTime is far beyond what steps take.
const lockTime = 30 * time.Second

// locked does steps, all of them whatever fails, while no other process of ours does any: tables and IP forwarding belong to the whole host.
func locked(steps ...func() error) error { return lockedWithin(lockTime, steps...) }

func lockedWithin(limit time.Duration, steps ...func() error) error {
	fd, err := unix.Open(lockFile, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", lockFile, err)
	}
	defer unix.Close(fd)
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) || time.Now().After(deadline) {
			return fmt.Errorf("%s, which is locked while a routed tap comes or goes: %w (who holds it: lslocks)", lockFile, err)
		}
	}
	for _, step := range steps {
		err = errors.Join(err, step())
	}
	return err
}

// unmasquerade removes the table of a tap, which may be empty, and those of taps that are not there any more.
func unmasquerade(which iface) error {
	names, err := ours()
	if err != nil {
		return err
	}
	for name := range names {
		tap := iface(strings.TrimPrefix(name, tablePrefix))
		if tap == which || name != forwardTable && tap.gone() {
			err = errors.Join(err, remove(table(name)))
		}
	}
	return err
}

func remove(t *nftables.Table) error {
	c := &nftables.Conn{}
	c.DelTable(t)
	return c.Flush()
}

// ours returns the names of tables that routed taps have made.
func ours() (map[string]bool, error) {
	c := &nftables.Conn{}
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	names := map[string]bool{}
	for _, t := range tables {
		if strings.HasPrefix(t.Name, tablePrefix) {
			names[t.Name] = true
		}
	}
	return names, nil
}

// forward turns IP forwarding on, and leaves a mark if it was off.
func forward() error {
	was, err := os.ReadFile(forwardFile)
	if err != nil || strings.TrimSpace(string(was)) != "0" {
		return err
	}
	c := &nftables.Conn{}
	c.AddTable(table(forwardTable))
	if err := c.Flush(); err != nil {
		return err
	}
	return os.WriteFile(forwardFile, []byte("1"), 0)
}

// unforward turns IP forwarding off again if it was off, and no other routed tap needs it.
func unforward() error {
	tables, err := ours()
	if err != nil || len(tables) != 1 || !tables[forwardTable] {
		return err
	}
	if err := os.WriteFile(forwardFile, []byte("0"), 0); err != nil {
		return err
	}
	return remove(table(forwardTable))
}
