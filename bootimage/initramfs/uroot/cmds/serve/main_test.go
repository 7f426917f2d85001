package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestServe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- serve(l, file) }()
	for range 2 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); err != nil || string(got) != "content" {
			t.Errorf("got %q, %v", got, err)
		}
		c.Close()
	}
	l.Close()
	if <-done == nil {
		t.Error("serve returned without an error")
	}
}
