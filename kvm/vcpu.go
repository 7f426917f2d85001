package kvm

import (
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// VCPU is one virtual processor. It belongs to one goroutine at a time, which should
// be locked to its thread (runtime.LockOSThread) for the VCPU's life: KVM keeps
// state with the thread, and a kick goes to a thread. A method called while another
// one of the same VCPU is under way fails with unix.EBUSY. SetImmediateExit is the
// exception: any goroutine may call it at any time.
type VCPU struct {
	vm *VM
	id int

	mu   sync.Mutex // held during each ioctl, Run included; only ever tried
	fd   int        // -1 once closed
	exit Exit
	// parked makes the next KVM_RUN give up its P; see Run.
	parked bool

	run runPage
}

// CreateVCPU adds a processor (KVM_CREATE_VCPU, api.rst 4.7). On x86 id is also its
// initial APIC ID; it lies below what CapMaxVCPUID reports and is new (unix.EEXIST).
// Create the irqchip first if there is to be one, and all VCPUs before any local APIC
// is changed: KVM notes who can be reached by APIC ID only at such a change, and an
// INIT to a VCPU created after it is lost.
func (m *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctl(&m.handle, kvmCreateVCPU, uintptr(id))
	if err != nil {
		return nil, err
	}
	page, err := unix.Mmap(fd, 0, m.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, &Error{Op: "mmap", Err: err}
	}
	v := &VCPU{vm: m, id: id, fd: fd}
	if err := v.attach(page); err != nil {
		unix.Munmap(page)
		unix.Close(fd)
		return nil, err
	}
	return v, nil
}

// ID returns the number that CreateVCPU was given.
func (v *VCPU) ID() int { return v.id }

// Close unmaps what Run shares with the kernel and gives the descriptor back. Later
// calls fail with fs.ErrClosed; a second Close does nothing. While Run or another
// method is under way it fails with unix.EBUSY: make Run return first. Data of an
// Exit must not be touched afterwards.
func (v *VCPU) Close() error {
	if !v.mu.TryLock() {
		return &Error{Op: "close", Err: unix.EBUSY}
	}
	defer v.mu.Unlock()
	if v.fd < 0 {
		return nil
	}
	v.exit = Exit{}
	err := v.detach()
	if cerr := unix.Close(v.fd); err == nil {
		err = cerr
	}
	v.fd = -1
	if err != nil {
		return &Error{Op: "close", Err: err}
	}
	return nil
}

func (v *VCPU) acquire() (int, error) {
	if !v.mu.TryLock() {
		return -1, unix.EBUSY
	}
	if v.fd < 0 {
		v.mu.Unlock()
		return -1, fs.ErrClosed
	}
	return v.fd, nil
}

func (v *VCPU) release() { v.mu.Unlock() }
