package memory

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// randomFile makes a file and gives its content too.
func randomFile(t *testing.T, size int) (*os.File, []byte) {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, data
}

// TestMapFile holds that RAM has the file's bytes, all of them and no others, and that
// writing to them leaves the file alone.
func TestMapFile(t *testing.T) {
	const ramSize = 1 << 20
	f, content := randomFile(t, 10*4096+100)
	for _, tt := range []struct{ off, addr, n uint64 }{
		{0, 0x3000, 10*4096 + 100},
		{0, 0x3000, 4096},
		{0, 0x3000, 5},
		{0x1000, 0x3000, 0x2345},
		{0x1234, 0x5234, 0x4567},
		{0x1234, 0x5234, 0x10},
		{0x1234, 0x5234, 0xdcc},
		{0x1ff0, 0x5ff0, 0x20},
		{0, ramSize - 0x2000, 0x2000},
		{7, 7, 0},
	} {
		m, err := New([]Range{{0, ramSize}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		data := content[tt.off : tt.off+tt.n]
		if err := m.MapFile(f, tt.off, tt.addr, data); err != nil {
			t.Fatal(err)
		}
		want := make([]byte, ramSize)
		copy(want[tt.addr:], data)
		got := m.Regions()[0].Data
		if !bytes.Equal(got, want) {
			t.Errorf("%+v: RAM differs", tt)
		}
		for i := range got {
			got[i] = 0x55
		}
	}
	after, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(after, content) {
		t.Error("the file has changed", err)
	}
}

func TestMapFileRefuses(t *testing.T) {
	f, content := randomFile(t, 4*4096)
	m, err := New([]Range{{0, 16 * 4096}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.MapFile(f, 0x10, 0x1000, content[0x10:]); !errors.Is(err, ErrCongruence) {
		t.Errorf("another place in the page: %v", err)
	}
	var access *AccessError
	if err := m.MapFile(f, 0, 15*4096, content); !errors.As(err, &access) {
		t.Errorf("beyond RAM: %v", err)
	}
}
