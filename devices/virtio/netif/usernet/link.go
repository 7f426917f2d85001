package usernet

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

const (
	nic = 1

	// maxSegment is the largest IP packet that TCP makes for the guest.
	maxSegment = 65535
)

// A link is the network interface of the stack: what the stack sends goes to the guest's queue. Addresses of Ethernet are no
// matter of the stack's: the last step adds them.
type link struct {
	b   *Backend
	mtu uint32

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

// deliver gives the stack a packet from the guest, and the reference to it.
func (l *link) deliver(p *stack.PacketBuffer) {
	l.mu.RLock()
	d := l.dispatcher
	l.mu.RUnlock()
	if d != nil {
		d.DeliverNetworkPacket(ipv4.ProtocolNumber, p)
	}
	p.DecRef()
}

// WritePackets implements stack.LinkWriter. What has no room is dropped without an error, as on any Ethernet.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	packets := list.AsSlice()
	for _, p := range packets {
		e := entry{packet: p.IncRef(), bytes: p.Size()}
		if p.TransportProtocolNumber != header.TCPProtocolNumber || p.Data().Size() == 0 {
			e.loose = e.bytes
		}
		if !l.b.queue.put(e) {
			p.DecRef()
		}
	}
	return len(packets), nil
}

// The rest of stack.LinkEndpoint and stack.GSOEndpoint.

func (l *link) MTU() uint32                             { return l.mtu }
func (l *link) SetMTU(uint32)                           {}
func (l *link) MaxHeaderLength() uint16                 { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress          { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)        {}
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)           {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (l *link) SetOnCloseAction(func())                 {}
func (l *link) Close()                                  {}
func (l *link) Wait()                                   {}
func (l *link) GSOMaxSize() uint32                      { return maxSegment }
func (l *link) SupportedGSO() stack.SupportedGSO        { return stack.HostGSOSupported }
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

func (l *link) Attach(d stack.NetworkDispatcher) {
	l.mu.Lock()
	l.dispatcher = d
	l.mu.Unlock()
}

func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// newStack makes the stack. It answers for every address, which is what a NAT is: it takes packets to all of
// them (promiscuous) and sends from all of them (spoofing).
func (b *Backend) newStack() error {
	b.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	b.link = &link{b: b, mtu: uint32(b.cfg.MTU)}
	if err := b.stack.CreateNIC(nic, b.link); err != nil {
		return stackError("interface", err)
	}
	for _, a := range []netip.Addr{b.cfg.Gateway, b.cfg.DNS} {
		p := tcpip.ProtocolAddress{
			Protocol:          ipv4.ProtocolNumber,
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(a), PrefixLen: b.cfg.Network.Bits()},
		}
		if err := b.stack.AddProtocolAddress(nic, p, stack.AddressProperties{}); err != nil {
			return stackError("address", err)
		}
	}
	b.stack.SetPromiscuousMode(nic, true)
	b.stack.SetSpoofing(nic, true)
	b.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	if err := b.setTCPOptions(); err != nil {
		return err
	}
	b.syns = tcp.NewForwarder(b.stack, maxBuffer, maxHalfOpen, b.accept)
	b.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, b.syns.HandlePacket)
	b.stack.SetTransportProtocolHandler(udp.ProtocolNumber, b.sendUDP)
	b.stack.SetTransportProtocolHandler(icmp.ProtocolNumber4, b.sendEcho)
	return nil
}

// closeStack ends the stack with all its connections. A connection whose handshake begins at this moment is seen in
// the next round.
func (b *Backend) closeStack() {
	done := make(chan struct{})
	go func() { b.flows.Wait(); close(done) }()
	for {
		for _, e := range b.stack.RegisteredEndpoints() {
			e.Abort()
		}
		select {
		case <-done:
			b.stack.Destroy()
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func toStack(a netip.Addr) tcpip.Address   { return tcpip.AddrFrom4(a.As4()) }
func fromStack(a tcpip.Address) netip.Addr { return netip.AddrFrom4(a.As4()) }

// stackError makes an error of one of the stack's, which do not implement error.
func stackError(doing string, err tcpip.Error) error {
	return fmt.Errorf("user network: %s: %w", doing, errors.New(err.String()))
}
