package virtiommio

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// transportState is the registers of the transport itself, and the state of its Controller.
type transportState struct {
	DeviceFeaturesSel uint32        `json:"deviceFeaturesSel"`
	DriverFeaturesSel uint32        `json:"driverFeaturesSel"`
	QueueSel          uint32        `json:"queueSel"`
	InterruptStatus   uint32        `json:"interruptStatus"`
	Controller        devices.State `json:"controller"`
}

// SaveState implements devices.Snapshotter, of a paused device.
func (t *Transport) SaveState() (_ devices.State, err error) {
	t.mu.Lock()
	s := transportState{DeviceFeaturesSel: t.deviceFeaturesSel, DriverFeaturesSel: t.driverFeaturesSel, QueueSel: t.queueSel}
	t.mu.Unlock()
	s.InterruptStatus = t.interrupt.status.Load()
	if s.Controller, err = t.controller.SaveState(); err != nil {
		return devices.State{}, err
	}
	return devices.EncodeState(stateVersion, s)
}

// RestoreState implements devices.Snapshotter. After an error of the device's the Transport is not to be used, but closed.
func (t *Transport) RestoreState(state devices.State) error {
	var s transportState
	if err := devices.DecodeState(state, stateVersion, &s); err != nil {
		return err
	}
	if s.InterruptStatus&^(interruptQueue|interruptConfig) != 0 {
		return fmt.Errorf("%w: interrupt status %#x", devices.ErrState, s.InterruptStatus)
	}
	t.interrupt.status.Store(s.InterruptStatus)
	t.mu.Lock()
	t.deviceFeaturesSel, t.driverFeaturesSel, t.queueSel = s.DeviceFeaturesSel, s.DriverFeaturesSel, s.QueueSel
	t.mu.Unlock()
	return t.controller.RestoreState(s.Controller)
}
