package usernet

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUrgent holds that urgent data of the host's, in whatever place, comes to the guest like other data, and keeps no goroutine busy.
func TestUrgent(t *testing.T) {
	for _, urgentFirst := range []bool{true, false} {
		sent := make(chan error, 1)
		addr := hostServer(t, func(c *net.TCPConn) {
			raw, err := c.SyscallConn()
			if err != nil {
				sent <- err
				return
			}
			var sendErr error
			err = raw.Control(func(fd uintptr) {
				for i, text := range []string{"a", "b", "c"} {
					flags := 0
					if urgentFirst == (i == 0) {
						flags = unix.MSG_OOB
					}
					if sendErr == nil {
						sendErr = unix.Sendto(int(fd), []byte(text), flags, nil)
					}
				}
			})
			if err == nil {
				err = sendErr
			}
			sent <- err
		})
		b := newBackend(t, Config{})
		g := newGuest(t, b, allOffloads)
		c := g.mustDial(addr)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got, err := io.ReadAll(c); err != nil || string(got) != "abc" {
			t.Errorf("%q, %v", got, err)
		}
		closesInTime(t, b)
	}
}

// TestForwardMPTCP holds that forwards listen for TCP alone, and that a client by Multipath TCP, where the kernel has it, gets the whole answer when it
// ends its side first.
func TestForwardMPTCP(t *testing.T) {
	b := newBackend(t, Config{Forwards: []Forward{{GuestPort: 80}}})
	g := newGuest(t, b, allOffloads)
	must(t, b.listeners[0].raw.Control(func(fd uintptr) {
		if protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.IPPROTO_TCP {
			t.Errorf("the listener's protocol is %d, %v", protocol, err)
		}
	}))
	l := listenInGuest(t, g)
	go func() {
		if c, err := l.Accept(); err == nil {
			got, _ := io.ReadAll(c)
			io.WriteString(c, "heard "+string(got))
			c.Close()
		}
	}()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err == unix.EPROTONOSUPPORT || err == unix.ENOPROTOOPT {
		return
	}
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	must(t, unix.Connect(fd, &unix.SockaddrInet4{Port: int(b.Forwards()[0].HostPort), Addr: [4]byte{127, 0, 0, 1}}))
	_, err = unix.Write(fd, []byte("hello"))
	must(t, err)
	must(t, unix.Shutdown(fd, unix.SHUT_WR))
	var got []byte
	p := make([]byte, 100)
	for {
		n, err := unix.Read(fd, p)
		if err != nil || n == 0 {
			if string(got) != "heard hello" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			return
		}
		got = append(got, p[:n]...)
	}
}
