//go:build kvmtest

package kvm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests with the tag kvmtest run guests of a few instructions, given as bytes with
// the assembly beside them. `make test-kvm` runs them as root under a real KVM, and
// `go test -tags kvmtest ./kvm/` under whatever this machine's /dev/kvm is.

const (
	codeAddr = 0x1000 // where each guest's code begins
	dataAddr = 0x8000 // where its data lies
	ramSize  = 2 << 20
	conPort  = 0x3f8 // where it talks to the test
	mmioAddr = 0x10000000
)

func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftovers(); code == 0 && len(left) != 0 {
		fmt.Fprintf(os.Stderr, "left open after all tests:\n%s\n", strings.Join(left, "\n"))
		code = 1
	}
	os.Exit(code)
}

// leftovers lists KVM's descriptors and mappings in this process.
func leftovers() []string {
	var left []string
	fds, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range fds {
		if target, _ := os.Readlink(fd); strings.Contains(target, "kvm") {
			left = append(left, fd+" -> "+target)
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, "kvm-vcpu") {
			left = append(left, strings.TrimSpace(line))
		}
	}
	return left
}

func openDevice(t testing.TB) *Device {
	t.Helper()
	dev, err := Open()
	if err != nil {
		t.Fatalf("%v\nThese tests need KVM: run `make test-kvm`, which brings one, or allow this user to open /dev/kvm.", err)
	}
	t.Cleanup(func() { closeOK(t, dev) })
	return dev
}

func closeOK(t testing.TB, c interface{ Close() error }) {
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// must is for calls that fail only if the test cannot go on.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// guest is a VM with 2 MiB of memory at 0.
type guest struct {
	t   testing.TB
	dev *Device
	vm  *VM
	ram []byte
}

// newGuest puts code at codeAddr. The calling goroutine stays on its thread until the
// test ends.
func newGuest(t testing.TB, code []byte) *guest {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	dev := openDevice(t)
	vm := must1[*VM](t)(dev.CreateVM())
	t.Cleanup(func() { closeOK(t, vm) })
	// Below 4 GiB and clear of the RAM, for Intel hosts.
	must(t, vm.SetIdentityMapAddr(0xfffbc000))
	must(t, vm.SetTSSAddr(0xfffbd000))
	ram, err := unix.Mmap(-1, 0, ramSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	must(t, err)
	t.Cleanup(func() { must(t, unix.Munmap(ram)) })
	must(t, vm.SetMemory(MemorySlot{Mem: ram}))
	copy(ram[codeAddr:], code)
	return &guest{t, dev, vm, ram}
}

// cpu adds a VCPU that is about to execute code in real mode at pc, with all segments
// at 0 and the stack below it.
func (g *guest) cpu(id int, pc uint64) *VCPU {
	g.t.Helper()
	v := must1[*VCPU](g.t)(g.vm.CreateVCPU(id))
	g.t.Cleanup(func() { closeOK(g.t, v) })
	cpuid := must1[[]CPUIDEntry](g.t)(g.dev.SupportedCPUID())
	for i := range cpuid {
		switch cpuid[i].Function {
		case 1:
			cpuid[i].EBX = cpuid[i].EBX&0x00ffffff | uint32(id)<<24 // initial APIC ID
		case 0xb:
			cpuid[i].EDX = uint32(id) // x2APIC ID
		}
	}
	must(g.t, v.SetCPUID2(cpuid))
	sregs := must1[Sregs](g.t)(v.Sregs())
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	must(g.t, v.SetSregs(sregs))
	must(g.t, v.SetRegs(Regs{RIP: pc, RSP: pc, RFLAGS: 2}))
	return v
}

// realMode makes a guest with one VCPU that is about to execute code in real mode.
func realMode(t testing.TB, code []byte) (*guest, *VCPU) {
	t.Helper()
	g := newGuest(t, code)
	return g, g.cpu(0, codeAddr)
}

// flatSegment covers all 4 GiB; the processor takes DB and L of code segments only.
func flatSegment(selector uint16, typ uint8) Segment {
	return Segment{Limit: 0xffffffff, Selector: selector, Type: typ, Present: 1, DB: 1, S: 1, G: 1}
}

// Types of segments (Intel SDM volume 3, table 3-1).
const (
	segData = 3  // read and write, accessed
	segCode = 11 // execute and read, accessed
)

// protectedMode switches v to 32-bit code without paging.
func (g *guest) protectedMode(v *VCPU) {
	g.t.Helper()
	s := must1[Sregs](g.t)(v.Sregs())
	s.CS = flatSegment(0x08, segCode)
	data := flatSegment(0x10, segData)
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.CR0 |= 1 // PE
	must(g.t, v.SetSregs(s))
}

// longMode switches v to 64-bit code with the first GiB mapped one to one.
func (g *guest) longMode(v *VCPU) {
	g.t.Helper()
	const (
		pml4, pdpt, pd = 0x100000, 0x101000, 0x102000
		presentWrite   = 0x3
		large          = 0x80
	)
	le := binary.LittleEndian
	le.PutUint64(g.ram[pml4:], pdpt|presentWrite)
	le.PutUint64(g.ram[pdpt:], pd|presentWrite)
	for i := range 512 {
		le.PutUint64(g.ram[pd+8*i:], uint64(i)<<21|large|presentWrite)
	}
	s := must1[Sregs](g.t)(v.Sregs())
	s.CS = flatSegment(0x08, segCode)
	s.CS.DB, s.CS.L = 0, 1
	data := flatSegment(0x10, segData)
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.CR3 = pml4
	s.CR4 |= 1 << 5        // PAE
	s.EFER |= 1<<8 | 1<<10 // LME, LMA
	s.CR0 |= 1 | 1<<31     // PE, PG
	must(g.t, v.SetSregs(s))
}

// next runs v until the guest wants something.
func next(t testing.TB, v *VCPU) *Exit {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		exit, err := v.Run()
		if err != nil {
			t.Fatal(err)
		}
		if exit.Reason != ExitIntr {
			return exit
		}
		if time.Now().After(deadline) {
			t.Fatal("a guest of a few instructions runs for a minute")
		}
	}
}

func want(t testing.TB, v *VCPU, reason ExitReason) *Exit {
	t.Helper()
	exit := next(t, v)
	if exit.Reason != reason {
		regs, _ := v.Regs()
		t.Fatalf("%v at %#x, want %v", exit, regs.RIP, reason)
	}
	return exit
}

// wantOut expects the guest to write data to port.
func wantOut(t testing.TB, v *VCPU, port uint16, data ...byte) {
	t.Helper()
	exit := want(t, v, ExitIO)
	io := exit.IO()
	if !io.Write || io.Port != port || io.Count != 1 || io.Size != len(data) || !bytes.Equal(io.Data, data) {
		t.Fatalf("%v, data % x, want % x to port %#x", exit, io.Data, data, port)
	}
}

// answer expects the guest to read len(data) bytes from port, and gives it data.
func answer(t testing.TB, v *VCPU, port uint16, data ...byte) {
	t.Helper()
	exit := want(t, v, ExitIO)
	io := exit.IO()
	if io.Write || io.Port != port || io.Count != 1 || io.Size != len(data) || len(io.Data) != len(data) {
		t.Fatalf("%v, want a read of %d bytes from port %#x", exit, len(data), port)
	}
	copy(io.Data, data)
}

// runner calls v.Run on a thread of its own until it exits otherwise than for I/O or by a
// signal, or stop is closed. What is below done may be read when done is closed.
type runner struct {
	v     *VCPU
	tid   int
	stop  chan struct{}
	done  chan struct{}
	intrs int // exits by a signal
	ios   int // exits for I/O
	exit  ExitReason
	err   error
}

func start(t testing.TB, v *VCPU) *runner {
	t.Helper()
	r := &runner{v: v, stop: make(chan struct{}), done: make(chan struct{})}
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(r.done)
		r.tid = unix.Gettid()
		close(started)
		for {
			exit, err := v.Run()
			switch {
			case errors.Is(err, unix.EBUSY): // see TestUseOfRunningVCPU
			case err != nil:
				r.err = err
				return
			case exit.Reason == ExitIntr:
				r.exit = exit.Reason
				r.intrs++
			case exit.Reason == ExitIO:
				r.ios++
			default:
				r.exit = exit.Reason
				return
			}
			select {
			case <-r.stop:
				return
			default:
			}
		}
	}()
	<-started
	return r
}

// kick makes the runner stop, and returns how long that took.
func (r *runner) kick(t testing.TB) time.Duration {
	t.Helper()
	begin := time.Now()
	close(r.stop)
	r.v.SetImmediateExit(true)
	must(t, unix.Tgkill(os.Getpid(), r.tid, unix.SIGURG))
	select {
	case <-r.done:
	case <-time.After(20 * time.Second):
		t.Fatal("a kick did not end Run")
	}
	r.v.SetImmediateExit(false)
	must(t, r.err)
	return time.Since(begin)
}

// refused reports that this KVM does not take a call which some lack, and why; where it
// is taken the test goes on to hold it to its word.
func refused(t testing.TB, err error) bool {
	t.Helper()
	for _, e := range []error{unix.EINVAL, unix.ENOTTY, unix.ENXIO, unix.EIO, errors.ErrUnsupported} {
		if errors.Is(err, e) {
			t.Logf("not tested here, this KVM refuses it: %v", err)
			return true
		}
	}
	must(t, err)
	return false
}

// emulatedHost reports that the host's processor is QEMU's, as in the nested test host.
func emulatedHost() bool {
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor")
	return strings.HasPrefix(string(vendor), "QEMU")
}

func code(parts ...[]byte) []byte { return slices.Concat(parts...) }
