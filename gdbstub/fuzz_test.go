package gdbstub

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// script is a connection whose peer has said all that it will say, and reads nothing.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }

// FuzzServe has a peer say anything: the machine runs on afterwards, without breakpoints, whatever that was.
func FuzzServe(f *testing.F) {
	for _, packets := range [][]string{
		{"?", "qSupported:swbreak+", "QStartNoAckMode", "g", "p10", "Hg2", "m1000,10", "D"},
		{"Z0,1000,1", "vCont;s:1", "z0,1000,1", "vCont;r1000,1010:1;c", "k"},
		{"X1000,3:}\x03ab", "M1000,2:aabb", "qXfer:features:read:target.xml:0,fff", "qXfer:threads:read::0,fff", "qRcmd,68656c70"},
		{"P0=0100000000000000", "G" + string(digits(new(Registers).encode())), "T2", "qThreadExtraInfo,1"},
	} {
		var b []byte
		for _, p := range packets {
			b = append(appendPacket(b, []byte(p)), '+')
		}
		f.Add(b)
	}
	f.Add([]byte("$m1000,4#00-\x03$"))
	f.Fuzz(func(t *testing.T, said []byte) {
		m := newFake()
		close(m.stops) // it comes to something at once, always
		if err := Serve(context.Background(), script{bytes.NewReader(said)}, m); m.detached != min(m.paused, 1) || len(m.breaks) != 0 {
			t.Errorf("%v, detached %d times, breakpoints %v", err, m.detached, m.breaks)
		}
	})
}

// FuzzPacket holds that what is sent arrives, and that anything else is an error or a packet.
func FuzzPacket(f *testing.F) {
	f.Add([]byte("m1000,4"))
	f.Add([]byte("a#b$c}d*e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) <= maxPacket/2 {
			in, err := readInput(bufio.NewReader(bytes.NewReader(appendPacket(nil, escape(nil, data)))))
			if err != nil || in.kind != packetIn {
				t.Fatalf("%+v, %v", in, err)
			}
			if got, ok := unescape(in.packet); !ok || !bytes.Equal(got, data) {
				t.Fatalf("%q arrives as %q", data, got)
			}
		}
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			in, err := readInput(r)
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errJunk) && !errors.Is(err, errTooLong) {
					t.Fatal(err)
				}
				return
			}
			if len(in.packet) > maxPacket {
				t.Fatalf("a packet of %d bytes", len(in.packet))
			}
		}
	})
}
