package kvm

import (
	"runtime"
	"unsafe"
)

// These two ioctls take a struct that holds an address in turn. unsafe.Pointer's
// rules know nothing of such an address: memory slots rely on being outside the Go
// heap, the bitmap is pinned.

func (m *VM) setMemoryRegion(s MemorySlot) error {
	arg := userspaceMemoryRegion{
		slot:          s.Slot,
		flags:         s.Flags,
		guestPhysAddr: s.GuestPhys,
		memorySize:    uint64(len(s.Mem)),
	}
	if len(s.Mem) != 0 {
		arg.userspaceAddr = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.Mem))))
	}
	return set(&m.handle, kvmSetUserMemoryRegion, &arg)
}

func (m *VM) getDirtyLog(slot uint32, bitmap []uint64) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	p := unsafe.SliceData(bitmap)
	pin.Pin(p)
	arg := dirtyLog{slot: slot, dirtyBitmap: uint64(uintptr(unsafe.Pointer(p)))}
	return set(&m.handle, kvmGetDirtyLog, &arg)
}
