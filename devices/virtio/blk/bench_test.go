package blk

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// The benchmarks read and write 4 KiB at a time in an image of 64 MiB that is in the page cache.
const (
	benchBlock  = 4096
	benchSize   = 64 << 20
	benchBlocks = benchSize / benchBlock
)

// benchFile makes an image in memory, where it is the host's file system that is measured and not its disk. With
// GOVMM_BENCH_DIR it is made there.
func benchFile(b *testing.B) *File {
	dir := os.Getenv("GOVMM_BENCH_DIR")
	if dir == "" {
		dir = "/dev/shm"
	}
	image, err := os.CreateTemp(dir, "govmm-bench-*.img")
	if err != nil {
		b.Fatal(err)
	}
	defer image.Close()
	b.Cleanup(func() { os.Remove(image.Name()) })
	for range benchSize >> 20 {
		if _, err := image.Write(make([]byte, 1<<20)); err != nil {
			b.Fatal(err)
		}
	}
	return mustOpen(b, image.Name(), false)
}

// BenchmarkHost is what the rest is held against: a loop of system calls on one thread.
func BenchmarkHost(b *testing.B) {
	for _, op := range []struct {
		name string
		call func(fd int, iovs [][]byte, off int64) (int, error)
	}{{"read", unix.Preadv}, {"write", unix.Pwritev}} {
		b.Run(op.name, func(b *testing.B) {
			f := benchFile(b)
			iovs := [][]byte{make([]byte, benchBlock)}
			b.SetBytes(benchBlock)
			i := int64(0)
			for b.Loop() {
				if _, err := op.call(f.fd, iovs, i%benchBlocks*benchBlock); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkDevice sends requests through rings, doorbell, worker and interrupt, so many at once, by a driver that sleeps
// until the interrupt. cpu-ns/op is the time of processors that all of it takes, the driver's included; it says more than
// ns/op where the machine does other things too.
func BenchmarkDevice(b *testing.B) {
	for _, kind := range []uint32{typeIn, typeOut} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/depth=%d", map[uint32]string{typeIn: "read", typeOut: "write"}[kind], depth), func(b *testing.B) {
				d := startBench(b, newDevice(b, Config{Backend: benchFile(b)}))
				requests := make([][]virtiotest.Buf, depth)
				for i := range requests {
					requests[i] = benchRequest(d.Mem, kind, uint64(i))
				}
				b.SetBytes(benchBlock)
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1)) // as the machine does for each vCPU
				before := cpuTime(b)
				b.ResetTimer()
				for n := 0; n < b.N; n += depth {
					d.send(requests)
				}
				b.StopTimer()
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(d.interrupts)/float64(b.N), "irq/op")
			})
		}
	}
}

// cpuTime returns the time that the process has computed.
func cpuTime(b *testing.B) int64 {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

// A benchDriver is a Driver whose interrupts are an eventfd. It waits for it as a vCPU does in KVM_RUN: in a raw
// system call, on a thread of its own.
type benchDriver struct {
	*virtiotest.MMIODriver
	fd         int
	interrupts int
}

func (d *benchDriver) Trigger() error {
	one := [8]byte{1}
	_, err := unix.Write(d.fd, one[:])
	return err
}

// send has the device serve the requests.
func (d *benchDriver) send(requests [][]virtiotest.Buf) {
	for _, r := range requests {
		d.Rings[0].Add(r...)
	}
	d.Kick(0)
	for done := 0; ; {
		for {
			if _, ok := d.Rings[0].Reap(); !ok {
				break
			}
			done++
		}
		if done == len(requests) {
			return
		}
		d.halt()
		d.interrupts++
	}
}

// startBench is start with RAM and rings for 32 requests at once.
func startBench(b *testing.B, device virtio.Device) *benchDriver {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fd) })
	mem := virtiotest.NewMemory(0, 4<<20)
	d := &benchDriver{fd: fd}
	transport, err := virtiommio.New(virtiommio.Config{Device: device, Memory: mem, IRQ: d})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { transport.Close() })
	d.MMIODriver = virtiotest.NewDriver(b, transport, mem, nil)
	d.Start(virtio.FeatureEventIdx|virtio.FeatureIndirectDesc|featureFlush, 128)
	return d
}

// benchRequest transfers the block of that number.
func benchRequest(mem *virtiotest.Memory, kind uint32, block uint64) []virtiotest.Buf {
	bufs := readRequest(mem, 0)
	header := mem.Bytes(bufs[0].Addr, headerSize)
	binary.LittleEndian.PutUint32(header, kind)
	binary.LittleEndian.PutUint64(header[8:], block*benchBlock/sectorSize)
	bufs[1] = virtiotest.Buf{Addr: mem.Alloc(benchBlock, benchBlock), Len: benchBlock, Write: kind == typeIn}
	return bufs
}
