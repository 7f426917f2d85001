//go:build kvmtest

package machine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"govmm/bootimage"
)

// firstWrite tells when the guest has written to its console.
type firstWrite chan struct{}

func (f firstWrite) Write(p []byte) (int, error) {
	close(f) // the guest writes once
	return len(p), nil
}

// TestMappedFile has RAM made of a file: the guest sees its content, what the guest writes stays its own, and when
// the file is cut short while it runs, the run ends with an error that says so.
func TestMappedFile(t *testing.T) {
	const addr, size = 0x20_0000, 1 << 20
	path := filepath.Join(t.TempDir(), "initrd")
	content := make([]byte, size)
	content[0], content[size/2] = 'A', 'B'
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// mov al, [addr]; mov [addr+1], al; mov dx, 0x3f8; out dx, al
	code := []byte{0x8a, 0x04, 0x25, 0, 0, 0x20, 0, 0x88, 0x04, 0x25, 1, 0, 0x20, 0, 0x66, 0xba, 0xf8, 0x03, 0xee}
	// again: mov al, [addr+size/2]; jmp again
	code = append(code, 0x8a, 0x04, 0x25, 0, 0, 0x28, 0, 0xeb, 0xf7)
	plan := image(code)
	plan.Segments = append(plan.Segments, bootimage.Segment{
		Name: "initrd", Addr: addr, Data: content, Size: size, Source: bootimage.FromInitrd,
	})
	spoke := make(firstWrite)
	m := newMachine(t, Config{Image: plan, InitrdFile: f, Console: spoke})
	ended := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		_, err := m.Run(ctx)
		ended <- err
	}()
	<-spoke
	if b, err := os.ReadFile(path); err != nil || b[1] != 0 {
		t.Error("the guest wrote to the file", err)
	}
	if b, err := m.Memory().ReadSlice(addr, 2); err != nil || string(b) != "AA" {
		t.Errorf("RAM has %q, %v", b, err)
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("the run ended with: %v", err)
	}
}
