package console

import (
	"context"
	"errors"
	"testing"

	"govmm/devices"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

func TestState(t *testing.T) {
	d := New(Config{})
	d.Resize(132, 43)
	d.control.handshake = handshake{ready: true, open: true, pending: sendResize}
	saved, err := d.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	restored := New(Config{})
	if err := restored.RestoreState(saved); err != nil {
		t.Fatal(err)
	}
	if cols, rows := restored.Size(); cols != 132 || rows != 43 {
		t.Errorf("%d by %d", cols, rows)
	}
	if restored.control.handshake != d.control.handshake {
		t.Errorf("handshake %+v", restored.control.handshake)
	}
	again, err := restored.SaveState()
	if err != nil || string(again.Data) != string(saved.Data) || again.Version != saved.Version {
		t.Errorf("saved again: %s, %v", again.Data, err)
	}
	for _, bad := range []devices.State{
		{},
		{Version: 2, Data: saved.Data},
		{Version: 1, Data: []byte(`{"cols":65536}`)},
		{Version: 1, Data: []byte(`{"rows":-1}`)},
		{Version: 1, Data: []byte(`{"ports":1}`)},
		{Version: 1, Data: []byte(`{"rows":1}}`)},
		{Version: 1, Data: []byte(`{"control":{"ready":true,"pending":16}}`)},
		{Version: 1, Data: []byte(`{"control":{"ready":true,"pending":256}}`)},
		{Version: 1, Data: []byte(`{"control":{"pending":4}}`)},
		{Version: 1, Data: []byte(`{"control":{"ready":1}}`)},
	} {
		if err := restored.RestoreState(bad); !errors.Is(err, devices.ErrState) {
			t.Errorf("%s: %v", bad.Data, err)
		}
	}
	if after, _ := restored.SaveState(); string(after.Data) != string(saved.Data) {
		t.Error("a state that was refused has changed the device")
	}
}

// moved makes a guest with another device, which goes on where g's is.
func (g *guest) moved() *guest {
	g.t.Helper()
	if err := g.transport.Pause(); err != nil {
		g.t.Fatal(err)
	}
	saved, err := g.transport.SaveState()
	if err != nil {
		g.t.Fatal(err)
	}
	g.transport.Close()
	irq := virtiotest.NewIRQ()
	to := &guest{t: g.t, device: New(Config{}), ram: g.ram, rang: make(chan struct{}, 1), features: g.features}
	to.transport, err = virtiommio.New(virtiommio.Config{Device: to.device, Memory: to.ram, IRQ: bell{irq, to.rang}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { to.transport.Close() })
	to.MMIODriver = virtiotest.NewDriver(g.t, to.transport, g.Mem, irq)
	to.transport.Pause()
	if err := to.transport.RestoreState(saved); err != nil {
		g.t.Fatal(err)
	}
	if again, err := to.transport.SaveState(); err != nil || string(again.Data) != string(saved.Data) {
		g.t.Errorf("saved again\n%s, not\n%s; %v", again.Data, saved.Data, err)
	}
	to.Rings, to.Features = g.Rings, g.Features
	to.transport.Resume()
	return to
}

// without returns what the device says next that is not a size: it repeats that after each restore.
func (g *guest) without(size string) string {
	g.t.Helper()
	for {
		m := g.hear()
		g.giveControl(1)
		if m != size {
			return m
		}
	}
}

// TestHandshakeAcrossSnapshots moves the device in each step of the handshake, before and after its answers.
func TestHandshakeAcrossSnapshots(t *testing.T) {
	g := guestWith(t, Config{}, ^virtio.FeatureEventIdx)
	g.device.Resize(8, 9)
	const size = resize + "\x08\x00\x09\x00"
	g = g.moved()
	g.tell(deviceReady)
	g = g.moved() // with PORT_ADD under way
	g.giveControl(1)
	if got := g.hear(); got != portAdd {
		t.Errorf("the device says %x", got)
	}
	g = g.moved()
	g.tell(portReady)
	g = g.moved() // with three messages under way
	g.giveControl(1)
	if got := g.hear(); got != consolePort {
		t.Errorf("the device says %x", got)
	}
	g = g.moved()
	g.giveControl(1)
	if got := g.hear(); got != size {
		t.Errorf("the device says %x", got)
	}
	g = g.moved()
	g.giveControl(2)
	if got := g.without(size); got != portOpen {
		t.Errorf("the device says %x", got)
	}
	g = g.moved()
	addr := g.give(10)
	ctx, cancel := context.WithCancel(t.Context())
	done := g.receive(ctx, "moved")
	g = g.moved()
	cancel()
	if r := <-done; r.n != 0 {
		t.Fatalf("Receive: %+v, but the port is not open", r)
	}
	done = g.receive(t.Context(), "moved")
	g.tell(portOpen)
	if got := g.take(addr); got != "moved" {
		t.Errorf("received %q", got)
	}
	<-done
	g = g.moved() // with the port open
	addr = g.give(10)
	if n, err := g.device.Receive(t.Context(), []byte("again")); n != 5 || err != nil {
		t.Errorf("Receive: %d, %v", n, err)
	}
	if got := g.take(addr); got != "again" {
		t.Errorf("received %q", got)
	}
}
