package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestParseInfo(t *testing.T) {
	console := "[    0.2] PCI: Fatal: a=b\r\nkernel=6.12.1\r\ncpus=2\r\ncmdline=console=ttyS0 quiet\r\nblock.vda=67108864\r\n"
	got := parseInfo(console)
	for name, want := range map[string]string{"kernel": "6.12.1", "cpus": "2", "cmdline": "console=ttyS0 quiet", "block.vda": "67108864"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 4 {
		t.Errorf("more was read than the guest told: %v", got)
	}
}

func TestCompare(t *testing.T) {
	var b bytes.Buffer
	if err := compare(&b, map[string]string{"kernel": "6.12.1", "cpus": "2"}, hostInfo()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if !strings.HasPrefix(lines[1], "kernel") || !strings.Contains(lines[1], "6.12.1") {
		t.Errorf("%q", b.String())
	}
	if strings.Contains(lines[2], "-") {
		t.Errorf("the host's CPUs are missing: %q", lines[2])
	}
}

func TestIndent(t *testing.T) {
	var b bytes.Buffer
	if n, err := (indent{&b}).Write([]byte("a\r\nb\r\n")); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	if got := b.String(); got != "a\n  | b\n  | " {
		t.Errorf("%q", got)
	}
}
