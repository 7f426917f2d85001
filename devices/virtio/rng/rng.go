// Package rng models the virtio entropy device (virtio 1.2, 5.4): the driver gives buffers, the
// device fills them with random bytes.
//
// They are the host kernel's, by getrandom(2), written to guest RAM by that call itself. As a guest can ask without end,
// the device gives a limited number of bytes a second; it then makes the driver wait, and never gives bytes that are
// not random. It has no features and no configuration space.
//
// # The guest's inputs
//
// The number and the size of the buffers. A buffer is filled with at most 64 KiB, which 5.4.6.2 allows, so that the work on one
// request is bounded; the part of a buffer that a driver wrongly makes readable is not looked at.
package rng

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/throttle"
	"govmm/devices/virtio"
)

const (
	queueSize = 8        // Linux keeps one buffer in it
	mostBytes = 64 << 10 // that a buffer is filled with

	// DefaultRate is the limit of a Config without one, in bytes a second. A kernel asks for some
	// hundred at its start and for a few each minute.
	DefaultRate = 1 << 20
)

// Config says how random bytes are given. The zero value is ready.
type Config struct {
	// Rate is the most bytes a second, on average. 0 means DefaultRate.
	Rate uint64

	// Log takes what goes wrong on the host, one line in ten seconds. Nil is silent.
	Log *slog.Logger

	// read is getrandom(2), unless a test has another.
	read func(p []byte) (int, error)
}

// A Device is a virtio.Device. It has no state for a snapshot, so it is no devices.Snapshotter: a request that waits for the
// limit is still in its ring, and a restored device begins with the whole of the limit, which costs the host 64 KiB of
// random bytes at most.
type Device struct {
	read   func(p []byte) (int, error)
	limit  throttle.Bucket
	log    *slog.Logger
	failed virtio.RateLimit
}

// New returns an entropy device.
func New(c Config) *Device {
	d := &Device{read: c.read, limit: throttle.Bucket{Rate: c.Rate, Burst: mostBytes}, log: c.Log}
	if d.read == nil {
		d.read = func(p []byte) (int, error) { return unix.Getrandom(p, 0) }
	}
	if d.limit.Rate == 0 {
		d.limit.Rate = DefaultRate
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.DeviceType { return virtio.TypeEntropy }

// Features implements virtio.Device: there are none (5.4.3).
func (d *Device) Features() uint64 { return 0 }

// QueueSizes implements virtio.Device: the one queue is requestq (5.4.2).
func (d *Device) QueueSizes() []uint16 { return []uint16{queueSize} }

// ReadConfig implements virtio.Device: there is no configuration (5.4.4).
func (d *Device) ReadConfig(uint64, []byte) {}

// Run implements virtio.Device. It serves one request at a time: the host's random numbers come faster
// than the limit.
func (d *Device) Run(ctx context.Context, s *virtio.Session) error {
	q := s.Queues[0]
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		if err := d.limit.Wait(ctx, min(c.WritableLen(), mostBytes)); err != nil {
			q.Unpop(c)
			return err
		}
		q.Push(c, d.fill(c.Writable()))
	}
}

// fill writes random bytes to the segments, in order, and returns how many.
func (d *Device) fill(segments [][]byte) uint32 {
	n := 0
	for _, s := range segments {
		for s = s[:min(len(s), mostBytes-n)]; len(s) > 0; {
			// Large requests may be interrupted by a signal, with a part of the bytes.
			m, err := d.read(s)
			if err == unix.EINTR {
				continue
			}
			if err != nil || m == 0 {
				d.complain(err)
				return uint32(n)
			}
			s = s[m:]
			n += m
		}
	}
	return uint32(n)
}

// complain logs that the host has failed. The driver sees a buffer that is not full.
func (d *Device) complain(err error) {
	if n, ok := d.failed.Allow(time.Now()); ok {
		d.log.Error("virtio rng: no random numbers", "err", fmt.Sprint(err), "suppressed", n)
	}
}
