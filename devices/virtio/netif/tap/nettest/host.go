package nettest

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// EtherType is that of frames in tests: one for experiments (IEEE 802, 9.2.3), which no kernel sends by itself.
const EtherType = 0x88b5

// patience is how long a Host waits for a frame that must come.
const patience = 10 * time.Second

// Up brings the interface up.
func Up(t testing.TB, name string) { setFlags(t, name, unix.IFF_UP) }

// Down brings it down.
func Down(t testing.TB, name string) { setFlags(t, name, 0) }

func setFlags(t testing.TB, name string, flags uint16) {
	t.Helper()
	ifr := ifreq(t, name)
	ifr.SetUint16(flags)
	request(t, unix.SIOCSIFFLAGS, ifr)
}

// Index returns the interface's number.
func Index(t testing.TB, name string) int {
	t.Helper()
	ifr := ifreq(t, name)
	request(t, unix.SIOCGIFINDEX, ifr)
	return int(ifr.Uint32())
}

// SetMTU sets the interface's MTU.
func SetMTU(t testing.TB, name string, mtu uint32) {
	t.Helper()
	ifr := ifreq(t, name)
	ifr.SetUint32(mtu)
	request(t, unix.SIOCSIFMTU, ifr)
}

// Bridge makes a bridge that is up, of the interfaces.
func Bridge(t testing.TB, name string, ports ...string) {
	t.Helper()
	fd := socket(t)
	defer unix.Close(fd)
	if err := unix.IoctlSetString(fd, unix.SIOCBRADDBR, name); err != nil {
		t.Fatalf("bridge %s: %v (as root: modprobe bridge)", name, err)
	}
	t.Cleanup(func() {
		Down(t, name)
		fd := socket(t)
		defer unix.Close(fd)
		if err := unix.IoctlSetString(fd, unix.SIOCBRDELBR, name); err != nil {
			t.Error(err)
		}
	})
	for _, p := range ports {
		ifr := ifreq(t, name)
		ifr.SetUint32(uint32(Index(t, p)))
		request(t, unix.SIOCBRADDIF, ifr)
	}
	Up(t, name)
}

func ifreq(t testing.TB, name string) *unix.Ifreq {
	t.Helper()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		t.Fatal(err)
	}
	return ifr
}

func socket(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func request(t testing.TB, req uint, ifr *unix.Ifreq) {
	t.Helper()
	fd := socket(t)
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, req, ifr); err != nil {
		t.Fatalf("request %#x for %s: %v", req, ifr.Name(), err)
	}
}

// A Host sends and receives whole frames on an interface, on the host's side.
type Host struct {
	t  testing.TB
	fd int
}

// NewHost returns a Host on the interface, which is up.
func NewHost(t testing.TB, name string) *Host {
	t.Helper()
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, EtherType))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: Index(t, name)}); err != nil {
		t.Fatal(err)
	}
	tv := unix.NsecToTimeval(patience.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Fatal(err)
	}
	return &Host{t, fd}
}

// Send sends a frame to the interface.
func (h *Host) Send(frame []byte) {
	h.t.Helper()
	if _, err := unix.Write(h.fd, frame); err != nil {
		h.t.Fatal(err)
	}
}

// Receive returns the next frame of type EtherType that came from the interface's other end.
func (h *Host) Receive() []byte {
	h.t.Helper()
	p := make([]byte, 1<<16)
	for {
		n, from, err := unix.Recvfrom(h.fd, p, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			h.t.Fatalf("no frame came: %v", err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype != unix.PACKET_OUTGOING {
			return p[:n]
		}
	}
}

// Frame returns a frame of n bytes from one address to another, of bytes that depend on seed.
func Frame(seed byte, n int) []byte {
	f := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, EtherType>>8, EtherType&0xff)
	return append(f, bytes.Repeat([]byte{seed}, n-len(f))...)
}
