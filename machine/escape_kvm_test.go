//go:build kvmtest

package machine

import (
	"context"
	"encoding/binary"
	"log/slog"
	"strings"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/rng"
	"govmm/devices/virtio/virtiotest"
)

// Escapes that other monitors had and that need a whole machine to show. The table of all is in docs/testing.md.

// escape runs a script on a machine with an entropy device over PCI, and gives the machine, still open, and what it logged.
func escape(t *testing.T, script func(h *hostile)) (*Machine, string) {
	t.Helper()
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	device := rng.New(rng.Config{Log: logger})
	h := newHostileScript(1, 1, PCI, device)
	script(h)
	m, err := newHostile(t, Config{Memory: hostileMemory, Devices: []virtio.Device{device}, Log: logger}, [][]operation{h.ops})
	if err != nil {
		t.Fatalf("%v (make test-kvm runs this test where there is a KVM)", err)
	}
	t.Cleanup(func() { m.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if o, err := m.Run(ctx); err != nil || o.Reason != DebugExit {
		t.Fatalf("%v, %v", o.Reason, err)
	}
	return m, log.String()
}

// start is a handshake as it should be, with one queue.
func (h *hostile) start(q hostileQueue) {
	h.setStatus(0)
	status := virtio.StatusAcknowledge | virtio.StatusDriver
	h.setStatus(status)
	h.acceptFeatures(virtio.FeatureVersion1)
	status |= virtio.StatusFeaturesOK
	h.setStatus(status)
	h.setUpQueueAt(0, q)
	h.setStatus(status | virtio.StatusDriverOK)
}

// smallQueue is a queue at places that are as good as others.
func smallQueue() hostileQueue {
	return hostileQueue{size: 4, desc: hostileRings, avail: hostileRings + 0x1000, used: hostileRings + 0x2000}
}

// TestEscapeAllRAMTouchedAtStart holds that a large guest that does little costs little.
func TestEscapeAllRAMTouchedAtStart(t *testing.T) {
	m := newMachine(t, Config{Image: image(powerOff), Memory: 8 << 30})
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	const most = 16 << 20 // a few pages, which may be huge ones
	if got, err := m.Memory().Resident(); err != nil || got > most {
		t.Errorf("%d KiB of RAM are resident, %v", got>>10, err)
	}
}

// TestEscapeDMAToRegisters has a device write to its own registers, which in monitors whose devices reach
// everything that a processor reaches enters the device a second time.
func TestEscapeDMAToRegisters(t *testing.T) {
	_, log := escape(t, func(h *hostile) {
		q := smallQueue()
		h.start(q)
		h.put(q.desc, buffer{h.bar, 64, true}, 0, 0)
		h.add(opStore32, q.avail, 1<<16) // index 1
		h.notify(0)
		// The status and, behind it, the generation of the configuration.
		h.add(opAwait, h.bar+virtiotest.CommonStatus, uint64(0xf|virtio.StatusNeedsReset))
	})
	if !strings.Contains(log, "no RAM for 64 bytes at 0xc0000000") {
		t.Errorf("the log is %q", log)
	}
}

// TestEscapeRegistersOverRAM moves a device's registers onto RAM: RAM stays RAM, for the guest and for the host.
func TestEscapeRegistersOverRAM(t *testing.T) {
	const addr, value = hostileRings, 0x1122_3344_5566_7788
	m, _ := escape(t, func(h *hostile) {
		h.config(1, 0x10, addr)
		h.add(opStore64, addr, value)
		h.add(opStore64, addr+0x4000, value)
	})
	for _, at := range []uint64{addr, addr + 0x4000} {
		b, err := m.Memory().ReadSlice(at, 8)
		if err != nil || binary.LittleEndian.Uint64(b) != value {
			t.Errorf("at %#x: % x, %v", at, b, err)
		}
	}
}

// TestEscapeQueueResizedInFlight makes a queue larger and moves it while its device works, so that the used ring would be written beyond
// its end. It is the last thing in RAM.
func TestEscapeQueueResizedInFlight(t *testing.T) {
	q := smallQueue()
	size := uint64(q.size)
	q.used = (hostileMemory - 6 - 8*size) &^ 3
	m, log := escape(t, func(h *hostile) {
		h.start(q)
		for i := range 3 * size {
			h.selectQueue(0)
			h.set(virtiotest.CommonQueueSize, 2, virtiotest.RegQueueNum, 8)
			h.set(virtiotest.CommonQueueDevice, 8, virtiotest.RegQueueDevice, hostileBuffer)
			h.put(q.desc+16*(i%size), buffer{hostileBlob, 8, true}, 0, 0)
			h.add(opStore16, q.avail+4+2*(i%size), i%size)
			h.add(opStore16, q.avail+2, i+1)
			h.notify(0)
			h.add(opAwait, q.used+2, i+1)
		}
	})
	b, err := m.Memory().ReadSlice(q.used, 4)
	if err != nil || uint64(binary.LittleEndian.Uint16(b[2:])) != 3*size || log != "" {
		t.Errorf("used ring % x, %v; log %q", b, err, log)
	}
}
