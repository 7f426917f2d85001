package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"govmm/bootimage"
	"govmm/bootimage/kernelcache"
	"govmm/devices"
	"govmm/devices/eventfd"
	"govmm/devices/pci"
	"govmm/devices/serial"
	"govmm/kvm"
	"govmm/machine/memory"
)

// A Machine is one virtual machine: RAM, vCPUs and devices, put together by New and
// run once by Run. Its methods may be called from any goroutine, Close only when Run is
// not under way.
type Machine struct {
	cfg Config
	log *slog.Logger

	dev *kvm.Device
	vm  *kvm.VM
	ram *memory.Memory

	tracer     *tracer // nil if nothing is recorded
	pio, mmio  *devices.Bus
	uart       *serial.UART
	msis       *msiRouter
	pci        *pci.Root // nil if devices are reached otherwise
	transports []transport
	closers    []func() error // run last to first by Close

	first         bootState
	kernel        *kernelcache.Entry // nil if the guest unpacks it
	initrd        []byte             // the RAM that holds it
	selfUnpacking bool               // the guest runs its kernel's decompressor first
	mapping       bootimage.Mapping  // where the kernel will map itself
	vcpus         []*vcpu
	vcpusDone     sync.WaitGroup
	start         chan struct{} // closed when the vCPUs may run
	pausing       pausing
	over          context.Context // done when the run has ended, by ends
	ends          context.CancelFunc

	mu      sync.Mutex
	begun   bool // Run or Close closed start
	ended   bool // outcome and err are final
	outcome Outcome
	err     error
	closed  bool
	events  []*eventfd.Event // irqfds that vCPUs opened
}

// newBare makes a machine that has nothing yet, not even RAM.
func newBare() *Machine {
	m := &Machine{start: make(chan struct{})}
	m.over, m.ends = context.WithCancel(context.Background())
	m.pausing.changed.L = &m.pausing.mu
	return m
}

// New makes a machine and loads the kernel into it. Nothing runs yet. It fails with
// a *ConfigError, an error of bootimage or one of kvm. The caller closes the machine.
func New(cfg Config) (_ *Machine, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := newBare()
	m.cfg, m.log = cfg, cfg.log()
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := m.mapMemory(); err != nil {
		return nil, err
	}
	// The kernel is put into RAM while KVM is being set up; neither needs the other.
	loading := m.startLoading()
	kvmErr := m.setUp()
	loaded := <-loading // in any case: until then it uses the machine
	if m.kernel = loaded.kernel; m.kernel != nil {
		m.onClose(m.kernel.Close)
	}
	if kvmErr != nil {
		return nil, kvmErr
	}
	if loaded.err != nil {
		return nil, loaded.err
	}
	m.first.entry, m.selfUnpacking, m.mapping = loaded.plan.Entry, loaded.plan.SelfUnpacking(), loaded.plan.Mapping
	if m.initrd, err = m.initrdRAM(loaded.plan); err != nil {
		return nil, err
	}
	return m, nil
}

// initrdRAM gives the RAM that the plan has the initrd in.
func (m *Machine) initrdRAM(plan *bootimage.Plan) ([]byte, error) {
	for _, s := range plan.Segments {
		if s.Source == bootimage.FromInitrd {
			return m.ram.WriteSlice(s.Addr, s.Size)
		}
	}
	return nil, nil
}

// FinishLoading waits for what New began and did not wait for: a kernel that was unpacked for the first time is written to the cache. Run
// need not wait for that. After FinishLoading the machine opens no file, so the process may give up the right to (package sandbox).
func (m *Machine) FinishLoading() {
	if m.kernel != nil {
		m.kernel.Wait()
	}
}

// DiscardInitrd gives the host's memory behind the initrd back. It is for a guest that has unpacked it and uses that RAM for nothing else:
// Linux with retain_initrd on its command line, which otherwise takes it for other things as soon as it is unpacked. After Close it does nothing.
func (m *Machine) DiscardInitrd() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.initrd) == 0 {
		return nil
	}
	return m.ram.Discard(m.initrd)
}

// setUp makes all of the machine that does not depend on the kernel.
func (m *Machine) setUp() error {
	for _, step := range []func() error{m.openVM, m.registerMemory, m.addDevices, m.addVCPUs} {
		if err := step(); err != nil {
			return err
		}
	}
	m.cfg.Timeline.Mark(StageKVM)
	return nil
}

// openVM opens KVM and makes the VM with its interrupt controllers.
func (m *Machine) openVM() error {
	var err error
	if m.dev, err = kvm.OpenPath(m.cfg.kvmPath()); err != nil {
		return fmt.Errorf("%w; govmm check tells what to do", err)
	}
	m.onClose(m.dev.Close)
	if err := m.dev.Require(RequiredCaps()...); err != nil {
		return fmt.Errorf("%w; govmm check shows them all", err)
	}
	if err := m.checkHostLimits(); err != nil {
		return err
	}
	if m.vm, err = m.dev.CreateVM(); err != nil {
		return err
	}
	m.onClose(m.vm.Close)
	// Both before the first vCPU, as api.rst asks.
	if err := m.vm.SetIdentityMapAddr(identityMapAddr); err != nil {
		return err
	}
	if err := m.vm.SetTSSAddr(tssAddr); err != nil {
		return err
	}
	if err := m.vm.CreateIRQChip(); err != nil {
		return err
	}
	return m.addPIT()
}

// addPIT creates the 8254 timer where it is asked for, or where the guest has nothing else to
// calibrate its local APICs' timers with. Linux uses it only until they run, and each of its
// interrupts goes by way of a host kernel thread, the PIC and a kick of the vCPU.
func (m *Machine) addPIT() error {
	deadline, err := m.dev.Check(kvm.CapTSCDeadlineTimer)
	if err != nil {
		return err
	}
	if deadline > 0 && !m.cfg.PIT {
		return nil
	}
	return m.vm.CreatePIT2(kvm.PITSpeakerDummy)
}

// mapMemory maps guest RAM.
func (m *Machine) mapMemory() error {
	ranges, err := memory.Layout(m.cfg.memory(), holeStart, holeEnd)
	if err != nil {
		return err
	}
	if m.ram, err = memory.New(ranges); err != nil {
		return fmt.Errorf("guest RAM of %d MiB: %w", m.cfg.memory()>>20, err)
	}
	m.onClose(m.ram.Close)
	return nil
}

// registerMemory gives guest RAM to KVM.
func (m *Machine) registerMemory() error {
	for i, r := range m.ram.Regions() {
		slot := kvm.MemorySlot{Slot: uint32(i), GuestPhys: r.Base, Mem: r.Data}
		if err := m.vm.SetMemory(slot); err != nil {
			return fmt.Errorf("guest RAM at %#x: %w", r.Base, err)
		}
	}
	return nil
}

// Run runs the guest until it ends, or until ctx is cancelled. The error is nil when the guest
// ended by itself, and the Outcome says how; a *CrashError when the guest could not go
// on; the cause of ctx; or what failed on the host. All device
// requests have been completed when Run returns. A machine runs once.
func (m *Machine) Run(ctx context.Context) (Outcome, error) {
	if !m.begin() {
		return Outcome{}, errors.New("the machine has run already, or is closed")
	}
	release := reserveProcs(len(m.vcpus))
	defer release()
	stopWatching := context.AfterFunc(ctx, func() {
		m.end(Outcome{}, context.Cause(ctx))
	})
	defer stopWatching()
	close(m.start)
	m.vcpusDone.Wait()
	// No vCPU can start a request now. What is in flight reaches the disk.
	m.stopTransports()
	m.cfg.Timeline.Mark(StageEnd)

	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outcome, m.err
}

func (m *Machine) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.begun {
		return false
	}
	m.begun = true
	return true
}

// end stops the vCPUs; the first call says why. It does not wait, because vCPUs
// call it themselves.
func (m *Machine) end(o Outcome, err error) {
	m.mu.Lock()
	first := !m.ended
	if first {
		m.ended, m.outcome, m.err = true, o, err
	}
	m.mu.Unlock()
	if !first {
		return
	}
	m.ends()
	m.kickAll() // first: the log may block
	m.log.Debug("the run ends", "outcome", o.Reason, "err", err)
}

// kickAll has all vCPUs end.
func (m *Machine) kickAll() {
	m.endPausing()
	for _, v := range m.vcpus {
		v.kick()
	}
}

// WriteConsole feeds p to the guest's serial port and blocks until the guest
// has taken it all, ctx ends or the run does, with ErrEnded. It tells how many bytes were taken; none is lost.
// One call at a time keeps the bytes in order.
func (m *Machine) WriteConsole(ctx context.Context, p []byte) (int, error) {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(m.over, cancel)
	defer stop()
	n, err := m.uart.Receive(both, p)
	if err != nil && ctx.Err() == nil {
		err = ErrEnded
	}
	return n, err
}

// Ended is closed when the run ends, before Run returns, which waits for what is under way; and when a machine is closed that did not run.
func (m *Machine) Ended() <-chan struct{} { return m.over.Done() }

// KernelMapping says where the kernel maps itself, once it has page tables of its own. It is zero where that is not known.
func (m *Machine) KernelMapping() bootimage.Mapping { return m.mapping }

// Memory is the guest's RAM, for looking into.
func (m *Machine) Memory() *memory.Memory { return m.ram }

// Close ends the machine and gives back every descriptor, mapping and goroutine. It is
// not to be called while Run is under way: cancel Run's context first. Closing
// twice is allowed.
func (m *Machine) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.ends()
	neverRan := !m.begun
	m.begun = true
	m.mu.Unlock()

	if neverRan {
		// vCPU goroutines wait for the start; let them see that they are to stop.
		m.kickAll()
		close(m.start)
	}
	m.vcpusDone.Wait()
	var errs []error
	for i := len(m.closers) - 1; i >= 0; i-- {
		errs = append(errs, m.closers[i]())
	}
	return errors.Join(errs...)
}

func (m *Machine) onClose(f func() error) { m.closers = append(m.closers, f) }
