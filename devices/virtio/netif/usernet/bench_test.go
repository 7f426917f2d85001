package usernet

import (
	"io"
	"net"
	"testing"

	"govmm/devices/virtio/netif"
)

const benchPiece = 1 << 20

// BenchmarkDownload is the way from a socket of the host to the guest: MB/s of payload. The guest's own TCP, which is in
// this process too, has its part in it.
func BenchmarkDownload(b *testing.B) { eachBench(b, benchDownload) }

// BenchmarkUpload is the way back.
func BenchmarkUpload(b *testing.B) { eachBench(b, benchUpload) }

func eachBench(b *testing.B, f func(b *testing.B, cfg Config, offloads netif.Offloads)) {
	for _, o := range []struct {
		name     string
		mtu      uint16
		offloads netif.Offloads
	}{{"none", 1500, 0}, {"tso", 1500, allOffloads}, {"mtu65520", 65520, allOffloads}} {
		b.Run(o.name, func(b *testing.B) { f(b, Config{MTU: o.mtu}, o.offloads) })
	}
}

func benchDownload(b *testing.B, cfg Config, offloads netif.Offloads) {
	addr := hostServer(b, func(c *net.TCPConn) {
		p := make([]byte, benchPiece)
		for {
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	})
	c := newGuest(b, newBackend(b, cfg), offloads).mustDial(addr)
	p := make([]byte, benchPiece)
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}

func benchUpload(b *testing.B, cfg Config, offloads netif.Offloads) {
	addr := hostServer(b, func(c *net.TCPConn) {
		p := make([]byte, benchPiece)
		for {
			if _, err := c.Read(p); err != nil {
				return
			}
		}
	})
	c := newGuest(b, newBackend(b, cfg), offloads).mustDial(addr)
	p := make([]byte, benchPiece)
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	c.Close()
}

// BenchmarkConnect is one connection: made, used for a byte, ended.
func BenchmarkConnect(b *testing.B) {
	addr := hostServer(b, func(c *net.TCPConn) { io.Copy(c, c) })
	g := newGuest(b, newBackend(b, Config{}), allOffloads)
	for b.Loop() {
		c, err := g.dial(addr)
		if err != nil {
			b.Fatal(err)
		}
		c.Write([]byte{1})
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// BenchmarkPingPong is a byte there and back on an open connection.
func BenchmarkPingPong(b *testing.B) {
	addr := hostServer(b, func(c *net.TCPConn) { io.Copy(c, c) })
	c := newGuest(b, newBackend(b, Config{}), allOffloads).mustDial(addr)
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		c.Write(p)
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
	}
}
