package usernet

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"govmm/devices/virtio/netif"
)

var guestMAC = mac{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// A guest is a second TCP/IP stack behind the Pair of a Backend, with a driver for it: it makes the virtio headers, and
// believes them.
type guest struct {
	tb       testing.TB
	pair     netif.Pair
	offloads netif.Offloads // in both directions
	stack    *stack.Stack
	cancel   context.CancelFunc
	done     chan struct{}

	send       sync.Mutex // Send is for one at a time
	dispatcher stack.NetworkDispatcher
	mtu        uint32
	largest    int // frame that was received
	merged     int // that were larger than the MTU
}

// newGuest starts a guest with the address that DHCP gives.
func newGuest(tb testing.TB, b *Backend, offloads netif.Offloads) *guest {
	tb.Helper()
	if err := b.Start(offloads); err != nil {
		tb.Fatal(err)
	}
	g := &guest{tb: tb, pair: b.Pair(0), offloads: offloads, mtu: uint32(b.cfg.MTU), done: make(chan struct{})}
	addr := g.dhcp(b)
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := g.stack.CreateNIC(nic, (*guestLink)(g)); err != nil {
		tb.Fatal(err)
	}
	g.stack.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(addr), PrefixLen: b.cfg.Network.Bits()},
	}, stack.AddressProperties{})
	subnet := tcpip.AddressWithPrefix{Address: toStack(b.cfg.Network.Addr()), PrefixLen: b.cfg.Network.Bits()}.Subnet()
	g.stack.SetRouteTable([]tcpip.Route{
		{Destination: subnet, NIC: nic},
		{Destination: header.IPv4EmptySubnet, Gateway: toStack(b.cfg.Gateway), NIC: nic},
	})
	g.tune()
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go g.receive(ctx)
	tb.Cleanup(g.close)
	return g
}

func (g *guest) tune() {
	congestion := tcpip.CongestionControlOption("reno")
	recovery := tcpip.TCPRecovery(0)
	moderate := tcpip.TCPModerateReceiveBufferOption(false)
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: 4 << 20, Max: 8 << 20}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: 8 << 20, Max: 8 << 20}
	for _, o := range []tcpip.SettableTransportProtocolOption{&congestion, &recovery, &moderate, &send, &receive} {
		if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			g.tb.Fatal(err)
		}
	}
}

func (g *guest) close() {
	select {
	case <-g.done:
		return
	default:
	}
	g.cancel()
	<-g.done
	g.stack.Destroy()
}

// receive is the guest's receive queue.
func (g *guest) receive(ctx context.Context) {
	defer close(g.done)
	p := make([]byte, netif.HeaderSize+netif.MaxFrame)
	segments := [][]byte{p[:1000], p[1000:30001], p[30001:]}
	for ctx.Err() == nil {
		n, err := g.pair.Receive(segments)
		if errors.Is(err, netif.ErrNoFrame) {
			if g.pair.Wait(ctx) != nil {
				return
			}
			continue
		}
		if err != nil {
			g.tb.Error(err)
			return
		}
		g.input(p[:n])
	}
}

func (g *guest) input(p []byte) {
	g.largest = max(g.largest, len(p)-prefixSize)
	if len(p)-prefixSize > int(g.mtu) {
		g.merged++
		if p[hdrGSOType] != gsoTCPv4 || g.offloads&netif.TSO4 == 0 {
			g.tb.Errorf("a frame of %d bytes with GSO type %d", len(p), p[hdrGSOType])
		}
	}
	if p[hdrFlags] != 0 && g.offloads&netif.Checksum == 0 {
		g.tb.Errorf("flags %#x for a driver without checksums", p[hdrFlags])
	}
	protocol := tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(p[netif.HeaderSize+12:]))
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p[prefixSize:])})
	g.dispatcher.DeliverNetworkPacket(protocol, pkt)
	pkt.DecRef()
}

// A guestLink is the guest's network interface.
type guestLink guest

func (g *guestLink) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	g.send.Lock()
	defer g.send.Unlock()
	for _, p := range list.AsSlice() {
		var prefix [prefixSize]byte
		dst, _ := unpackMAC(packMAC(mac([]byte(p.EgressRoute.RemoteLinkAddress))))
		putEther(prefix[netif.HeaderSize:], dst, guestMAC, uint16(p.NetworkProtocolNumber))
		if gso := &p.GSOOptions; gso.NeedsCsum {
			start := etherSize + int(gso.L3HdrLen)
			prefix[hdrFlags] = needsCsum
			binary.LittleEndian.PutUint16(prefix[hdrCsumStart:], uint16(start))
			binary.LittleEndian.PutUint16(prefix[hdrCsumOffset:], gso.CsumOffset)
			if p.Data().Size() > int(gso.MSS) {
				prefix[hdrGSOType] = gsoTCPv4
				binary.LittleEndian.PutUint16(prefix[hdrGSOSize:], gso.MSS)
			}
		}
		segments := make([][]byte, 0, 8)
		segments = append(segments, prefix[:netif.HeaderSize], prefix[netif.HeaderSize:])
		for _, s := range p.AsSlices() {
			if len(s) > 0 {
				segments = append(segments, s)
			}
		}
		if err := g.pair.Send(segments); err != nil {
			g.tb.Error(err)
		}
	}
	return list.Len(), nil
}

func (g *guestLink) MTU() uint32                             { return g.mtu }
func (g *guestLink) SetMTU(uint32)                           {}
func (g *guestLink) MaxHeaderLength() uint16                 { return 0 }
func (g *guestLink) LinkAddress() tcpip.LinkAddress          { return tcpip.LinkAddress(guestMAC[:]) }
func (g *guestLink) SetLinkAddress(tcpip.LinkAddress)        {}
func (g *guestLink) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }
func (g *guestLink) AddHeader(*stack.PacketBuffer)           {}
func (g *guestLink) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (g *guestLink) SetOnCloseAction(func())                 {}
func (g *guestLink) Close()                                  {}
func (g *guestLink) Wait()                                   {}
func (g *guestLink) Attach(d stack.NetworkDispatcher)        { g.dispatcher = d }
func (g *guestLink) IsAttached() bool                        { return g.dispatcher != nil }
func (g *guestLink) GSOMaxSize() uint32                      { return 65535 }

func (g *guestLink) SupportedGSO() stack.SupportedGSO {
	if g.offloads&netif.TSO4 != 0 {
		return stack.HostGSOSupported
	}
	return stack.GSONotSupported
}

func (g *guestLink) Capabilities() stack.LinkEndpointCapabilities {
	c := stack.CapabilityResolutionRequired
	if g.offloads&netif.Checksum != 0 {
		c |= stack.CapabilityRXChecksumOffload
	}
	return c
}

// dial connects from the guest.
func (g *guest) dial(addr string) (*gonet.TCPConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return gonet.DialContextTCP(ctx, g.stack, stackAddr(addr), ipv4.ProtocolNumber)
}

func (g *guest) mustDial(addr string) *gonet.TCPConn {
	g.tb.Helper()
	c, err := g.dial(addr)
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { c.Close() })
	return c
}

// dialUDP makes a UDP socket of the guest.
func (g *guest) dialUDP(addr string) *gonet.UDPConn {
	g.tb.Helper()
	to := stackAddr(addr)
	c, err := gonet.DialUDP(g.stack, nil, &to, ipv4.ProtocolNumber)
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func stackAddr(s string) tcpip.FullAddress {
	a := netip.MustParseAddrPort(s)
	return tcpip.FullAddress{NIC: nic, Addr: toStack(a.Addr()), Port: a.Port()}
}

// newBackend makes a network that ends with the test.
func newBackend(tb testing.TB, cfg Config) *Backend {
	tb.Helper()
	b, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}

// hostServer serves each connection to a port of the host's loopback, and returns the address by which the guest
// reaches it.
func hostServer(tb testing.TB, serve func(*net.TCPConn)) (guestSees string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var wg sync.WaitGroup
	tb.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // there may be no descriptors
				time.Sleep(10 * time.Millisecond)
				continue
			}
			wg.Go(func() { defer c.Close(); serve(c.(*net.TCPConn)) })
		}
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "10.0.2.2:" + port
}
