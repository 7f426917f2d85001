package payload

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"
)

// packer packs much as a kernel's build does (scripts/Makefile.lib), in less time.
type packer struct {
	format Format
	args   []string
	debian string // the package that has the program
}

var packers = []packer{
	{Gzip, []string{"gzip", "-n", "-f", "-9"}, "gzip"},
	{Zstd, []string{"zstd", "-q", "-3", "--long=27"}, "zstd"}, // -22 has this window too, but takes long
	{LZ4, []string{"lz4", "-q", "-l", "-1", "-", "-"}, "lz4"},
	{XZ, []string{"xz", "--check=crc32", "--x86", "--lzma2=preset=1,dict=32MiB"}, "xz-utils"},
}

func packerOf(f Format) packer {
	return packers[slices.IndexFunc(packers, func(p packer) bool { return p.format == f })]
}

// pack returns the packed data, without a size behind it except for gzip's.
func (p packer) pack(t testing.TB, data []byte) []byte {
	t.Helper()
	if _, err := exec.LookPath(p.args[0]); err != nil {
		t.Fatalf("no %s to pack with: apt-get install %s", p.args[0], p.debian)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(data), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", p.args, err, &stderr)
	}
	return out
}

// image packs data and makes a bzImage of it.
func (p packer) image(t testing.TB, data []byte) []byte {
	t.Helper()
	stream := p.pack(t, data)
	if p.format != Gzip {
		stream = withSize(stream, len(data))
	}
	return fakeBzImage(stream)
}

// withSize appends the unpacked size.
func withSize(stream []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clip(stream), uint32(size))
}

const testSetupSects = 2

// fakeBzImage is an image of protocol 2.15 around a payload, with code before it and
// a signature behind it. Its init_size is 64 MiB.
func fakeBzImage(payload []byte) []byte {
	const before = 0x2cc
	le := binary.LittleEndian
	b := make([]byte, (testSetupSects+1)*sectSize+before)
	b[offSetupSects] = testSetupSects
	copy(b[offMagic:], hdrMagic)
	le.PutUint16(b[offVersion:], 0x20f)
	le.PutUint32(b[offPayloadOffset:], before)
	le.PutUint32(b[offPayloadLength:], uint32(len(payload)))
	le.PutUint32(b[offInitSize:], 64<<20)
	return append(append(b, payload...), "signature"...)
}

// program returns size bytes that pack about as well as machine code, and that the
// x86 filter changes: calls, whose targets it makes absolute.
func program(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, size+16)
	for len(b) < size {
		b = append(b, 0x55, 0x48, 0x89, 0xe5, 0xe8)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.IntN(1<<16)))
		b = append(b, 0x90, byte(r.Uint32()), 0xc3)
	}
	return b[:size]
}

func mustFind(t testing.TB, image []byte) Payload {
	t.Helper()
	p, err := Find(image)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
