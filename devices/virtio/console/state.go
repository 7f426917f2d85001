package console

import "govmm/devices"

const stateVersion = 1

// state is what SaveState saves. Input that waits is no part of it: Receive has not told that it was taken.
type state struct {
	Cols uint16 `json:"cols"`
	Rows uint16 `json:"rows"`
}

// SaveState implements devices.Snapshotter.
func (d *Device) SaveState() (devices.State, error) {
	cols, rows := d.Size()
	return devices.EncodeState(stateVersion, state{Cols: cols, Rows: rows})
}

// RestoreState implements devices.Snapshotter. The size is the one of the terminal that there was; Resize, called after
// it, tells the guest of another. The driver is told of the size once more when the device runs: the last
// change may have come during the pause in which the state was saved.
func (d *Device) RestoreState(saved devices.State) error {
	var s state
	if err := devices.DecodeState(saved, stateVersion, &s); err != nil {
		return err
	}
	d.sizeMu.Lock()
	defer d.sizeMu.Unlock()
	d.cols, d.rows = s.Cols, s.Rows
	signal(d.resized)
	return nil
}
