package virtiotest

import (
	"bytes"
	"testing"

	"govmm/devices/virtio"
)

// queueSetupWrong activates queues that are not well formed. Each must make
// the device ask for a reset, and none may keep it from working after that.
func (s *suite) queueSetupWrong(t *testing.T, in *instance) {
	for _, test := range []struct {
		name  string
		wrong func(r *Ring)
	}{
		{"size 0", func(r *Ring) { r.Size = 0 }},
		{"size 3", func(r *Ring) { r.Size = 3 }},
		{"size beyond the maximum", func(r *Ring) { r.Size = 0x8000 }},
		{"descriptor table misaligned", func(r *Ring) { r.Desc += 8 }},
		{"available ring misaligned", func(r *Ring) { r.Avail++ }},
		{"used ring misaligned", func(r *Ring) { r.Used += 2 }},
		{"descriptor table below RAM", func(r *Ring) { r.Desc = in.Mem.Base() - 16 }},
		{"descriptor table reaches beyond RAM", func(r *Ring) { r.Desc = in.Mem.End() - 16 }},
		{"available ring beyond RAM", func(r *Ring) { r.Avail = in.Mem.End() - 4 }},
		{"used ring beyond RAM", func(r *Ring) { r.Used = in.Mem.End() - 4 }},
		{"used ring at the top of the address space", func(r *Ring) { r.Used = ^uint64(0) - 3 }},
		{"available ring at the top of the address space", func(r *Ring) { r.Avail = ^uint64(0) - 1 }},
	} {
		in.subtest(t, test.name, func(t *testing.T) {
			for i := range in.device.QueueSizes() {
				in.Mem.next = in.Mem.base
				in.Negotiate(virtio.FeatureVersion1)
				r := NewRing(in.Mem, 16, false)
				test.wrong(r)
				in.SetupQueue(i, r)
				in.AddStatus(virtio.StatusDriverOK)
				in.AwaitNeedsReset()
				in.Notify(i)
				in.AddStatus(virtio.StatusDriverOK)
				if in.Status()&virtio.StatusNeedsReset == 0 {
					t.Errorf("queue %d: writing the status again cleared DEVICE_NEEDS_RESET", i)
				}
			}
		})
	}
	s.restart(t, in)
}

// queueChangedAfterActivation changes a queue in use, to be larger and
// elsewhere. The device must go on with what it was given.
func (s *suite) queueChangedAfterActivation(t *testing.T, in *instance) {
	in.Start(0, 4)
	decoy := NewRing(in.Mem, 16, false)
	area := in.Mem.Bytes(decoy.Desc, in.Mem.next-decoy.Desc)
	for i, r := range append([]*Ring(nil), in.Rings...) {
		in.SetupQueue(i, decoy)
		in.Rings[i] = r
		if !in.regs.queueReady(i) {
			t.Errorf("queue %d is not ready any more", i)
		}
	}
	// Once around the small ring and more, so that a wrong size shows.
	for range 11 {
		s.serves(t, in)
	}
	if !bytes.Equal(area, make([]byte, len(area))) {
		t.Error("the device wrote to a ring that came after DRIVER_OK")
	}
}

// queueDisabledWhileRunning takes a queue away: it must not be touched again,
// and cannot be enabled before the next reset.
func (s *suite) queueDisabledWhileRunning(t *testing.T, in *instance) {
	regs, ok := in.regs.(*mmio)
	if !ok {
		return // over PCI a queue is never disabled (4.1.4.3.2)
	}
	for i := range in.device.QueueSizes() {
		in.Mem.next = in.Mem.base
		in.Start(0, 16)
		regs.Write32(RegQueueSel, uint32(i))
		regs.Write32(RegQueueReady, 0)
		if regs.queueReady(i) {
			t.Errorf("queue %d is still ready", i)
		}
		r := in.Rings[i]
		if bufs := s.opts.Request(in.Mem, i); bufs != nil {
			r.Add(bufs...)
		}
		in.Notify(i)
		regs.Write32(RegQueueReady, 1)
		if regs.queueReady(i) {
			t.Errorf("queue %d was enabled after DRIVER_OK", i)
		}
		in.Reset()
		if r.UsedIdx() != 0 {
			t.Errorf("queue %d: disabled, but a buffer of it was used", i)
		}
	}
	s.restart(t, in)
}

// queuesNotEnabled starts a device whose driver enabled no queue.
func (s *suite) queuesNotEnabled(t *testing.T, in *instance) {
	in.Negotiate(virtio.FeatureVersion1)
	in.AddStatus(virtio.StatusDriverOK)
	for i := range in.device.QueueSizes() {
		in.Notify(i)
	}
	in.Notify(1 << 20)
	in.transport.Pause()
	in.transport.Resume()
	if st := in.Status(); st&virtio.StatusNeedsReset != 0 {
		t.Errorf("status %#x: the device minds that no queue is enabled", st)
	}
	s.restart(t, in)
}

// oneQueue enables each queue alone.
func (s *suite) oneQueue(t *testing.T, in *instance) {
	for i := range in.device.QueueSizes() {
		in.Mem.next = in.Mem.base
		in.Negotiate(virtio.FeatureVersion1)
		r := NewRing(in.Mem, min(16, in.QueueMax(i)), false)
		in.SetupQueue(i, r)
		in.AddStatus(virtio.StatusDriverOK)
		for other := range in.device.QueueSizes() {
			in.Notify(other)
		}
		if bufs := s.opts.Request(in.Mem, i); bufs != nil {
			s.serve(t, in, i, r.Add(bufs...), bufs)
		}
	}
	s.restart(t, in)
}

// requests sends many, with all combinations of ring features, direct and
// indirect.
func (s *suite) requests(t *testing.T, in *instance) {
	for _, features := range []uint64{0, virtio.FeatureEventIdx, virtio.FeatureIndirectDesc, ^uint64(0)} {
		in.Mem.next = in.Mem.base
		in.Start(features, 8)
		start := in.Mem.next
		for range 40 {
			in.Mem.next = start
			s.serves(t, in)
			if in.Features&virtio.FeatureIndirectDesc == 0 {
				continue
			}
			for i, r := range in.Rings {
				if bufs := s.opts.Request(in.Mem, i); bufs != nil {
					s.serve(t, in, i, r.AddIndirect(bufs...), bufs)
				}
			}
		}
	}
}

// submit makes as many requests available in each queue as fit.
func (s *suite) submit(in *instance) (submitted []int) {
	for i, r := range in.Rings {
		n := 0
		for {
			bufs := s.opts.Request(in.Mem, i)
			if bufs == nil || len(bufs) > len(r.free) {
				break
			}
			r.Add(bufs...)
			n++
		}
		in.Kick(i)
		submitted = append(submitted, n)
	}
	return submitted
}

// resetInFlight resets the device while it works. After that it must not
// touch memory.
func (s *suite) resetInFlight(t *testing.T, in *instance) {
	for range 50 {
		in.Mem.next = in.Mem.base
		in.Start(^uint64(0), 16)
		s.submit(in)
		in.Reset()
		// The race detector sees writes of the device that come too late,
		// and so does the comparison in most cases.
		clear(in.Mem.data)
		if in.regs.pending() || in.regs.queueReady(0) {
			t.Fatal("reset left an interrupt or a queue")
		}
	}
	if !bytes.Equal(in.Mem.data, make([]byte, len(in.Mem.data))) {
		t.Error("the device wrote to memory after a reset")
	}
	s.restart(t, in)
}

// pauseInFlight pauses the device while it works. No request may be lost or
// done twice, and nothing may be touched during the pause.
func (s *suite) pauseInFlight(t *testing.T, in *instance) {
	in.Start(^uint64(0), 16)
	start := in.Mem.next
	for range 50 {
		in.Mem.next = start
		submitted := s.submit(in)
		if err := in.transport.Pause(); err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(in.Mem.data)
		for i := range in.Rings {
			in.Notify(i)
		}
		if !bytes.Equal(in.Mem.data, before) {
			t.Fatal("the device wrote to memory while it was paused")
		}
		if err := in.transport.Resume(); err != nil {
			t.Fatal(err)
		}
		for i, n := range submitted {
			for range n {
				in.Await(i)
			}
			if u, ok := in.Rings[i].Reap(); ok {
				t.Fatalf("queue %d: chain %d used once too often", i, u.ID)
			}
		}
	}
	in.transport.Pause()
	s.startPaused(t, in)
}

// saveRestore moves a device at work to another process's: the requests that it had not completed are completed there.
func (s *suite) saveRestore(t *testing.T, in *instance) {
	if _, err := in.transport.SaveState(); err != nil {
		t.Errorf("saving a device in reset: %v", err)
	}
	in.Start(^uint64(0), 16)
	if _, err := in.transport.SaveState(); err == nil {
		t.Error("a running device was saved")
	}
	s.serves(t, in)
	submitted := s.submit(in)
	in.transport.Pause()
	saved, err := in.transport.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	in.transport.Close()

	to := s.connected(t, in.Mem, in.Driver)
	to.transport.Pause()
	if err := to.transport.RestoreState(saved); err != nil {
		t.Fatal(err)
	}
	again, err := to.transport.SaveState()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(saved.Data, again.Data) {
		t.Errorf("saved\n%s, restored and saved\n%s", saved.Data, again.Data)
	}
	to.Rings, to.Features = in.Rings, in.Features
	to.transport.Resume()
	for i, n := range submitted {
		for range n {
			s.reap(to, i)
		}
	}
	s.serves(t, to)
	s.restart(t, to)
	to.transport.Close()
}

// reap takes a used element of queue i, whose interrupt may have gone to the device before this one.
func (s *suite) reap(in *instance, i int) {
	in.t.Helper()
	if _, ok := in.Rings[i].Reap(); !ok {
		in.Await(i)
	}
}

// startPaused initializes a paused device: it starts when it is resumed.
func (s *suite) startPaused(t *testing.T, in *instance) {
	in.Mem.next = in.Mem.base
	in.Start(0, 16)
	in.transport.Resume()
	s.serves(t, in)
}

// brokenRing breaks the rules of 2.7 in every queue that the device serves by
// itself.
func (s *suite) brokenRing(t *testing.T, in *instance) {
	for _, test := range []struct {
		name     string
		sabotage func(r *Ring, buf uint64)
	}{
		{"head out of range", func(r *Ring, _ uint64) { r.Publish(r.Size) }},
		{"available index jumps", func(r *Ring, _ uint64) { r.SetAvailIdx(r.Size + 1) }},
		{"available index goes back", func(r *Ring, _ uint64) { r.SetAvailIdx(0xffff) }},
		{"chain is a loop", func(r *Ring, buf uint64) {
			r.SetDesc(r.Desc, 0, Desc{Addr: buf, Len: 1, Flags: DescNext, Next: 1})
			r.SetDesc(r.Desc, 1, Desc{Addr: buf, Len: 1, Flags: DescNext, Next: 0})
			r.Publish(0)
		}},
		{"next out of range", func(r *Ring, buf uint64) {
			r.SetDesc(r.Desc, 0, Desc{Addr: buf, Len: 1, Flags: DescNext, Next: r.Size})
			r.Publish(0)
		}},
		{"readable after writable", func(r *Ring, buf uint64) {
			r.SetDesc(r.Desc, 0, Desc{Addr: buf, Len: 1, Flags: DescNext | DescWrite, Next: 1})
			r.SetDesc(r.Desc, 1, Desc{Addr: buf, Len: 1})
			r.Publish(0)
		}},
		{"buffer outside of RAM", func(r *Ring, _ uint64) {
			r.SetDesc(r.Desc, 0, Desc{Addr: ^uint64(0) - 1, Len: 4096, Flags: DescWrite})
			r.Publish(0)
		}},
		{"indirect was not negotiated", func(r *Ring, buf uint64) {
			r.SetDesc(r.Desc, 0, Desc{Addr: buf, Len: 16, Flags: DescIndirect})
			r.Publish(0)
		}},
	} {
		in.subtest(t, test.name, func(t *testing.T) {
			for i := range in.device.QueueSizes() {
				in.Mem.Reset()
				if s.opts.Request(in.Mem, i) == nil {
					continue
				}
				in.Start(0, 16)
				test.sabotage(in.Rings[i], in.Mem.Alloc(64, 16))
				in.Notify(i)
				in.AwaitNeedsReset()
				in.Reset()
			}
		})
	}
	s.restart(t, in)
}

// closeWhileRunning closes the transport under a device at work; registers go
// on answering.
func (s *suite) closeWhileRunning(t *testing.T, in *instance) {
	in.Start(^uint64(0), 16)
	s.submit(in)
	if err := in.transport.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	in.Notify(0)
	in.Reset()
	if in.transport.Pause() == nil || in.transport.Resume() == nil {
		t.Error("Pause or Resume worked after Close")
	}
}
