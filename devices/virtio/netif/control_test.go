package netif

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"govmm/devices"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// control gives the control queue a command and returns the answer.
func (g *guest) control(queue int, p []byte, seg int) byte {
	g.t.Helper()
	in, out := g.Mem.Alloc(uint64(len(p)), 4), g.Mem.Alloc(1, 4)
	copy(g.Mem.Bytes(in, uint64(len(p))), p)
	g.Mem.Bytes(out, 1)[0] = 0xee
	g.Rings[queue].Add(append(cut(in, len(p), seg, false), virtiotest.Buf{Addr: out, Len: 1, Write: true})...)
	g.Kick(queue)
	if u := g.Await(queue); u.Len != 1 {
		g.t.Errorf("command %x: used length %d", p, u.Len)
	}
	return g.Mem.Bytes(out, 1)[0]
}

// macTable is a MAC table with n and m addresses.
func macTable(n, m int) []byte {
	p := binary.LittleEndian.AppendUint32([]byte{1, 0}, uint32(n))
	p = append(p, make([]byte, 6*n)...)
	p = binary.LittleEndian.AppendUint32(p, uint32(m))
	return append(p, make([]byte, 6*m)...)
}

func offloadsCommand(features uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{5, 0}, features)
}

func TestControl(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{Pairs: 3}, ^uint64(0), 64)
	base := settings{mac: testMAC, pairs: 1, offloads: everything.Receive}
	with := func(f func(*settings)) settings { s := base; f(&s); return s }
	for _, test := range []struct {
		name    string
		command []byte
		ok      bool
		want    settings
	}{
		{"promiscuous", []byte{0, 0, 1}, true, with(func(s *settings) { s.promiscuous = true })},
		{"not promiscuous", []byte{0, 0, 0}, true, base},
		{"all multicast", []byte{0, 1, 1}, true, with(func(s *settings) { s.allMulticast = true })},
		{"not all multicast", []byte{0, 1, 0}, true, base},
		{"receive mode 2", []byte{0, 0, 2}, false, base},
		{"no mode", []byte{0, 0}, false, base},
		{"two modes", []byte{0, 0, 1, 1}, false, base},
		{"VIRTIO_NET_CTRL_RX_NOBCAST", []byte{0, 5, 1}, false, base},
		{"empty table", macTable(0, 0), true, base},
		{"table", macTable(3, 5), true, base},
		{"largest table", macTable(256, 256), true, base},
		{"too large a table", macTable(257, 0), false, base},
		{"too large a second table", macTable(0, 257), false, base},
		{"huge table", []byte{1, 0, 255, 255, 255, 255}, false, base},
		{"half a table", macTable(3, 5)[:30], false, base},
		{"table and a byte", append(macTable(1, 1), 0), false, base},
		{"address", []byte{1, 1, 2, 3, 4, 5, 6, 7}, true, with(func(s *settings) { s.mac = MAC{2, 3, 4, 5, 6, 7} })},
		{"group address", []byte{1, 1, 3, 3, 4, 5, 6, 7}, false, with(func(s *settings) { s.mac = MAC{2, 3, 4, 5, 6, 7} })},
		{"short address", []byte{1, 1, 2, 3, 4, 5, 6}, false, with(func(s *settings) { s.mac = MAC{2, 3, 4, 5, 6, 7} })},
		{"the first address", append([]byte{1, 1}, testMAC[:]...), true, base},
		{"unknown MAC command", []byte{1, 2, 0}, false, base},
		{"VLAN", []byte{2, 0, 1, 0}, false, base},
		{"announce", []byte{3, 0}, false, base},
		{"no pairs", []byte{4, 0, 0, 0}, false, base},
		{"two pairs", []byte{4, 0, 2, 0}, true, with(func(s *settings) { s.pairs = 2 })},
		{"three pairs", []byte{4, 0, 3, 0}, true, with(func(s *settings) { s.pairs = 3 })},
		{"one pair", []byte{4, 0, 1, 0}, true, base},
		{"four pairs", []byte{4, 0, 4, 0}, false, base},
		{"65535 pairs", []byte{4, 0, 255, 255}, false, base},
		{"half a number of pairs", []byte{4, 0, 1}, false, base},
		{"receive-side scaling", []byte{4, 1, 0, 0}, false, base},
		{"no offloads", offloadsCommand(0), true, with(func(s *settings) { s.offloads = 0 })},
		{"checksum", offloadsCommand(featureGuestChecksum), true, with(func(s *settings) { s.offloads = Checksum })},
		{"segments without checksum", offloadsCommand(featureGuestTSO4), true, with(func(s *settings) { s.offloads = 0 })},
		{"unknown offload", offloadsCommand(featureGuestChecksum | 1<<10), false, with(func(s *settings) { s.offloads = 0 })},
		{"all offloads", offloadsCommand(featureGuestChecksum | featureGuestTSO4 | featureGuestTSO6), true, base},
		{"short offloads", offloadsCommand(0)[:9], false, base},
		{"unknown class", []byte{6, 0, 0}, false, base},
		{"class 255", []byte{255, 255}, false, base},
		{"one byte", []byte{0}, false, base},
	} {
		for _, seg := range []int{1 << 16, 100, 1} {
			if len(test.command)/seg > 60 {
				continue
			}
			want := byte(ackError)
			if test.ok {
				want = ackOK
			}
			if got := g.control(6, test.command, seg); got != want {
				t.Errorf("%s: answer %d, want %d", test.name, got, want)
			}
			if got := g.device.current(); got != test.want {
				t.Errorf("%s: settings %+v, want %+v", test.name, got, test.want)
			}
			if o, n := g.wire.last(); o != test.want.offloads || n != test.want.pairs {
				t.Errorf("%s: the backend was told %#x, %d", test.name, o, n)
			}
			if mac := MAC(g.ReadConfig(configMAC, 6)); mac != test.want.mac {
				t.Errorf("%s: configuration has %v", test.name, mac)
			}
		}
	}
	// A command without room for the answer does nothing.
	addr := g.Mem.Alloc(3, 4)
	copy(g.Mem.Bytes(addr, 3), "\x00\x00\x01")
	g.Rings[6].Add(virtiotest.Buf{Addr: addr, Len: 3})
	g.Kick(6)
	if u := g.Await(6); u.Len != 0 || g.device.current() != base {
		t.Errorf("command without an answer: used %v, settings %+v", u, g.device.current())
	}
}

// TestControlNeedsFeatures has a driver that negotiated the control queue and nothing else, and then not even that. Without
// VIRTIO_NET_F_MQ it is queue 2 (5.1.2).
func TestControlNeedsFeatures(t *testing.T) {
	for _, features := range []uint64{0, featureCtrlQueue} {
		g := newGuest(t, newWire(everything), Config{Pairs: 3}, features, 64)
		for _, p := range [][]byte{{0, 0, 1}, macTable(0, 0), {1, 1, 2, 3, 4, 5, 6, 7}, {4, 0, 1, 0}, offloadsCommand(0)} {
			if ack := g.control(2, p, 100); ack != ackError {
				t.Errorf("features %#x: %x: answer %d", features, p, ack)
			}
		}
	}
}

func TestPairs(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{Pairs: 3}, featureMultiqueue|featureCtrlQueue, 16)
	buffers := g.supply(2, 2000, 2000, 2000)
	want := frame(1, 100)
	g.wire.ports[2].give(want)
	g.nothing(4)
	if ack := g.control(6, []byte{4, 0, 3, 0}, 100); ack != ackOK {
		t.Fatalf("answer %d", ack)
	}
	if got, _ := g.receive(2, buffers); !sameFrame(got, want) {
		t.Errorf("received %x", got)
	}
	g.send(2, want, 100)
	if got := <-g.wire.ports[2].sent; !sameFrame(got, want) {
		t.Errorf("sent %x", got)
	}
	// The settings outlive a pause, and not a reset.
	g.transport.Pause()
	g.transport.Resume()
	g.send(2, want, 100)
	g.Start(featureMultiqueue|featureCtrlQueue, 16)
	g.send(0, want, 100)
	if _, n := g.wire.last(); n != 1 || g.device.current().pairs != 1 {
		t.Errorf("%d pairs after a reset", n)
	}
}

// TestPairsMustBeEnabled has a driver that enabled the queues of one pair only.
func TestPairsMustBeEnabled(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{Pairs: 3}, 0, 16)
	g.Negotiate(featureMultiqueue | featureCtrlQueue | virtio.FeatureVersion1)
	for _, i := range []int{0, 1, 2, 6} {
		g.SetupQueue(i, virtiotest.NewRing(g.Mem, 16, false))
	}
	g.AddStatus(virtio.StatusDriverOK)
	if ack := g.control(6, []byte{4, 0, 2, 0}, 100); ack != ackError {
		t.Errorf("answer %d", ack)
	}
}

// TestBackendRefuses holds that the settings stay when the backend cannot have others.
func TestBackendRefuses(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{}, ^uint64(0), 16)
	g.control(2, []byte{0, 0, 1}, 100)
	g.wire.mu.Lock()
	g.wire.refuse = errors.New("not now")
	g.wire.mu.Unlock()
	in, out := g.Mem.Alloc(10, 4), g.Mem.Alloc(1, 4)
	copy(g.Mem.Bytes(in, 10), offloadsCommand(0))
	g.Rings[2].Add(virtiotest.Buf{Addr: in, Len: 10}, virtiotest.Buf{Addr: out, Len: 1, Write: true})
	g.Notify(2)
	// It cannot have the old ones either.
	g.AwaitNeedsReset()
	if o := g.device.current().offloads; o != everything.Receive {
		t.Errorf("offloads %#x", o)
	}
}

// TestChangesAreLimited has a driver that changes its mind without end: the device stops answering for a while, and can be reset
// meanwhile.
func TestChangesAreLimited(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{Pairs: 3}, ^uint64(0), 64)
	g.send(0, frame(0, 60), 100)                       // it runs
	g.device.changes.Take(3600*changeRate, time.Now()) // all that there is for an hour
	in, out := g.Mem.Alloc(4, 4), g.Mem.Alloc(1, 4)
	copy(g.Mem.Bytes(in, 4), "\x04\x00\x02\x00")
	g.Rings[6].Add(virtiotest.Buf{Addr: in, Len: 4}, virtiotest.Buf{Addr: out, Len: 1, Write: true})
	g.Notify(6)
	g.send(0, frame(0, 60), 100) // frames go on
	g.nothing(6)
	g.Reset()
	if n := g.device.current().pairs; n != 1 {
		t.Errorf("%d pairs", n)
	}
}

func TestState(t *testing.T) {
	g := newGuest(t, newWire(everything), Config{Pairs: 3}, ^uint64(0), 64)
	for _, p := range [][]byte{{0, 0, 1}, {0, 1, 1}, {1, 1, 2, 9, 9, 9, 9, 9}, {4, 0, 2, 0}, offloadsCommand(featureGuestChecksum | featureGuestTSO6)} {
		if ack := g.control(6, p, 100); ack != ackOK {
			t.Fatalf("%x: answer %d", p, ack)
		}
	}
	g.device.SetLink(false)
	if err := g.transport.Pause(); err != nil {
		t.Fatal(err)
	}
	saved, err := g.device.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	other := newDevice(t, Config{Backend: newWire(everything), Pairs: 3})
	if err := other.RestoreState(saved); err != nil {
		t.Fatal(err)
	}
	again, err := other.SaveState()
	if err != nil || string(again.Data) != string(saved.Data) || again.Version != saved.Version {
		t.Errorf("saved %s, then %s, %v", saved.Data, again.Data, err)
	}
	if other.Link() || other.current() != g.device.current() {
		t.Errorf("restored %+v", other.current())
	}
	// The session that is restored with it has what was restored, as far as it was negotiated, and the one after it has not.
	other.begin(&virtio.Session{Features: featureMultiqueue | featureGuestChecksum, Restored: true})
	if s := other.current(); s.pairs != 2 || s.offloads != Checksum || !s.promiscuous || s.mac != (MAC{2, 9, 9, 9, 9, 9}) {
		t.Errorf("first session: %+v", s)
	}
	other.begin(&virtio.Session{Features: featureMultiqueue})
	if s := other.current(); s != other.defaults(featureMultiqueue) {
		t.Errorf("second session: %+v", s)
	}
}

func TestRestoreStateRefuses(t *testing.T) {
	w := newWire(Info{Receive: Checksum | TSO4, Pairs: 2})
	d := newDevice(t, Config{Backend: w, Pairs: 2})
	before, err := d.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{
		``, `{}`, `[]`, `{"mac":"AgAAAAAB"}`, `{"mac":"AgAAAAAB","pairs":0}`, `{"mac":"AgAAAAAB","pairs":3}`, `{"mac":"AgAAAAAB","pairs":-1}`,
		`{"mac":"AgAAAAA=","pairs":1}`, `{"mac":"AAAAAAAA","pairs":1}`, `{"mac":"AwAAAAAB","pairs":1}`,
		`{"mac":"AgAAAAAB","pairs":1,"guest_tso4":true}`, `{"mac":"AgAAAAAB","pairs":1,"guest_checksum":true,"guest_tso6":true}`,
		`{"mac":"AgAAAAAB","pairs":1,"more":1}`,
	} {
		if err := d.RestoreState(devices.State{Version: 1, Data: []byte(data)}); !errors.Is(err, devices.ErrState) {
			t.Errorf("%s: %v", data, err)
		}
	}
	if err := d.RestoreState(devices.State{Version: 2, Data: before.Data}); err == nil {
		t.Error("version 2")
	}
	if after, _ := d.SaveState(); string(after.Data) != string(before.Data) {
		t.Errorf("the device has %s", after.Data)
	}
}

func FuzzRestoreState(f *testing.F) {
	f.Add([]byte(`{"link_up":true,"mac":"AgAAAAAB","pairs":2,"guest_checksum":true,"guest_tso4":true}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := newDevice(t, Config{Backend: newWire(everything), Pairs: 3})
		if d.RestoreState(devices.State{Version: 1, Data: data}) != nil {
			return
		}
		saved, err := d.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		if err := d.RestoreState(saved); err != nil {
			t.Errorf("%s, from %s: %v", saved.Data, data, err)
		}
	})
}
