package kernelcache

import (
	"bytes"
	"os"
	"testing"
)

// FuzzEntry has an entry's file be anything: the kernel comes out right nevertheless.
func FuzzEntry(f *testing.F) {
	packed, kernel := []byte("packed"), []byte("an unpacked kernel")
	d := &Dir{Path: f.TempDir(), tick: 1}
	e, err := d.Open(nil, packed, func([]byte) ([]byte, error) { return kernel, nil })
	if err != nil || e.File == nil {
		f.Fatal(err)
	}
	path := e.File.Name()
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	e.Close()
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(append(bytes.Clone(whole), 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := d.Open(nil, packed, func([]byte) ([]byte, error) { return kernel, nil })
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		// By chance of 1 in 2^32, or by intent, an entry may be another kernel with a right sum.
		if !bytes.Equal(e.Data, kernel) && e.checkSum() != nil {
			t.Errorf("a kernel of %d bytes", len(e.Data))
		}
	})
}
