package cmos

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// A savedState is the chip's memory and its index register. The running clock is not in it but its distance from
// the host's, so that a restored guest finds the time that it is.
type savedState struct {
	Index   byte
	RAM     []byte
	Written bool
	Offset  int64 // seconds
}

// maxOffset is the farthest that a guest can set its clock from a host's that shows a year from 0 to 9999, as the guest's does.
const maxOffset = 10000 * 366 * 24 * 60 * 60

// SaveState implements devices.Snapshotter.
func (m *CMOS) SaveState() (devices.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return devices.EncodeState(stateVersion, savedState{Index: m.index, RAM: m.ram[:], Written: m.written, Offset: m.offset})
}

// RestoreState implements devices.Snapshotter.
func (m *CMOS) RestoreState(s devices.State) error {
	var v savedState
	if err := devices.DecodeState(s, stateVersion, &v); err != nil {
		return err
	}
	if len(v.RAM) != ramSize || v.Index&^indexMask != 0 || v.Offset < -maxOffset || v.Offset > maxOffset {
		return fmt.Errorf("cmos: %w: %d bytes, index %#x, offset %d", devices.ErrState, len(v.RAM), v.Index, v.Offset)
	}
	if v.RAM[regA]&aUpdating != 0 || v.RAM[regC] != 0 || v.RAM[regD] != 0 {
		return fmt.Errorf("cmos: %w: status registers %x", devices.ErrState, v.RAM[regA:regD+1])
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index, m.written, m.offset = v.Index, v.Written, v.Offset
	copy(m.ram[:], v.RAM)
	return nil
}
