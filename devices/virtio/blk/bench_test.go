package blk

import (
	"testing"

	"govmm/devices/virtio/virtiotest"
)

// BenchmarkServe is a 4 KiB read out of the page cache, without the queue's
// goroutines.
func BenchmarkServe(b *testing.B) {
	rig := newBench(b, newDisk(64), Config{})
	rig.device.backend = tempFile(b, 64*sectorSize)
	bufs := benchmarkRead(rig.mem)
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		rig.ring.Add(bufs...)
		c, _ := rig.queue.Pop()
		rig.queue.Push(c, rig.device.serve(c, rig.features))
		rig.ring.Reap()
	}
}

// BenchmarkRequest is the same through doorbell, worker and interrupt, one
// request at a time.
func BenchmarkRequest(b *testing.B) {
	driver := start(b, newDevice(b, Config{Backend: tempFile(b, 64*sectorSize)}))
	bufs := benchmarkRead(driver.Mem)
	b.SetBytes(4096)
	for b.Loop() {
		driver.Rings[0].Add(bufs...)
		driver.Kick(0)
		driver.Await(0)
	}
}

func benchmarkRead(mem *virtiotest.Memory) []virtiotest.Buf {
	bufs := readRequest(mem, 0)
	bufs[1] = virtiotest.Buf{Addr: mem.Alloc(4096, 4096), Len: 4096, Write: true}
	return bufs
}
