package blk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

const directSize = 64 * defaultAlign

// directFile makes an image that is used past the page cache.
func directFile(t testing.TB) *File {
	t.Helper()
	f, err := OpenDirect(tempPath(t, directSize), false)
	if err != nil {
		t.Fatalf("%v; this test needs direct I/O: TMPDIR=/var/tmp go test ./devices/virtio/blk", err)
	}
	t.Cleanup(func() { f.Close() })
	if flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_DIRECT == 0 {
		t.Fatalf("flags %#x, %v: not O_DIRECT", flags, err)
	}
	return f
}

func TestDirectConformance(t *testing.T) {
	virtiotest.TestDevice(t, func(t testing.TB) virtio.Device {
		return newDevice(t, Config{Backend: directFile(t), Queues: 2})
	}, virtiotest.Options{Request: readRequest})
}

// TestDirectAtAnyAlignment compares random transfers with the same ones in memory.
func TestDirectAtAnyAlignment(t *testing.T) {
	f := directFile(t)
	f.memAlign, f.align = defaultAlign, defaultAlign // the most that hosts ask for
	model := make([]byte, directSize)
	if _, err := f.ReadVec([][]byte{model}, 0); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	memory := make([]byte, 2*directSize)
	for i := range 300 {
		unit := []int{1, sectorSize, f.align}[i%3] // a Device has sectors only, but the code does not rely on it
		off := rnd.IntN(directSize/unit) * unit
		n := rnd.IntN((directSize-off)/unit+1) * unit
		start := rnd.IntN(directSize/unit) * unit
		var segments [][]byte
		for p := memory[start : start+n]; len(p) > 0; {
			k := min(len(p), (1+rnd.IntN(40))*unit)
			segments, p = append(segments, p[:k], nil), p[k:]
		}
		if i%2 == 0 {
			for j := range n {
				memory[start+j] = byte(rnd.Uint32())
			}
			copy(model[off:], memory[start:start+n])
			if done, err := f.WriteVec(segments, int64(off)); done != n || err != nil {
				t.Fatalf("write of %d at %d: %d, %v", n, off, done, err)
			}
			continue
		}
		if done, err := f.ReadVec(segments, int64(off)); done != n || err != nil || !bytes.Equal(memory[start:start+n], model[off:off+n]) {
			t.Fatalf("read of %d at %d: %d, %v, or wrong data", n, off, done, err)
		}
	}
	if got, err := os.ReadFile(f.path); err != nil || !bytes.Equal(got, model) {
		t.Errorf("the file differs from what was written, or %v", err)
	}
}

// TestDirectPartsOfOneBlock writes the sectors of one block at the same time, each of them by reading the others
// and writing them back.
func TestDirectPartsOfOneBlock(t *testing.T) {
	f := directFile(t)
	f.memAlign, f.align = defaultAlign, defaultAlign
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for v := range byte(20) {
				if _, err := f.WriteVec([][]byte{bytes.Repeat([]byte{v + 100}, sectorSize)}, int64(i)*sectorSize); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	p := make([]byte, 8*sectorSize)
	if _, err := f.ReadVec([][]byte{p}, 0); err != nil || !bytes.Equal(p, bytes.Repeat([]byte{119}, len(p))) {
		t.Errorf("a write was lost, or %v", err)
	}
}

// TestDirectDoesNotBounce holds that usual requests, whose status is in a byte that is aligned to nothing, go straight to guest memory.
func TestDirectDoesNotBounce(t *testing.T) {
	f := directFile(t)
	f.buffers.New = func() any { t.Error("a buffer was used"); return nil }
	driver := start(t, newDevice(t, Config{Backend: f}))
	for _, kind := range []uint32{typeIn, typeOut} {
		bufs := benchRequest(driver.Mem, kind, 1)
		// What the Go heap gives is not aligned as guest RAM is.
		if misaligned(driver.Mem.Bytes(driver.Mem.Base(), 1), f.memAlign) {
			t.Fatal("the test's memory is not aligned to pages")
		}
		driver.Rings[0].Add(bufs...)
		driver.Kick(0)
		driver.Await(0)
		if s := driver.Mem.Bytes(bufs[2].Addr, 1)[0]; s != byte(statusOK) {
			t.Errorf("type %d: status %d", kind, s)
		}
	}
}

func TestDirectZero(t *testing.T) {
	f := directFile(t)
	f.memAlign, f.align = defaultAlign, defaultAlign
	const off, n = 3 * sectorSize, 300 * sectorSize
	if err := f.writeZeroes(off, n); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(f.path)
	if err != nil || !bytes.Equal(got[off:off+n], make([]byte, n)) || got[off-1] == 0 || got[off+n] == 0 {
		t.Errorf("wrong range is zero, or %v", err)
	}
}

func TestDirectErrors(t *testing.T) {
	f := &File{size: 4096 + sectorSize, directIO: directIO{align: 4096}}
	if err := f.checkDirectSize(); err == nil || !strings.Contains(err.Error(), "truncate -s %4096") {
		t.Errorf("an odd size: %v", err)
	}
	if s := errNoDirect.Error(); !strings.Contains(s, "leave out cache=none") {
		t.Error(s)
	}
}

// TestTopology tells the guest which writes cost more.
func TestTopology(t *testing.T) {
	for _, test := range []struct {
		info Info
		want [2]int // blk_size, physical_block_exp
	}{
		{Info{Size: 4096}, [2]int{512, 0}},
		{Info{Size: 4096, BlockSize: 512, PhysicalBlockSize: 4096}, [2]int{512, 3}},
		{Info{Size: 4096, BlockSize: 4096}, [2]int{4096, 0}},
	} {
		b := &infoDisk{newDisk(8), test.info}
		p := make([]byte, configSize)
		newDevice(t, Config{Backend: b}).ReadConfig(0, p)
		if got := [2]int{int(p[20]) | int(p[21])<<8, int(p[24])}; got != test.want {
			t.Errorf("%+v: %v", test.info, got)
		}
	}
	for _, info := range []Info{{Size: 4096, BlockSize: 513}, {Size: 4096, BlockSize: 256}, {Size: 512, BlockSize: 4096}, {Size: 4096, BlockSize: 1024, PhysicalBlockSize: 512}, {Size: 1 << 20, BlockSize: 1 << 17}} {
		if _, err := New(Config{Backend: &infoDisk{newDisk(8), info}}); err == nil {
			t.Errorf("%+v is accepted", info)
		}
	}
}

type infoDisk struct {
	*disk
	info Info
}

func (d *infoDisk) Info() Info { return d.info }
