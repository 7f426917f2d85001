// Package tap is a network for package netif: a Linux tap device, whose other end is an interface of the host.
//
// Frames go from the guest's memory to the kernel and back by one system call each, with no copy but the kernel's own. The header that
// the guest has written goes to the kernel as it is, for it is the same structure (struct virtio_net_hdr, 5.1.6),
// and the kernel checks it. No method of a queue pair allocates.
//
// To use a tap that its owner has made takes no privilege; to make one takes CAP_NET_ADMIN. Left out are taps without
// IFF_VNET_HDR, taps with IFF_PI, macvtap devices other than by descriptor, UDP segments and ECN.
//
// # Hostile input
//
// Frames and their headers, in both directions. What the kernel refuses is dropped and counted. A frame from the network that has no
// room is dropped whole, never cut.
package tap

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/netif"
)

// A Config says how a tap is used. The zero value is ready.
type Config struct {
	// Pairs is the number of queue pairs, up to netif.MaxPairs; 0 means 1. More than one need a tap that was made for it.
	Pairs int

	// Log takes what goes wrong, one line in ten seconds. Nil is silent.
	Log *slog.Logger
}

// A Tap is a netif.Backend and a netif.PairSelector, of which only Device has the methods called.
type Tap struct {
	name   string
	mtu    uint16
	pairs  []*pair
	log    *slog.Logger
	drops  virtio.RateLimit
	losses virtio.RateLimit // of frames for the guest

	closed atomic.Bool
}

// Name returns the name of the interface, in the network namespace where it was made.
func (t *Tap) Name() string { return t.name }

// SetMTU sets the interface's MTU, from 68 to 65535, before Info is used. It takes CAP_NET_ADMIN.
func (t *Tap) SetMTU(n uint16) error {
	ifr, err := unix.NewIfreq(t.name)
	if err != nil {
		return err
	}
	ifr.SetUint32(uint32(n))
	if err := netdevice(unix.SIOCSIFMTU, ifr); err != nil {
		return fmt.Errorf("tap %s: MTU %d: %w", t.name, n, err)
	}
	t.mtu = n
	return nil
}

// Info implements netif.Backend. The kernel does all offloads in software if need be.
func (t *Tap) Info() netif.Info {
	const all = netif.Checksum | netif.TSO4 | netif.TSO6
	return netif.Info{Send: all, Receive: all, MTU: t.mtu, Pairs: len(t.pairs)}
}

// Pair implements netif.Backend.
func (t *Tap) Pair(i int) netif.Pair { return t.pairs[i] }

// Start implements netif.Backend. The kernel itself does for the guest what the guest does not take.
func (t *Tap) Start(receive netif.Offloads) error {
	flags := 0
	for _, o := range []struct {
		bit  netif.Offloads
		flag int
	}{{netif.Checksum, unix.TUN_F_CSUM}, {netif.TSO4, unix.TUN_F_TSO4}, {netif.TSO6, unix.TUN_F_TSO6}} {
		if receive&o.bit != 0 {
			flags |= o.flag
		}
	}
	// The setting is the interface's, whichever queue it comes by.
	if err := unix.IoctlSetInt(t.pairs[0].fd, unix.TUNSETOFFLOAD, flags); err != nil {
		return fmt.Errorf("tap %s: offloads %#x: %w", t.name, flags, err)
	}
	return nil
}

// UsePairs implements netif.PairSelector: the kernel spreads frames over the queues that are attached.
func (t *Tap) UsePairs(n int) error {
	for i, p := range t.pairs {
		use := i < n
		if p.attached == use {
			continue
		}
		flags := uint16(unix.IFF_DETACH_QUEUE)
		if use {
			flags = unix.IFF_ATTACH_QUEUE
		}
		ifr, err := unix.NewIfreq(t.name)
		if err != nil {
			return err
		}
		ifr.SetUint16(flags)
		if err := unix.IoctlIfreq(p.fd, unix.TUNSETQUEUE, ifr); err != nil {
			return fmt.Errorf("tap %s: queue %d: %w", t.name, i, err)
		}
		p.attached = use
	}
	return nil
}

// Close closes all queues. A tap that is not persistent is then gone. The Device that uses it must be stopped. A second
// Close returns os.ErrClosed.
func (t *Tap) Close() error {
	if t.closed.Swap(true) {
		return os.ErrClosed
	}
	var errs []error
	for _, p := range t.pairs {
		errs = append(errs, p.close())
	}
	return errors.Join(errs...)
}

// lost logs that the kernel could not give a frame for the guest.
func (t *Tap) lost(err error) {
	if suppressed, ok := t.losses.Allow(time.Now()); ok {
		t.log.Warn("network frame for the guest lost", "tap", t.name, "err", err, "suppressed", suppressed)
	}
}

// dropped logs that the kernel did not take a frame.
func (t *Tap) dropped(err error) {
	if suppressed, ok := t.drops.Allow(time.Now()); ok {
		why := "the guest's frame makes no sense"
		switch {
		case errors.Is(err, unix.EIO):
			why = "the interface is down (ip link set " + t.name + " up)"
		case !errors.Is(err, unix.EINVAL):
			why = "the kernel did not take it"
		}
		t.log.Warn("network frame dropped", "tap", t.name, "why", why, "err", err, "suppressed", suppressed)
	}
}

// newTap returns a Tap of descriptors that are attached to the interface. It closes all of them if it fails.
func newTap(name string, mtu uint16, cfg Config, fds []int) (*Tap, error) {
	t := &Tap{name: name, mtu: mtu, log: cfg.Log}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	for i, fd := range fds {
		p, err := newPair(t, fd)
		if err != nil {
			for _, fd := range fds[i+1:] {
				unix.Close(fd)
			}
			t.Close()
			return nil, fmt.Errorf("tap %s: %w", name, err)
		}
		t.pairs = append(t.pairs, p)
	}
	return t, nil
}

var _ interface {
	netif.Backend
	netif.PairSelector
} = (*Tap)(nil)
