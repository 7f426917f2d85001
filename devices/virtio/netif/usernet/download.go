package usernet

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// A download carries what comes from the host's socket to the guest. It is the payload that the endpoint's Write reads
// from, which has to know its length before: so the socket is asked first, and memory of that size is taken.
type download struct {
	relay *relay
	fd    int
	left  int    // bytes that the socket is known to have, and that are to be read
	got   uint64 // bytes that were read
	stop  stop
	err   error // why it stopped with stopError
	timer *time.Timer
}

// run returns nil after the host's FIN.
func (d *download) run(r *relay) error {
	d.relay = r
	step := d.step
	for {
		if err := r.raw.Read(step); err != nil {
			return err
		}
		switch d.stop {
		case stopError:
			return d.err
		case stopEnd:
			return nil
		}
		if err := d.await(); err != nil {
			return err
		}
	}
}

// lookAfter is how soon a host's RST is seen while the guest takes nothing.
const lookAfter = 5 * time.Second

// await returns when the endpoint can be written again. With both directions waiting for the guest nobody waits for the socket, so it is looked at now and then.
func (d *download) await() error {
	if d.timer == nil {
		d.timer = time.NewTimer(0)
	}
	for {
		d.timer.Reset(d.relay.b.lookAfter)
		select {
		case <-d.relay.changed[1]:
			return nil
		case <-d.timer.C:
			if d.isReset() {
				return unix.ECONNRESET
			}
		}
	}
}

// isReset tells whether the connection is over without the host's FIN, which the kernel counts as a byte that it has received. The error may have been told to the other
// direction, and when there was a FIN, what came before it is all that the host had to say.
func (d *download) isReset() bool {
	var (
		info *unix.TCPInfo
		err  error
	)
	unread := 0
	controlErr := d.relay.raw.Control(func(fd uintptr) {
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			unread, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		}
	})
	return controlErr == nil && err == nil && info.State == tcpClose && info.Bytes_received <= d.got+uint64(unread)
}

// tcpClose is TCP_CLOSE of the kernel's include/net/tcp_states.h.
const tcpClose = 7

// step moves what there is. It returns false to be called again when the socket can be read.
func (d *download) step(fd uintptr) bool {
	d.fd = int(fd)
	for {
		n, err := unix.IoctlGetInt(d.fd, unix.TIOCINQ)
		if err != nil {
			d.stop, d.err = stopError, err
			return true
		}
		if n == 0 {
			if done, more := d.look(); !more {
				return done
			}
			n = 1 // at least; to ask again might give 0 again
		}
		d.left = min(n, d.relay.most)
		_, stackErr := d.relay.ep.Write(d, tcpip.WriteOptions{})
		switch stackErr.(type) {
		case nil:
		case *tcpip.ErrWouldBlock:
			d.stop = stopGuest
			return true
		default:
			if d.err == nil {
				d.err = stackError("send", stackErr)
			}
			d.stop = stopError
			return true
		}
	}
}

// look finds out why the socket has no bytes: an end that the host has said, or one by RST whose error the other direction was told. It returns what step does, or that there are some after all.
func (d *download) look() (done, more bool) {
	var one [1]byte
	n, _, err := unix.Recvfrom(d.fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == unix.EAGAIN:
		d.stop = stopHost
		return false, false
	case err == unix.EINTR || n > 0:
		return false, true
	case err != nil:
		d.stop, d.err = stopError, err
		return true, false
	}
	d.stop = stopEnd
	if d.isReset() {
		d.stop, d.err = stopError, unix.ECONNRESET
	}
	return true, false
}

// Len implements tcpip.Payloader.
func (d *download) Len() int { return d.left }

// Read implements io.Reader.
func (d *download) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // the stack looks for the end in this way
	}
	for {
		n, err := unix.Read(d.fd, p[:min(len(p), d.left)])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			d.err = fmt.Errorf("read: %d bytes, %d announced, %v", n, d.left, err)
			return 0, io.ErrUnexpectedEOF // the socket has said that there is something
		}
		d.left -= n
		d.got += uint64(n)
		return n, nil
	}
}
