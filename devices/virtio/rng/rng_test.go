package rng

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

func request(mem *virtiotest.Memory, _ int) []virtiotest.Buf {
	return []virtiotest.Buf{{Addr: mem.Alloc(64, 8), Len: 64, Write: true}}
}

func TestConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(testing.TB) virtio.Device { return New(Config{Rate: 1 << 30}) }, virtiotest.Options{Request: request})
}

// newDriver starts a driver of the device.
func newDriver(t *testing.T, cfg Config) (*virtiotest.MMIODriver, *virtiotest.Memory) {
	t.Helper()
	mem, irq := virtiotest.NewMemory(0x10000, 1<<20), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: New(cfg), Memory: mem, IRQ: irq})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { transport.Close() })
	d := virtiotest.NewDriver(t, transport, mem, irq)
	d.Start(virtio.FeatureVersion1, queueSize)
	return d, mem
}

// ask has the device fill the buffers and returns what it says to have written.
func ask(d *virtiotest.MMIODriver, bufs ...virtiotest.Buf) uint32 {
	d.Rings[0].Add(bufs...)
	d.Kick(0)
	return d.Await(0).Len
}

func TestFills(t *testing.T) {
	d, mem := newDriver(t, Config{})
	a, b := mem.Alloc(100, 1), mem.Alloc(3000, 1)
	if n := ask(d, virtiotest.Buf{Addr: a, Len: 100, Write: true}, virtiotest.Buf{Addr: b, Len: 2000, Write: true}); n != 2100 {
		t.Errorf("%d bytes of 2100", n)
	}
	first, second := bytes.Clone(mem.Bytes(a, 100)), bytes.Clone(mem.Bytes(b, 2000))
	if bytes.Count(first, []byte{0}) > 20 || bytes.Count(second, []byte{0}) > 100 {
		t.Error("the bytes are not random")
	}
	if !bytes.Equal(mem.Bytes(b+2000, 1000), make([]byte, 1000)) {
		t.Error("bytes behind the buffer")
	}
	ask(d, virtiotest.Buf{Addr: a, Len: 100, Write: true})
	if bytes.Equal(first, mem.Bytes(a, 100)) {
		t.Error("the same bytes twice")
	}
}

// TestBounds holds that no request makes the device do more than it should.
func TestBounds(t *testing.T) {
	d, mem := newDriver(t, Config{Rate: 1 << 30})
	large := mem.Alloc(200<<10, 1)
	if n := ask(d, virtiotest.Buf{Addr: large, Len: 200 << 10, Write: true}); n != mostBytes {
		t.Errorf("%d bytes at once", n)
	}
	if n := ask(d, virtiotest.Buf{Addr: large, Len: 100}); n != 0 {
		t.Errorf("%d bytes into a buffer to be read", n)
	}
	if got := mem.Bytes(large+mostBytes, 1000); !bytes.Equal(got, make([]byte, 1000)) {
		t.Error("bytes beyond the bound")
	}
}

// TestRate holds that a guest which asks without end waits, and that a reset does not.
func TestRate(t *testing.T) {
	d, mem := newDriver(t, Config{Rate: 1}) // after the burst nothing for hours
	buf := virtiotest.Buf{Addr: mem.Alloc(mostBytes, 1), Len: mostBytes, Write: true}
	ask(d, buf)
	d.Rings[0].Add(buf)
	d.Kick(0)
	time.Sleep(20 * time.Millisecond)
	if _, ok := d.Rings[0].Reap(); ok {
		t.Error("the second request was served at once")
	}
	d.Reset() // returns only when the device has stopped
}

// TestHostFails holds that errors of the host leave a short buffer and one line in the log.
func TestHostFails(t *testing.T) {
	var log bytes.Buffer
	calls := 0
	cfg := Config{Log: slog.New(slog.NewTextHandler(&log, nil)), read: func(p []byte) (int, error) {
		calls++
		switch calls {
		case 1:
			return 0, unix.EINTR
		case 2:
			return 10, nil
		}
		return 0, errors.New("no entropy")
	}}
	d, mem := newDriver(t, cfg)
	buf := virtiotest.Buf{Addr: mem.Alloc(100, 1), Len: 100, Write: true}
	if n := ask(d, buf); n != 10 {
		t.Errorf("%d bytes, want 10", n)
	}
	if n := ask(d, buf); n != 0 {
		t.Errorf("%d bytes, want none", n)
	}
	d.Reset()
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "no entropy") {
		t.Errorf("log %q", log.String())
	}
}

func TestFillDoesNotAllocate(t *testing.T) {
	d := New(Config{})
	segments := [][]byte{make([]byte, 100), make([]byte, 300)}
	if n := testing.AllocsPerRun(100, func() { d.fill(segments) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFill asks for random bytes in pieces of any sizes, and holds that the device fills as many as it says, in order and nothing else.
func FuzzFill(f *testing.F) {
	f.Add([]byte{64, 0})
	f.Add([]byte{0, 0, 1, 0, 0xff, 0xff, 0, 0x80, 3, 0})
	f.Fuzz(func(t *testing.T, sizes []byte) {
		if len(sizes) > 64 {
			return
		}
		d := New(Config{read: func(p []byte) (int, error) {
			n := (len(p) + 1) / 2 // in parts, as after a signal
			for i := range n {
				p[i] = 1
			}
			return n, nil
		}})
		var segments [][]byte
		total := 0
		for ; len(sizes) >= 2; sizes = sizes[2:] {
			n := int(sizes[0]) | int(sizes[1])<<8
			segments = append(segments, make([]byte, n))
			total += n
		}
		n := int(d.fill(segments))
		all := bytes.Join(segments, nil)
		if n != min(total, mostBytes) || bytes.Count(all, []byte{1}) != n || bytes.Contains(all[:n], []byte{0}) {
			t.Errorf("%d bytes filled of %d, it says %d", bytes.Count(all, []byte{1}), total, n)
		}
	})
}
