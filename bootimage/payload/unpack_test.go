package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for _, k := range packers {
		sizes := []int{1, 4096, 1 << 20}
		if k.format == LZ4 {
			sizes = append(sizes, lz4Block, lz4Block+1, 2*lz4Block+12345)
		}
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%v/%d", k.format, size), func(t *testing.T) {
				data := program(size)
				p := mustFind(t, k.image(t, data))
				if p.Format() != k.format || p.Size() != size || p.Packed() == 0 {
					t.Errorf("%v, %d bytes from %d", p.Format(), p.Size(), p.Packed())
				}
				got, err := p.Unpack()
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, data) {
					t.Errorf("%d bytes that differ from the %d packed ones", len(got), len(data))
				}
			})
		}
	}
}

// TestWindow has a zstd stream of a window that is larger than the output, as
// zstd -22 gives it, and streams that need more memory than is granted.
func TestWindow(t *testing.T) {
	data := program(100_000)
	ultra := packer{Zstd, []string{"zstd", "-q", "--ultra", "-22"}, "zstd"}
	if got, err := mustFind(t, ultra.image(t, data)).Unpack(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("zstd -22: %v", err)
	}
	for _, k := range []packer{
		{Zstd, []string{"zstd", "-q", "-1", "--long=28"}, "zstd"},
		{XZ, []string{"xz", "--lzma2=preset=0,dict=192MiB"}, "xz-utils"},
		{XZ, []string{"xz", "--check=sha256", "--arm64", "--lzma2=preset=0"}, "xz-utils"},
	} {
		if _, err := mustFind(t, k.image(t, data)).Unpack(); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v: %v, want ErrUnsupported", k.args, err)
		}
	}
}

// TestWrongSize declares one byte more and less than there are.
func TestWrongSize(t *testing.T) {
	for _, k := range packers {
		data := program(300_000)
		if k.format == LZ4 {
			data = program(lz4Block + 1000)
		}
		stream := k.pack(t, data)
		for _, size := range []int{len(data) - 1, len(data) + 1, len(data) - 1000, 1, 200_000, 16 << 20} {
			image := fakeBzImage(withSize(stream, size))
			if k.format == Gzip {
				image = fakeBzImage(withSize(stream[:len(stream)-sizeField], size))
			}
			got, err := mustFind(t, image).Unpack()
			if err == nil {
				t.Errorf("%v: %d bytes, declared %d, unpacked without an error", k.format, len(got), size)
			}
		}
	}
}

// TestBomb unpacks 64 MiB that claim to be 4 KiB. Neither may it write so much, nor
// allocate it.
func TestBomb(t *testing.T) {
	const declared = 4096
	small := packer{XZ, []string{"xz", "--lzma2=preset=0,dict=64KiB"}, "xz-utils"}
	plain := packer{Zstd, []string{"zstd", "-q", "-1"}, "zstd"}
	for _, k := range []packer{packerOf(Gzip), packerOf(LZ4), packerOf(Zstd), plain, small} {
		stream := k.pack(t, make([]byte, 64<<20))
		p := Payload{k.format, declared, stream}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := p.Unpack()
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%v: no error", k.args)
		}
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(4<<20); got > most {
			t.Errorf("%v: %d bytes allocated, want at most %d", k.args, got, most)
		}
		t.Logf("%v: %v", k.args, err)
	}
}

// TestIncompressibleBomb has raw blocks, which take another way through decoders.
func TestIncompressibleBomb(t *testing.T) {
	noise := make([]byte, 4<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	for _, k := range packers {
		stream := k.pack(t, noise)
		for _, declared := range []int{1, 100_000, 1 << 20, len(noise) - 1} {
			if _, err := (Payload{k.format, declared, stream}).Unpack(); err == nil {
				t.Errorf("%v: no error for %d bytes declared", k.format, declared)
			}
		}
	}
}

// TestCorrupt cuts streams off at each byte, and changes each of their bytes.
func TestCorrupt(t *testing.T) {
	data := program(600)
	for _, k := range packers {
		if k.format == XZ {
			k.args = []string{"xz", "--check=crc32", "--x86", "--lzma2=preset=0,dict=64KiB"}
		}
		stream := k.pack(t, data)
		for n := range stream {
			if got, err := (Payload{k.format, len(data), stream[:n:n]}).Unpack(); err == nil && !bytes.Equal(got, data) {
				t.Errorf("%v: %d bytes of %d give other data and no error", k.format, n, len(stream))
			}
			b := bytes.Clone(stream)
			for _, bit := range []byte{1, 0x80} {
				b[n] ^= bit
				unpackHostile(t, Payload{k.format, len(data), b})
				b[n] ^= bit
			}
		}
	}
}

// unpackHostile unpacks a stream that may be anything: to what it declares, or to an
// error of one line.
func unpackHostile(t testing.TB, p Payload) {
	t.Helper()
	got, err := p.Unpack()
	if err == nil {
		if len(got) != p.size {
			t.Errorf("%d bytes, declared %d", len(got), p.size)
		}
		return
	}
	if msg := err.Error(); msg == "" || strings.ContainsAny(msg, "\n\r\x1b") || len(msg) > 200 {
		t.Errorf("error message %q", msg)
	}
}

func TestLZ4Blocks(t *testing.T) {
	le := binary.LittleEndian
	block := []byte{0x50, 'h', 'e', 'l', 'l', 'o'} // literals only
	framed := append(le.AppendUint32([]byte(lz4Magic), uint32(len(block))), block...)
	twice := append(le.AppendUint32(bytes.Clone(framed), uint32(len(block))), block...)
	for name, c := range map[string]struct {
		stream []byte
		size   int
		want   string // of the error
	}{
		"one block":        {framed, 5, ""},
		"no frame":         {[]byte("\x04\x22\x4d\x18"), 5, "no legacy frame"},
		"less":             {framed, 6, "less"},
		"short not last":   {twice, 10, "not the last"},
		"no block":         {[]byte(lz4Magic), 5, "less"},
		"size cut off":     {framed[:6], 5, "within a block's size"},
		"block cut off":    {framed[:len(framed)-1], 5, "truncated"},
		"greatest size":    {append([]byte(lz4Magic), 0xff, 0xff, 0xff, 0xff, 0), 5, "truncated"},
		"only part of it":  {framed, 4, "lz4"},
		"behind the block": {append(bytes.Clone(framed), 0), 5, "not the last"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Payload{LZ4, c.size, c.stream}.Unpack()
			if c.want == "" {
				if err != nil || string(got) != "hello" {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for _, f := range []Format{Bzip2, LZMA, LZO, 0, 99} {
		_, err := Payload{format: f, size: 100, stream: make([]byte, 100)}.Unpack()
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), f.String()) {
			t.Errorf("%v: %v, want ErrUnsupported", f, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(byte(Bzip2), uint32(1), []byte("BZh9")) // the others are in testdata
	f.Fuzz(func(t *testing.T, format byte, size uint32, stream []byte) {
		unpackHostile(t, Payload{Format(format), int(size % (1 << 20)), stream})
	})
}
