package kvm

import "structs"

// SetTSSAddr gives KVM three pages of guest-physical addresses below 4 GiB, outside
// every memory slot. Intel processors cannot run real mode without a task state
// segment to hide there; others ignore it. Call it before the first VCPU runs
// (KVM_SET_TSS_ADDR, api.rst 4.36).
func (m *VM) SetTSSAddr(addr uint64) error {
	_, err := ioctl(&m.handle, kvmSetTSSAddr, uintptr(addr))
	return err
}

// SetIdentityMapAddr gives KVM one page for the page table that older Intel
// processors need to run a guest whose paging is off; others ignore it. The page
// lies below 4 GiB and outside every memory slot. Call it before the first CreateVCPU
// (KVM_SET_IDENTITY_MAP_ADDR, api.rst 4.40).
func (m *VM) SetIdentityMapAddr(addr uint64) error {
	return set(&m.handle, kvmSetIdentityMapAddr, &addr)
}

// SetBootCPU chooses the VCPU that starts running; the others wait for INIT and SIPI.
// It is 0 unless said otherwise. Call it before the first CreateVCPU
// (KVM_SET_BOOT_CPU_ID, api.rst 4.41).
func (m *VM) SetBootCPU(id int) error {
	_, err := ioctl(&m.handle, kvmSetBootCPUID, uintptr(id))
	return err
}

// ClockFlags say which fields of a ClockData hold (api.rst 4.29, 4.30).
type ClockFlags uint32

const (
	ClockTSCStable ClockFlags = 1 << 1 // out: all VCPUs see the same clock
	ClockRealtime  ClockFlags = 1 << 2 // Realtime holds; in: let Clock advance by the time since
	ClockHostTSC   ClockFlags = 1 << 3 // out: HostTSC holds
)

// ClockData is the paravirtual clock of the guest (struct kvm_clock_data).
type ClockData struct {
	_        structs.HostLayout
	Clock    uint64 // nanoseconds since the VM was created, or as set
	Flags    ClockFlags
	_        uint32
	Realtime uint64 // the host's wall clock at the same moment, ns since 1970
	HostTSC  uint64 // the host's time stamp counter at the same moment
	_        [4]uint32
}

// Clock reads the paravirtual clock (KVM_GET_CLOCK, api.rst 4.29).
func (m *VM) Clock() (ClockData, error) { return get[ClockData](&m.handle, kvmGetClock) }

// SetClock sets the paravirtual clock (KVM_SET_CLOCK, api.rst 4.30). Of the flags
// only ClockRealtime may be set.
func (m *VM) SetClock(c ClockData) error { return set(&m.handle, kvmSetClock, &c) }

// PITFlags are the flags of CreatePIT2 (api.rst 4.71).
type PITFlags uint32

// PITSpeakerDummy makes the kernel answer the PC speaker's port 0x61 too, by which
// old software measures time.
const PITSpeakerDummy PITFlags = 1 << 0

// pitConfig is struct kvm_pit_config.
type pitConfig struct {
	_     structs.HostLayout
	flags PITFlags
	_     [15]uint32
}

// CreatePIT2 puts an i8254 timer at ports 0x40 to 0x43 into the kernel, wired to
// GSI 0. It needs CreateIRQChip first (KVM_CREATE_PIT2, api.rst 4.71).
func (m *VM) CreatePIT2(flags PITFlags) error {
	return set(&m.handle, kvmCreatePIT2, &pitConfig{flags: flags})
}

// PITChannel is one of the i8254's three counters (struct kvm_pit_channel_state).
type PITChannel struct {
	_             structs.HostLayout
	Count         uint32 // reload value, 1 to 65536
	LatchedCount  uint16
	CountLatched  uint8
	StatusLatched uint8
	Status        uint8
	ReadState     uint8
	WriteState    uint8
	WriteLatch    uint8
	RWMode        uint8
	Mode          uint8
	BCD           uint8
	Gate          uint8
	CountLoadTime int64 // ns of the host's monotonic clock
}

// PITState is the state of the in-kernel i8254 (struct kvm_pit_state2).
type PITState struct {
	_        structs.HostLayout
	Channels [3]PITChannel
	Flags    uint32 // bit 0: HPET in legacy mode drives the interrupt; bit 1: speaker data on
	_        [9]uint32
}

// PIT2 reads the timer's state (KVM_GET_PIT2, api.rst 4.72).
func (m *VM) PIT2() (PITState, error) { return get[PITState](&m.handle, kvmGetPIT2) }

// SetPIT2 sets the timer's state (KVM_SET_PIT2, api.rst 4.73).
func (m *VM) SetPIT2(s PITState) error { return set(&m.handle, kvmSetPIT2, &s) }
