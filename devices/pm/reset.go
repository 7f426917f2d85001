package pm

import "sync"

// Reset control register of PC chipsets, port 0xcf9 (Intel I/O Controller Hub
// data sheets, RST_CNT).
const (
	resetSystem = 1 << 1 // SYS_RST: a hard reset rather than one of the processor alone
	resetCPU    = 1 << 2 // RST_CPU: going from 0 to 1 resets
	resetFull   = 1 << 3 // FULL_RST: with a power cycle

	// resetStored are the bits that keep what was written. A reset clears the
	// one that causes it, so the guest never reads that as 1.
	resetStored = resetSystem | resetFull
)

// ResetPort is where PC chipsets have the register, and ResetValue what the
// FADT tells a guest to write there for a hard reset.
const (
	ResetPort  = 0xcf9
	ResetValue = resetSystem | resetCPU
)

// A ResetRegister is the reset control register. It is a devices.Handler for a
// region of one port, and its methods may be called from any goroutine.
type ResetRegister struct {
	reset func()

	mu    sync.Mutex
	value byte
}

// NewResetRegister returns a register that calls reset whenever the guest
// writes a value with bit 2 set: 6 and 0x0e, the hard resets, and 4, the
// processor reset, which is the same to a virtual machine. reset is called on
// the vCPU thread with no lock held.
func NewResetRegister(reset func()) *ResetRegister {
	return &ResetRegister{reset: reset}
}

// Read gives the bits that the guest wrote last.
func (r *ResetRegister) Read(off uint64, p []byte) {
	r.mu.Lock()
	v := r.value
	r.mu.Unlock()
	readBytes(uint64(v), 1, off, p)
}

// Write stores the kind of reset and resets if told to.
func (r *ResetRegister) Write(off uint64, p []byte) {
	v, mask := writtenBytes(1, off, p)
	if mask == 0 {
		return
	}
	r.mu.Lock()
	r.value = byte(v) & resetStored
	r.mu.Unlock()
	if v&resetCPU != 0 && r.reset != nil {
		r.reset()
	}
}
