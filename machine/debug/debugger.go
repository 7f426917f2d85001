// Package debug lets a debugger look into a machine and steer it: it is gdbstub's Target on a machine.
//
// # How it stops a machine
//
// Breakpoints in software are INT3 instructions in guest RAM, put there by the virtual address as the guest's page tables have it, or, before the
// kernel has any, as it will have it (machine.KernelMapping). KVM makes each INT3 an exit (KVM_SET_GUEST_DEBUG, api.rst 4.87). One that is the
// guest's own, as Linux has them where it changes its text, goes back to it, and so do its own debug exceptions. Breakpoints in hardware, watchpoints and
// steps are the processor's: while there are some, the guest's own debug registers have no effect.
//
// # Concurrency
//
// One goroutine calls the methods of gdbstub.Target, as that says. Exit is called on vCPUs' threads. What that reads is changed only while all
// vCPUs stand still; what both change has a lock.
package debug

import (
	"context"
	"errors"
	"sync"

	"govmm/gdbstub"
	"govmm/kvm"
	"govmm/machine"
)

// A Debugger is what a machine is debugged by. Its Exit is the machine's Config.Debug; Connect gives it the machine, before that runs.
type Debugger struct {
	version string
	kill    func()
	m       *machine.Machine
	flags   kvm.GuestDebugFlags // that this host has

	soft     patches
	hard     watches
	stepping []bool           // by vCPU
	armed    []kvm.GuestDebug // what KVM was told, by vCPU

	mu      sync.Mutex
	event   *gdbstub.Stop  // why the machine stands still, or is about to
	late    []gdbstub.Stop // accesses that another vCPU made at the same time
	news    chan struct{}  // has something after event was set
	outcome *gdbstub.EndError
	end     chan struct{} // closed when outcome is set
}

// New makes a Debugger that does not have its machine yet. version is what it calls itself; kill is to end the machine.
func New(version string, kill func()) *Debugger {
	return &Debugger{version: version, kill: kill, news: make(chan struct{}, 1), end: make(chan struct{})}
}

// Connect gives the machine, which was made with Exit as Config.Debug, and does not run yet.
func (d *Debugger) Connect(m *machine.Machine) (err error) {
	d.m, d.stepping, d.armed = m, make([]bool, m.CPUs()), make([]kvm.GuestDebug, m.CPUs())
	d.soft = newPatches(m.Memory())
	d.flags, err = m.GuestDebugFlags()
	return err
}

// Ended tells that the machine has ended, and how. It is to be called when Run has returned, once.
func (d *Debugger) Ended(how gdbstub.EndError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.outcome = &how
	close(d.end)
}

// End implements gdbstub.Target.
func (d *Debugger) End() <-chan struct{} { return d.end }

// ended waits for Ended, if err says that the run is over, and gives what is to be said of it.
func (d *Debugger) ended(ctx context.Context, err error) error {
	if !errors.Is(err, machine.ErrEnded) {
		return err
	}
	select {
	case <-d.end:
		return d.outcome
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// CPUs implements gdbstub.Target.
func (d *Debugger) CPUs() int { return d.m.CPUs() }

// Pause implements gdbstub.Target.
func (d *Debugger) Pause(ctx context.Context) error { return d.ended(ctx, d.m.Pause(ctx)) }

// Resume implements gdbstub.Target.
func (d *Debugger) Resume(actions []gdbstub.Action) error {
	if d.takeLate() {
		return nil // nothing has run, and there is something to tell
	}
	var ids []int
	for cpu, a := range actions {
		d.stepping[cpu] = a == gdbstub.Step
		if a == gdbstub.Stay {
			continue
		}
		if err := d.arm(cpu); err != nil {
			return d.ended(context.Background(), err)
		}
		ids = append(ids, cpu)
	}
	if len(ids) == 0 {
		return gdbstub.EINVAL
	}
	return d.ended(context.Background(), d.m.Release(ids...))
}

// takeLate forgets what the machine has come to, but for an access that was not told yet: a breakpoint that another vCPU has come to at the same
// time will be come to again, if it is still there, because the instruction was not executed.
func (d *Debugger) takeLate() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.event = nil
	select {
	case <-d.news:
	default:
	}
	for len(d.late) > 0 {
		first := d.late[0]
		d.late = d.late[1:]
		if d.hard.covers(first.Addr) {
			d.event = &first
			d.news <- struct{}{}
			return true
		}
	}
	return false
}

// arm tells KVM what is to be debugged on a vCPU that is about to run.
func (d *Debugger) arm(cpu int) error {
	var g kvm.GuestDebug
	if !d.soft.empty() {
		g.Control |= kvm.GuestDebugEnable | kvm.GuestDebugUseSWBP
	}
	if d.stepping[cpu] {
		// Interrupts that are pending would have each step end in their handlers.
		g.Control |= kvm.GuestDebugEnable | kvm.GuestDebugSingleStep | kvm.GuestDebugBlockIRQ&d.flags
	}
	if !d.hard.empty() {
		g.Control |= kvm.GuestDebugEnable | kvm.GuestDebugUseHWBP
		g.DebugReg = d.hard.registers()
	}
	// A step is asked for each time: KVM notes from where it begins, and has the processor make none if the registers were set since, or if
	// it has emulated the instruction before.
	if g == d.armed[cpu] && !d.stepping[cpu] {
		return nil
	}
	err := d.m.OnVCPU(cpu, func(v *kvm.VCPU) error { return v.SetGuestDebug(g) })
	if err == nil {
		d.armed[cpu] = g
	}
	return err
}

// Wait implements gdbstub.Target.
func (d *Debugger) Wait(ctx context.Context) (gdbstub.Stop, error) {
	select {
	case <-d.news:
	case <-d.end:
		return gdbstub.Stop{}, d.outcome
	case <-ctx.Done():
		select {
		case <-d.news: // at the same time
		default:
			return gdbstub.Stop{}, context.Cause(ctx)
		}
	}
	d.mu.Lock()
	stop := *d.event
	d.mu.Unlock()
	// All vCPUs were asked to stand still when there was news, so this ends.
	if err := d.m.WaitStill(context.Background()); err != nil {
		return stop, d.ended(context.Background(), err)
	}
	return stop, nil
}

// Detach implements gdbstub.Target.
func (d *Debugger) Detach() error {
	if err := d.m.Pause(context.Background()); err != nil {
		return nil // there is no machine any more
	}
	err := d.soft.clear()
	d.hard = watches{}
	clear(d.stepping)
	d.mu.Lock()
	d.late = nil
	d.mu.Unlock()
	d.takeLate()
	for cpu := range d.armed {
		err = errors.Join(err, d.arm(cpu))
	}
	return ignoreEnd(errors.Join(err, d.m.Release()))
}

func ignoreEnd(err error) error {
	if errors.Is(err, machine.ErrEnded) {
		return nil
	}
	return err
}

// Kill implements gdbstub.Target.
func (d *Debugger) Kill() { d.kill() }

// Insert implements gdbstub.Target.
func (d *Debugger) Insert(cpu int, b gdbstub.Breakpoint) error {
	if b.Kind != gdbstub.Software {
		return d.hard.insert(b)
	}
	p, err := d.translate(cpu, b.Addr)
	if err != nil {
		return err
	}
	return d.soft.insert(b.Addr, p)
}

// Remove implements gdbstub.Target.
func (d *Debugger) Remove(_ int, b gdbstub.Breakpoint) error {
	if b.Kind != gdbstub.Software {
		d.hard.remove(b)
		return nil
	}
	return d.soft.remove(b.Addr)
}

// sregs are a vCPU's registers that say how it translates addresses.
func (d *Debugger) sregs(cpu int) (s kvm.Sregs, err error) {
	err = d.m.OnVCPU(cpu, func(v *kvm.VCPU) (err error) { s, err = v.Sregs(); return err })
	return s, d.ended(context.Background(), err)
}

// translate gives what a virtual address of a vCPU's is mapped to.
func (d *Debugger) translate(cpu int, addr uint64) (page, error) {
	s, err := d.sregs(cpu)
	if err != nil {
		return page{}, err
	}
	return d.find(&s, addr)
}

// find is translate with registers. What is the kernel's is found where it will be, as long as the tables do not map the kernel: when it has
// made none yet, or, where it hides itself from programs, while a program runs.
func (d *Debugger) find(s *kvm.Sregs, addr uint64) (page, error) {
	if s.CR0&cr0PG != 0 || addr <= 0xffff_ffff {
		if p, err := walk(d.m.Memory(), s, addr); err == nil {
			return p, nil
		}
	}
	kernel := d.m.KernelMapping()
	phys, ok := kernel.Find(addr)
	if !ok {
		return page{}, gdbstub.EFAULT
	}
	if s.CR0&cr0PG != 0 {
		if _, err := walk(d.m.Memory(), s, kernel.Virt); err == nil {
			return page{}, gdbstub.EFAULT // it has taken this part of itself away
		}
	}
	return page{phys: phys}, nil
}

// ReadMemory implements gdbstub.Target.
func (d *Debugger) ReadMemory(cpu int, addr uint64, p []byte) (int, error) {
	return d.eachPage(cpu, addr, p, d.soft.read)
}

// WriteMemory implements gdbstub.Target. What stands under a breakpoint is changed, and the breakpoint stays.
func (d *Debugger) WriteMemory(cpu int, addr uint64, p []byte) error {
	_, err := d.eachPage(cpu, addr, p, d.soft.write)
	return err
}

// eachPage calls f for the parts of p, with the guest-physical address of each, and gives how many bytes it was called for without an error.
func (d *Debugger) eachPage(cpu int, addr uint64, p []byte, f func(phys uint64, p []byte) error) (int, error) {
	s, err := d.sregs(cpu)
	if err != nil {
		return 0, err
	}
	done := 0
	for done < len(p) {
		at := addr + uint64(done)
		n := min(len(p)-done, int(pageSize-at%pageSize))
		where, err := d.find(&s, at)
		if err != nil {
			return done, err
		}
		if err := f(where.phys, p[done:done+n]); err != nil {
			return done, gdbstub.EFAULT
		}
		done += n
	}
	return done, nil
}
