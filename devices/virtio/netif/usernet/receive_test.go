package usernet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"govmm/devices/virtio/netif"
)

const testMSS = 1448

// segment returns a large segment as the stack makes them: with the sum of the pseudo-header only, and its data in pieces
// of odd lengths.
func segment(data []byte) *stack.PacketBuffer {
	var payload buffer.Buffer
	for i, n := 0, 1001; i < len(data); i, n = i+n, n+1000 {
		n = min(n, len(data)-i)
		payload.Append(buffer.NewViewWithData(data[i : i+n]))
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 100, Payload: payload})
	src, dst := stackAddr("10.0.2.2:80").Addr, stackAddr("10.0.2.15:1000").Addr
	size := header.TCPMinimumSize + 12 + len(data)
	h := header.TCP(p.TransportHeader().Push(header.TCPMinimumSize + 12))
	h.Encode(&header.TCPFields{SrcPort: 80, DstPort: 1000, SeqNum: 0xfffffff0, AckNum: 5, DataOffset: header.TCPMinimumSize + 12, Flags: header.TCPFlagAck | header.TCPFlagPsh, WindowSize: 77})
	h.SetChecksum(header.PseudoHeaderChecksum(header.TCPProtocolNumber, src, dst, uint16(size)))
	p.TransportProtocolNumber = header.TCPProtocolNumber
	ip := header.IPv4(p.NetworkHeader().Push(header.IPv4MinimumSize))
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(header.IPv4MinimumSize + size), ID: 65535, TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: src, DstAddr: dst})
	ip.SetChecksum(^ip.CalculateChecksum())
	p.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, CsumOffset: header.TCPChecksumOffset, MSS: testMSS, L3HdrLen: header.IPv4MinimumSize}
	return p
}

// put gives the link a packet as the stack does.
func put(b *Backend, p *stack.PacketBuffer) {
	var list stack.PacketBufferList
	list.PushBack(p)
	b.link.WritePackets(list)
}

// TestLarge holds what a driver with all offloads gets: the segment as it is, and a header that says how to cut it.
func TestLarge(t *testing.T) {
	b := newBackend(t, Config{})
	b.pair.guestMAC.Store(packMAC(guestMAC))
	b.Start(allOffloads)
	data := make([]byte, 60000)
	rand.NewChaCha8([32]byte{}).Read(data)
	p := segment(data)
	put(b, p)
	p.DecRef()
	buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
	n, err := b.pair.Receive([][]byte{buffer[:5], buffer[5:30000], buffer[30000:]})
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{needsCsum, gsoTCPv4, 66, 0, testMSS & 0xff, testMSS >> 8, 34, 0, 16, 0, 0, 0}
	if !bytes.Equal(buffer[:netif.HeaderSize], want) || mac(buffer[12:]) != guestMAC || !bytes.HasSuffix(buffer[:n], data) || n != prefixSize+52+len(data) {
		t.Errorf("%d bytes, header %v, want %v", n, buffer[:netif.HeaderSize], want)
	}
}

// TestCut holds what a driver without offloads gets: segments of the MTU with all fields right.
func TestCut(t *testing.T) {
	b := newBackend(t, Config{})
	b.pair.guestMAC.Store(packMAC(guestMAC))
	data := make([]byte, 20*testMSS+7)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, offloads := range []netif.Offloads{0, netif.Checksum} {
		b.Start(offloads)
		p := segment(data)
		put(b, p)
		p.DecRef()
		var got []byte
		for i := 0; ; i++ {
			frame := make([]byte, 2000)
			n, err := b.pair.Receive([][]byte{frame[:47], frame[47:]})
			if errors.Is(err, netif.ErrNoFrame) {
				break
			}
			if !bytes.Equal(frame[:netif.HeaderSize], noOffloads[:]) {
				t.Errorf("header %v", frame[:netif.HeaderSize])
			}
			ip := header.IPv4(frame[prefixSize:n])
			h := header.TCP(ip.Payload())
			last := len(got)+len(h.Payload()) == len(data)
			sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(h)))
			if !ip.IsChecksumValid() || ip.ID() != uint16(65535+i) || int(ip.TotalLength()) != len(ip) || len(ip) > 1500 ||
				h.CalculateChecksum(checksum.Combine(sum, sumOfBytes(h.Payload()))) != 0xffff ||
				h.SequenceNumber() != uint32(0xfffffff0+len(got)) || h.Flags().Contains(header.TCPFlagPsh) != last {
				t.Fatalf("segment %d: %x", i, []byte(ip[:52]))
			}
			got = append(got, h.Payload()...)
		}
		if !bytes.Equal(got, data) {
			t.Errorf("%d bytes of %d, or others", len(got), len(data))
		}
	}
}

// sumOfBytes is the sum of RFC 1071 in the plainest way.
func sumOfBytes(p []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(p); i += 2 {
		word := uint32(p[i]) << 8
		if i+1 < len(p) {
			word |= uint32(p[i+1])
		}
		sum += word
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// TestReceiveDoesNotAllocate holds it for the way of TCP to the guest: the queue, Wait and Receive, whole or cut.
func TestReceiveDoesNotAllocate(t *testing.T) {
	for _, offloads := range []netif.Offloads{0, allOffloads} {
		b := newBackend(t, Config{})
		b.pair.guestMAC.Store(packMAC(guestMAC))
		b.Start(offloads)
		p := segment(make([]byte, 60000))
		defer p.DecRef()
		buffer := make([]byte, netif.HeaderSize+netif.MaxFrame)
		segments := [][]byte{buffer[:1000], buffer[1000:]}
		ctx := context.Background()
		e := entry{packet: p}
		n := testing.AllocsPerRun(100, func() {
			p.IncRef()
			b.queue.put(e)
			b.pair.Wait(ctx)
			for {
				if _, err := b.pair.Receive(segments); err != nil {
					return
				}
			}
		})
		if n != 0 {
			t.Errorf("offloads %d: %v allocations", offloads, n)
		}
	}
}

// TestSendAllocates says how much the way from the guest allocates: the views of the packet and a segment of gVisor's,
// whose data is pooled. A segment that the guest sends twice goes all the way to the connection.
func TestSendAllocates(t *testing.T) {
	b := newBackend(t, Config{})
	addr := hostServer(t, func(c *net.TCPConn) { c.Read(make([]byte, 1)) })
	g := newGuest(t, b, allOffloads)
	c := g.mustDial(addr)
	local := stackAddr(c.LocalAddr().String())
	frame := append(synFrame("10.0.2.2", stackAddr(addr).Port), make([]byte, 60000)...)
	ip := header.IPv4(frame[prefixSize:])
	ip.SetTotalLength(uint16(len(ip)))
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	h := header.TCP(ip.Payload())
	h.SetSourcePort(local.Port)
	h.SetFlags(uint8(header.TCPFlagAck))
	frame[hdrFlags], frame[hdrGSOType] = needsCsum, gsoTCPv4
	binary.LittleEndian.PutUint16(frame[hdrGSOSize:], testMSS)
	binary.LittleEndian.PutUint16(frame[hdrCsumStart:], 34)
	binary.LittleEndian.PutUint16(frame[hdrCsumOffset:], 16)
	segments := [][]byte{frame[:netif.HeaderSize], frame[netif.HeaderSize:]}
	before := b.stack.Stats().TCP.ValidSegmentsReceived.Value()
	send := func() {
		g.send.Lock()
		b.pair.Send(segments)
		g.send.Unlock()
	}
	for range 200 { // until there are buffers in the stack's pools
		send()
	}
	n := testing.AllocsPerRun(100, send)
	if got := b.stack.Stats().TCP.ValidSegmentsReceived.Value() - before; got < 100 {
		t.Errorf("%d segments came to the connection", got)
	}
	if n > 4 {
		t.Errorf("%v allocations for a frame of %d bytes", n, len(frame))
	}
	t.Logf("%v allocations for a frame of %d bytes", n, len(frame))
}
