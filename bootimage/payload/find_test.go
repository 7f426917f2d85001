package payload

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// small is an image whose kernel is no stream, though it begins like one.
func small() []byte { return fakeBzImage(withSize([]byte(lz4Magic+"stream"), 1000)) }

func TestFind(t *testing.T) {
	p := mustFind(t, small())
	if p.Format() != LZ4 || p.Size() != 1000 || string(p.stream) != lz4Magic+"stream" {
		t.Errorf("%v, %d bytes from %q", p.Format(), p.Size(), p.stream)
	}
	if cap(p.stream) != len(p.stream) {
		t.Error("the stream can be appended to")
	}
	// What a setup_sects of 0 means, is 4.
	old := small()
	old[offSetupSects] = 0
	old = append(old[:5*sectSize:5*sectSize], old[3*sectSize:]...)
	if p := mustFind(t, old); p.Size() != 1000 {
		t.Errorf("%d bytes with setup_sects 0", p.Size())
	}
}

// TestFindFormats holds that each compression is told by its first bytes, and that
// only gzip's stream has the size in it.
func TestFindFormats(t *testing.T) {
	for _, k := range formats {
		stream := []byte(k.magic + "some stream")
		p := mustFind(t, fakeBzImage(withSize(stream, 77)))
		if k.format == Gzip {
			stream = withSize(stream, 77)
		}
		if p.Format() != k.format || p.Size() != 77 || !bytes.Equal(p.stream, stream) {
			t.Errorf("%s: %v, %d bytes from %q", k.name, p.Format(), p.Size(), p.stream)
		}
	}
}

func TestFindRefused(t *testing.T) {
	le := binary.LittleEndian
	set16 := func(off int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint16(b[off:], v); return b }
	}
	set32 := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { le.PutUint32(b[off:], v); return b }
	}
	payload := func(p []byte) func([]byte) []byte { return func([]byte) []byte { return fakeBzImage(p) } }
	for name, c := range map[string]struct {
		change      func([]byte) []byte
		want        string
		unsupported bool
	}{
		"empty":           {func([]byte) []byte { return nil }, "not a bzImage", false},
		"header cut off":  {func(b []byte) []byte { return b[:endOfHeader-1] }, "not a bzImage", false},
		"no magic":        {func(b []byte) []byte { b[offMagic]++; return b }, "not a bzImage", false},
		"old protocol":    {set16(offVersion, 0x207), "2.07", true},
		"no payload":      {set32(offPayloadLength, 0), "0 bytes", false},
		"only a size":     {set32(offPayloadLength, 7), "7 bytes", false},
		"length beyond":   {set32(offPayloadLength, 0xffff_ffff), "truncated", false},
		"offset beyond":   {set32(offPayloadOffset, 0xffff_ffff), "truncated", false},
		"sectors beyond":  {func(b []byte) []byte { b[offSetupSects] = 255; return b }, "truncated", false},
		"unknown":         {payload(withSize([]byte("\x7fELF"), 4)), "7f 45 4c 46", true},
		"size 0":          {payload(withSize([]byte(lz4Magic), 0)), "0 bytes", false},
		"size above init": {set32(offInitSize, 999), "1 to 999", false},
		"greatest size":   {payload(withSize([]byte(lz4Magic), 0xffff_ffff)), "4294967295 bytes", false},
		"above the constant": {func([]byte) []byte {
			return set32(offInitSize, 0xffff_ffff)(fakeBzImage(withSize([]byte(lz4Magic), maxSize+1)))
		}, "1 to 536870912", false},
		"2.09, no init_size": {func([]byte) []byte {
			return set16(offVersion, 0x209)(fakeBzImage(withSize([]byte(lz4Magic), maxSize+1)))
		}, "1 to 536870912", false},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Find(c.change(small()))
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrUnsupported) != c.unsupported {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if p.stream != nil {
				t.Error("a payload beside the error")
			}
		})
	}
}

// TestFindOld holds that protocol 2.08, which has no init_size, is good enough.
func TestFindOld(t *testing.T) {
	b := small()
	binary.LittleEndian.PutUint16(b[offVersion:], protocolPayload)
	binary.LittleEndian.PutUint32(b[offInitSize:], 1)
	if p := mustFind(t, b); p.Size() != 1000 {
		t.Errorf("%d bytes", p.Size())
	}
}

func findHostile(t testing.TB, image []byte) {
	t.Helper()
	p, err := Find(image)
	if err != nil {
		if msg := err.Error(); msg == "" || strings.ContainsAny(msg, "\n\r\x1b") || len(msg) > 200 {
			t.Errorf("error message %q", msg)
		}
		return
	}
	if p.size <= 0 || p.size > maxSize || len(p.stream) > len(image) || p.format == 0 {
		t.Errorf("%v, %d bytes from %d", p.format, p.size, len(p.stream))
	}
}

func TestFindHostile(t *testing.T) {
	image := small()
	for n := range image {
		findHostile(t, image[:n:n])
	}
	for i := offSetupSects; i+4 <= endOfHeader; i++ {
		for _, v := range []uint32{0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff} {
			b := bytes.Clone(image)
			binary.LittleEndian.PutUint32(b[i:], v)
			findHostile(t, b)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(small())
	f.Fuzz(func(t *testing.T, image []byte) { findHostile(t, image) })
}
