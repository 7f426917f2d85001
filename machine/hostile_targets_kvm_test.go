//go:build kvmtest

package machine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/devices/virtio/balloon"
	"govmm/devices/virtio/blk"
	"govmm/devices/virtio/console"
	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/tap"
	"govmm/devices/virtio/netif/tap/nettest"
	"govmm/devices/virtio/netif/usernet"
	"govmm/devices/virtio/rng"
)

// A target is a device with something real behind it, and a host that uses it meanwhile.
type target struct {
	device virtio.Device
	meddle func(context.Context) // what the host does while the guest runs; ends with ctx. Nil for nothing
	close  func() error
}

// targets are the devices that hostile guests are let loose on, by name. dir has what they may write to.
var targets = []struct {
	name string
	open func(t *testing.T, dir string, log *slog.Logger) target
}{
	{"blk", openDisk},
	{"read-only blk", openReadOnlyDisk},
	{"net", openNetwork},
	{"net on a tap", openTap},
	{"rng", func(_ *testing.T, _ string, log *slog.Logger) target {
		return target{device: rng.New(rng.Config{Rate: 64 << 20, Log: log})}
	}},
	{"balloon", openBalloon},
	{"console", openConsole},
	{"platform", func(*testing.T, string, *slog.Logger) target { return target{} }},
}

func diskPath(dir string) string { return filepath.Join(dir, "disk.img") }

func openDisk(t *testing.T, dir string, log *slog.Logger) target {
	return openImage(t, dir, false, log)
}

func openReadOnlyDisk(t *testing.T, dir string, log *slog.Logger) target {
	return openImage(t, dir, true, log)
}

func openImage(t *testing.T, dir string, readOnly bool, log *slog.Logger) target {
	file, err := blk.OpenFile(diskPath(dir), readOnly)
	if err != nil {
		t.Fatal(err)
	}
	device, err := blk.New(blk.Config{Backend: file, Queues: 2, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return target{device: device, close: file.Close}
}

// openNetwork gives a network that leads nowhere, for what chance makes must not reach others. In the nested test host there
// are none, and it leads as far as that reaches.
func openNetwork(t *testing.T, _ string, log *slog.Logger) target {
	backend, err := usernet.New(usernet.Config{
		Restrict: os.Getenv("GOVMM_NESTED") == "",
		Forwards: []usernet.Forward{{UDP: true, GuestPort: 7}, {GuestPort: 7}},
		Log:      log,
	})
	if err != nil {
		t.Fatal(err)
	}
	device, err := netif.New(netif.Config{Backend: backend, MAC: netif.MAC(hostileMAC), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	meddle := func(ctx context.Context) { send(ctx, backend.Forwards()) }
	return target{device: device, meddle: meddle, close: backend.Close}
}

// send keeps datagrams and connections coming to the guest.
func send(ctx context.Context, forwards []usernet.Forward) {
	port := func(i int) net.IP { return net.IP(forwards[i].Host.AsSlice()) }
	datagrams, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: port(0), Port: int(forwards[0].HostPort)})
	if err != nil {
		return
	}
	defer datagrams.Close()
	var p [1400]byte
	for ctx.Err() == nil {
		_, _ = datagrams.Write(p[:]) // the guest takes it or not
		if c, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: port(1), Port: int(forwards[1].HostPort)}); err == nil {
			_, _ = c.Write(p[:])
			_ = c.SetLinger(0)
			c.Close()
		}
		time.Sleep(time.Millisecond)
	}
}

// openTap gives a tap with nothing behind it but this host, which sends frames to the guest meanwhile. It takes CAP_NET_ADMIN, which the nested test host has.
func openTap(t *testing.T, _ string, log *slog.Logger) target {
	backend, err := tap.Create("hostile%d", tap.Config{Pairs: 2, Log: log})
	if errors.Is(err, unix.EPERM) {
		t.Skipf("%v; as root, or in the nested test host: make hostile", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	nettest.Up(t, backend.Name())
	index := nettest.Index(t, backend.Name())
	device, err := netif.New(netif.Config{Backend: backend, MAC: netif.MAC(hostileMAC), Pairs: 2, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	meddle := func(ctx context.Context) { sendFrames(ctx, index) }
	return target{device: device, meddle: meddle, close: backend.Close}
}

// sendFrames keeps frames of all lengths coming from an interface.
func sendFrames(ctx context.Context, index int) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	p := make([]byte, 1514)
	for i := range 6 {
		p[i] = 0xff // to all
	}
	for n := 14; ctx.Err() == nil; n = 14 + n%1500 {
		_ = unix.Sendto(fd, p[:n], unix.MSG_DONTWAIT, &unix.SockaddrLinklayer{Ifindex: index}) // the guest takes it or not
		time.Sleep(100 * time.Microsecond)
	}
}

func openBalloon(_ *testing.T, _ string, log *slog.Logger) target {
	b := balloon.New(balloon.Config{Log: log})
	return target{device: b, meddle: func(ctx context.Context) {
		for n := uint64(0); ctx.Err() == nil; n++ {
			_ = b.SetTarget(n % 64 << 20)
			short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			_, _ = b.Stats(short)
			cancel()
			time.Sleep(time.Millisecond)
		}
	}}
}

func openConsole(_ *testing.T, _ string, log *slog.Logger) target {
	c := console.New(console.Config{Out: io.Discard, Log: log})
	return target{device: c, meddle: func(ctx context.Context) {
		var p [100]byte
		for n := uint16(0); ctx.Err() == nil; n++ {
			c.Resize(n, n/2)
			short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
			_, _ = c.Receive(short, p[:])
			cancel()
		}
	}}
}

// during has the host meddle while f runs.
func (g target) during(ctx context.Context, m *Machine, f func()) {
	ctx, cancel := context.WithCancel(ctx)
	var host sync.WaitGroup
	if g.meddle != nil {
		host.Go(func() { g.meddle(ctx) })
	}
	host.Go(func() {
		var p [16]byte
		for ctx.Err() == nil {
			_, _ = m.WriteConsole(ctx, p[:])
			time.Sleep(time.Millisecond)
		}
	})
	f()
	cancel()
	host.Wait()
}
