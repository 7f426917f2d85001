package console

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// state is what SaveState saves. Input that waits is no part of it: Receive has not told that it was taken.
type state struct {
	Cols    uint16       `json:"cols"`
	Rows    uint16       `json:"rows"`
	Control controlState `json:"control"`
}

// controlState is a handshake.
type controlState struct {
	Ready   bool  `json:"ready"`
	Open    bool  `json:"open"`
	Pending uint8 `json:"pending"`
}

// SaveState implements devices.Snapshotter.
func (d *Device) SaveState() (devices.State, error) {
	cols, rows := d.Size()
	d.control.mu.Lock()
	h := d.control.handshake
	d.control.mu.Unlock()
	return devices.EncodeState(stateVersion, state{
		Cols:    cols,
		Rows:    rows,
		Control: controlState{Ready: h.ready, Open: h.open, Pending: uint8(h.pending)},
	})
}

// RestoreState implements devices.Snapshotter. The size is the one of the terminal that there was; Resize, called after
// it, tells the guest of another. The driver is told of the size once more when the device runs: the last
// change may have come during the pause in which the state was saved. The port is open if it was.
func (d *Device) RestoreState(saved devices.State) error {
	var s state
	if err := devices.DecodeState(saved, stateVersion, &s); err != nil {
		return err
	}
	h := handshake{ready: s.Control.Ready, open: s.Control.Open, pending: messages(s.Control.Pending)}
	if !h.valid() {
		return fmt.Errorf("%w: handshake %+v", devices.ErrState, s.Control)
	}
	d.control.mu.Lock()
	d.control.handshake = h
	d.control.mu.Unlock()
	d.sizeMu.Lock()
	defer d.sizeMu.Unlock()
	d.cols, d.rows = s.Cols, s.Rows
	signal(d.resized)
	return nil
}
