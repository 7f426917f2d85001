// Package tapnet makes a tap and a network behind it, which takes CAP_NET_ADMIN: the tap is a port of a bridge that is there, or the host
// routes what comes from it and hides it behind its own address.
//
// A routed guest has a network of four addresses, of which one is the host's and one its own. It gets its address by DHCP, or is
// told it; see [Network.Guest]. The kernel drops what comes from the tap with any other source address. What is made goes away
// with Close. If the process is killed, the tap goes away, and Sweep, in another process, does the rest; without it a table of rules for a tap that does
// not exist stays until the next tap's Close, and IP forwarding stays as it is.
//
// Left out: IPv6 behind a routed tap, ports forwarded to the guest, and rules of the host's own firewall: one that drops forwarded
// packets, or DHCP, drops these too.
//
// The guest's input is frames, which the kernel handles, and DHCP messages (package dhcp). The host's routes are read from /proc.
package tapnet

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/tap"
)

// pattern is the names of taps.
const pattern = "govmm%d"

// Options say what is behind the tap: one of Bridge and Routed.
type Options struct {
	Bridge string // the bridge's name
	Routed bool

	Pairs int          // as in tap.Config
	Log   *slog.Logger // nil is silent
}

// A Network is a tap with what is behind it. It is a netif.Backend.
type Network struct {
	*tap.Tap
	routed *routed // nil on a bridge
}

// New makes a network. Errors are one line that says what to do.
func New(o Options) (*Network, error) {
	if (o.Bridge != "") == o.Routed {
		return nil, errors.New("tapnet: one of Bridge and Routed is required")
	}
	t, err := tap.Create(pattern, tap.Config{Pairs: o.Pairs, Log: o.Log})
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("making a tap takes root, or CAP_NET_ADMIN: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	n := &Network{Tap: t}
	if o.Routed {
		n.routed, err = route(t.Name(), o.Log)
	} else {
		err = join(t, o.Bridge)
	}
	if err != nil {
		t.Close()
		return nil, fmt.Errorf("tap %s: %w", t.Name(), err)
	}
	return n, nil
}

// Guest returns the address that a routed guest is to use, with the length of its network's prefix, and its gateway, which is the host. Both are
// invalid if the tap is on a bridge.
func (n *Network) Guest() (address netip.Prefix, gateway netip.Addr) {
	if n.routed == nil {
		return netip.Prefix{}, netip.Addr{}
	}
	return n.routed.guest(), n.routed.host()
}

// Close undoes what New has done. The Device that uses the network must be stopped.
func (n *Network) Close() error {
	var err error
	if n.routed != nil {
		err = n.routed.close()
		n.routed = nil
	}
	return errors.Join(err, n.Tap.Close())
}

// join makes t a port of the bridge.
func join(t *tap.Tap, bridge string) error {
	b, err := newInterface(bridge)
	if err != nil {
		return err
	}
	mtu, err := b.get(unix.SIOCGIFMTU)
	if errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("bridge %s is not there: %w (as root: ip link add %s type bridge; ip link set %s up)", bridge, err, bridge, bridge)
	}
	if err != nil {
		return err
	}
	// A bridge has the smallest MTU of its ports, so a new one would lower that of a larger one.
	if mtu >= 68 && mtu <= 65535 {
		if err := t.SetMTU(uint16(mtu)); err != nil {
			return err
		}
	}
	port, err := newInterface(t.Name())
	if err != nil {
		return err
	}
	index, err := port.get(unix.SIOCGIFINDEX)
	if err != nil {
		return err
	}
	switch err := b.set(unix.SIOCBRADDIF, index); {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%s is not a bridge: %w", bridge, err)
	case err != nil:
		return err
	}
	return port.up()
}
