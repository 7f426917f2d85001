package virtiopci

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// transportState is the registers of the transport itself, and the states of its parts.
type transportState struct {
	DeviceFeaturesSel uint32        `json:"deviceFeaturesSel"`
	DriverFeaturesSel uint32        `json:"driverFeaturesSel"`
	QueueSel          uint16        `json:"queueSel"`
	ISR               uint8         `json:"isr"`
	ConfigVector      uint16        `json:"configVector"`
	QueueVectors      []uint16      `json:"queueVectors"`
	Function          devices.State `json:"function"`
	Controller        devices.State `json:"controller"`
}

// SaveState implements devices.Snapshotter, of a paused device.
func (t *Transport) SaveState() (_ devices.State, err error) {
	t.mu.Lock()
	s := transportState{DeviceFeaturesSel: t.deviceFeaturesSel, DriverFeaturesSel: t.driverFeaturesSel, QueueSel: t.queueSel}
	t.mu.Unlock()
	s.ISR = uint8(t.interrupt.isr.Load())
	s.ConfigVector = uint16(t.interrupt.config.Load())
	for i := range t.interrupt.queues {
		s.QueueVectors = append(s.QueueVectors, uint16(t.interrupt.queues[i].Load()))
	}
	if s.Function, err = t.function.SaveState(); err != nil {
		return devices.State{}, err
	}
	if s.Controller, err = t.controller.SaveState(); err != nil {
		return devices.State{}, err
	}
	return devices.EncodeState(stateVersion, s)
}

// RestoreState implements devices.Snapshotter. After an error of one of its parts the Transport is not to be used, but closed.
func (t *Transport) RestoreState(state devices.State) error {
	var s transportState
	if err := devices.DecodeState(state, stateVersion, &s); err != nil {
		return err
	}
	if len(s.QueueVectors) != len(t.interrupt.queues) {
		return fmt.Errorf("%w: %d queue vectors, not %d", devices.ErrState, len(s.QueueVectors), len(t.interrupt.queues))
	}
	// The function first: an interrupt of the device then finds its way.
	if err := t.function.RestoreState(s.Function); err != nil {
		return err
	}
	t.interrupt.isr.Store(uint32(s.ISR))
	t.interrupt.setVector(&t.interrupt.config, s.ConfigVector)
	for i, v := range s.QueueVectors {
		t.interrupt.setVector(&t.interrupt.queues[i], v)
	}
	t.mu.Lock()
	t.deviceFeaturesSel, t.driverFeaturesSel, t.queueSel = s.DeviceFeaturesSel, s.DriverFeaturesSel, s.QueueSel
	t.mu.Unlock()
	return t.controller.RestoreState(s.Controller)
}
