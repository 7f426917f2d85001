package usernet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

func TestParseForward(t *testing.T) {
	for _, c := range []struct {
		text string
		want Forward
	}{
		{"tcp::8080-:80", Forward{HostPort: 8080, GuestPort: 80}},
		{"tcp:127.0.0.1:8080-:80", Forward{Host: netip.MustParseAddr("127.0.0.1"), HostPort: 8080, GuestPort: 80}},
		{"udp:0.0.0.0:0-10.0.2.20:53", Forward{UDP: true, Host: netip.MustParseAddr("0.0.0.0"), Guest: netip.MustParseAddr("10.0.2.20"), GuestPort: 53}},
		{"tcp:[::1]:2222-:22", Forward{Host: netip.MustParseAddr("::1"), HostPort: 2222, GuestPort: 22}},
		{"tcp:[fe80::1%eth-0]:1-:2", Forward{Host: netip.MustParseAddr("fe80::1%eth-0"), HostPort: 1, GuestPort: 2}},
	} {
		got, err := ParseForward(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, says string }{
		{"", "not tcp or udp"},
		{"sctp::1-:2", `"sctp" is not tcp or udp`},
		{"tcp:8080-:80", "no colon before the host port"},
		{"tcp::8080", "no hyphen"},
		{"tcp::8080-80", "no colon before the guest port"},
		{"tcp::65536-:80", `host port "65536" is not`},
		{"tcp::-1-:80", `host port`},
		{"tcp::8080-:0", "guest port 0"},
		{"tcp:localhost:8080-:80", `host address "localhost"`},
		{"tcp:::1:8080-:80", "in brackets"},
		{"tcp:[127.0.0.1]:8080-:80", "host address"},
		{"tcp::8080-[::1]:80", "not IPv4"},
	} {
		_, err := ParseForward(c.text)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "write it like tcp:127.0.0.1:8080-:80") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, which should say %q and how to write it", c.text, err, c.says)
		}
	}
}

// FuzzParseForward holds that what is read can be written and read again.
func FuzzParseForward(f *testing.F) {
	for _, s := range []string{"tcp::8080-:80", "udp:127.0.0.1:0-10.0.2.15:53", "tcp:[::1]:2222-:22", "tcp:[fe80::1%a-b]:1-:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseForward(s)
		if err != nil {
			return
		}
		if b, err := ParseForward(a.String()); err != nil || b != a {
			t.Errorf("%q is %v, which reads as %v, %v", s, a, b, err)
		}
	})
}

// TestForwardTCP holds that the host reaches a server in the guest, and the guest's address of the client is the gateway's.
func TestForwardTCP(t *testing.T) {
	b := newBackend(t, Config{Forwards: []Forward{{GuestPort: 80}}})
	g := newGuest(t, b, allOffloads)
	l, err := gonet.ListenTCP(g.stack, stackAddr("10.0.2.15:80"), ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintf(c, "%v\n", c.RemoteAddr())
				io.Copy(c, c)
			}()
		}
	}()
	f := b.Forwards()[0]
	if f.HostPort == 0 || f.Host != netip.MustParseAddr("127.0.0.1") || f.Guest != b.cfg.Guest {
		t.Fatalf("forward %v", f)
	}
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", f.HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		c.Write(data)
		c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	client, rest, _ := bytes.Cut(got, []byte("\n"))
	if err != nil || !strings.HasPrefix(string(client), "10.0.2.2:") || !bytes.Equal(rest, data) {
		t.Errorf("client %q, %d bytes of %d, error %v", client, len(rest), len(data), err)
	}
}

// TestForwardRefused holds that the host's client learns that nobody listens in the guest.
func TestForwardRefused(t *testing.T) {
	b := newBackend(t, Config{Forwards: []Forward{{GuestPort: 81}}})
	newGuest(t, b, allOffloads)
	n := 0
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Forwards()[0].HostPort))
	if err == nil { // otherwise the RST was quicker than the return of connect
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		n, err = c.Read(make([]byte, 1))
	}
	if n != 0 || !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("%d bytes, error %v", n, err)
	}
}

// TestForwardUDP holds that two clients on the host talk with a server in the guest, each with his own answers.
func TestForwardUDP(t *testing.T) {
	b := newBackend(t, Config{Forwards: []Forward{{UDP: true, GuestPort: 7}}})
	g := newGuest(t, b, allOffloads)
	at := stackAddr("10.0.2.15:7")
	s, err := gonet.DialUDP(g.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	go func() {
		p := make([]byte, 2000)
		for {
			n, addr, err := s.ReadFrom(p)
			if err != nil {
				return
			}
			s.WriteTo(append(p[:n:n], '!'), addr)
		}
	}()
	for i := range 2 {
		c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", b.Forwards()[0].HostPort))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "client %d", i)
		p := make([]byte, 100)
		n, err := c.Read(p)
		if got, want := string(p[:n]), fmt.Sprintf("client %d!", i); err != nil || got != want {
			t.Errorf("%q, error %v; want %q", got, err, want)
		}
	}
}

// TestPortInUse holds that the error names the port and that nothing is left open.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	before := openFiles(t)
	_, err = New(Config{Forwards: []Forward{{GuestPort: 1}, {HostPort: port, GuestPort: 80}}})
	if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("127.0.0.1:%d is in use", port)) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors were open, now %d", before, after)
	}
}
