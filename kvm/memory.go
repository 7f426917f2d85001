package kvm

import (
	"structs"
	"sync"

	"golang.org/x/sys/unix"
)

// pageSize is the unit of memory slots and of the dirty log on amd64.
const pageSize = 4096

// MemoryFlags are the flags of a memory slot (api.rst 4.35).
type MemoryFlags uint32

const (
	MemLogDirtyPages MemoryFlags = 1 << 0 // record which pages the guest writes; see VM.DirtyLog
	MemReadOnly      MemoryFlags = 1 << 1 // guest writes exit as MMIO; needs CapReadonlyMem
)

// MemorySlot says that a range of guest-physical addresses is backed by host memory.
type MemorySlot struct {
	Slot      uint32 // from 0; below what CapNRMemSlots reports
	Flags     MemoryFlags
	GuestPhys uint64 // address of Mem[0] as the guest sees it; a multiple of 4096
	// Mem backs the slot. It must be mapped memory, not the Go heap, begin on a
	// page boundary, be a multiple of 4096 bytes long, and stay mapped until the
	// slot is deleted or the VM and its VCPUs are closed. Empty deletes the slot.
	Mem []byte
}

// userspaceMemoryRegion is struct kvm_userspace_memory_region.
type userspaceMemoryRegion struct {
	_             structs.HostLayout
	slot          uint32
	flags         MemoryFlags
	guestPhysAddr uint64
	memorySize    uint64
	userspaceAddr uint64
}

// dirtyLog is struct kvm_dirty_log.
type dirtyLog struct {
	_           structs.HostLayout
	slot        uint32
	_           uint32
	dirtyBitmap uint64
}

// memorySlots remembers how long each slot is, because KVM_GET_DIRTY_LOG writes as
// many bits as the slot has pages without being told how many there is room for.
type memorySlots struct {
	mu    sync.Mutex
	bytes map[uint32]int
}

// SetMemory creates, changes or deletes a slot (KVM_SET_USER_MEMORY_REGION, api.rst
// 4.35). The kernel refuses overlap with another slot (unix.EEXIST), and
// misalignment or a changed size (unix.EINVAL).
func (m *VM) SetMemory(s MemorySlot) error {
	m.memory.mu.Lock()
	defer m.memory.mu.Unlock()
	if err := m.setMemoryRegion(s); err != nil {
		return err
	}
	if len(s.Mem) == 0 {
		delete(m.memory.bytes, s.Slot)
		return nil
	}
	if m.memory.bytes == nil {
		m.memory.bytes = make(map[uint32]int)
	}
	m.memory.bytes[s.Slot] = len(s.Mem)
	return nil
}

// DirtyLogLen returns how many words of bitmap DirtyLog needs for a slot of size bytes.
func DirtyLogLen(size int) int { return (size/pageSize + 63) / 64 }

// DirtyLog sets bit n%64 of bitmap[n/64] if the guest wrote page n of the slot since
// the last call, clears it otherwise, and begins anew. The slot must have
// MemLogDirtyPages; what the host itself writes into Mem is not recorded
// (KVM_GET_DIRTY_LOG, api.rst 4.8). A bitmap shorter than DirtyLogLen is
// unix.EINVAL, a slot that does not exist or keeps no log unix.ENOENT.
func (m *VM) DirtyLog(slot uint32, bitmap []uint64) error {
	m.memory.mu.Lock()
	defer m.memory.mu.Unlock()
	size, ok := m.memory.bytes[slot]
	if !ok {
		return &Error{Op: kvmGetDirtyLog.String(), Err: unix.ENOENT}
	}
	if len(bitmap) < DirtyLogLen(size) {
		return &Error{Op: kvmGetDirtyLog.String(), Err: unix.EINVAL}
	}
	return m.getDirtyLog(slot, bitmap)
}
