package balloon

import (
	"testing"

	"govmm/machine/memory"
)

// benchRAM returns 4 MiB of a machine's RAM at ramBase.
func benchRAM(b *testing.B) (*memory.Memory, []byte) {
	b.Helper()
	ram, err := memory.New([]memory.Range{{Base: ramBase, Size: 4 << 20}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ram.Close() })
	return ram, ram.Regions()[0].Data
}

func touch(p []byte) {
	for i := 0; i < len(p); i += PageSize {
		p[i] = 1
	}
}

// BenchmarkInflate is one request of Linux, 256 pages that the guest has touched: as neighbours, and with gaps.
func BenchmarkInflate(b *testing.B) {
	for name, stride := range map[string]uint32{"Neighbours": 1, "Gaps": 2} {
		b.Run(name, func(b *testing.B) {
			ram, data := benchRAM(b)
			f := newFixture(b, Config{Memory: ram})
			numbers := make([]uint32, 256)
			for i := range numbers {
				numbers[i] = ramPFN + uint32(i)*stride
			}
			array := pfns(f.mem, numbers...)
			memory := split{f.mem, ram}
			for b.Loop() {
				b.StopTimer()
				touch(data[:2<<20])
				c := f.pop(array)
				b.StartTimer()
				f.device.inflateChain(c, memory)
				b.StopTimer()
				f.queue.Push(c, 0)
				f.ring.Reap()
				b.StartTimer()
			}
		})
	}
}

// BenchmarkReport is 4 MiB that the guest has touched, as Linux reports them on x86.
func BenchmarkReport(b *testing.B) {
	ram, data := benchRAM(b)
	f := newFixture(b, Config{Memory: ram})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		b.StopTimer()
		touch(data)
		b.StartTimer()
		f.device.giveBack(data)
	}
}
