package balloon

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// state is what SaveState saves. A question to the driver about its statistics is no part of it: who asked is not
// there any more.
type state struct {
	NumPages uint32 `json:"num_pages"`
	Actual   uint32 `json:"actual"`
	Stats    Stats  `json:"stats"`
}

// SaveState implements devices.Snapshotter.
func (d *Device) SaveState() (devices.State, error) {
	d.mu.Lock()
	s := state{NumPages: d.numPages, Actual: d.actual}
	d.mu.Unlock()
	s.Stats = d.LastStats()
	return devices.EncodeState(stateVersion, s)
}

// RestoreState implements devices.Snapshotter. The driver is told of the target once more when the device runs: the last
// change may have come during the pause in which the state was saved.
func (d *Device) RestoreState(saved devices.State) error {
	var s state
	if err := devices.DecodeState(saved, stateVersion, &s); err != nil {
		return err
	}
	for i, v := range s.Stats.Values {
		if s.Stats.Known>>i&1 == 0 && v != 0 {
			return fmt.Errorf("%w: value of the unknown statistic %d", devices.ErrState, i)
		}
	}
	if s.Stats.Known>>numStats != 0 {
		return fmt.Errorf("%w: statistics %#x", devices.ErrState, s.Stats.Known)
	}
	d.mu.Lock()
	d.numPages, d.actual = s.NumPages, s.Actual
	signal(d.target)
	d.mu.Unlock()
	d.stats.mu.Lock()
	defer d.stats.mu.Unlock()
	d.stats.last = s.Stats
	return nil
}
