// Package netif is the virtio network device: section 5.1 of the Virtual I/O Device specification, version 1.2.
//
// It carries frames between the guest's queues and a [Backend], which is the network. It has checksum and TCP
// segmentation offload in both directions, as far as the backend has, mergeable receive buffers, up to 32 queue pairs, a link that
// can go down, and the control queue. Frames are never copied here, their headers apart, but in one case: when the driver has given too
// little room for the largest frame, one waits in the device's own memory until there is room.
//
// Left out: filtering (receive modes and the MAC table are checked and accepted, and all frames delivered,
// which 5.1.6.5 allows), VLAN filters, guest announcement, UDP fragmentation and segmentation offload, ECN, receive-side scaling and
// hash reports, notification coalescing, speed and duplex, standby.
//
// # The guest's inputs
//
// Frames with their headers, the receive buffers, and all control commands. A frame that is shorter than its header and an
// Ethernet header, or longer than any, is dropped, and so is one whose header asks for what was not negotiated; what else is in it is for the backend. The segments held for receiving are fewer
// than twice the largest size of the queue. A receive buffer with no room for a header breaks the
// device; one with too little room for a frame costs that frame. How often the driver can make the
// backend change something is limited.
package netif

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"govmm/devices/throttle"
	"govmm/devices/virtio"
)

// Feature bits (5.1.3).
const (
	featureChecksum          uint64 = 1 << 0  // VIRTIO_NET_F_CSUM
	featureGuestChecksum     uint64 = 1 << 1  // VIRTIO_NET_F_GUEST_CSUM
	featureCtrlGuestOffloads uint64 = 1 << 2  // VIRTIO_NET_F_CTRL_GUEST_OFFLOADS
	featureMTU               uint64 = 1 << 3  // VIRTIO_NET_F_MTU
	featureMAC               uint64 = 1 << 5  // VIRTIO_NET_F_MAC
	featureGuestTSO4         uint64 = 1 << 7  // VIRTIO_NET_F_GUEST_TSO4
	featureGuestTSO6         uint64 = 1 << 8  // VIRTIO_NET_F_GUEST_TSO6
	featureHostTSO4          uint64 = 1 << 11 // VIRTIO_NET_F_HOST_TSO4
	featureHostTSO6          uint64 = 1 << 12 // VIRTIO_NET_F_HOST_TSO6
	featureMergeable         uint64 = 1 << 15 // VIRTIO_NET_F_MRG_RXBUF
	featureStatus            uint64 = 1 << 16 // VIRTIO_NET_F_STATUS
	featureCtrlQueue         uint64 = 1 << 17 // VIRTIO_NET_F_CTRL_VQ
	featureCtrlRx            uint64 = 1 << 18 // VIRTIO_NET_F_CTRL_RX
	featureMultiqueue        uint64 = 1 << 22 // VIRTIO_NET_F_MQ
	featureCtrlMAC           uint64 = 1 << 23 // VIRTIO_NET_F_CTRL_MAC_ADDR
)

const (
	// MaxPairs is the most queue pairs that a device has. The format allows 32768 (5.1.4).
	MaxPairs = 32

	minMTU           = 68 // 5.1.4.1
	defaultQueueSize = 256
	minQueueSize     = 16

	// What the driver can make the backend change: points in one second, and what one change costs. On a tap the host takes a lock
	// for it that all of its network shares, and for pairs it waits for all processors. Drivers change something a few times at
	// their start.
	changeRate, changeBurst     = 100, 500
	changeOffloads, changePairs = 1, 20
)

// A Config says what a Device is made of. Backend and MAC are required.
type Config struct {
	Backend Backend

	// MAC is the guest's address: an individual one. DeriveMAC makes some.
	MAC MAC

	// Pairs is the most queue pairs that the driver is offered, up to the backend's and MaxPairs; 0 means 1.
	Pairs int

	// QueueSize is the maximum number of descriptors in each queue, a power of two from 16 to
	// virtio.MaxQueueSize; 0 means 256.
	QueueSize uint16

	Log *slog.Logger // nil is silent
}

// A Device is a virtio.Device. SetLink may be called from any goroutine.
type Device struct {
	backend   Backend
	info      Info
	mac       MAC
	pairs     int
	queueSize uint16
	log       *slog.Logger
	failed    virtio.RateLimit // a change or a frame
	deaf      virtio.RateLimit // all of receiving
	changes   throttle.Bucket
	linkDown  atomic.Bool

	applied applied // for Run

	mu       sync.Mutex
	settings settings
	session  *virtio.Session // that settings belong to
	running  bool            // in Run
	changed  bool            // the link changed when not running
}

// Settings are what the driver has made of the device. A reset makes them what they were.
type settings struct {
	mac                       MAC
	pairs                     int
	offloads                  Offloads // that the driver takes
	promiscuous, allMulticast bool
}

// New returns a Device. It does not close the Backend.
func New(cfg Config) (*Device, error) {
	if cfg.Backend == nil {
		return nil, errors.New("netif: Backend is required")
	}
	if cfg.Pairs == 0 {
		cfg.Pairs = 1
	}
	if cfg.QueueSize == 0 {
		cfg.QueueSize = defaultQueueSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	info, n := cfg.Backend.Info(), cfg.QueueSize
	switch {
	case cfg.MAC == MAC{}:
		return nil, errors.New("netif: MAC is required")
	case !cfg.MAC.individual():
		return nil, fmt.Errorf("netif: MAC %v is not an individual address", cfg.MAC)
	case cfg.Pairs < 1 || cfg.Pairs > min(info.Pairs, MaxPairs):
		return nil, fmt.Errorf("netif: %d queue pairs, of at most %d", cfg.Pairs, min(info.Pairs, MaxPairs))
	case n < minQueueSize || n&(n-1) != 0 || n > virtio.MaxQueueSize:
		return nil, fmt.Errorf("netif: queue size %d is not a power of two from %d to %d", n, minQueueSize, virtio.MaxQueueSize)
	case info.MTU != 0 && info.MTU < minMTU:
		return nil, fmt.Errorf("netif: MTU %d is less than %d", info.MTU, minMTU)
	}
	d := &Device{
		backend:   cfg.Backend,
		info:      info,
		mac:       cfg.MAC,
		pairs:     cfg.Pairs,
		queueSize: n,
		log:       cfg.Log,
		changes:   throttle.Bucket{Rate: changeRate, Burst: changeBurst},
	}
	d.settings = d.defaults(0)
	return d, nil
}

// defaults returns the settings at the beginning of a session.
func (d *Device) defaults(features uint64) settings {
	return settings{mac: d.mac, pairs: 1, offloads: guestOffloads(features)}
}

// guestOffloads returns what a driver takes that negotiated the features.
func guestOffloads(features uint64) Offloads {
	var o Offloads
	if features&featureGuestChecksum == 0 {
		return 0
	}
	o |= Checksum
	if features&featureGuestTSO4 != 0 {
		o |= TSO4
	}
	if features&featureGuestTSO6 != 0 {
		o |= TSO6
	}
	return o
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.DeviceType { return virtio.TypeNet }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	f := featureMAC | featureMergeable | featureStatus | featureCtrlQueue | featureCtrlRx | featureCtrlMAC
	if d.info.MTU != 0 {
		f |= featureMTU
	}
	if d.pairs > 1 {
		f |= featureMultiqueue
	}
	// Segmentation needs checksums (5.1.3.1).
	if o := d.info.Send; o&Checksum != 0 {
		f |= featureChecksum | has(o, TSO4, featureHostTSO4) | has(o, TSO6, featureHostTSO6)
	}
	if o := d.info.Receive; o&Checksum != 0 {
		f |= featureCtrlGuestOffloads | featureGuestChecksum | has(o, TSO4, featureGuestTSO4) | has(o, TSO6, featureGuestTSO6)
	}
	return f
}

// has returns the feature if o has bit.
func has(o, bit Offloads, feature uint64) uint64 {
	if o&bit == 0 {
		return 0
	}
	return feature
}

// QueueSizes implements virtio.Device: receiveq1, transmitq1 and so on, and controlq (5.1.2).
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, 2*d.pairs+1)
	for i := range sizes {
		sizes[i] = d.queueSize
	}
	return sizes
}

// Indices of queues (5.1.2).
func receiveQueue(pair int) int  { return 2 * pair }
func transmitQueue(pair int) int { return 2*pair + 1 }

// controlQueue is behind all pairs that there are, if the driver knows of more than one.
func (d *Device) controlQueue(features uint64) int {
	if features&featureMultiqueue == 0 {
		return 2
	}
	return 2 * d.pairs
}

// complain logs that the host has failed, as often as limit allows.
func (d *Device) complain(limit *virtio.RateLimit, what string, pair int, err error) {
	if suppressed, ok := limit.Allow(time.Now()); ok {
		d.log.Error("network device: "+what, "pair", pair, "err", err, "suppressed", suppressed)
	}
}
