//go:build kvmtest

package kvm

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// stateGuest has an irqchip, a PIT and a VCPU that has not run.
func stateGuest(t *testing.T) (*guest, *VCPU) {
	t.Helper()
	g := newGuest(t, []byte{
		0xf4, // hlt
	})
	must(t, g.vm.CreateIRQChip())
	must(t, g.vm.CreatePIT2(PITSpeakerDummy))
	return g, g.cpu(0, codeAddr)
}

// roundTrip changes a state, sets it, and expects to read it back.
func roundTrip[T comparable](t *testing.T, name string, get func() (T, error), set func(T) error, change func(*T)) {
	t.Run(name, func(t *testing.T) {
		state, err := get()
		if refused(t, err) {
			return
		}
		change(&state)
		if refused(t, set(state)) {
			return
		}
		if got := must1[T](t)(get()); got != state {
			t.Errorf("got  %+v\nwant %+v", got, state)
		}
	})
}

func TestVCPUState(t *testing.T) {
	_, v := stateGuest(t)
	roundTrip(t, "regs", v.Regs, v.SetRegs, func(r *Regs) {
		*r = Regs{
			RAX: 1, RBX: 2, RCX: 3, RDX: 4, RSI: 5, RDI: 6, RSP: 7, RBP: 8, R8: 9, R9: 10, R10: 11,
			R11: 12, R12: 13, R13: 14, R14: 15, R15: 1 << 63, RIP: 0x1234, RFLAGS: 0x246,
		}
	})
	roundTrip(t, "sregs", v.Sregs, v.SetSregs, func(s *Sregs) {
		s.ES.Base, s.ES.Selector = 0x12340, 0x1234
		s.GDT = DTable{Base: 0x7000, Limit: 0x27}
		s.IDT = DTable{Base: 0x6000, Limit: 0xfff}
		s.CR2 = 0x123456
	})
	roundTrip(t, "fpu", v.FPU, v.SetFPU, func(f *FPU) {
		f.FCW = 0x27f
		f.XMM[3] = [16]uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	})
	roundTrip(t, "xcrs", v.Xcrs, v.SetXcrs, func(x *Xcrs) {
		if x.N == 0 {
			return // a host without XSAVE refuses them
		}
		if x.N != 1 || x.Xcrs[0].Index != 0 {
			t.Errorf("%+v", x)
		}
		x.Xcrs[0].Value |= 3 // x87 and SSE
	})
	roundTrip(t, "events", v.Events, v.SetEvents, func(e *Events) {
		e.Flags |= EventNMIPending
		e.NMI.Masked = 1
	})
	roundTrip(t, "debugregs", v.DebugRegs, v.SetDebugRegs, func(d *DebugRegs) {
		d.DB = [4]uint64{0x1000, 0x2000, 0x3000, 0x4000}
	})
	roundTrip(t, "mp state", v.MPState, v.SetMPState, func(s *MPState) { *s = MPHalted })
	roundTrip(t, "lapic", v.LAPIC, v.SetLAPIC, func(l *LAPIC) {
		l.SetReg(apicSVR, apicEnable)
		l.SetReg(0x350, 0x700) // LINT0: ExtINT
		l.SetReg(0x80, 0x20)   // task priority
		l.SetReg(0xa0, 0x20)   // processor priority, which follows from it
	})
	roundTrip(t, "tsc frequency", v.TSCKHz, v.SetTSCKHz, func(khz *int) {
		if *khz <= 0 {
			t.Errorf("%d kHz", *khz)
		}
	})
}

func TestXsave(t *testing.T) {
	_, v := stateGuest(t)
	// The x87 and SSE part lies where FXSAVE puts it: XMM0 at byte 160; the bits of
	// the components present at byte 512 (Intel SDM volume 1, 13.4).
	const xmm0, xstateBV, mxcsr = 160 / 4, 512 / 4, 24 / 4
	x := new(Xsave)
	must(t, v.Xsave(x))
	x.Region[mxcsr] = 0x1f80
	x.Region[xmm0] = 0xdeadbeef
	x.Region[xstateBV] |= 1<<0 | 1<<1
	must(t, v.SetXsave(x))
	got := new(Xsave)
	must(t, v.Xsave(got))
	if got.Region[xmm0] != 0xdeadbeef {
		t.Errorf("XMM0 begins with %#x", got.Region[xmm0])
	}
	fpu := must1[FPU](t)(v.FPU())
	if fpu.XMM[0][0] != 0xef {
		t.Errorf("FPU has % x in XMM0", fpu.XMM[0])
	}
	size := must1[int](t)(v.vm.Check(CapXSAVE2))
	t.Logf("XSAVE2 reports %d bytes", size)
}

func TestCPUID(t *testing.T) {
	g, v := stateGuest(t)
	supported := must1[[]CPUIDEntry](t)(g.dev.SupportedCPUID())
	var vendor *CPUIDEntry
	for i := range supported {
		if supported[i].Function == 0 {
			vendor = &supported[i]
		}
	}
	if len(supported) < 10 || vendor == nil {
		t.Fatalf("%d leaves: %+v", len(supported), supported)
	}
	vendor.EBX, vendor.EDX, vendor.ECX = 1, 2, 3
	must(t, v.SetCPUID2(supported))
	got := must1[[]CPUIDEntry](t)(v.CPUID())
	if len(got) != len(supported) {
		t.Errorf("%d leaves, %d were set", len(got), len(supported))
	}
	// What the other leaves say depends on the VCPU's state as well.
	for _, e := range got {
		if e.Function == 0 && e != *vendor {
			t.Errorf("leaf 0 is %+v, want %+v", e, *vendor)
		}
	}
	if err := v.SetCPUID2(make([]CPUIDEntry, 257)); !errors.Is(err, unix.E2BIG) {
		t.Errorf("257 entries give %v", err)
	}
	emulated, err := g.dev.EmulatedCPUID()
	if !refused(t, err) {
		t.Logf("%d emulated leaves", len(emulated))
	}
}

func TestMSRs(t *testing.T) {
	const (
		sysenterCS  = 0x174
		sysenterESP = 0x175
		noSuchMSR   = 0x12345678
	)
	g, v := stateGuest(t)
	must(t, v.SetMSRs([]MSREntry{{Index: sysenterCS, Data: 0x10}, {Index: sysenterESP, Data: 0xabc000}}))
	got := must1[[]MSREntry](t)(v.MSRs([]uint32{sysenterESP, sysenterCS}))
	if len(got) != 2 || got[0].Data != 0xabc000 || got[1].Data != 0x10 || got[1].Index != sysenterCS {
		t.Errorf("%+v", got)
	}

	got, err := v.MSRs([]uint32{sysenterCS, noSuchMSR, sysenterESP})
	var e *MSRError
	if !errors.As(err, &e) || e.Index != noSuchMSR || e.Op != "KVM_GET_MSRS" || !errors.Is(err, errors.ErrUnsupported) || len(got) != 1 {
		t.Errorf("a register that does not exist gives %v, %v", got, err)
	}
	err = v.SetMSRs([]MSREntry{{Index: sysenterCS, Data: 0x20}, {Index: noSuchMSR, Data: 1}})
	if !errors.As(err, &e) || e.Index != noSuchMSR || e.Op != "KVM_SET_MSRS" {
		t.Errorf("setting it gives %v", err)
	}
	if got := must1[[]MSREntry](t)(v.MSRs([]uint32{sysenterCS})); got[0].Data != 0x20 {
		t.Errorf("what came before it was not set: %+v", got)
	}

	// More than one call takes.
	many := make([]MSREntry, 300)
	for i := range many {
		many[i] = MSREntry{Index: sysenterESP, Data: uint64(i)}
	}
	must(t, v.SetMSRs(many))
	if got := must1[[]MSREntry](t)(v.MSRs([]uint32{sysenterESP})); got[0].Data != 299 {
		t.Errorf("the last of 300 is %d", got[0].Data)
	}

	indices := must1[[]uint32](t)(g.dev.MSRIndices())
	features, err := g.dev.MSRFeatureIndices()
	if !refused(t, err) && len(features) == 0 {
		t.Error("no feature MSRs")
	}
	saved := 0
	for _, index := range indices {
		if _, err := v.MSRs([]uint32{index}); err == nil {
			saved++
		}
	}
	t.Logf("%d registers to save, %d readable, %d of features", len(indices), saved, len(features))
	if saved < 10 {
		t.Errorf("%d of %d registers can be read", saved, len(indices))
	}
}

func TestVMState(t *testing.T) {
	g, _ := stateGuest(t)
	for _, id := range []IRQChipID{PICMaster, PICSlave} {
		chip := must1[IRQChip](t)(g.vm.IRQChip(id))
		if chip.IOAPIC() != nil {
			t.Error("a PIC is an IOAPIC")
		}
		chip.PIC().IRQBase = 0x20 + 8*uint8(id)
		chip.PIC().IMR = 0xa5
		must(t, g.vm.SetIRQChip(chip))
		if got := must1[IRQChip](t)(g.vm.IRQChip(id)); *got.PIC() != *chip.PIC() {
			t.Errorf("got  %+v\nwant %+v", got.PIC(), chip.PIC())
		}
	}
	chip := must1[IRQChip](t)(g.vm.IRQChip(IOAPICChip))
	if chip.PIC() != nil {
		t.Error("an IOAPIC is a PIC")
	}
	io := chip.IOAPIC()
	if io.BaseAddress != 0xfec00000 {
		t.Errorf("the IOAPIC is at %#x", io.BaseAddress)
	}
	io.ID, io.Redirection[23] = 5, 1<<16|0x99
	must(t, g.vm.SetIRQChip(chip))
	if got := must1[IRQChip](t)(g.vm.IRQChip(IOAPICChip)); *got.IOAPIC() != *io {
		t.Errorf("got  %+v\nwant %+v", got.IOAPIC(), io)
	}

	pit := must1[PITState](t)(g.vm.PIT2())
	pit.Channels[0].Count = 0x4321
	pit.Channels[0].Mode = 2
	must(t, g.vm.SetPIT2(pit))
	if got := must1[PITState](t)(g.vm.PIT2()).Channels[0]; got.Count != 0x4321 || got.Mode != 2 {
		t.Errorf("channel 0 is %+v", got)
	}

	const hour = 3600e9
	must(t, g.vm.SetClock(ClockData{Clock: hour}))
	first := must1[ClockData](t)(g.vm.Clock())
	second := must1[ClockData](t)(g.vm.Clock())
	if first.Clock < hour || second.Clock < first.Clock {
		t.Errorf("the clock reads %d, then %d, after it was set to %d", first.Clock, second.Clock, uint64(hour))
	}
}

func TestCapabilities(t *testing.T) {
	dev := openDevice(t)
	// What machines are built on.
	must(t, dev.Require(CapUserMemory, CapIRQChip, CapPIT2, CapIRQFD, CapIOEventFD, CapIRQRouting, CapSignalMSI,
		CapImmediateExit, CapExtCPUID, CapMPState, CapVCPUEvents, CapDebugRegs, CapXsave, CapXcrs, CapSetTSSAddr))
	err := dev.Require(CapUserMemory, 5, CapIRQChip, 99999)
	var e *CapError
	if !errors.As(err, &e) || len(e.Missing) != 2 || e.Missing[0] != 5 || e.Missing[1] != 99999 {
		t.Errorf("capabilities that do not exist give %v", err)
	}
	if v := must1[int](t)(dev.APIVersion()); v != 12 {
		t.Errorf("version %d", v)
	}
	for c := range Caps() {
		if n := must1[int](t)(dev.Check(c)); n != 0 {
			t.Logf("%v %d: %s", c, n, c.Purpose())
		}
	}
}

func TestEnableCap(t *testing.T) {
	g, v := stateGuest(t)
	if n := must1[int](t)(g.vm.Check(CapExceptionPayload)); n == 0 {
		t.Log("not tested here, this KVM lacks KVM_CAP_EXCEPTION_PAYLOAD")
	} else {
		must(t, g.vm.EnableCap(CapExceptionPayload, 1))
		if e := must1[Events](t)(v.Events()); e.Flags&EventPayload == 0 {
			t.Errorf("flags are %#x", e.Flags)
		}
	}
	if err := g.vm.EnableCap(Cap(99999)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a capability that does not exist gives %v", err)
	}
	if err := g.vm.EnableCap(CapExceptionPayload, 1, 2, 3, 4, 5); !errors.Is(err, unix.E2BIG) {
		t.Errorf("five arguments give %v", err)
	}
}

func TestBootCPU(t *testing.T) {
	dev := openDevice(t)
	vm := must1[*VM](t)(dev.CreateVM())
	t.Cleanup(func() { closeOK(t, vm) })
	must(t, vm.CreateIRQChip())
	must(t, vm.SetBootCPU(1))
	for id, want := range []MPState{MPUninitialized, MPRunnable} {
		v := must1[*VCPU](t)(vm.CreateVCPU(id))
		t.Cleanup(func() { closeOK(t, v) })
		if v.ID() != id {
			t.Errorf("VCPU %d says it is %d", id, v.ID())
		}
		if s := must1[MPState](t)(v.MPState()); s != want {
			t.Errorf("VCPU %d is %v, want %v", id, s, want)
		}
	}
}

// TestKVMClockCtrl calls it for a guest that does not use the clock.
func TestKVMClockCtrl(t *testing.T) {
	_, v := stateGuest(t)
	if err := v.KVMClockCtrl(); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got %v", err)
	}
}
