package machine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"govmm/kvm"
)

// ErrEnded is what WriteConsole and the methods for machines that stand still give when the run has ended, or has ended meanwhile.
var ErrEnded = errors.New("the run of the machine has ended")

// ErrRunning is what OnVCPU gives for a vCPU that does not stand still.
var ErrRunning = errors.New("the vCPU runs")

// pausing is how vCPUs are made to stand still between two instructions, and go on. A vCPU that runs looks at nothing of it:
// like a vCPU that is to end it is kicked (vcpu.kick), leaves its loop, and finds here why.
type pausing struct {
	mu      sync.Mutex
	changed sync.Cond // of mu: something below, or in a vCPU's stance
	over    bool      // the run has ended; nothing stands still any more
}

// stance is a vCPU's part of it, guarded by pausing.mu.
type stance struct {
	hold  bool  // it is to stand still
	still bool  // it does
	task  *task // what its thread is to do meanwhile
}

// A task is done by a vCPU's thread while the vCPU stands still.
type task struct {
	f     func(*kvm.VCPU) error
	err   error
	taken bool
	done  bool
}

// Hold asks all vCPUs to stand still and does not wait for it; Pause does. It may be called from a vCPU's thread, such as by
// Config.Debug.
func (m *Machine) Hold() {
	m.pausing.mu.Lock()
	for _, v := range m.vcpus {
		v.stance.hold = true
	}
	m.pausing.mu.Unlock()
	for _, v := range m.vcpus {
		v.kick()
	}
}

// Pause has all vCPUs stand still, each between two instructions and with no access to a device half done, and returns when they do. They
// stay so until Release. Devices go on with the requests that they have. It fails with ErrEnded, or the cause of ctx; then
// vCPUs may stand still or be about to. A machine whose Run was not called yet has no vCPU that could.
func (m *Machine) Pause(ctx context.Context) error {
	m.Hold()
	return m.WaitStill(ctx)
}

// WaitStill waits until all vCPUs stand still, which Hold or Pause has asked them to. It fails as Pause does.
func (m *Machine) WaitStill(ctx context.Context) error {
	p := &m.pausing
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.over:
			return ErrEnded
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case m.allStill():
			return nil
		}
		p.changed.Wait()
	}
}

func (m *Machine) allStill() bool {
	for _, v := range m.vcpus {
		if !v.stance.still {
			return false
		}
	}
	return true
}

// Release lets vCPUs go on that stand still, or have been asked to: those with these numbers, or all without any.
func (m *Machine) Release(ids ...int) error {
	p := &m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return ErrEnded
	}
	chosen := m.vcpus
	if len(ids) > 0 {
		chosen = nil
		for _, id := range ids {
			if id < 0 || id >= len(m.vcpus) {
				return fmt.Errorf("there is no vCPU %d", id)
			}
			chosen = append(chosen, m.vcpus[id])
		}
	}
	for _, v := range chosen {
		v.stance.hold = false
	}
	p.changed.Broadcast()
	return nil
}

// OnVCPU has the thread of a vCPU that stands still call f, and gives what f returns. It fails with ErrRunning or ErrEnded if f is not
// called, or does not return. What the state of the vCPU is made from is complete: no access to a device is half done.
func (m *Machine) OnVCPU(id int, f func(*kvm.VCPU) error) error {
	if id < 0 || id >= len(m.vcpus) {
		return fmt.Errorf("there is no vCPU %d", id)
	}
	p, v := &m.pausing, m.vcpus[id]
	p.mu.Lock()
	defer p.mu.Unlock()
	for v.stance.task != nil && !p.over {
		p.changed.Wait() // another caller's
	}
	switch {
	case p.over:
		return ErrEnded
	case !v.stance.still:
		return ErrRunning
	}
	t := &task{f: f}
	v.stance.task = t
	p.changed.Broadcast()
	for !t.done {
		if p.over && !t.taken {
			return ErrEnded
		}
		p.changed.Wait()
	}
	return t.err
}

// CPUs is the number of vCPUs.
func (m *Machine) CPUs() int { return len(m.vcpus) }

// GuestDebugFlags are those that vCPUs of this host take. Those that came with the API itself are always there.
func (m *Machine) GuestDebugFlags() (kvm.GuestDebugFlags, error) {
	flags, err := m.dev.Check(kvm.CapSetGuestDebug2)
	return kvm.GuestDebugFlags(flags) | kvm.GuestDebugEnable | kvm.GuestDebugSingleStep | kvm.GuestDebugUseSWBP | kvm.GuestDebugUseHWBP, err
}

// endPausing lets vCPUs that stand still end, and lets nobody wait for them any more.
func (m *Machine) endPausing() {
	m.pausing.mu.Lock()
	defer m.pausing.mu.Unlock()
	m.pausing.over = true
	m.pausing.changed.Broadcast()
}

// hasEnded says whether the run has ended.
func (m *Machine) hasEnded() bool {
	m.pausing.mu.Lock()
	defer m.pausing.mu.Unlock()
	return m.pausing.over
}

// attend is called when the vCPU was kicked out of the guest. It stands still for as long as that is asked for, and says whether
// the vCPU is to run on.
func (v *vcpu) attend() bool {
	if v.m.hasEnded() || !v.completeAccess() {
		return false
	}
	p := &v.m.pausing
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { v.stance.still = false }()
	for {
		switch {
		case p.over:
			return false
		case v.stance.task != nil:
			v.doTask(v.stance.task)
		case !v.stance.hold:
			// With the lock held: whoever kicks this vCPU has said why before, and that would have been seen.
			v.stop.Store(false)
			v.cpu.SetImmediateExit(false)
			return true
		default:
			if !v.stance.still {
				v.stance.still = true
				p.changed.Broadcast()
			}
			p.changed.Wait()
		}
	}
}

// doTask does what the vCPU's thread was asked to. The lock is held when it is called and when it returns, and not meanwhile.
func (v *vcpu) doTask(t *task) {
	p := &v.m.pausing
	t.taken, t.err = true, ErrEnded
	p.mu.Unlock()
	defer func() { // also in a panic, which ends the run and leaves the error as it is
		p.mu.Lock()
		t.done = true
		v.stance.task = nil
		p.changed.Broadcast()
	}()
	t.err = t.f(v.cpu)
}

// completeAccess has KVM take the answer to the last exit and move on from its instruction, which it does at the next KVM_RUN only; the
// immediate exit that is set keeps that from entering the guest. It may take several exits, as for a string instruction. It says whether
// the vCPU can run on.
func (v *vcpu) completeAccess() bool {
	for !v.m.hasEnded() {
		exit, err := v.cpu.Run()
		if err != nil {
			v.m.end(Outcome{}, v.runError(err))
			return false
		}
		if exit.Reason == kvm.ExitIntr {
			return true
		}
		v.dispatch(exit)
	}
	return false
}

// debugExit answers a break or step, which only comes if someone has asked KVM for it on this vCPU.
func (v *vcpu) debugExit(exit *kvm.Exit) {
	if v.m.cfg.Debug == nil {
		v.m.end(Outcome{}, crash(v.id, v.rip(), exit))
		return
	}
	v.m.cfg.Debug(v.id, v.cpu, exit.Debug())
}
