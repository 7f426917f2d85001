//go:build kvmtest

package kvm

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Registers of the local APIC (Intel SDM volume 3, table 11-1).
const (
	apicSVR     = 0xf0
	apicEnable  = 1<<8 | 0xff // software enable, spurious vector 255
	apicAddr    = 0xfee00000
	testVector  = 0x40
	msiVector40 = testVector // edge, fixed delivery
)

// withIRQChip makes a guest whose interrupt testVector is handled at 0x1100:
// it says 'I', ends the interrupt, and returns.
func withIRQChip(t testing.TB, code []byte) *guest {
	t.Helper()
	g := newGuest(t, code)
	must(t, g.vm.CreateIRQChip())
	g.ram[4*testVector+1] = 0x11 // 0000:1100
	copy(g.ram[0x1100:], []byte{
		0xb0, 'I', // mov al, 'I'
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xee,                               // out dx, al
		0x66, 0xb9, 0x0b, 0x08, 0x00, 0x00, // mov ecx, 0x80b: x2APIC EOI
		0x66, 0x31, 0xc0, // xor eax, eax
		0x66, 0x31, 0xd2, // xor edx, edx
		0x0f, 0x30, // wrmsr
		0xcf, // iret
	})
	return g
}

// enabledAPIC switches v's local APIC on, as a guest would by writing to SVR, and if
// x2 to x2APIC mode, in which real mode reaches its registers.
func enabledAPIC(t testing.TB, v *VCPU, x2 bool) {
	t.Helper()
	if x2 {
		s := must1[Sregs](t)(v.Sregs())
		s.APICBase |= 1 << 10
		must(t, v.SetSregs(s))
	}
	l := must1[LAPIC](t)(v.LAPIC())
	l.SetReg(apicSVR, apicEnable)
	must(t, v.SetLAPIC(l))
}

// haltLoop says 'h' and then waits for interrupts for ever.
var haltLoop = []byte{
	0xb0, 'h', // mov al, 'h'
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xee,       // out dx, al
	0xfb,       // sti
	0xf4,       // hlt
	0xeb, 0xfd, // jmp to the hlt
}

// TestHaltWakesUp lets a guest sleep inside KVM_RUN, sees that it sleeps undisturbed
// by the Go runtime, and wakes it with a message.
func TestHaltWakesUp(t *testing.T) {
	g := withIRQChip(t, haltLoop)
	v := g.cpu(0, codeAddr)
	enabledAPIC(t, v, true)
	wantOut(t, v, conPort, 'h')

	// The runtime's monitor signals a thread that seems to compute every 10 ms:
	// without Run's second way into the kernel there would be 100 in this second.
	woken := make(chan error, 1)
	go func() {
		time.Sleep(time.Second)
		delivered, err := g.vm.SignalMSI(MSI{Addr: apicAddr, Data: msiVector40})
		if err == nil && !delivered {
			err = errors.New("the message was not delivered")
		}
		woken <- err
	}()
	intrs := 0
	exit, err := v.Run()
	for ; err == nil && exit.Reason == ExitIntr; exit, err = v.Run() {
		intrs++
	}
	must(t, err)
	must(t, <-woken)
	if io := exit.IO(); exit.Reason != ExitIO || io.Data[0] != 'I' {
		t.Fatalf("%v", exit)
	}
	t.Logf("interrupted %d times in a second of HLT", intrs)
	if intrs > 20 {
		t.Errorf("interrupted %d times in a second of HLT", intrs)
	}
}

// TestInterruptSources raises the same interrupt in every way that there is.
func TestInterruptSources(t *testing.T) {
	g := withIRQChip(t, haltLoop)
	v := g.cpu(0, codeAddr)
	enabledAPIC(t, v, true)

	// Pin 5 of the IOAPIC: edge, fixed, to APIC 0. GSI 40 is a message, which KVM
	// takes from SetIRQLine and irqfds alike.
	chip := must1[IRQChip](t)(g.vm.IRQChip(IOAPICChip))
	chip.IOAPIC().Redirection[5] = testVector
	must(t, g.vm.SetIRQChip(chip))
	must(t, g.vm.SetGSIRouting([]GSIRoute{
		{GSI: 5, Type: RouteIRQChip, Chip: IOAPICChip, Pin: 5},
		{GSI: 40, Type: RouteMSI, MSI: MSI{Addr: apicAddr, Data: msiVector40}},
	}))
	event := newEventFD(t)
	must(t, g.vm.AssignIRQFD(event, 40))

	sources := []struct {
		name  string
		raise func() error
	}{
		{"IOAPIC line", func() error { return errors.Join(g.vm.SetIRQLine(5, true), g.vm.SetIRQLine(5, false)) }},
		{"message", func() error { _, err := g.vm.SignalMSI(MSI{Addr: apicAddr, Data: msiVector40}); return err }},
		{"line routed to a message", func() error { return g.vm.SetIRQLine(40, true) }},
		{"irqfd", func() error { return signal(event) }},
	}
	wantOut(t, v, conPort, 'h')
	for _, s := range sources {
		t.Log(s.name)
		must(t, s.raise())
		wantOut(t, v, conPort, 'I')
	}

	must(t, g.vm.DeassignIRQFD(event, 40))
	must(t, signal(event))
	if n := testing.AllocsPerRun(20, func() {
		must(t, g.vm.SetIRQLine(5, true))
		must(t, g.vm.SetIRQLine(5, false))
		if _, err := g.vm.SignalMSI(MSI{Addr: apicAddr, Data: msiVector40}); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations in raising an interrupt", n)
	}
	wantOut(t, v, conPort, 'I') // from AllocsPerRun's rounds, merged into one
}

func newEventFD(t testing.TB) int {
	t.Helper()
	fd := must1[int](t)(unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK))
	t.Cleanup(func() { must(t, unix.Close(fd)) })
	return fd
}

func signal(fd int) error {
	_, err := unix.Write(fd, binary.NativeEndian.AppendUint64(nil, 1))
	return err
}

// count returns how often fd was signalled, and resets it.
func count(t testing.TB, fd int) uint64 {
	t.Helper()
	var b [8]byte
	if _, err := unix.Read(fd, b[:]); err == unix.EAGAIN {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}

func TestIOEventFD(t *testing.T) {
	g, v := realMode(t, []byte{
		0xba, 0x00, 0x0c, // mov edx, 0xc00 (in 64-bit code the operand is 4 bytes)
		0x00, 0x00,
		0xb8, 0x07, 0x00, 0x00, 0x00, // mov eax, 7
		0x66, 0xef, // out dx, ax
		0xff, 0xc0, // inc eax
		0x66, 0xef, // out dx, ax
		0xbb, 0x00, 0x00, 0x00, 0x10, // mov ebx, 0x10000000
		0x89, 0x03, // mov [rbx], eax
		0x89, 0x03, // mov [rbx], eax
		0x88, 0x03, // mov [rbx], al
		0xf4, // hlt
	})
	g.longMode(v)
	port, mem := newEventFD(t), newEventFD(t)
	pio := IOEventFD{FD: port, Addr: 0xc00, Len: 2, Match: true, Value: 7, PIO: true}
	mmio := IOEventFD{FD: mem, Addr: mmioAddr, Len: 4}
	must(t, g.vm.AssignIOEventFD(pio))
	must(t, g.vm.AssignIOEventFD(mmio))
	if err := g.vm.AssignIOEventFD(mmio); !errors.Is(err, unix.EEXIST) {
		t.Errorf("the same again gives %v", err)
	}

	wantOut(t, v, 0xc00, 8, 0) // another value than 7 exits
	if n := count(t, port); n != 1 {
		t.Errorf("the port's event was signalled %d times, want 1", n)
	}
	if got := wantMMIO(t, v, mmioAddr, true, 1); got[0] != 8 { // another width exits
		t.Errorf("the guest wrote %d", got[0])
	}
	if n := count(t, mem); n != 2 {
		t.Errorf("the memory's event was signalled %d times, want 2", n)
	}
	want(t, v, ExitHlt)

	must(t, g.vm.DeassignIOEventFD(mmio))
	if err := g.vm.DeassignIOEventFD(mmio); !errors.Is(err, unix.ENOENT) {
		t.Errorf("detaching twice gives %v", err)
	}
	pio.Value++
	if err := g.vm.DeassignIOEventFD(pio); !errors.Is(err, unix.ENOENT) {
		t.Errorf("detaching with another value gives %v", err)
	}
}

// TestIPI sends an interrupt from one VCPU to another that sleeps.
func TestIPI(t *testing.T) {
	g := withIRQChip(t, []byte{
		0xb8, 0x00, 0x00, 0x00, 0x01, // mov eax, 1 << 24: to APIC 1
		0xa3, 0x10, 0x03, 0xe0, 0xfe, // mov [0xfee00310], eax
		0xb8, testVector, 0x40, 0x00, 0x00, // mov eax, assert | fixed | vector
		0xa3, 0x00, 0x03, 0xe0, 0xfe, // mov [0xfee00300], eax
		0xe6, 0x80, // out 0x80, al
		0xf4, // hlt
	})
	copy(g.ram[0x2000:], haltLoop)
	sender := g.cpu(0, codeAddr)
	g.protectedMode(sender)
	enabledAPIC(t, sender, false)
	receiver := g.cpu(1, 0x2000)
	must(t, receiver.SetMPState(MPRunnable))
	enabledAPIC(t, receiver, true)

	wantOut(t, receiver, conPort, 'h')
	got := make(chan byte, 1)
	go func() {
		defer close(got)
		for {
			exit, err := receiver.Run()
			if err != nil {
				t.Error(err)
				return
			}
			if exit.Reason != ExitIntr {
				if io := exit.IO(); len(io.Data) == 1 {
					got <- io.Data[0]
				}
				return
			}
		}
	}()
	wantOut(t, sender, 0x80, testVector)
	select {
	case c := <-got:
		if c != 'I' {
			t.Errorf("the receiver wrote %q", c)
		}
	case <-time.After(time.Minute):
		t.Fatal("the interrupt did not arrive")
	}
}

// TestStartup starts an application processor as firmware does: INIT, then SIPI.
func TestStartup(t *testing.T) {
	g := newGuest(t, []byte{
		0xb8, 0x00, 0x00, 0x00, 0x01, // mov eax, 1 << 24: to APIC 1
		0xa3, 0x10, 0x03, 0xe0, 0xfe, // mov [0xfee00310], eax
		0xb8, 0x00, 0x45, 0x00, 0x00, // mov eax, assert | INIT
		0xa3, 0x00, 0x03, 0xe0, 0xfe, // mov [0xfee00300], eax
		0xb8, 0x02, 0x46, 0x00, 0x00, // mov eax, assert | startup at page 2
		0xa3, 0x00, 0x03, 0xe0, 0xfe, // mov [0xfee00300], eax
		0xf3, 0x90, // pause
		0x80, 0x3d, 0x00, 0x80, 0x00, 0x00, 0x01, // cmp byte [0x8000], 1
		0x75, 0xf5, // jne to the pause
		0xe6, 0x80, // out 0x80, al
		0xf4, // hlt
	})
	must(t, g.vm.CreateIRQChip())
	copy(g.ram[0x2000:], []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xc6, 0x06, 0x00, 0x80, 0x01, // mov byte [0x8000], 1
		0x8c, 0xc8, // mov ax, cs
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xef,       // out dx, ax
		0xeb, 0xfe, // jmp to itself
	})
	boot := g.cpu(0, codeAddr)
	g.protectedMode(boot)
	ap := must1[*VCPU](t)(g.vm.CreateVCPU(1))
	t.Cleanup(func() { closeOK(t, ap) })
	// Not before the other VCPU exists: KVM notes who can be reached by APIC ID when
	// a local APIC changes, not when one is created.
	enabledAPIC(t, boot, false)
	if s := must1[MPState](t)(ap.MPState()); s != MPUninitialized {
		t.Errorf("an application processor begins as %v", s)
	}

	r := start(t, ap)
	wantOut(t, boot, 0x80, 0x02)
	r.kick(t)
	t.Logf("interrupted %d times", r.intrs)
	if s := must1[MPState](t)(ap.MPState()); s != MPRunnable {
		t.Errorf("an application processor runs as %v", s)
	}
	if s := must1[Sregs](t)(ap.Sregs()); s.CS.Selector != 0x200 || s.CS.Base != 0x2000 {
		t.Errorf("it started with CS %+v", s.CS)
	}
}

// TestNMI delivers a non-maskable interrupt to a guest whose interrupts are off.
func TestNMI(t *testing.T) {
	g := withIRQChip(t, []byte{
		0xe6, 0x80, // out 0x80, al
		0xf4,       // hlt
		0xeb, 0xfd, // jmp to the hlt
	})
	g.ram[4*2+1] = 0x11 // vector 2 is the NMI's
	v := g.cpu(0, codeAddr)
	wantOut(t, v, 0x80, 0)
	must(t, v.NMI())
	wantOut(t, v, conPort, 'I')
}
