package usernet

import (
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silent serves connections by waiting for the test's end, which it does not hear of the guest's or the network's. It tells of each.
func silent(t *testing.T) (guestSees string, accepted <-chan *net.TCPConn) {
	t.Helper()
	over, conns := make(chan struct{}), make(chan *net.TCPConn, 1)
	guestSees = hostServer(t, func(c *net.TCPConn) {
		conns <- c
		<-over
	})
	t.Cleanup(func() { close(over) })
	return guestSees, conns
}

// closesInTime holds that a network is closed whatever its connections wait for.
func closesInTime(t *testing.T, b *Backend) {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- b.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the network is not closed")
	}
}

// halfClosed makes a network with a connection whose guest has sent its FIN, and whose host says nothing.
func halfClosed(t *testing.T) (*Backend, *guest) {
	t.Helper()
	addr, accepted := silent(t)
	b := newBackend(t, Config{})
	g := newGuest(t, b, allOffloads)
	g.mustDial(addr).CloseWrite()
	if n, err := (<-accepted).Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("the host's side read %d bytes, %v", n, err)
	}
	return b, g
}

// TestCloseHalfClosed closes a network with such a connection.
func TestCloseHalfClosed(t *testing.T) {
	b, _ := halfClosed(t)
	closesInTime(t, b)
}

// TestCloseUnread closes one with a connection whose guest has sent more than the host takes.
func TestCloseUnread(t *testing.T) {
	addr, accepted := silent(t)
	b := newBackend(t, Config{})
	g := newGuest(t, b, allOffloads)
	fill(t, g, addr)
	<-accepted
	closesInTime(t, b)
}

// fill makes a connection and sends until nobody takes any more.
func fill(t *testing.T, g *guest, addr string) {
	t.Helper()
	c := g.mustDial(addr)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(make([]byte, 128<<20)); err == nil {
		t.Fatal("128 MiB were taken by a host that reads nothing")
	}
}

// abortAll has the guest send an RST for each of its connections.
func abortAll(g *guest) {
	for _, e := range g.stack.RegisteredEndpoints() {
		e.Abort()
	}
}

// awaitConnections holds that no more than n are counted soon.
func awaitConnections(t *testing.T, b *Backend, n int32) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); b.tcpFlows.Load() > n; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are counted", b.tcpFlows.Load())
		}
	}
}

// TestGuestResets holds that the host's side hears of the guest's RST, although it has taken no byte for long, and the connection does not count any more.
func TestGuestResets(t *testing.T) {
	addr, accepted := silent(t)
	b := newBackend(t, Config{})
	g := newGuest(t, b, allOffloads)
	fill(t, g, addr)
	host := <-accepted
	abortAll(g)
	awaitConnections(t, b, 0)
	host.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, host); err == nil {
		t.Error("the host's side read an end as if all were there")
	}
}

// TestResetAfterFIN holds that a connection ends whose guest has sent its FIN, and then RST, although the host says nothing.
func TestResetAfterFIN(t *testing.T) {
	b, g := halfClosed(t)
	abortAll(g)
	awaitConnections(t, b, 0)
}

// TestUndelivered holds that a connection that both sides have ended counts as long as the guest has not taken all, and that a guest which takes nothing
// is not waited for for ever.
func TestUndelivered(t *testing.T) {
	served := make(chan struct{})
	addr := hostServer(t, func(c *net.TCPConn) {
		io.CopyN(c, rand.NewChaCha8([32]byte{}), 5<<20) // more than the guest takes unread, less than with our buffer
		close(served)
	})
	b := newBackend(t, Config{})
	b.deliveryTime = 2 * time.Second
	g := newGuest(t, b, allOffloads)
	g.mustDial(addr).CloseWrite()
	<-served
	time.Sleep(500 * time.Millisecond)
	b.memory.mu.Lock()
	left := b.memory.left
	b.memory.mu.Unlock()
	if n := b.tcpFlows.Load(); n != 1 || left == tcpMemory {
		t.Errorf("%d connections are counted, and %d bytes of buffers", n, tcpMemory-left)
	}
	awaitConnections(t, b, 0)
}

// TestHostResets holds that the guest hears of the host's RST although it has taken no byte for long.
func TestHostResets(t *testing.T) {
	addr := hostServer(t, func(c *net.TCPConn) {
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write(make([]byte, 128<<20))
		c.SetLinger(0)
	})
	b := newBackend(t, Config{})
	b.lookAfter = 10 * time.Millisecond
	g := newGuest(t, b, allOffloads)
	c := g.mustDial(addr)
	awaitConnections(t, b, 0)
	if _, err := io.Copy(io.Discard, c); err == nil {
		t.Error("the guest read an end as if all were there")
	}
}

// TestResetIsNoEnd holds that the host's RST is not taken for the end of what it has to say when the other direction was told the error, and that an end is one
// whatever comes after it.
func TestResetIsNoEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(host, ours *net.TCPConn)
		want stop
	}{
		{"RST", func(host, _ *net.TCPConn) { dialled{host}.reset() }, stopError},
		{"FIN", func(host, _ *net.TCPConn) { host.CloseWrite() }, stopEnd},
		{"FIN after ours", func(host, ours *net.TCPConn) { ours.CloseWrite(); host.Close() }, stopEnd},
		{"FIN before ours", func(host, ours *net.TCPConn) { host.Close(); ours.CloseWrite() }, stopEnd},
		{"RST after ours", func(host, ours *net.TCPConn) { ours.CloseWrite(); dialled{host}.reset() }, stopError},
		{"FIN and then RST", func(host, ours *net.TCPConn) { host.Close(); ours.Write([]byte("late")) }, stopEnd},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, accepted := silent(t)
			conn, err := net.Dial("tcp", strings.Replace(addr, "10.0.2.2", "127.0.0.1", 1))
			must(t, err)
			defer conn.Close()
			ours := conn.(*net.TCPConn)
			r := &relay{conn: dialled{ours}}
			r.raw, err = r.conn.SyscallConn()
			must(t, err)
			d := download{relay: r, left: 5}
			host := <-accepted
			host.Write([]byte("hello"))
			must(t, r.raw.Read(func(fd uintptr) bool {
				d.fd = int(fd)
				n, err := unix.IoctlGetInt(d.fd, unix.TIOCINQ)
				return err != nil || n == 5
			}))
			if n, err := d.Read(make([]byte, 5)); n != 5 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			c.does(host, ours)
			must(t, r.raw.Read(func(fd uintptr) bool {
				unix.GetsockoptInt(d.fd, unix.SOL_SOCKET, unix.SO_ERROR) // as a write does
				done, _ := d.look()
				return done
			}))
			if d.stop != c.want {
				t.Errorf("it stopped for %v, %v; want %v", d.stop, d.err, c.want)
			}
		})
	}
}
