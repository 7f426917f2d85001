package tap

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif"
)

const device = "/dev/net/tun"

// baseFlags are those of every tap that can be used.
const baseFlags = unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR

// Open attaches to the tap of that name, which must be there and be the user's. Errors are one line that
// says what to do.
func Open(name string, cfg Config) (*Tap, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ifr, err := unix.NewIfreq(name)
	if err != nil || name == "" {
		return nil, fmt.Errorf("tap %q: an interface's name has 1 to %d characters", name, unix.IFNAMSIZ-1)
	}
	// The kernel would make a tap that is missing, if it may.
	if err := netdevice(unix.SIOCGIFINDEX, ifr); err != nil {
		return nil, fmt.Errorf("tap %s is not there: %w (as root: %s)", name, err, cfg.command(name))
	}
	return attach(name, 0, cfg)
}

// Create makes a new tap, which goes away with Close. The first %d in pattern becomes the lowest number for which there is no interface
// yet. It takes CAP_NET_ADMIN.
func Create(pattern string, cfg Config) (*Tap, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return attach(pattern, unix.IFF_TUN_EXCL, cfg)
}

// FromFD takes a tap that somebody else has opened, such as the program that starts this one: fd must be attached to
// a tap with IFF_VNET_HDR and IFF_NO_PI (the second cannot be checked). It has one queue pair, and its MTU is not known, as its interface may be
// in another network namespace. fd is the Tap's then, and is closed if
// a tap cannot be used; what is no tap stays open.
func FromFD(fd int, cfg Config) (*Tap, error) {
	ifr, err := unix.NewIfreq("")
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("descriptor %d", fd)
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, ifr); err != nil {
		return nil, fmt.Errorf("%s is not attached to a tap: %w", name, err)
	}
	// Whether it has IFF_NO_PI is not to be seen: the kernel answers with another flag in the same bit.
	fault := ""
	switch flags := ifr.Uint16(); {
	case flags&unix.IFF_TAP == 0:
		fault = "is a tun, not a tap"
	case flags&unix.IFF_VNET_HDR == 0:
		fault = "has no IFF_VNET_HDR"
	case cfg.Pairs > 1:
		fault = fmt.Sprintf("is one queue, not %d", cfg.Pairs)
	}
	if fault != "" {
		unix.Close(fd)
		return nil, fmt.Errorf("%s (%s) %s", name, ifr.Name(), fault)
	}
	return newTap(ifr.Name(), 0, cfg, []int{fd})
}

func (c *Config) check() error {
	if c.Pairs == 0 {
		c.Pairs = 1
	}
	if c.Pairs < 1 || c.Pairs > netif.MaxPairs {
		return fmt.Errorf("tap: %d queue pairs, of at most %d", c.Pairs, netif.MaxPairs)
	}
	return nil
}

// command is what makes a tap that can be used as c says.
func (c *Config) command(name string) string {
	s := "ip tuntap add dev " + name + " mode tap user $USER"
	if c.Pairs > 1 {
		s += " multi_queue"
	}
	return s + "; ip link set " + name + " up"
}

// attach opens all queues of the tap.
func attach(name string, flags uint16, cfg Config) (*Tap, error) {
	flags |= baseFlags
	if cfg.Pairs > 1 {
		flags |= unix.IFF_MULTI_QUEUE
	}
	actual, fd, err := openQueue(name, flags)
	if errors.Is(err, unix.EINVAL) && cfg.Pairs == 1 {
		// It may have been made for several.
		actual, fd, err = openQueue(name, flags|unix.IFF_MULTI_QUEUE)
	}
	fds := []int{fd}
	for err == nil && len(fds) < cfg.Pairs {
		_, fd, err = openQueue(actual, flags&^unix.IFF_TUN_EXCL)
		fds = append(fds, fd)
	}
	if err != nil {
		for _, fd := range fds[:len(fds)-1] {
			unix.Close(fd)
		}
		return nil, cfg.attachError(name, err)
	}
	return newTap(actual, mtu(actual), cfg, fds)
}

// openQueue returns a descriptor that is attached to the tap, and the tap's name.
func openQueue(name string, flags uint16) (string, int, error) {
	fd, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", -1, &openError{err}
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return "", -1, err
	}
	return ifr.Name(), fd, nil
}

// An openError is one of /dev/net/tun.
type openError struct{ err error }

func (e *openError) Error() string { return device + ": " + e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

// attachError says what can be done about err.
func (c *Config) attachError(name string, err error) error {
	remedy := ""
	var open *openError
	switch isOpen := errors.As(err, &open); {
	case isOpen && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO)):
		remedy = "as root: modprobe tun"
	case isOpen && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)):
		remedy = "as root: chmod 0666 " + device
	case errors.Is(err, unix.EPERM):
		remedy = "it is another user's, or making one takes root; as root: " + c.command(name)
	case errors.Is(err, unix.EBUSY):
		remedy = "another program uses it, or another machine"
	case errors.Is(err, unix.EINVAL) && c.Pairs > 1:
		remedy = "it is no tap, or was made without multi_queue; as root: " + c.command(name)
	case errors.Is(err, unix.EINVAL):
		remedy = "it is no tap; as root: " + c.command("tap0")
	default:
		return fmt.Errorf("tap %s: %w", name, err)
	}
	return fmt.Errorf("tap %s: %w (%s)", name, err, remedy)
}

// mtu returns the interface's MTU, or 0 if it is not to be had or fits into no guest.
func mtu(name string) uint16 {
	ifr, err := unix.NewIfreq(name)
	if err != nil || netdevice(unix.SIOCGIFMTU, ifr) != nil {
		return 0
	}
	const least, most = 68, 65535 // 5.1.4.1
	if n := ifr.Uint32(); n >= least && n <= most {
		return uint16(n)
	}
	return 0
}

// netdevice makes a request about an interface (netdevice(7)).
func netdevice(request uint, ifr *unix.Ifreq) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlIfreq(fd, request, ifr)
}
