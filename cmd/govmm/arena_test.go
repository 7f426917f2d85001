package main

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// TestArena writes more than an arena has room for to begin with, in both ways.
func TestArena(t *testing.T) {
	a, err := newArena()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	want := make([]byte, arenaSize+arenaSize/2)
	rand.NewChaCha8([32]byte{3}).Read(want)
	const cut = arenaSize / 3
	if n, err := a.Write(want[:cut]); n != cut || err != nil {
		t.Fatal(n, err)
	}
	if n, err := io.Copy(a, bytes.NewReader(want[cut:arenaSize])); n != arenaSize-cut || err != nil {
		t.Fatal(n, err)
	}
	if n, err := io.CopyN(a, bytes.NewReader(want[arenaSize:]), 100); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	if _, err := a.Write(want[arenaSize+100:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.bytes(), want) {
		t.Error("the arena has other bytes than were written")
	}
	broken := errors.New("broken")
	if _, err := io.Copy(a, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}
