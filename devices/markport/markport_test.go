package markport

import (
	"bytes"
	"testing"

	"govmm/devices"
)

var _ devices.Handler = (*Port)(nil)

func TestPort(t *testing.T) {
	var got []byte
	p := New(func(v byte) { got = append(got, v) })
	p.Write(0, []byte{1})
	p.Write(3, []byte{2, 9, 9, 9})
	p.Write(0, nil)
	if want := []byte{1, 2}; !bytes.Equal(got, want) {
		t.Errorf("marks % x, want % x", got, want)
	}
	b := []byte{7, 7}
	if p.Read(0, b); !bytes.Equal(b, []byte{0, 0}) {
		t.Errorf("read % x", b)
	}
}
