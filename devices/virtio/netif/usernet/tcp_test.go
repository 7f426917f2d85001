package usernet

import (
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"govmm/devices/virtio/netif"
)

const allOffloads = netif.Checksum | netif.TSO4

// debugLog is a log with all lines, which the test shows when it fails.
func debugLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// each runs a test with the drivers that there are.
func each(t *testing.T, test func(t *testing.T, offloads netif.Offloads)) {
	for _, o := range []struct {
		name     string
		offloads netif.Offloads
	}{{"none", 0}, {"checksum", netif.Checksum}, {"tso", allOffloads}} {
		t.Run(o.name, func(t *testing.T) { test(t, o.offloads) })
	}
}

// pattern writes n bytes that do not repeat, and returns their sum.
func pattern(w io.Writer, n int64) (string, error) {
	h := sha256.New()
	_, err := io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{1}), n)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func sumOf(r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), n, err
}

// TestDownload holds that 100 MB come to the guest as the host sent them, up to the FIN.
func TestDownload(t *testing.T) {
	each(t, func(t *testing.T, offloads netif.Offloads) {
		const size = 100e6
		sums := make(chan string, 1)
		addr := hostServer(t, func(c *net.TCPConn) {
			sum, err := pattern(c, size)
			if err != nil {
				t.Error(err)
			}
			sums <- sum
		})
		g := newGuest(t, newBackend(t, Config{Log: debugLog(t)}), offloads)
		got, n, err := sumOf(g.mustDial(addr))
		if want := <-sums; err != nil || n != size || got != want {
			t.Errorf("%d bytes, sum %s, error %v; want %d, %s", n, got, err, int(size), want)
		}
		if offloads&netif.TSO4 != 0 && (g.merged == 0 || g.largest < 60000) {
			t.Errorf("the largest frame had %d bytes, although the driver takes large ones", g.largest)
		}
	})
}

// TestUpload holds the same of the other direction, and that the answer still comes after the guest's FIN.
func TestUpload(t *testing.T) {
	each(t, func(t *testing.T, offloads netif.Offloads) {
		const size = 100e6
		addr := hostServer(t, func(c *net.TCPConn) {
			sum, _, err := sumOf(c)
			if err != nil {
				t.Error(err)
			}
			io.WriteString(c, sum)
		})
		g := newGuest(t, newBackend(t, Config{Log: debugLog(t)}), offloads)
		c := g.mustDial(addr)
		want, err := pattern(c, size)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || string(got) != want {
			t.Errorf("sum %q, error %v; want %s", got, err, want)
		}
	})
}

// TestRefused holds that a port of the host that nobody listens at is refused, and not silent.
func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	g := newGuest(t, newBackend(t, Config{}), allOffloads)
	_, err = g.dial(fmt.Sprintf("10.0.2.2:%d", port))
	if err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v", err)
	}
}

// TestBackPressure holds that a guest which takes no frames stops the sender on the host, before much is kept here.
func TestBackPressure(t *testing.T) {
	const most = 64 << 20 // with the buffers of the host's kernel
	written := make(chan int64, 1)
	addr := hostServer(t, func(c *net.TCPConn) {
		c.Read(make([]byte, 1))
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, _ := io.CopyN(c, rand.NewChaCha8([32]byte{}), 4*most)
		written <- n
	})
	b := newBackend(t, Config{})
	g := newGuest(t, b, allOffloads)
	c := g.mustDial(addr)
	g.cancel()
	<-g.done
	c.Write([]byte{1})
	if n := <-written; n == 0 || n > most {
		t.Errorf("%d bytes were taken from the host", n)
	}
	g.stack.Destroy()
}

// TestHalfOpen holds the bound on connections that the guest does not complete.
func TestHalfOpen(t *testing.T) {
	addr := hostServer(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	b := newBackend(t, Config{})
	frame := synFrame("10.0.2.2", stackAddr(addr).Port)
	h := header.TCP(header.IPv4(frame[prefixSize:]).Payload())
	frame[hdrFlags] = needsCsum // the sum is left to others, here nobody
	frame[hdrCsumStart], frame[hdrCsumOffset] = 34, 16
	for port := range uint16(4 * maxHalfOpen) {
		h.SetSourcePort(1024 + port)
		b.pair.Send([][]byte{frame})
	}
	if n := b.tcpFlows.Load(); n > maxHalfOpen {
		t.Errorf("%d connections", n)
	}
}
