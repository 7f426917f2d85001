package usernet

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/resolvconf"
)

const (
	dnsPort     = 53
	resolvCheck = 2 * time.Second
)

// resolvers are the host's name servers, as resolv.conf(5) names them. The file is looked at again when a question comes and
// some seconds have passed.
type resolvers struct {
	path string

	mu      sync.Mutex
	checked time.Time
	change  os.FileInfo // of the file that was read
	list    []netip.AddrPort

	first atomic.Uint32 // the one to ask first, modulo their number: the last that has not failed
}

// get returns the resolvers, at least one.
func (r *resolvers) get() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.list != nil && now.Sub(r.checked) < resolvCheck {
		return r.list
	}
	r.checked = now
	info, err := os.Stat(r.path)
	if err == nil && r.change != nil && os.SameFile(info, r.change) && info.ModTime().Equal(r.change.ModTime()) && info.Size() == r.change.Size() {
		return r.list
	}
	list, err := readResolvers(r.path)
	if r.list == nil || !errors.Is(err, fs.ErrPermission) { // a file that may not be read any more changes nothing
		r.list = list
	}
	r.change = info
	return r.list
}

// readResolvers returns the first name servers of a resolv.conf. Without any it is the one on the host itself, as
// for the C library.
func readResolvers(path string) ([]netip.AddrPort, error) {
	servers, err := resolvconf.Servers(path)
	if len(servers) == 0 {
		servers = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	var list []netip.AddrPort
	for _, a := range servers {
		list = append(list, netip.AddrPortFrom(a, dnsPort))
	}
	return list, err
}

// pick returns the resolver for the given number of failures before it.
func (r *resolvers) pick(n int) netip.AddrPort {
	list := r.get()
	return list[n%len(list)]
}

// dialTCP connects to the first resolver that takes the connection.
func (r *resolvers) dialTCP(ctx context.Context) (hostConn, error) {
	first := int(r.first.Load())
	var last error
	for i := range len(r.get()) {
		conn, err := dialTCP(ctx, r.pick(first+i))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, last
}

// askResolver passes a question of the guest on. Resolvers of the guest ask again, mostly by the same port, when no answer
// comes: then the next of the host's is asked.
func (b *Backend) askResolver(k flowKey, question []byte) {
	f := b.udp.get(k)
	if f != nil && !f.answered.Load() && f.idle() > time.Second {
		b.resolvers.first.CompareAndSwap(uint32(f.resolver), uint32(f.resolver+1))
		b.udp.remove(f)
		f.socket.Close()
		f = nil
	}
	if f == nil {
		first := int(b.resolvers.first.Load())
		var err error
		if f, err = b.newFlow(&b.udp, k, unix.IPPROTO_UDP, b.resolvers.pick(first), b.deliverUDP); err != nil {
			b.logRefused("name server not reached", "err", err)
			b.resolvers.first.CompareAndSwap(uint32(first), uint32(first+1))
			return
		}
		f.resolver = first
	}
	f.send(question)
}

// zoneIndex returns the number of an IPv6 zone.
func zoneIndex(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	// Package net would list all interfaces, by a socket of another kind.
	request, err := unix.NewIfreq(zone)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return request.Uint32(), nil
}
