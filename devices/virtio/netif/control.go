package netif

import (
	"context"
	"encoding/binary"

	"govmm/devices/virtio"
)

// Classes and commands of the control queue (5.1.6.5).
const (
	classRx          = 0 // VIRTIO_NET_CTRL_RX
	rxPromiscuous    = 0
	rxAllMulticast   = 1
	classMAC         = 1 // VIRTIO_NET_CTRL_MAC
	macTableSet      = 0
	macAddrSet       = 1
	classMultiqueue  = 4 // VIRTIO_NET_CTRL_MQ
	mqPairsSet       = 0
	classOffloads    = 5 // VIRTIO_NET_CTRL_GUEST_OFFLOADS
	guestOffloadsSet = 0

	ackOK    = 0 // VIRTIO_NET_OK
	ackError = 1 // VIRTIO_NET_ERR
)

// maxMACs bounds each list of the MAC table. Drivers that need more ask for all multicast frames.
const maxMACs = 256

// A command is one chain of the control queue, of which the header was read.
type command struct {
	chain          *virtio.Chain
	class, command byte
	features       uint64 // negotiated
}

// control serves the command c. After an error c is back in the queue.
func (r *run) control(ctx context.Context, q *virtio.Queue, c *virtio.Chain) error {
	if len(c.Writable()) == 0 {
		q.Push(c, 0) // no place for an answer
		return nil
	}
	var header [2]byte
	n, _ := c.Read(header[:])
	cmd := command{chain: c, class: header[0], command: header[1], features: r.session.Features}
	next, ok := r.device.current(), false
	if n == len(header) && cmd.features&featureCtrlQueue != 0 {
		ok = r.device.apply(&cmd, &next) && r.enabled(next.pairs)
	}
	if ok {
		var err error
		if ok, err = r.change(ctx, next); err != nil {
			q.Unpop(c)
			return err
		}
	}
	ack := [1]byte{ackError}
	if ok {
		ack[0] = ackOK
	}
	_, _ = c.Write(ack[:])
	q.Push(c, c.Written())
	return nil
}

// apply makes next what cmd wants, and reports whether the command is a good one.
func (d *Device) apply(cmd *command, next *settings) bool {
	switch cmd.class {
	case classRx:
		return cmd.features&featureCtrlRx != 0 && cmd.receiveMode(next)
	case classMAC:
		switch cmd.command {
		case macTableSet:
			return cmd.features&featureCtrlRx != 0 && cmd.macTable()
		case macAddrSet:
			return cmd.features&featureCtrlMAC != 0 && cmd.body(next.mac[:]) && next.mac.individual()
		}
	case classMultiqueue:
		var n [2]byte
		if cmd.command != mqPairsSet || cmd.features&featureMultiqueue == 0 || !cmd.body(n[:]) {
			return false
		}
		next.pairs = int(binary.LittleEndian.Uint16(n[:]))
		return next.pairs >= 1 && next.pairs <= d.pairs
	case classOffloads:
		return cmd.command == guestOffloadsSet && cmd.features&featureCtrlGuestOffloads != 0 && cmd.offloads(next)
	}
	return false
}

// body fills p with what follows the header, which must be as long as p.
func (cmd *command) body(p []byte) bool {
	n, _ := cmd.chain.Read(p)
	return n == len(p) && len(cmd.chain.Readable()) == 0
}

// receiveMode is a command of classRx (5.1.6.5.1).
func (cmd *command) receiveMode(next *settings) bool {
	var on [1]byte
	if !cmd.body(on[:]) || on[0] > 1 {
		return false
	}
	switch cmd.command {
	case rxPromiscuous:
		next.promiscuous = on[0] == 1
	case rxAllMulticast:
		next.allMulticast = on[0] == 1
	default:
		return false
	}
	return true
}

// macTable reads the two lists of VIRTIO_NET_CTRL_MAC_TABLE_SET (5.1.6.5.2). As nothing is filtered, they are only
// checked.
func (cmd *command) macTable() bool {
	for range 2 {
		var entries [4]byte
		if n, _ := cmd.chain.Read(entries[:]); n < len(entries) {
			return false
		}
		n := binary.LittleEndian.Uint32(entries[:])
		if n > maxMACs {
			return false
		}
		for range n {
			var m MAC
			if k, _ := cmd.chain.Read(m[:]); k < len(m) {
				return false
			}
		}
	}
	return len(cmd.chain.Readable()) == 0
}

// offloads is VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET (5.1.6.5.6), whose bits are the features'.
func (cmd *command) offloads(next *settings) bool {
	var p [8]byte
	if !cmd.body(p[:]) {
		return false
	}
	want := binary.LittleEndian.Uint64(p[:])
	const known = featureGuestChecksum | featureGuestTSO4 | featureGuestTSO6
	if want&^(cmd.features&known) != 0 {
		return false
	}
	next.offloads = guestOffloads(want)
	return true
}

// enabled reports whether the driver has enabled the queues of n pairs.
func (r *run) enabled(n int) bool {
	for i := 1; i < n; i++ {
		if !r.session.Queues[receiveQueue(i)].Enabled() || !r.session.Queues[transmitQueue(i)].Enabled() {
			return false
		}
	}
	return true
}

// change makes next the settings, and reports whether the backend can do it. If the pairs must be stopped for that and
// ctx ends before, or they cannot be started any more, that is an error.
func (r *run) change(ctx context.Context, next settings) (bool, error) {
	old := r.device.current()
	if next.pairs == old.pairs && next.offloads == old.offloads {
		r.device.set(next)
		return true, nil
	}
	if err := r.device.afford(ctx, next); err != nil {
		return false, err
	}
	r.stop()
	r.device.set(next)
	err := r.start(ctx)
	if err == nil {
		return true, nil
	}
	r.device.complain(&r.device.failed, "cannot change", 0, err)
	r.device.set(old)
	return false, r.start(ctx)
}

func (d *Device) set(s settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = s
}
