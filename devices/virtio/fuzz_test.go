package virtio_test

import (
	"encoding/binary"
	"testing"

	"govmm/devices/eventfd"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// FuzzChain lets the guest's memory, rings and all, be any bytes: the first
// three choose features, queue size and available index, the rest is RAM
// whose first 512 bytes hold the rings.
func FuzzChain(f *testing.F) {
	f.Add([]byte{3, 2, 1})
	mem := virtiotest.NewMemory(0, 2*virtiotest.PageSize)
	event, err := eventfd.New()
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { event.Close() })
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < 3 {
			return
		}
		mem.Reset()
		ram := mem.Bytes(0, 2*virtiotest.PageSize)
		copy(ram, input[3:])
		size := uint32(1) << (input[1] % 5)
		var features uint64
		if input[0]&1 != 0 {
			features |= virtio.FeatureIndirectDesc
		}
		if input[0]&2 != 0 {
			features |= virtio.FeatureEventIdx
		}
		const avail, used = 256, 320
		binary.LittleEndian.PutUint16(ram[avail+2:], uint16(input[2]))
		q, err := virtio.NewQueue(virtio.QueueConfig{
			MaxSize: 16, Size: size, DescAddr: 0, AvailAddr: avail, UsedAddr: used,
			Features: features, Memory: mem, Event: event, Interrupts: &counter{},
		})
		if err != nil {
			t.Fatal(err)
		}
		var chains []*virtio.Chain
		for {
			c, err := q.Pop()
			if c == nil || err != nil {
				break
			}
			if len(c.Readable())+len(c.Writable()) > 16 || c.ReadableLen()+c.WritableLen() > 1<<32-1 {
				t.Fatalf("chain of %d and %d segments", len(c.Readable()), len(c.Writable()))
			}
			for _, s := range c.Writable() {
				clear(s)
			}
			if chains = append(chains, c); len(chains) > int(size) {
				t.Fatalf("%d chains in flight in a queue of %d", len(chains), size)
			}
		}
		for i := range chains {
			q.Push(chains[len(chains)-1-i], 1<<31)
		}
	})
}
