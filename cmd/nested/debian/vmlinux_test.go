package debian

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"testing"
)

// bzImage returns an image with one setup sector and the given payload.
func bzImage(payload []byte) []byte {
	image := make([]byte, 1024, 1024+len(payload))
	image[offSetupSects] = 1
	copy(image[offMagic:], "HdrS")
	binary.LittleEndian.PutUint32(image[offPayloadLength:], uint32(len(payload)))
	return append(image, payload...)
}

func TestUnpack(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte("\x7fELF and so on")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("size")
	got, err := unpack(bzImage(b.Bytes()))
	if string(got) != "\x7fELF and so on" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestPayloadErrors(t *testing.T) {
	outside := bzImage([]byte("\xfd7zXZ\x00 and the size"))
	binary.LittleEndian.PutUint32(outside[offPayloadOffset:], 1<<31)
	long := bzImage([]byte("\xfd7zXZ\x00 and the size"))
	binary.LittleEndian.PutUint32(long[offPayloadLength:], 1<<31)
	for name, test := range map[string]struct {
		image []byte
		want  string
	}{
		"empty":   {nil, "not a bzImage"},
		"text":    {bytes.Repeat([]byte("text"), 1000), "not a bzImage"},
		"outside": {outside, "outside the image"},
		"long":    {long, "outside the image"},
		"short":   {bzImage([]byte("1234567")), "outside the image"},
		"unknown": {bzImage([]byte("12345678")), "unknown compression (31323334)"},
	} {
		if _, err := unpack(test.image); !matches(err, test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
