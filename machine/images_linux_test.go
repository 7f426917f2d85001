//go:build linuxtest

package machine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"govmm/bootimage/payload"
	"govmm/machine/guesttest"
)

// TestWhoUnpacks damages the compressed part of a stock kernel, and looks at what becomes of it before anything runs:
// what the host cannot unpack is left to the guest, with one line in the log, but not what nobody can.
func TestWhoUnpacks(t *testing.T) {
	whole, err := os.ReadFile(guesttest.Kernel(t, "6.12-cloud"))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	at := (int(whole[0x1f1])+1)*512 + int(le.Uint32(whole[0x248:])) // payload_offset
	size := at + int(le.Uint32(whole[0x24c:])) - 4                  // the unpacked size, behind the payload
	for _, tt := range []struct {
		name        string
		damage      func(b []byte)
		unsupported bool // else an error, whoever is to unpack it
	}{
		{"bzip2", func(b []byte) { copy(b[at:], "BZh9") }, true},
		{"unknown compression", func(b []byte) { copy(b[at:], "????") }, true},
		{"old protocol", func(b []byte) { b[0x206] = 7; b[0x207] = 2 }, false}, // the 64-bit entry needs 2.12
		{"bit in the stream", func(b []byte) { b[at+5000] ^= 1 }, false},
		{"other size", func(b []byte) { b[size]++ }, false},
		{"bomb", func(b []byte) { le.PutUint32(b[size:], 0xffff_ffff) }, false},
		{"payload beyond the end", func(b []byte) { le.PutUint32(b[0x24c:], 0x7fff_ffff) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kernel := bytes.Clone(whole)
			tt.damage(kernel)
			for _, direct := range []Direct{DirectAuto, DirectAlways} {
				var log bytes.Buffer
				m, err := New(Config{Kernel: kernel, Direct: direct, Log: slog.New(slog.NewTextHandler(&log, nil))})
				lines := strings.Count(log.String(), "\n")
				switch {
				case tt.unsupported && direct == DirectAuto:
					if err != nil || lines != 1 || !strings.Contains(log.String(), "unpacks its kernel itself") || !m.selfUnpacking {
						t.Errorf("error %v, log %q", err, log.String())
					}
				case err == nil || strings.Contains(err.Error(), "\n"):
					t.Errorf("with %v: error %v, log %q", direct, err, log.String())
				case tt.unsupported != errors.Is(err, payload.ErrUnsupported):
					t.Errorf("with %v: error %v", direct, err)
				}
				if err == nil {
					m.Close()
				}
			}
		})
	}
}
