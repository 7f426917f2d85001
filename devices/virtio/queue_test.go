package virtio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// counter is an Interrupter.
type counter struct{ queue, config atomic.Int64 }

func (c *counter) Queue(int) { c.queue.Add(1) }
func (c *counter) Config()   { c.config.Add(1) }

// A rig is a queue with its driver.
type rig struct {
	mem    *virtiotest.Memory
	ring   *virtiotest.Ring
	queue  *virtio.Queue
	event  *eventfd.Event
	irq    counter
	buffer uint64
}

const allFeatures = virtio.FeatureVersion1 | virtio.FeatureEventIdx | virtio.FeatureIndirectDesc

func newRig(t testing.TB, size uint16, features uint64) *rig {
	t.Helper()
	r := &rig{mem: virtiotest.NewMemory(0x10000, 1<<20)}
	r.ring = virtiotest.NewRing(r.mem, size, features&virtio.FeatureEventIdx != 0)
	r.buffer = r.mem.Alloc(virtiotest.PageSize, virtiotest.PageSize)
	var err error
	if r.event, err = eventfd.New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.event.Close() })
	if r.queue, err = r.newQueue(features); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) newQueue(features uint64) (*virtio.Queue, error) {
	return virtio.NewQueue(virtio.QueueConfig{
		MaxSize: 256, Size: uint32(r.ring.Size), DescAddr: r.ring.Desc, AvailAddr: r.ring.Avail, UsedAddr: r.ring.Used,
		Features: features, Memory: r.mem, Event: r.event, Interrupts: &r.irq,
	})
}

func (r *rig) buf(off, n int, write bool) virtiotest.Buf {
	return virtiotest.Buf{Addr: r.buffer + uint64(off), Len: uint32(n), Write: write}
}

// pop returns the next chain, which there must be.
func (r *rig) pop(t testing.TB) *virtio.Chain {
	t.Helper()
	c, err := r.queue.Pop()
	if c == nil || err != nil {
		t.Fatalf("Pop: %v, %v", c, err)
	}
	return c
}

func TestChain(t *testing.T) {
	for _, indirect := range []bool{false, true} {
		r := newRig(t, 8, allFeatures)
		copy(r.mem.Bytes(r.buffer, 10), "0123456789")
		bufs := []virtiotest.Buf{r.buf(0, 3, false), r.buf(3, 0, false), r.buf(3, 7, false), r.buf(100, 2, true), r.buf(200, 4, true)}
		add := r.ring.Add
		if indirect {
			add = r.ring.AddIndirect
		}
		head := add(bufs...)
		c := r.pop(t)
		if len(c.Readable()) != 2 || c.ReadableLen() != 10 || len(c.Writable()) != 2 || c.WritableLen() != 6 {
			t.Fatalf("chain has %d and %d bytes in %d and %d segments", c.ReadableLen(), c.WritableLen(), len(c.Readable()), len(c.Writable()))
		}
		var p [4]byte
		if n, err := c.Read(p[:]); n != 4 || err != nil || string(p[:]) != "0123" {
			t.Errorf("Read: %d, %v, %q", n, err, p)
		}
		if rest, err := io.ReadAll(c); err != nil || string(rest) != "456789" {
			t.Errorf("ReadAll: %q, %v", rest, err)
		}
		if n, err := c.Write([]byte("abc")); n != 3 || err != nil || c.WritableLen() != 3 {
			t.Errorf("Write: %d, %v", n, err)
		}
		if n, err := c.Write([]byte("defgh")); n != 3 || err != io.ErrShortWrite || c.Written() != 6 {
			t.Errorf("Write to a chain that is full: %d, %v", n, err)
		}
		r.queue.Push(c, c.Written())
		if u, ok := r.ring.Reap(); !ok || u != (virtiotest.Used{ID: uint32(head), Len: 6}) {
			t.Errorf("used %v, %v", u, ok)
		}
		if got := string(r.mem.Bytes(r.buffer+100, 2)) + string(r.mem.Bytes(r.buffer+200, 4)); got != "abcdef" {
			t.Errorf("guest memory has %q", got)
		}
	}
}

// TestIndirectAfterDirect is a layout that devices must handle (2.7.5.3.2).
func TestIndirectAfterDirect(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	table := r.mem.Alloc(32, 16)
	r.ring.SetDesc(r.ring.Desc, 0, virtiotest.Desc{Addr: r.buffer, Len: 1, Flags: virtiotest.DescNext, Next: 5})
	r.ring.SetDesc(r.ring.Desc, 5, virtiotest.Desc{Addr: table, Len: 32, Flags: virtiotest.DescIndirect | virtiotest.DescWrite})
	r.ring.SetDesc(table, 0, virtiotest.Desc{Addr: r.buffer, Len: 2, Flags: virtiotest.DescNext, Next: 1})
	r.ring.SetDesc(table, 1, virtiotest.Desc{Addr: r.buffer, Len: 3, Flags: virtiotest.DescWrite})
	r.ring.Publish(0)
	if c := r.pop(t); c.ReadableLen() != 3 || c.WritableLen() != 3 {
		t.Errorf("%d readable, %d writable bytes", c.ReadableLen(), c.WritableLen())
	}
}

func TestUsedLengthIsBounded(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	r.ring.Add(r.buf(0, 8, false), r.buf(8, 5, true))
	r.queue.Push(r.pop(t), 1000)
	if u, _ := r.ring.Reap(); u.Len != 5 {
		t.Errorf("used length %d for 5 writable bytes", u.Len)
	}
}

func TestBrokenRing(t *testing.T) {
	type desc = virtiotest.Desc
	const next, write, indirect = virtiotest.DescNext, virtiotest.DescWrite, virtiotest.DescIndirect
	for _, test := range []struct {
		name string
		want string
		set  func(r *rig, table uint64)
	}{
		{"head out of range", "descriptor index 8 in a table of 8", func(r *rig, _ uint64) { r.ring.Publish(8) }},
		{"next out of range", "descriptor index 9", func(r *rig, _ uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: r.buffer, Len: 1, Flags: next, Next: 9})
			r.ring.Publish(0)
		}},
		{"index jumps", "jumped by 9", func(r *rig, _ uint64) { r.ring.SetAvailIdx(9) }},
		{"index goes back", "jumped by 65535", func(r *rig, _ uint64) { r.ring.SetAvailIdx(0xffff) }},
		{"descriptor points to itself", "longer than the queue", func(r *rig, _ uint64) {
			r.ring.SetDesc(r.ring.Desc, 3, desc{Addr: r.buffer, Len: 1, Flags: next, Next: 3})
			r.ring.Publish(3)
		}},
		{"empty descriptors loop", "longer than the queue", func(r *rig, _ uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Flags: next | write, Next: 0})
			r.ring.Publish(0)
		}},
		{"indirect table loops", "longer than the queue", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Len: 32, Flags: indirect})
			r.ring.SetDesc(table, 0, desc{Addr: r.buffer, Len: 1, Flags: next, Next: 1})
			r.ring.SetDesc(table, 1, desc{Addr: r.buffer, Len: 1, Flags: next, Next: 0})
			r.ring.Publish(0)
		}},
		{"indirect inside indirect", "inside an indirect table", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Len: 16, Flags: indirect})
			r.ring.SetDesc(table, 0, desc{Addr: table, Len: 16, Flags: indirect})
			r.ring.Publish(0)
		}},
		{"indirect with next", "with a next one", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Len: 16, Flags: indirect | next, Next: 1})
			r.ring.Publish(0)
		}},
		{"indirect of 0 bytes", "table of 0 bytes", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Flags: indirect})
			r.ring.Publish(0)
		}},
		{"indirect of 24 bytes", "table of 24 bytes", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Len: 24, Flags: indirect})
			r.ring.Publish(0)
		}},
		{"indirect index out of range", "descriptor index 1 in a table of 1", func(r *rig, table uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: table, Len: 16, Flags: indirect})
			r.ring.SetDesc(table, 0, desc{Addr: r.buffer, Len: 1, Flags: next, Next: 1})
			r.ring.Publish(0)
		}},
		{"indirect table outside of RAM", "no RAM", func(r *rig, _ uint64) {
			r.ring.SetDesc(r.ring.Desc, 0, desc{Addr: r.mem.End() - 16, Len: 1 << 20, Flags: indirect})
			r.ring.Publish(0)
		}},
		{"readable after writable", "readable descriptor after a writable one", func(r *rig, _ uint64) {
			r.ring.Add(r.buf(0, 1, true), r.buf(1, 1, false))
		}},
		{"buffer outside of RAM", "no RAM", func(r *rig, _ uint64) {
			r.ring.Add(virtiotest.Buf{Addr: r.mem.End() - 4, Len: 5})
		}},
		{"buffer wraps around", "no RAM", func(r *rig, _ uint64) {
			r.ring.Add(virtiotest.Buf{Addr: ^uint64(0) - 3, Len: 0xffffffff, Write: true})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, 8, allFeatures)
			test.set(r, r.mem.Alloc(64, 16))
			for range 3 {
				c, err := r.queue.Pop()
				if c != nil || !errors.Is(err, virtio.ErrBroken) || !strings.Contains(err.Error(), test.want) {
					t.Fatalf("Pop: %v, %v; want %q", c, err, test.want)
				}
			}
			if _, err := r.queue.Next(t.Context()); !errors.Is(err, virtio.ErrBroken) {
				t.Errorf("Next: %v", err)
			}
		})
	}
}

// TestChainAsLongAsTheQueue is the longest that is allowed, and one more.
func TestChainAsLongAsTheQueue(t *testing.T) {
	for n, broken := range map[int]bool{256: false, 257: true} {
		r := newRig(t, 8, allFeatures)
		r.ring.AddIndirect(make([]virtiotest.Buf, n)...)
		if _, err := r.queue.Pop(); (err != nil) != broken {
			t.Errorf("indirect chain of %d: %v", n, err)
		}
	}
	r := newRig(t, 8, allFeatures)
	r.ring.Add(make([]virtiotest.Buf, 8)...)
	r.pop(t)
}

// hugeMemory claims that all addresses are RAM.
type hugeMemory struct{ *virtiotest.Memory }

func (m hugeMemory) ReadSlice(addr, n uint64) ([]byte, error) {
	if s, err := m.Memory.ReadSlice(addr, n); err == nil {
		return s, nil
	}
	return nil, nil
}

func TestChainBeyond4GiB(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	queue, err := virtio.NewQueue(virtio.QueueConfig{
		MaxSize: 8, Size: 8, DescAddr: r.ring.Desc, AvailAddr: r.ring.Avail, UsedAddr: r.ring.Used,
		Memory: hugeMemory{r.mem}, Event: r.event, Interrupts: &r.irq,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.ring.Add(virtiotest.Buf{Addr: 1 << 40, Len: 0xffffffff}, virtiotest.Buf{Addr: 1 << 40, Len: 1})
	if _, err := queue.Pop(); !errors.Is(err, virtio.ErrBroken) {
		t.Errorf("Pop: %v", err)
	}
}

// TestMoreChainsThanDescriptors publishes one chain over and over.
func TestMoreChainsThanDescriptors(t *testing.T) {
	r := newRig(t, 4, allFeatures)
	r.ring.SetDesc(r.ring.Desc, 0, virtiotest.Desc{Addr: r.buffer, Len: 1})
	for range 4 {
		r.ring.Publish(0)
		r.pop(t)
	}
	r.ring.Publish(0)
	if _, err := r.queue.Pop(); !errors.Is(err, virtio.ErrBroken) {
		t.Errorf("fifth chain of a queue of 4: %v", err)
	}
}

// TestRingAtLastPageOfRAM places each part so that it ends with RAM, and then
// one step further.
func TestRingAtLastPageOfRAM(t *testing.T) {
	for _, size := range []uint16{1, 2, 4, 256} {
		n := uint64(size)
		for _, part := range []struct {
			name  string
			bytes uint64
			align uint64
			field func(*virtiotest.Ring) *uint64
		}{
			{"descriptor table", 16 * n, 16, func(r *virtiotest.Ring) *uint64 { return &r.Desc }},
			{"available ring", 6 + 2*n, 2, func(r *virtiotest.Ring) *uint64 { return &r.Avail }},
			{"used ring", 6 + 8*n, 4, func(r *virtiotest.Ring) *uint64 { return &r.Used }},
		} {
			t.Run(fmt.Sprint(part.name, " ", size), func(t *testing.T) {
				r := newRig(t, size, allFeatures)
				addr := part.field(r.ring)
				*addr = (r.mem.End() - part.bytes) / part.align * part.align
				var err error
				if r.queue, err = r.newQueue(allFeatures); err != nil {
					t.Fatal(err)
				}
				for range 3*n + 1 {
					r.ring.Add(r.buf(0, 1, true))
					c, err := r.queue.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					r.queue.Push(c, 1)
					if u, ok := r.ring.Reap(); !ok || u.Len != 1 {
						t.Fatalf("used %v, %v", u, ok)
					}
				}
				*addr += part.align
				if _, err := r.newQueue(allFeatures); err == nil {
					t.Error("accepted beyond the end of RAM")
				}
			})
		}
	}
}

// TestAvailableRingAlignedTo2 runs the index once around, with the ring's
// fields in the other halves of their words.
func TestAvailableRingAlignedTo2(t *testing.T) {
	for _, features := range []uint64{virtio.FeatureVersion1, allFeatures} {
		r := newRig(t, 4, features)
		r.ring.Avail = r.mem.Alloc(64, 4) + 2
		before := r.mem.Bytes(r.ring.Avail-2, 2)
		before[0], before[1] = 0xff, 0xff
		var err error
		if r.queue, err = r.newQueue(features); err != nil {
			t.Fatal(err)
		}
		for i := range 1<<16 + 10 {
			r.ring.Add(r.buf(0, 4, true), r.buf(8, 4, true))
			r.queue.Push(r.pop(t), uint32(i%8))
			if u, ok := r.ring.Reap(); !ok || u.Len != uint32(i%8) {
				t.Fatalf("chain %d: used %v, %v", i, u, ok)
			}
		}
		if n := r.irq.queue.Load(); n != 1<<16+10 {
			t.Errorf("%d interrupts", n)
		}
	}
}

func TestUnpop(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	first, second := r.ring.Add(r.buf(0, 1, true)), r.ring.Add(r.buf(1, 2, true))
	a, b := r.pop(t), r.pop(t)
	mustPanic(t, "Unpop of another chain", func() { r.queue.Unpop(a) })
	r.queue.Unpop(b)
	if b = r.pop(t); b.WritableLen() != 2 {
		t.Errorf("after Unpop another chain came: %d bytes", b.WritableLen())
	}
	r.queue.Push(b, 2)
	r.queue.Push(a, 1)
	for _, want := range []virtiotest.Used{{ID: uint32(second), Len: 2}, {ID: uint32(first), Len: 1}} {
		if u, ok := r.ring.Reap(); !ok || u != want {
			t.Errorf("used %v, %v; want %v", u, ok, want)
		}
	}
	mustPanic(t, "second Push", func() { r.queue.Push(a, 1) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s did not panic", what)
		}
	}()
	f()
}

func TestQueueDoesNotAllocate(t *testing.T) {
	r := newRig(t, 8, allFeatures)
	table := r.mem.Alloc(64, 16)
	for i := range uint16(4) {
		d := virtiotest.Desc{Addr: r.buffer, Len: 8, Flags: virtiotest.DescNext, Next: i + 1}
		if i == 3 {
			d.Flags = virtiotest.DescWrite
		}
		r.ring.SetDesc(table, i, d)
	}
	r.ring.SetDesc(r.ring.Desc, 0, virtiotest.Desc{Addr: table, Len: 64, Flags: virtiotest.DescIndirect})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var p [16]byte
	if n := testing.AllocsPerRun(1000, func() {
		r.ring.Publish(0)
		c, err := r.queue.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		c.Read(p[:])
		c.Write(p[:4])
		r.queue.Push(c, c.Written())
	}); n != 0 {
		t.Errorf("one request allocates %v times", n)
	}
}

func TestReadConfig(t *testing.T) {
	config := []byte{1, 2, 3, 4}
	for _, test := range []struct {
		off  uint64
		want []byte
	}{{0, []byte{1, 2}}, {3, []byte{4, 0}}, {4, []byte{0, 0}}, {^uint64(0), []byte{0, 0}}} {
		p := make([]byte, 2)
		if virtio.ReadConfig(config, test.off, p); !bytes.Equal(p, test.want) {
			t.Errorf("at %#x: %x", test.off, p)
		}
	}
}

func TestRateLimit(t *testing.T) {
	var r virtio.RateLimit
	now := time.Unix(1000, 0)
	if n, ok := r.Allow(now); n != 0 || !ok {
		t.Errorf("first line: %d, %v", n, ok)
	}
	for range 5 {
		if _, ok := r.Allow(now.Add(9 * time.Second)); ok {
			t.Error("second line within the interval")
		}
	}
	if n, ok := r.Allow(now.Add(10 * time.Second)); n != 5 || !ok {
		t.Errorf("after the interval: %d, %v", n, ok)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, features := range []uint64{virtio.FeatureVersion1, allFeatures} {
		name := "flags"
		if features&virtio.FeatureEventIdx != 0 {
			name = "event-idx"
		}
		b.Run(name, func(b *testing.B) {
			r := newRig(b, 64, features)
			r.ring.SetDesc(r.ring.Desc, 0, virtiotest.Desc{Addr: r.buffer, Len: 16, Flags: virtiotest.DescNext, Next: 1})
			r.ring.SetDesc(r.ring.Desc, 1, virtiotest.Desc{Addr: r.buffer, Len: 512, Flags: virtiotest.DescNext | virtiotest.DescWrite, Next: 2})
			r.ring.SetDesc(r.ring.Desc, 2, virtiotest.Desc{Addr: r.buffer, Len: 1, Flags: virtiotest.DescWrite})
			b.ReportAllocs()
			for b.Loop() {
				r.ring.Publish(0)
				c, _ := r.queue.Pop()
				r.queue.Push(c, 513)
			}
		})
	}
}
