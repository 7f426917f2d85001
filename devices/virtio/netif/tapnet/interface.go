package tapnet

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// An iface is a network interface, of which requests are made by ioctl (netdevice(7)): these five need no library.
type iface string

func newInterface(name string) (iface, error) {
	if _, err := unix.NewIfreq(name); err != nil || name == "" {
		return "", fmt.Errorf("%q is no name of an interface: 1 to %d characters", name, unix.IFNAMSIZ-1)
	}
	return iface(name), nil
}

// get makes a request that answers with a number.
func (i iface) get(request uint) (uint32, error) {
	ifr, err := i.do(request, func(*unix.Ifreq) error { return nil })
	if err != nil {
		return 0, err
	}
	return ifr.Uint32(), nil
}

// gone reports whether there is no such interface.
func (i iface) gone() bool {
	_, err := i.get(unix.SIOCGIFINDEX)
	return errors.Is(err, unix.ENODEV)
}

// set makes a request with a number.
func (i iface) set(request uint, v uint32) error {
	_, err := i.do(request, func(r *unix.Ifreq) error { r.SetUint32(v); return nil })
	return err
}

// setAddress makes a request with an IPv4 address.
func (i iface) setAddress(request uint, a netip.Addr) error {
	_, err := i.do(request, func(r *unix.Ifreq) error { return r.SetInet4Addr(a.AsSlice()) })
	return err
}

// up brings the interface up.
func (i iface) up() error {
	r, err := i.do(unix.SIOCGIFFLAGS, func(*unix.Ifreq) error { return nil })
	if err != nil {
		return err
	}
	flags := r.Uint16() | unix.IFF_UP
	_, err = i.do(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(flags); return nil })
	return err
}

func (i iface) do(request uint, fill func(*unix.Ifreq) error) (*unix.Ifreq, error) {
	r, err := unix.NewIfreq(string(i))
	if err == nil {
		err = fill(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, request, r); err != nil {
		return nil, fmt.Errorf("%s: request %#x: %w", i, request, err)
	}
	return r, nil
}
