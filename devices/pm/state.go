package pm

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// A savedState is the registers of a PM1.
type savedState struct {
	Status, Enable, Control uint16
	Off                     bool // S5 was entered
}

// SaveState implements devices.Snapshotter.
func (p *PM1) SaveState() (devices.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return devices.EncodeState(stateVersion, savedState{p.status, p.enable, p.control, p.off})
}

// RestoreState implements devices.Snapshotter.
func (p *PM1) RestoreState(s devices.State) error {
	var v savedState
	if err := devices.DecodeState(s, stateVersion, &v); err != nil {
		return err
	}
	if v.Status&^powerButton != 0 || v.Enable&^enableMask != 0 || v.Control&^controlMask != 0 {
		return fmt.Errorf("pm: %w: PM1 status %#x, enable %#x, control %#x", devices.ErrState, v.Status, v.Enable, v.Control)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state{v.Status, v.Enable, v.Control, v.Off}
	return nil
}

// A savedReset is the reset control register.
type savedReset struct{ Value byte }

// SaveState implements devices.Snapshotter.
func (r *ResetRegister) SaveState() (devices.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return devices.EncodeState(stateVersion, savedReset{r.value})
}

// RestoreState implements devices.Snapshotter.
func (r *ResetRegister) RestoreState(s devices.State) error {
	var v savedReset
	if err := devices.DecodeState(s, stateVersion, &v); err != nil {
		return err
	}
	if v.Value&^resetStored != 0 {
		return fmt.Errorf("pm: %w: reset control %#x", devices.ErrState, v.Value)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.value = v.Value
	return nil
}
