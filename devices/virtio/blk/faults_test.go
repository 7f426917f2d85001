package blk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// A host is a disk's driver, and the log of its monitor.
type host struct {
	*virtiotest.MMIODriver
	logged strings.Builder
}

func newHost(t *testing.T, backend Backend) *host {
	t.Helper()
	h := new(host)
	device := newDevice(t, Config{Backend: backend, Log: slog.New(slog.NewTextHandler(&h.logged, nil))})
	mem, irq := virtiotest.NewMemory(0, 16<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	h.MMIODriver = virtiotest.NewDriver(t, transport, mem, irq)
	h.Start(^uint64(0), 256)
	return h
}

// A sent is a request that is with the device.
type sent struct {
	kind, head   uint32
	sector       uint64
	data, status []byte // in guest memory
}

// send makes a request available. Its payload is written, or has the room for what is read.
func (h *host) send(kind uint32, sector uint64, payload []byte) *sent {
	header, status := h.Mem.Alloc(headerSize, 8), h.Mem.Alloc(1, 1)
	binary.LittleEndian.PutUint32(h.Mem.Bytes(header, 4), kind)
	binary.LittleEndian.PutUint64(h.Mem.Bytes(header+8, 8), sector)
	s := &sent{kind: kind, sector: sector, status: h.Mem.Bytes(status, 1)}
	s.status[0] = 0xee
	bufs := []virtiotest.Buf{{Addr: header, Len: headerSize}}
	if n := uint64(len(payload)); n > 0 {
		at := h.Mem.Alloc(n, 8)
		s.data = h.Mem.Bytes(at, n)
		copy(s.data, payload)
		bufs = append(bufs, virtiotest.Buf{Addr: at, Len: uint32(n), Write: kind == typeIn})
	}
	s.head = uint32(h.Rings[0].Add(append(bufs, virtiotest.Buf{Addr: status, Len: 1, Write: true})...))
	h.Kick(0)
	return s
}

// do sends a request and waits for it.
func (h *host) do(kind uint32, sector uint64, payload []byte) status {
	s := h.send(kind, sector, payload)
	h.Await(0)
	return status(s.status[0])
}

// checkAlive holds that the device goes on, and that its monitor has told of failures once.
func (h *host) checkAlive(t *testing.T, op string) {
	t.Helper()
	if s := h.Status(); s&virtio.StatusNeedsReset != 0 {
		t.Errorf("device status %#x", s)
	}
	if got := h.logged.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "disk request failed") || !strings.Contains(got, op) {
		t.Errorf("logged: %s", got)
	}
}

var faultRequests = []struct {
	op      string
	kind    uint32
	payload []byte
}{
	{"read", typeIn, make([]byte, 4*sectorSize)},
	{"write", typeOut, bytes.Repeat([]byte{7}, 4*sectorSize)},
	{"flush", typeFlush, nil},
	{"discard", typeDiscard, segment(0, 8, 0)},
	{"write zeroes", typeWriteZeroes, segment(0, 8, 0)},
}

// TestFaults has the host fail in each way at each request. The guest gets VIRTIO_BLK_S_IOERR, the monitor logs a
// line, and the same request works afterwards.
func TestFaults(t *testing.T) {
	for name, f := range map[string]fault{
		"EIO":                    {err: unix.EIO},
		"ENOSPC":                 {err: unix.ENOSPC},
		"EIO after a part":       {err: unix.EIO, moves: sectorSize},
		"ENOSPC after a part":    {err: unix.ENOSPC, moves: sectorSize + 100},
		"the file is cut":        {err: io.ErrUnexpectedEOF, moves: 3 * sectorSize},
		"short without an error": {moves: 2 * sectorSize},
	} {
		for _, request := range faultRequests {
			if f.err == nil && len(request.payload) < sectorSize {
				continue // moves nothing, and so cannot be short
			}
			t.Run(name+"/"+request.op, func(t *testing.T) {
				for _, tried := range []bool{true, false} {
					bad := true
					disk := &faulty{tempFile(t, 64*sectorSize), func(string) fault {
						if bad {
							return f
						}
						return fault{}
					}}
					h := newHost(t, disk)
					if !tried {
						h = newHost(t, struct{ Backend }{disk}) // no Trier
					}
					for range 3 {
						if s := h.do(request.kind, 0, request.payload); s != statusIOError {
							t.Errorf("tried %v: status %d with the fault", tried, s)
						}
					}
					bad = false
					if s := h.do(request.kind, 0, request.payload); s != statusOK {
						t.Errorf("tried %v: status %d after the fault", tried, s)
					}
					h.checkAlive(t, request.op)
				}
			})
		}
	}
}

// TestFaultsUnderLoad reads and writes with many requests at once, of which some fail and some are slow. Each comes back; those
// that are said to have worked have.
func TestFaultsUnderLoad(t *testing.T) {
	const requests, places, length = 2000, 32, 4 * sectorSize
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	calm := false
	spoilt := 0
	h := newHost(t, &faulty{tempFile(t, places*length), func(op string) (f fault) {
		mu.Lock()
		defer mu.Unlock()
		if calm || op == "flush" {
			return f
		}
		switch r.IntN(10) {
		case 0:
			f = fault{err: []error{unix.EIO, unix.ENOSPC}[r.IntN(2)], moves: r.IntN(length)}
			spoilt++
		case 1:
			f.delay = time.Duration(r.IntN(1000)) * time.Microsecond
		}
		return f
	}})
	// In each place is one request at a time, so that it is known what a read must find.
	content := make([][]byte, places)
	for i := range content {
		content[i] = make([]byte, length)
		if s := h.do(typeOut, uint64(i*length/sectorSize), content[i]); s != statusOK {
			content[i] = nil // not known
		}
	}
	inFlight, byHead, failed := map[int]*sent{}, map[uint32]int{}, 0
	settle := func() {
		used := h.Await(0)
		place := byHead[used.ID]
		s := inFlight[place]
		delete(inFlight, place)
		switch {
		case s.status[0] == byte(statusIOError):
			failed++
			if s.kind == typeOut {
				content[place] = nil
			}
		case s.status[0] != byte(statusOK):
			t.Fatalf("status %d", s.status[0])
		case s.kind == typeOut:
			content[place] = s.data
		case content[place] != nil && !bytes.Equal(s.data, content[place]):
			t.Fatalf("place %d has %x, want %x", place, s.data[:8], content[place][:8])
		}
	}
	for n := range requests {
		place := n % places
		for inFlight[place] != nil {
			settle()
		}
		kind, payload := uint32(typeIn), make([]byte, length)
		if n/places%2 == 0 {
			kind, payload = typeOut, bytes.Repeat([]byte{byte(n), byte(n >> 8)}, length/2)
		}
		s := h.send(kind, uint64(place*length/sectorSize), payload)
		inFlight[place], byHead[s.head] = s, place
	}
	for len(inFlight) > 0 {
		settle()
	}
	mu.Lock()
	calm = true
	mu.Unlock()
	if s := h.do(typeFlush, 0, nil); s != statusOK || failed == 0 || failed > spoilt {
		t.Errorf("flush has status %d; %d requests failed, %d were made to", s, failed, spoilt)
	}
	h.checkAlive(t, "")
	t.Attr("reliability", fmt.Sprintf("fault-requests=%d", requests))
	t.Attr("reliability", fmt.Sprintf("fault-injected=%d", spoilt))
}

// TestPowerCut loses what a disk has in its cache, in any order. What the guest was told is stable is there.
func TestPowerCut(t *testing.T) {
	const cuts, sectors = 200, 8
	for seed := range uint64(cuts) {
		r := rand.New(rand.NewPCG(seed, 0))
		disk := &volatile{stable: make([]byte, sectors*sectorSize)}
		h := newHost(t, disk)
		var written, stable [sectors]byte // the last number
		for n := byte(1); n < byte(20+r.IntN(100)); n++ {
			if r.IntN(4) == 0 {
				if s := h.do(typeFlush, 0, nil); s != statusOK {
					t.Fatalf("flush: status %d", s)
				}
				stable = written
				continue
			}
			sector := r.IntN(sectors)
			if s := h.do(typeOut, uint64(sector), bytes.Repeat([]byte{n}, sectorSize)); s != statusOK {
				t.Fatalf("write: status %d", s)
			}
			written[sector] = n
		}
		for i, p := range slices.Collect(slices.Chunk(disk.cut(r), sectorSize)) {
			if p[0] < stable[i] || p[0] > written[i] {
				t.Errorf("seed %d: sector %d has %d, of which %d was flushed and %d written", seed, i, p[0], stable[i], written[i])
			}
		}
	}
	t.Attr("reliability", fmt.Sprintf("power-cuts=%d", cuts))
}
