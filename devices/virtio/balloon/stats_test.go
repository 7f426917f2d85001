package balloon

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"govmm/devices"
	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiotest"
)

// entry is one struct virtio_balloon_stat.
func entry(tag uint16, value uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint16(nil, tag), value)
}

// buffer puts entries into memory.
func buffer(mem *virtiotest.Memory, entries ...[]byte) virtiotest.Buf {
	var all []byte
	for _, e := range entries {
		all = append(all, e...)
	}
	addr := mem.Alloc(uint64(len(all)), 1)
	copy(mem.Bytes(addr, uint64(len(all))), all)
	return virtiotest.Buf{Addr: addr, Len: uint32(len(all))}
}

// give makes a buffer available to the statistics queue.
func (g *guest) give(entries ...[]byte) {
	g.Rings[statsQueue].Add(buffer(g.Mem, entries...))
	g.Kick(statsQueue)
}

type answer struct {
	Stats
	err error
}

// ask asks for statistics from another goroutine.
func (g *guest) ask(ctx context.Context) chan answer {
	c := make(chan answer, 1)
	go func() {
		s, err := g.device.Stats(ctx)
		c <- answer{s, err}
	}()
	return c
}

func TestStats(t *testing.T) {
	g := newGuest(t)
	g.start(featureStats, 0, 1, 2)
	g.give(entry(uint16(StatFree), 1)) // never an answer
	if s := g.device.LastStats(); s.Known != 0 {
		t.Errorf("statistics before any question: %+v", s)
	}
	for i := range uint64(3) {
		got := g.ask(t.Context())
		g.Await(statsQueue)
		g.give(entry(uint16(StatTotal), 1<<40), entry(77, 5), entry(uint16(StatFree), 100+i), []byte{1, 2, 3})
		a := <-got
		if v, ok := a.Get(StatFree); a.err != nil || !ok || v != 100+i {
			t.Errorf("free is %d, %v; %v", v, ok, a.err)
		}
		if v, ok := a.Get(StatTotal); !ok || v != 1<<40 {
			t.Errorf("total is %d, %v", v, ok)
		}
		if v, ok := a.Get(StatCaches); ok || v != 0 {
			t.Errorf("caches, which were not given, are %d", v)
		}
		if _, ok := a.Get(77); ok {
			t.Error("there is a statistic 77")
		}
		if g.device.LastStats() != a.Stats {
			t.Error("the last statistics are others")
		}
	}
	if _, ok := g.Rings[statsQueue].Reap(); ok {
		t.Error("the device gave its buffer back without a question")
	}
}

// TestStatsUnasked holds that a buffer without a question is no answer.
func TestStatsUnasked(t *testing.T) {
	v := &newDevice(t, Config{}).stats
	v.receive(entry(uint16(StatFree), 1))
	if v.last.Known != 0 {
		t.Errorf("statistics %+v", v.last)
	}
}

// TestStatsAcrossPause holds that the buffer outlives a pause, that its old values are no answer, and that an
// answer that comes during a pause is one.
func TestStatsAcrossPause(t *testing.T) {
	g := newGuest(t)
	g.start(featureStats, 0, 1, 2)
	g.give(entry(uint16(StatFree), 1))
	pause := func() {
		t.Helper()
		if err := g.transport.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	pause()
	got := g.ask(t.Context())
	g.transport.Resume()
	g.Await(statsQueue)
	pause()
	g.give(entry(uint16(StatFree), 2))
	g.transport.Resume()
	if a := <-got; a.Values[StatFree] != 2 {
		t.Errorf("free is %d; %v", a.Values[StatFree], a.err)
	}
	for range 3 {
		pause()
		g.transport.Resume()
	}
	if status := g.Status(); status&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x", status)
	}
	got = g.ask(t.Context())
	g.Await(statsQueue)
	g.give(entry(uint16(StatFree), 3))
	if a := <-got; a.Values[StatFree] != 3 {
		t.Errorf("free is %d; %v", a.Values[StatFree], a.err)
	}
}

// TestStatsAcrossReset holds that a question which died with its driver is put to the next one.
func TestStatsAcrossReset(t *testing.T) {
	g := newGuest(t)
	g.start(featureStats, 0, 1, 2)
	g.give()
	got := g.ask(t.Context())
	g.Await(statsQueue)
	g.start(featureStats, 0, 1, 2)
	g.give(entry(uint16(StatFree), 1)) // of the new driver's start
	g.Await(statsQueue)
	g.give(entry(uint16(StatFree), 2))
	if a := <-got; a.Values[StatFree] != 2 {
		t.Errorf("free is %d; %v", a.Values[StatFree], a.err)
	}
}

// TestStatsAreFresh holds that an answer to somebody who has gone is not given to who comes later.
func TestStatsAreFresh(t *testing.T) {
	g := newGuest(t)
	g.start(featureStats, 0, 1, 2)
	g.give()
	ctx, cancel := context.WithCancel(t.Context())
	gone := g.ask(ctx)
	g.Await(statsQueue)
	cancel()
	if a := <-gone; !errors.Is(a.err, context.Canceled) {
		t.Errorf("%+v", a)
	}
	g.device.stats.mu.Lock() // so that the question is there before the late answer
	got := g.ask(t.Context())
	g.device.stats.mu.Unlock()
	for g.waiters() == 0 {
		g.device.stats.mu.Lock()
		g.device.stats.mu.Unlock()
	}
	g.give(entry(uint16(StatFree), 1))
	g.Await(statsQueue)
	g.give(entry(uint16(StatFree), 2))
	if a := <-got; a.Values[StatFree] != 2 {
		t.Errorf("free is %d; %v", a.Values[StatFree], a.err)
	}
}

// waiters tells whether somebody waits for statistics.
func (g *guest) waiters() int {
	g.device.stats.mu.Lock()
	defer g.device.stats.mu.Unlock()
	return int(g.device.stats.wanted - g.device.stats.asked)
}

func TestStatsAbsent(t *testing.T) {
	g := newGuest(t)
	got := g.ask(t.Context()) // waits for a driver
	g.start(0, 0, 1)
	if a := <-got; !errors.Is(a.err, ErrNoStats) {
		t.Errorf("%+v", a)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g.Reset()
	g.start(featureStats, 0, 1, 2)
	g.give()
	if _, err := newDevice(t, Config{}).Stats(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without a driver: %v", err)
	}
	// A guest that does not answer.
	ctx, cancel = context.WithCancel(t.Context())
	got = g.ask(ctx)
	g.Await(statsQueue)
	cancel()
	if a := <-got; !errors.Is(a.err, context.Canceled) {
		t.Errorf("%+v", a)
	}
}

func TestState(t *testing.T) {
	d := newDevice(t, Config{})
	d.SetTarget(1 << 30)
	d.WriteConfig(configActual, []byte{1, 2, 3, 4})
	d.stats.asked = 1
	d.stats.receive(append(entry(uint16(StatFree), 1<<63), entry(uint16(StatHugePageFails), 9)...))
	saved, err := d.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	restored := newDevice(t, Config{})
	if err := restored.RestoreState(saved); err != nil {
		t.Fatal(err)
	}
	if restored.Target() != 1<<30 || restored.Actual() != 0x04030201<<pageShift || restored.LastStats() != d.LastStats() || d.LastStats().Known == 0 {
		t.Errorf("restored %d, %d, %+v", restored.Target(), restored.Actual(), restored.LastStats())
	}
	again, err := restored.SaveState()
	if err != nil || string(again.Data) != string(saved.Data) || again.Version != saved.Version {
		t.Errorf("saved again: %s, %v", again.Data, err)
	}
	for _, bad := range []devices.State{
		{},
		{Version: 2, Data: saved.Data},
		{Version: 1, Data: []byte(`{"num_pages":-1}`)},
		{Version: 1, Data: []byte(`{"actual":4294967296}`)},
		{Version: 1, Data: []byte(`{"stats":{"known":1024}}`)},
		{Version: 1, Data: []byte(`{"stats":{"known":1,"values":[0,1]}}`)},
		{Version: 1, Data: []byte(`{"pages":1}`)},
		{Version: 1, Data: []byte(`[]`)},
	} {
		if err := restored.RestoreState(bad); !errors.Is(err, devices.ErrState) {
			t.Errorf("%s: %v", bad.Data, err)
		}
	}
	if after, _ := restored.SaveState(); string(after.Data) != string(saved.Data) {
		t.Error("a state that was refused has changed the device")
	}
}

// FuzzStats sends the input as an answer.
func FuzzStats(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(entry(4, 1), entry(5, 2)...))
	f.Add(append(entry(9, 1), entry(10, 2)[:7]...))
	f.Add(append(entry(4, 1), entry(4, 2)...))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 1<<13 {
			return
		}
		x := newFixture(t, Config{})
		v := &x.device.stats
		c := x.pop(buffer(x.mem, input))
		n, _ := c.Read(v.raw[:])
		v.asked++
		v.receive(v.raw[:n])
		x.queue.Unpop(c)

		s := x.device.LastStats()
		want := make(map[uint16]uint64)
		for p := input[:min(len(input), len(v.raw))]; len(p) >= entrySize; p = p[entrySize:] {
			want[binary.LittleEndian.Uint16(p)] = binary.LittleEndian.Uint64(p[2:])
		}
		for stat := range Stat(0xffff) {
			value, ok := s.Get(stat)
			if w, given := want[uint16(stat)]; ok != (given && stat < numStats) || ok && value != w {
				t.Errorf("statistic %d is %d, %v", stat, value, ok)
			}
		}
		saved, err := x.device.SaveState()
		if err != nil {
			t.Fatal(err)
		}
		if err := newDevice(t, Config{}).RestoreState(saved); err != nil {
			t.Error(err)
		}
	})
}
