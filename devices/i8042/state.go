package i8042

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// A savedState is the controller's memory and registers.
type savedState struct {
	RAM                     []byte
	Output, Status, Pending byte
}

// SaveState implements devices.Snapshotter.
func (c *Controller) SaveState() (devices.State, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return devices.EncodeState(stateVersion, savedState{RAM: c.ram[:], Output: c.output, Status: c.status, Pending: c.pending})
}

// RestoreState implements devices.Snapshotter.
func (c *Controller) RestoreState(s devices.State) error {
	var v savedState
	if err := devices.DecodeState(s, stateVersion, &v); err != nil {
		return err
	}
	const stored = statusOutputFull | statusCommand | statusAuxData | statusTimeout
	if len(v.RAM) != ramSize || v.Status&^stored != 0 || !takesData(v.Pending) {
		return fmt.Errorf("i8042: %w: %d bytes of RAM, status %#x, command %#x", devices.ErrState, len(v.RAM), v.Status, v.Pending)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	copy(c.ram[:], v.RAM)
	c.output, c.status, c.pending = v.Output, v.Status, v.Pending
	return nil
}

// takesData reports whether cmd is one that waits for a data byte, or 0 for none.
func takesData(cmd byte) bool {
	switch cmd {
	case 0, cmdWriteOutput, cmdWriteKbdData, cmdWriteAuxData, cmdWriteAux:
		return true
	}
	return cmd&cmdRangeMask == cmdWriteRAM
}
