//go:build kvmtest

package debug

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"govmm/bootimage"
	"govmm/gdbstub"
	"govmm/kvm"
	"govmm/machine"
	"govmm/machine/hostcheck"
)

// The guest: 64-bit code with the first 4 GiB mapped to themselves, that counts, executes an INT3 of its own, whose handler counts too, and goes
// round a subroutine.
const (
	codeAddr    = 0x10_0000
	idtAddr     = 0x10_1000
	handlerAddr = 0x10_0100
	subAddr     = 0x10_0200
	counts      = 0x20_0000 // rounds, and 8 behind it the guest's own INT3s
	stackTop    = 0x30_0000

	loopAddr  = codeAddr + 18
	afterInt3 = loopAddr + 4
)

func guest() *bootimage.Plan {
	b := make([]byte, 0x2000)
	copy(b, []byte{
		0xbc, 0, 0, 0x30, 0, // mov esp, stackTop
		0xbf, 0, 0, 0x20, 0, // mov edi, counts
		0x0f, 0x01, 0x1c, 0x25, 0xf0, 0x1f, 0x10, 0, // lidt [0x101ff0]
		// loopAddr:
		0x48, 0xff, 0x07, // inc qword [rdi]
		0xcc,                         // int3
		0xe8, 0xe5, 0x01, 0x00, 0x00, // afterInt3: call subAddr
		0xeb, 0xf5, // jmp loopAddr
	})
	copy(b[handlerAddr-codeAddr:], []byte{
		0x48, 0xff, 0x47, 0x08, // inc qword [rdi+8]
		0x48, 0xcf, // iretq
	})
	copy(b[subAddr-codeAddr:], []byte{
		0x90, 0x90, // nop; nop
		0xc3, // ret
	})
	le := binary.LittleEndian
	gate := b[idtAddr-codeAddr+3*16:] // an interrupt gate for vector 3, of the code segment 0x10
	le.PutUint64(gate, handlerAddr&0xffff|0x10<<16|0x8e00<<32|handlerAddr>>16<<48)
	le.PutUint16(b[0x1ff0:], 4*16-1)
	le.PutUint64(b[0x1ff2:], idtAddr)
	return &bootimage.Plan{
		Segments: []bootimage.Segment{{Name: "guest", Addr: codeAddr, Data: b, Size: uint64(len(b))}},
		Entry:    bootimage.Entry{Mode: bootimage.Linux64, PC: codeAddr},
	}
}

// a test has a machine that stands before its first instruction.
type test struct {
	*testing.T
	*Debugger
}

func start(t *testing.T, cpus int) test {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	d := New("test", cancel)
	m, err := machine.New(machine.Config{Image: guest(), CPUs: cpus, Debug: d.Exit})
	if err != nil {
		t.Fatalf("%v (make test-kvm runs this test where there is a KVM)", err)
	}
	if err := d.Connect(m); err != nil {
		t.Fatal(err)
	}
	m.Hold()
	go func() {
		_, err := m.Run(ctx)
		end := gdbstub.EndError{}
		var crash *machine.CrashError
		if errors.As(err, &crash) {
			t.Log(err)
			end.Signal = 11
		}
		d.Ended(end)
	}()
	t.Cleanup(func() {
		cancel()
		<-d.End()
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	x := test{t, d}
	x.ok(d.Pause(t.Context()))
	return x
}

// needBreakpoints skips a test where the host's KVM is made of software, which does not stop at breakpoints. In the nested test host, where make test-kvm runs these
// tests, and with hardware virtualization nothing is skipped.
func needBreakpoints(t *testing.T) {
	t.Helper()
	for _, i := range hostcheck.Check("/dev/kvm").Items {
		if i.Name == "virtualization" && i.Status != hostcheck.OK && strings.HasPrefix(i.Detail, "software") {
			t.Skip(i.Detail + "; make test-kvm runs this test where there is a real one")
		}
	}
}

func (x test) ok(err error) {
	x.Helper()
	if err != nil {
		x.Fatal(err)
	}
}

// come lets the machine go on and gives what it comes to.
func (x test) come(actions ...gdbstub.Action) gdbstub.Stop {
	x.Helper()
	x.ok(x.Resume(actions))
	ctx, cancel := context.WithTimeout(x.Context(), time.Minute)
	defer cancel()
	stop, err := x.Wait(ctx)
	x.ok(err)
	return stop
}

func (x test) want(stop gdbstub.Stop, reason gdbstub.Reason, pc uint64) {
	x.Helper()
	if stop.Reason != reason || stop.PC != pc || stop.CPU != 0 {
		x.Errorf("%+v, want reason %d at %#x", stop, reason, pc)
	}
	r, err := x.Registers(0)
	x.ok(err)
	if r.RIP != pc {
		x.Errorf("RIP is %#x, want %#x", r.RIP, pc)
	}
}

func (x test) count(i int) uint64 {
	x.Helper()
	b := make([]byte, 8)
	_, err := x.ReadMemory(0, counts+uint64(8*i), b)
	x.ok(err)
	return binary.LittleEndian.Uint64(b)
}

func TestSoftware(t *testing.T) {
	needBreakpoints(t)
	for _, cpus := range []int{1, 2} {
		x := start(t, cpus)
		run := []gdbstub.Action{gdbstub.Run, gdbstub.Run}[:cpus]
		b := gdbstub.Breakpoint{Kind: gdbstub.Software, Addr: subAddr, Size: 1}
		x.ok(x.Insert(0, b))
		for round := range uint64(20) {
			x.want(x.come(run...), gdbstub.AtSoftware, subAddr)
			// Each round has had its own INT3 in the guest's handler.
			if rounds, own := x.count(0), x.count(1); rounds != round+1 || own != round+1 {
				t.Fatalf("%d rounds and %d INT3s of the guest's, in round %d", rounds, own, round+1)
			}
			// As gdb steps over a breakpoint.
			x.ok(x.Remove(0, b))
			x.want(x.come(append([]gdbstub.Action{gdbstub.Step}, make([]gdbstub.Action, cpus-1)...)...), gdbstub.Stepped, subAddr+1)
			x.ok(x.Insert(0, b))
		}
		code := make([]byte, 3)
		_, err := x.ReadMemory(0, subAddr, code)
		x.ok(err)
		if !bytes.Equal(code, []byte{0x90, 0x90, 0xc3}) {
			t.Errorf("the code is % x", code)
		}
		x.ok(x.Detach())
		x.runs()
	}
}

// runs holds that the guest counts, and comes to nothing.
func (x test) runs() {
	x.Helper()
	b := make([]byte, 1)
	read := func() byte {
		_, err := x.m.Memory().ReadAt(b, counts)
		x.ok(err)
		return b[0]
	}
	for from := read(); read() == from; time.Sleep(time.Millisecond) {
		if x.Context().Err() != nil {
			x.Fatal("the guest does not run")
		}
	}
}

func TestSteps(t *testing.T) {
	x := start(t, 1)
	for _, pc := range []uint64{codeAddr + 5, codeAddr + 10, loopAddr, loopAddr + 3} {
		x.want(x.come(gdbstub.Step), gdbstub.Stepped, pc)
	}
	if got := x.count(0); got != 1 {
		t.Errorf("counted to %d", got)
	}
	r, err := x.Registers(0)
	x.ok(err)
	r.General[gdbstub.RDI] = counts + 0x100
	r.RIP, r.GSBase, r.System.KernelGSBase, r.XMM[3][2], r.Segment[0] = loopAddr, 0x1234, 0x5678, 9, 0xff
	x.ok(x.SetRegisters(0, r))
	x.want(x.come(gdbstub.Step), gdbstub.Stepped, loopAddr+3)
	r, err = x.Registers(0)
	x.ok(err)
	if x.count(0x100/8) != 1 || r.GSBase != 0x1234 || r.System.KernelGSBase != 0x5678 || r.XMM[3][2] != 9 || r.Segment[0] != 0x10 {
		t.Errorf("%d, %+v", x.count(0x100/8), r)
	}
}

func TestHardware(t *testing.T) {
	needBreakpoints(t)
	x := start(t, 1)
	x.ok(x.WriteMemory(0, loopAddr+3, []byte{0x90})) // instead of the INT3
	exec := gdbstub.Breakpoint{Kind: gdbstub.Hardware, Addr: loopAddr + 3, Size: 1}
	x.ok(x.Insert(0, exec))
	x.want(x.come(gdbstub.Run), gdbstub.AtHardware, loopAddr+3)
	x.ok(x.Remove(0, exec))
	r, err := x.Registers(0)
	x.ok(err)
	r.RIP = loopAddr
	x.ok(x.SetRegisters(0, r))
	watch := gdbstub.Breakpoint{Kind: gdbstub.WatchWrite, Addr: counts, Size: 8}
	x.ok(x.Insert(0, watch))
	stop := x.come(gdbstub.Run)
	x.want(stop, gdbstub.AfterWrite, loopAddr+3)
	if stop.Addr != counts || x.count(0) != 2 {
		t.Errorf("%+v, count %d", stop, x.count(0))
	}
}

func TestMemory(t *testing.T) {
	x := start(t, 1)
	end := uint64(machine.DefaultMemory)
	b := make([]byte, 0x2000)
	if n, err := x.ReadMemory(0, end-0x1800, b); n != 0x1800 || !errors.Is(err, gdbstub.EFAULT) {
		t.Errorf("%#x, %v", n, err)
	}
	if n, err := x.ReadMemory(0, 1<<32, b); n != 0 || !errors.Is(err, gdbstub.EFAULT) {
		t.Errorf("%#x, %v", n, err)
	}
	want := bytes.Repeat([]byte{1, 2, 3}, 0x1000)
	x.ok(x.WriteMemory(0, counts+0xff0, want))
	got := make([]byte, len(want))
	if _, err := x.ReadMemory(0, counts+0xff0, got); err != nil || !bytes.Equal(got, want) {
		t.Error("what was written is not read")
	}
	if err := x.WriteMemory(0, end-1, []byte{1, 2}); !errors.Is(err, gdbstub.EFAULT) {
		t.Error(err)
	}
	if err := x.Insert(0, gdbstub.Breakpoint{Kind: gdbstub.Software, Addr: 1 << 40}); !errors.Is(err, gdbstub.EFAULT) {
		t.Error(err)
	}
	for command, says := range map[string]string{
		"": "translate", "help": "translate", "kernel": "unpacks itself", "info version": "test\n", "translate 0x100000": "0x100000 is at 0x100000",
		"translate 0x10000000000": "not mapped", "translate x": "is no address", "frobnicate": "is not known",
	} {
		if got := x.Monitor(0, command); !strings.Contains(got, says) || !strings.HasSuffix(got, "\n") {
			t.Errorf("%s: %q", command, got)
		}
	}
}

// TestOwnInt3 holds which INT3s are the guest's own, which are the debugger's, and which are not there any more.
func TestOwnInt3(t *testing.T) {
	x := start(t, 1)
	for name, tt := range map[string]struct {
		code           []byte
		patch          uint64 // where the debugger's is
		ours, vanished bool
	}{
		"own":                  {[]byte{int3}, 0, false, false},
		"own with prefixes":    {[]byte{0xf3, 0x66, int3}, 0, false, false},
		"changed":              {[]byte{0x90, int3}, 0, false, true},
		"changed to a prefix":  {[]byte{0x66, 0x90}, 0, false, true},
		"ours":                 {[]byte{0x90}, subAddr, true, false},
		"ours behind a prefix": {[]byte{0x66, 0x90}, subAddr + 1, true, false},
	} {
		x.ok(x.WriteMemory(0, subAddr, tt.code))
		b := gdbstub.Breakpoint{Kind: gdbstub.Software, Addr: tt.patch, Size: 1}
		if tt.patch != 0 {
			x.ok(x.Insert(0, b))
		}
		x.ok(x.m.OnVCPU(0, func(v *kvm.VCPU) error {
			if ours, vanished := x.isPatched(v, subAddr), x.vanished(v, subAddr); ours != tt.ours || vanished != tt.vanished {
				t.Errorf("%s: the debugger's: %v, not there any more: %v", name, ours, vanished)
			}
			return nil
		}))
		x.ok(x.Remove(0, b))
	}
}

// TestInterruptAndEnd pauses a machine that runs, and ends it while somebody waits.
func TestInterruptAndEnd(t *testing.T) {
	x := start(t, 2)
	if got := x.Describe(0) + ", " + x.Describe(1); got != "running, not started" {
		t.Error(got)
	}
	r, err := x.Registers(0)
	x.ok(err)
	r.RIP = subAddr
	x.ok(x.SetRegisters(0, r))
	x.ok(x.WriteMemory(0, subAddr, []byte{0xeb, 0xfe})) // jmp to itself
	x.ok(x.Resume([]gdbstub.Action{gdbstub.Run, gdbstub.Run}))
	x.ok(x.Pause(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if stop, err := x.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", stop, err)
	}
	if err := x.Resume([]gdbstub.Action{gdbstub.Stay, gdbstub.Stay}); err == nil {
		t.Error("a machine of which nobody goes on")
	}
	x.ok(x.Resume([]gdbstub.Action{gdbstub.Run, gdbstub.Run}))
	time.AfterFunc(10*time.Millisecond, x.Kill)
	var end *gdbstub.EndError
	if stop, err := x.Wait(t.Context()); !errors.As(err, &end) {
		t.Errorf("%+v, %v", stop, err)
	}
	if err := x.Pause(t.Context()); !errors.As(err, &end) {
		t.Error(err)
	}
	x.ok(x.Detach())
}
