//go:build kvmtest

package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestTraceOfEnds holds that a trace is written however a run ends, from within the sandbox.
func TestTraceOfEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		code []byte
		sig  syscall.Signal
		want int
		last string // reason of exits that there must be
	}{
		{"power-off", guestPowerOff, 0, 0, "KVM_EXIT_IO"},
		{"crash", guestTripleFault, 0, 2, "KVM_EXIT_SHUTDOWN"},
		{"SIGTERM", guestSpin, syscall.SIGTERM, 143, "KVM_EXIT_IO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a,b.json")
			c := command(t, "boot", "--trace", filepath.Dir(path)+"/a,,b.json,records=100", "-c", "2", writeGuest(t, tt.code))
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.sig != 0 {
				if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
					t.Fatalf("the guest said nothing: %v", err)
				}
				c.Process.Signal(tt.sig)
			}
			if got := exitStatus(t, c.Wait()); got != tt.want {
				t.Errorf("exit status %d, want %d", got, tt.want)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%v, %v: others may read it", info, err)
			}
			s, err := summarize(path)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, r := range s.Reasons {
				found = found || r.Name == tt.last
			}
			if !found || len(s.CPUs) == 0 || len(s.Phases) == 0 || s.Phases[len(s.Phases)-1].Stage != "end" {
				t.Errorf("%+v", s)
			}
		})
	}
}
