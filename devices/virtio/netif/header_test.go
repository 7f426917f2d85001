package netif

import (
	"encoding/binary"
	"testing"
)

// TestHeaders holds which headers go to the network, by what was negotiated.
func TestHeaders(t *testing.T) {
	const all = featureChecksum | featureHostTSO4 | featureHostTSO6
	for _, c := range []struct {
		name      string
		features  uint64
		flags     byte
		kind      byte
		size      uint16
		wantFlags byte
		want      bool
	}{
		{"plain", 0, 0, gsoNone, 0, 0, true},
		{"checksum", all, flagNeedsChecksum, gsoNone, 0, flagNeedsChecksum, true},
		{"checksum, not negotiated", 0, flagNeedsChecksum, gsoNone, 0, 0, true},
		{"other flags", all, 0xff, gsoNone, 0, flagNeedsChecksum, true},
		{"TSO4", all, flagNeedsChecksum, gsoTCPv4, 1448, flagNeedsChecksum, true},
		{"TSO6", all, flagNeedsChecksum, gsoTCPv6, 1428, flagNeedsChecksum, true},
		{"TSO4, not negotiated", featureChecksum | featureHostTSO6, flagNeedsChecksum, gsoTCPv4, 1448, 1, false},
		{"TSO6, not negotiated", featureChecksum | featureHostTSO4, flagNeedsChecksum, gsoTCPv6, 1428, 1, false},
		{"UFO", all, flagNeedsChecksum, 3, 1448, 1, false},
		{"USO", all, flagNeedsChecksum, 5, 1448, 1, false},
		{"ECN", all, flagNeedsChecksum, gsoTCPv4 | 0x80, 1448, 1, false},
		{"segments of nothing", all, flagNeedsChecksum, gsoTCPv4, 0, 1, false},
		{"segments of little", all, flagNeedsChecksum, gsoTCPv4, minSegment - 1, 1, false},
		{"segments of the least", all, flagNeedsChecksum, gsoTCPv4, minSegment, 1, true},
	} {
		var h [HeaderSize]byte
		h[headerFlags], h[headerGSOType] = c.flags, c.kind
		binary.LittleEndian.PutUint16(h[headerGSOSize:], c.size)
		if got := knownOf(c.features).check(&h); got != c.want || got && h[headerFlags] != c.wantFlags {
			t.Errorf("%s: %v, flags %#x", c.name, got, h[headerFlags])
		}
	}
}

// TestLyingHeader holds that a frame with such a header is not sent, whatever the descriptors, and that the next one is.
func TestLyingHeader(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, ^uint64(0), 64)
	lie := make([]byte, 100)
	lie[headerGSOType], lie[headerGSOSize] = gsoTCPv4, 1
	for _, seg := range []int{5, 12, 100} {
		g.send(0, lie, seg)
		g.send(0, make([]byte, 99), seg)
		if got := <-g.wire.ports[0].sent; len(got) != 99 {
			t.Errorf("segments of %d: %d bytes were sent", seg, len(got))
		}
	}
}

// TestReset holds that the next driver reads the address that the device was made with.
func TestReset(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, ^uint64(0), 64)
	d := g.device
	d.mu.Lock()
	d.settings.mac[5]++
	d.mu.Unlock()
	g.Reset()
	var got MAC
	d.ReadConfig(configMAC, got[:])
	if got != d.mac {
		t.Errorf("it reads %v, not %v", got, d.mac)
	}
}
