package blk

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// A disk is a Backend in memory. before, if set, is called at the start of
// each operation, and its error is the operation's.
type disk struct {
	mu       sync.Mutex
	data     []byte
	log      []string
	readOnly bool
	before   func(op string) error
	seen     func(segments [][]byte) // is called with what is to be transferred, if set
}

func newDisk(sectors int) *disk {
	d := &disk{data: make([]byte, sectors*sectorSize)}
	for i := range d.data {
		d.data[i] = byte(i>>sectorShift) + 1
	}
	return d
}

func (d *disk) Info() Info { return Info{Size: int64(len(d.data)), ReadOnly: d.readOnly} }

// begin locks the disk.
func (d *disk) begin(op string) error {
	if d.before != nil {
		if err := d.before(op); err != nil {
			d.mu.Lock()
			return err
		}
	}
	d.mu.Lock()
	d.log = append(d.log, op)
	return nil
}

func (d *disk) ReadVec(segments [][]byte, off int64) (n int, err error) {
	defer d.mu.Unlock()
	if err := d.begin("read"); err != nil {
		return 0, err
	}
	if d.seen != nil {
		d.seen(segments)
	}
	for _, s := range segments {
		n += copy(s, d.data[int(off)+n:])
	}
	return n, nil
}

func (d *disk) WriteVec(segments [][]byte, off int64) (n int, err error) {
	defer d.mu.Unlock()
	if err := d.begin("write"); err != nil {
		return 0, err
	}
	if d.seen != nil {
		d.seen(segments)
	}
	for _, s := range segments {
		n += copy(d.data[int(off)+n:], s)
	}
	return n, nil
}

func (d *disk) Sync() error {
	defer d.mu.Unlock()
	return d.begin("sync")
}

func (d *disk) Zero(off, n int64, mode ZeroMode) error {
	defer d.mu.Unlock()
	if err := d.begin([]string{"discard", "zero+unmap", "zero"}[mode]); err != nil {
		return err
	}
	clear(d.data[off : off+n])
	return nil
}

func newDevice(t testing.TB, cfg Config) *Device {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// readRequest is a read of sector 0 in the shape that Linux gives it.
func readRequest(mem *virtiotest.Memory, _ int) []virtiotest.Buf {
	header := mem.Alloc(headerSize, 8)
	clear(mem.Bytes(header, headerSize))
	return []virtiotest.Buf{
		{Addr: header, Len: headerSize},
		{Addr: mem.Alloc(sectorSize, 8), Len: sectorSize, Write: true},
		{Addr: mem.Alloc(1, 1), Len: 1, Write: true},
	}
}

func TestConformance(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		name := map[bool]string{false: "writable", true: "read-only"}[readOnly]
		t.Run(name, func(t *testing.T) {
			virtiotest.TestDevice(t, func(t testing.TB) virtio.Device {
				backend := newDisk(64)
				backend.readOnly = readOnly
				return newDevice(t, Config{Backend: backend, ID: "test", Workers: 3})
			}, virtiotest.Options{Request: readRequest})
		})
	}
}

// A bench serves requests without transport and goroutines.
type bench struct {
	t        testing.TB
	device   *Device
	disk     *disk
	mem      *virtiotest.Memory
	ring     *virtiotest.Ring
	queue    *virtio.Queue
	features uint64
}

type noInterrupts struct{}

func (noInterrupts) Queue(int) {}
func (noInterrupts) Config()   {}

func newBench(t testing.TB, backend *disk, cfg Config) *bench {
	t.Helper()
	cfg.Backend = backend
	mem := virtiotest.NewMemory(0x10000, 1<<20)
	event, err := eventfd.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { event.Close() })
	b := &bench{t: t, device: newDevice(t, cfg), disk: backend, mem: mem, ring: virtiotest.NewRing(mem, 64, false)}
	b.features = b.device.Features() | virtio.FeatureVersion1 | virtio.FeatureIndirectDesc
	b.queue, err = virtio.NewQueue(virtio.QueueConfig{
		MaxSize: 64, Size: 64, DescAddr: b.ring.Desc, AvailAddr: b.ring.Avail, UsedAddr: b.ring.Used,
		Features: b.features, Memory: mem, Event: event, Interrupts: noInterrupts{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A reply is what a request came back with.
type reply struct {
	status byte
	used   uint32
	data   []byte // of the writable part, without the status
}

// do sends one request, its readable part split after each of the given
// lengths.
func (b *bench) do(kind uint32, sector uint64, payload []byte, room int, split ...int) reply {
	b.t.Helper()
	readable := make([]byte, headerSize, headerSize+len(payload))
	binary.LittleEndian.PutUint32(readable, kind)
	binary.LittleEndian.PutUint64(readable[8:], sector)
	readable = append(readable, payload...)
	var bufs []virtiotest.Buf
	in := b.mem.Alloc(uint64(len(readable)), 1)
	copy(b.mem.Bytes(in, uint64(len(readable))), readable)
	out := b.mem.Alloc(uint64(room)+1, 1)
	bufs = cut(bufs, in, len(readable), false, split)
	bufs = cut(bufs, out, room+1, true, split)
	for i := range b.mem.Bytes(out, uint64(room)+1) {
		b.mem.Bytes(out, uint64(room)+1)[i] = 0xee
	}
	return b.serve(b.ring.AddIndirect(bufs...), out, room)
}

// serve has the device serve the one request there is.
func (b *bench) serve(head uint16, out uint64, room int) reply {
	b.t.Helper()
	c, err := b.queue.Pop()
	if c == nil || err != nil {
		b.t.Fatalf("Pop: %v, %v", c, err)
	}
	b.complete(c)
	u, ok := b.ring.Reap()
	if !ok || u.ID != uint32(head) {
		b.t.Fatalf("used %v, %v; want chain %d", u, ok, head)
	}
	return reply{b.mem.Bytes(out+uint64(room), 1)[0], u.Len, bytes.Clone(b.mem.Bytes(out, uint64(room)))}
}

// complete serves c as a worker does.
func (b *bench) complete(c *virtio.Chain) {
	r := b.device.parse(c, b.features)
	used, done := b.device.try(&r)
	if !done {
		used = b.device.serve(&r)
	}
	b.queue.Push(c, used)
}

// cut describes n bytes at addr as segments of the given lengths and a rest.
func cut(bufs []virtiotest.Buf, addr uint64, n int, write bool, split []int) []virtiotest.Buf {
	for _, k := range split {
		if k = min(k, n); k > 0 {
			bufs = append(bufs, virtiotest.Buf{Addr: addr, Len: uint32(k), Write: write})
			addr, n = addr+uint64(k), n-k
		}
	}
	if n > 0 {
		bufs = append(bufs, virtiotest.Buf{Addr: addr, Len: uint32(n), Write: write})
	}
	return bufs
}

func TestReadAndWriteInAnyFraming(t *testing.T) {
	for _, split := range [][]int{nil, {16}, {1}, {8, 8, 512}, {15, 2, 511, 1, 512}, {3, 3, 3, 3, 3, 3, 1000}, {17, 512, 1023}} {
		b := newBench(t, newDisk(16), Config{})
		payload := bytes.Repeat([]byte("govmm..."), 3*sectorSize/8)
		if r := b.do(typeOut, 5, payload, 0, split...); r.status != 0 || r.used != 1 {
			t.Errorf("split %v: write: status %d, used %d", split, r.status, r.used)
		}
		if !bytes.Equal(b.disk.data[5*sectorSize:8*sectorSize], payload) {
			t.Errorf("split %v: wrong data on disk", split)
		}
		r := b.do(typeIn, 4, nil, 5*sectorSize, split...)
		if r.status != 0 || r.used != 5*sectorSize+1 || !bytes.Equal(r.data, b.disk.data[4*sectorSize:9*sectorSize]) {
			t.Errorf("split %v: read: status %d, used %d, or wrong data", split, r.status, r.used)
		}
	}
}

func TestRangesAndLengths(t *testing.T) {
	b := newBench(t, newDisk(16), Config{})
	for _, test := range []struct {
		sector uint64
		n      int
		want   status
	}{
		{0, 512, statusOK}, {15, 512, statusOK}, {0, 16 * 512, statusOK}, {16, 0, statusOK},
		{16, 512, statusIOError}, {15, 1024, statusIOError}, {17, 0, statusIOError},
		{0, 511, statusIOError}, {0, 513, statusIOError}, {0, 1, statusIOError},
		{1 << 55, 512, statusIOError}, {1<<55 + 1, 512, statusIOError}, {1 << 63, 512, statusIOError}, {^uint64(0), 512, statusIOError},
	} {
		if r := b.do(typeIn, test.sector, nil, test.n); r.status != byte(test.want) {
			t.Errorf("read of %d bytes at sector %#x: status %d, want %d", test.n, test.sector, r.status, test.want)
		}
		if r := b.do(typeOut, test.sector, make([]byte, test.n), 0); r.status != byte(test.want) {
			t.Errorf("write of %d bytes at sector %#x: status %d, want %d", test.n, test.sector, r.status, test.want)
		}
	}
	if r := b.do(typeIn, 16, nil, 512); r.used != 0 {
		t.Errorf("failed read claims that %d bytes were written", r.used)
	}
}

// TestTransferIsBounded names the same memory again and again, for more data
// than there is RAM: without a limit each request could keep the disk busy with
// 4 GiB, and the machine from ending.
func TestTransferIsBounded(t *testing.T) {
	const piece = maxTransfer / 48
	for _, kind := range []uint32{typeIn, typeOut} {
		b := newBench(t, &disk{data: make([]byte, maxTransfer+sectorSize)}, Config{})
		header, data, status := b.mem.Alloc(headerSize, 8), b.mem.Alloc(piece, 8), b.mem.Alloc(1, 1)
		binary.LittleEndian.PutUint32(b.mem.Bytes(header, 4), kind)
		bufs := []virtiotest.Buf{{Addr: header, Len: headerSize}}
		for left := uint32(maxTransfer); left > 0; left -= min(left, piece) {
			bufs = append(bufs, virtiotest.Buf{Addr: data, Len: min(left, piece), Write: kind == typeIn})
		}
		end := virtiotest.Buf{Addr: status, Len: 1, Write: true}
		if r := b.serve(b.ring.AddIndirect(append(bufs, end)...), status, 0); r.status != byte(statusOK) {
			t.Errorf("type %d: status %d for the largest transfer", kind, r.status)
		}
		bufs = append(bufs, virtiotest.Buf{Addr: data, Len: sectorSize, Write: kind == typeIn})
		if r := b.serve(b.ring.AddIndirect(append(bufs, end)...), status, 0); r.status != byte(statusIOError) {
			t.Errorf("type %d: status %d for one sector more", kind, r.status)
		}
		if len(b.disk.log) != 1 {
			t.Errorf("type %d: the disk did %v", kind, b.disk.log)
		}
	}
}

func TestGetID(t *testing.T) {
	b := newBench(t, newDisk(1), Config{ID: "12345678901234567890"})
	if r := b.do(typeGetID, 0, nil, 20); r.status != 0 || r.used != 21 || string(r.data) != "12345678901234567890" {
		t.Errorf("ID is %+v", r)
	}
	b = newBench(t, newDisk(1), Config{ID: "root"})
	if r := b.do(typeGetID, 0, nil, 24, 7); r.status != 0 || r.used != 20 || string(r.data) != "root"+strings.Repeat("\x00", 16)+strings.Repeat("\xee", 4) {
		t.Errorf("ID is %+v", r)
	}
	if _, err := New(Config{Backend: newDisk(1), ID: "123456789012345678901"}); err == nil {
		t.Error("an ID of 21 bytes is accepted")
	}
}

func TestUnsupportedAndMalformed(t *testing.T) {
	b := newBench(t, newDisk(4), Config{})
	for _, kind := range []uint32{2, 3, 5, 10, 14, 16, 26, 1 << 31, ^uint32(0)} {
		if r := b.do(kind, 0, nil, 0); r.status != byte(statusUnsupported) || r.used != 1 {
			t.Errorf("type %d: status %d, used %d", kind, r.status, r.used)
		}
	}
	// A header that is too short; then none; then no status either.
	in, out := b.mem.Alloc(16, 1), b.mem.Alloc(1, 1)
	if r := b.serve(b.ring.Add(virtiotest.Buf{Addr: in, Len: 15}, virtiotest.Buf{Addr: out, Len: 1, Write: true}), out, 0); r.status != 1 || r.used != 1 {
		t.Errorf("short header: %+v", r)
	}
	if r := b.serve(b.ring.Add(virtiotest.Buf{Addr: out, Len: 1, Write: true}), out, 0); r.status != 1 {
		t.Errorf("no header: %+v", r)
	}
	if r := b.serve(b.ring.Add(virtiotest.Buf{Addr: in, Len: 16}), out, 0); r.used != 0 {
		t.Errorf("no status: %+v", r)
	}
	if len(b.disk.log) != 0 {
		t.Errorf("the disk was used: %v", b.disk.log)
	}
}

// segment is one struct virtio_blk_discard_write_zeroes.
func segment(sector uint64, count, flags uint32) []byte {
	p := binary.LittleEndian.AppendUint64(nil, sector)
	p = binary.LittleEndian.AppendUint32(p, count)
	return binary.LittleEndian.AppendUint32(p, flags)
}

func TestDiscardAndWriteZeroes(t *testing.T) {
	many := func(n int) []byte { return bytes.Repeat(segment(0, 1, 0), n) }
	for _, test := range []struct {
		name    string
		kind    uint32
		payload []byte
		want    status
		log     string
	}{
		{"discard", typeDiscard, segment(2, 3, 0), statusOK, "discard"},
		{"discard two", typeDiscard, append(segment(0, 1, 0), segment(15, 1, 0)...), statusOK, "discard discard"},
		{"discard nothing", typeDiscard, segment(2, 0, 0), statusOK, ""},
		{"discard with unmap", typeDiscard, segment(2, 3, 1), statusUnsupported, ""},
		{"discard with reserved flag", typeDiscard, segment(2, 3, 2), statusUnsupported, ""},
		{"most segments", typeDiscard, many(maxDiscardSegments), statusOK, strings.TrimSpace(strings.Repeat("discard ", maxDiscardSegments))},
		{"too many segments", typeDiscard, many(maxDiscardSegments + 1), statusIOError, ""},
		{"no segment", typeDiscard, nil, statusIOError, ""},
		{"part of a segment", typeDiscard, segment(0, 1, 0)[:15], statusIOError, ""},
		{"beyond the end", typeDiscard, segment(15, 2, 0), statusIOError, ""},
		{"wraps around", typeDiscard, segment(^uint64(0), 2, 0), statusIOError, ""},
		{"huge", typeDiscard, segment(0, ^uint32(0), 0), statusIOError, ""},
		{"write zeroes", typeWriteZeroes, segment(2, 3, 0), statusOK, "zero"},
		{"write zeroes, unmap", typeWriteZeroes, segment(2, 3, 1), statusOK, "zero+unmap"},
		{"write zeroes, reserved flag", typeWriteZeroes, segment(2, 3, 4), statusUnsupported, ""},
		{"write zeroes, two segments", typeWriteZeroes, many(2), statusIOError, ""},
		{"write zeroes beyond the end", typeWriteZeroes, segment(16, 1, 0), statusIOError, ""},
	} {
		b := newBench(t, newDisk(16), Config{})
		if r := b.do(test.kind, 0, test.payload, 0, 20); r.status != byte(test.want) || r.used != 1 {
			t.Errorf("%s: status %d, want %d; used %d", test.name, r.status, test.want, r.used)
		}
		if got := strings.Join(b.disk.log, " "); got != test.log {
			t.Errorf("%s: the disk did %q, want %q", test.name, got, test.log)
		}
	}
}

func TestLimitsBoundOneRequest(t *testing.T) {
	d := &disk{data: nil}
	b := newBench(t, d, Config{})
	b.device.sectors = 1 << 40 // larger than memory; the requests below must not reach the disk
	for kind, limit := range map[uint32]uint32{typeDiscard: maxDiscardSectors, typeWriteZeroes: maxWriteZeroesSectors} {
		if r := b.do(kind, 0, segment(0, limit+1, 0), 0); r.status != byte(statusIOError) {
			t.Errorf("type %d of %d sectors: status %d", kind, limit+1, r.status)
		}
	}
	if len(d.log) != 0 {
		t.Errorf("the disk was used: %v", d.log)
	}
}

func TestReadOnly(t *testing.T) {
	d := newDisk(4)
	d.readOnly = true
	b := newBench(t, d, Config{})
	if f := b.device.Features(); f&featureReadOnly == 0 || f&(featureDiscard|featureWriteZeroes) != 0 {
		t.Errorf("features %#x", f)
	}
	for _, kind := range []uint32{typeOut, typeDiscard, typeWriteZeroes} {
		payload := make([]byte, sectorSize)
		if kind != typeOut {
			payload = segment(0, 1, 0)
		}
		if r := b.do(kind, 0, payload, 0); r.status != byte(statusIOError) {
			t.Errorf("type %d: status %d", kind, r.status)
		}
	}
	if r := b.do(typeIn, 0, nil, sectorSize); r.status != 0 {
		t.Errorf("read: status %d", r.status)
	}
	if got := strings.Join(d.log, " "); got != "read" {
		t.Errorf("the disk did %q", got)
	}
}

func TestFeatureNotNegotiated(t *testing.T) {
	b := newBench(t, newDisk(4), Config{})
	b.features = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc
	for _, kind := range []uint32{typeDiscard, typeWriteZeroes} {
		if r := b.do(kind, 0, segment(0, 1, 0), 0); r.status != byte(statusUnsupported) {
			t.Errorf("type %d: status %d", kind, r.status)
		}
	}
	// A driver that cannot flush relies on writes being stable (5.2.6.2).
	b.do(typeOut, 0, make([]byte, sectorSize), 0)
	if got := strings.Join(b.disk.log, " "); got != "write sync" {
		t.Errorf("without FLUSH the disk did %q", got)
	}
}

func TestHostFailures(t *testing.T) {
	var out strings.Builder
	d := newDisk(4)
	b := newBench(t, d, Config{Log: slog.New(slog.NewTextHandler(&out, nil))})
	d.before = func(string) error { return io.ErrUnexpectedEOF }
	for range 3 {
		for _, r := range []reply{
			b.do(typeIn, 0, nil, sectorSize),
			b.do(typeOut, 0, make([]byte, sectorSize), 0),
			b.do(typeFlush, 0, nil, 0),
			b.do(typeDiscard, 0, segment(0, 1, 0), 0),
			b.do(typeWriteZeroes, 0, segment(0, 1, 0), 0),
		} {
			if r.status != byte(statusIOError) || r.used > 1 {
				t.Errorf("%+v", r)
			}
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), "op=read") {
		t.Errorf("%d lines were logged: %s", n, out.String())
	}
}

// TestServeDoesNotAllocate reads and writes as a try and as a worker do, past the page cache too. What the
// driver's side allocates is taken off.
func TestServeDoesNotAllocate(t *testing.T) {
	for name, f := range map[string]*File{"page cache": tempFile(t, 64*sectorSize), "direct": directFile(t)} {
		for _, kind := range []uint32{typeIn, typeOut} {
			b := newBench(t, newDisk(64), Config{Ops: 1 << 40, Bytes: 1 << 40})
			b.device.backend, b.device.trier = f, f
			bufs := benchRequest(b.mem, kind, 0)
			run := func(serve bool) float64 {
				return testing.AllocsPerRun(100, func() {
					b.ring.Add(bufs...)
					c, _ := b.queue.Pop()
					var used uint32
					if serve {
						r := b.device.parse(c, b.features)
						_ = b.device.admit(t.Context(), &r)
						if _, done := b.device.try(&r); done && f.direct {
							t.Fatalf("%s, type %d: a try was done", name, kind)
						}
						used = b.device.serve(&r)
					}
					b.queue.Push(c, used)
					b.ring.Reap()
				})
			}
			if allocs, ring := run(true), run(false); allocs > ring {
				t.Errorf("%s, type %d: %v allocations", name, kind, allocs-ring)
			}
			if s := b.mem.Bytes(bufs[2].Addr, 1)[0]; s != byte(statusOK) {
				t.Errorf("%s, type %d: status %d", name, kind, s)
			}
		}
	}
}

// TestDataIsNotCopied holds that the backend gets the driver's own memory: for a file in the page cache the host's kernel makes the one copy that there is.
func TestDataIsNotCopied(t *testing.T) {
	b := newBench(t, newDisk(8), Config{})
	buf := b.mem.Alloc(sectorSize, 8)
	calls := 0
	b.disk.seen = func(segments [][]byte) {
		calls++
		// The status has its own descriptor in requests that read, of which nothing is left for data.
		if len(segments[0]) != sectorSize || len(bytes.Join(segments[1:], nil)) != 0 || &segments[0][0] != &b.mem.Bytes(buf, 1)[0] {
			t.Errorf("call %d: %d segments, the first of %d bytes, are not the guest's memory", calls, len(segments), len(segments[0]))
		}
	}
	for kind, write := range map[uint32]bool{typeIn: true, typeOut: false} {
		header, status := b.mem.Alloc(headerSize, 8), b.mem.Alloc(1, 1)
		binary.LittleEndian.PutUint32(b.mem.Bytes(header, headerSize), kind)
		head := b.ring.AddIndirect(virtiotest.Buf{Addr: header, Len: headerSize}, virtiotest.Buf{Addr: buf, Len: sectorSize, Write: write},
			virtiotest.Buf{Addr: status, Len: 1, Write: true})
		if r := b.serve(head, status, 0); r.status != byte(statusOK) {
			t.Errorf("request %d: status %d", kind, r.status)
		}
	}
	if calls != 2 {
		t.Errorf("%d transfers", calls)
	}
}

func TestNewRefuses(t *testing.T) {
	odd := newDisk(1)
	odd.data = odd.data[:100]
	for name, cfg := range map[string]Config{
		"no backend":         {},
		"queue size 3":       {Backend: newDisk(1), QueueSize: 3},
		"queue size 2":       {Backend: newDisk(1), QueueSize: 2},
		"queue size 2048":    {Backend: newDisk(1), QueueSize: 2048},
		"workers -1":         {Backend: newDisk(1), Workers: -1},
		"size of no sectors": {Backend: odd},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestConfigSpace(t *testing.T) {
	b := newBench(t, newDisk(16), Config{QueueSize: 64})
	p := make([]byte, 64)
	b.device.ReadConfig(0, p)
	le := binary.LittleEndian
	if le.Uint64(p) != 16 || le.Uint32(p[12:]) != 62 || le.Uint32(p[36:]) != maxDiscardSectors || le.Uint32(p[40:]) != maxDiscardSegments ||
		le.Uint32(p[48:]) != maxWriteZeroesSectors || le.Uint32(p[52:]) != maxWriteZeroesSegments || p[56] != 1 {
		t.Errorf("configuration space %x", p)
	}
}
