package virtio

import (
	"errors"
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// controllerState is what the driver made of a device: status, features and queues, and the device's own state if it
// has some.
type controllerState struct {
	Status     uint8          `json:"status"`
	Accepted   uint64         `json:"accepted"`
	Unknown    bool           `json:"unknown,omitempty"`
	Generation uint32         `json:"generation"`
	Queues     []queueState   `json:"queues"`
	Device     *devices.State `json:"device,omitempty"`
}

type queueState struct {
	Size  uint32 `json:"size"`
	Desc  uint64 `json:"desc"`
	Avail uint64 `json:"avail"`
	Used  uint64 `json:"used"`
	Ready bool   `json:"ready"`

	// Of a running device: the next chain to take, the next element to use, and whether
	// the driver was told not to notify.
	NextAvail uint16 `json:"nextAvail"`
	NextUsed  uint16 `json:"nextUsed"`
	Quiet     bool   `json:"quiet,omitempty"`
}

var errRunning = errors.New("virtio: the device is not paused")

// SaveState implements devices.Snapshotter, of a paused device.
func (c *Controller) SaveState() (devices.State, error) {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.run != nil {
		return devices.State{}, errRunning
	}
	s := c.registerState()
	if c.session != nil {
		for i, q := range c.session.Queues {
			s.Queues[i].NextAvail, s.Queues[i].NextUsed, s.Queues[i].Quiet = q.position()
		}
	}
	if d, ok := c.device.(devices.Snapshotter); ok {
		state, err := d.SaveState()
		if err != nil {
			return devices.State{}, err
		}
		s.Device = &state
	}
	return devices.EncodeState(stateVersion, s)
}

func (c *Controller) registerState() controllerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := controllerState{Status: c.status, Accepted: c.accepted, Unknown: c.unknown, Generation: c.generation}
	for _, q := range c.queues {
		s.Queues = append(s.Queues, queueState{Size: q.Size, Desc: q.Desc, Avail: q.Avail, Used: q.Used, Ready: q.Ready})
	}
	return s
}

// RestoreState implements devices.Snapshotter, of a device that is paused or was never
// started. Rings that guest memory does not have put the device into DEVICE_NEEDS_RESET, as they do at DRIVER_OK.
func (c *Controller) RestoreState(state devices.State) error {
	c.lifecycle.Lock()
	defer c.lifecycle.Unlock()
	if c.run != nil {
		return errRunning
	}
	var s controllerState
	if err := devices.DecodeState(state, stateVersion, &s); err != nil {
		return err
	}
	if err := c.check(&s); err != nil {
		return err
	}
	if err := c.restoreDevice(s.Device); err != nil {
		return err
	}
	c.session = nil
	c.restoreRegisters(&s)
	if s.Status&StatusDriverOK != 0 && s.Status&StatusNeedsReset == 0 {
		if c.session = c.newSession(); c.session != nil {
			c.session.Restored = true
			for i, q := range c.session.Queues {
				q.resumeAt(&s.Queues[i])
			}
		}
	}
	c.start()
	return nil
}

// check finds what no Controller of this device can have saved.
func (c *Controller) check(s *controllerState) error {
	if n := len(s.Queues); n != len(c.maxima) {
		return fmt.Errorf("%w: %v device with %d queues, not %d", devices.ErrState, c.device.Type(), n, len(c.maxima))
	}
	if s.Status&StatusFeaturesOK != 0 && (s.Unknown || s.Accepted&^c.offered != 0 || s.Accepted&FeatureVersion1 == 0) {
		return fmt.Errorf("%w: %v device with features %#x", devices.ErrState, c.device.Type(), s.Accepted)
	}
	if s.Status&StatusDriverOK != 0 && s.Status&StatusFeaturesOK == 0 {
		return fmt.Errorf("%w: status %#x", devices.ErrState, s.Status)
	}
	return nil
}

func (c *Controller) restoreDevice(s *devices.State) error {
	d, ok := c.device.(devices.Snapshotter)
	switch {
	case ok != (s != nil):
		return fmt.Errorf("%w: %v device, own state: %v, not %v", devices.ErrState, c.device.Type(), s != nil, ok)
	case ok:
		return d.RestoreState(*s)
	}
	return nil
}

func (c *Controller) restoreRegisters(s *controllerState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status, c.accepted, c.unknown, c.generation = s.Status, s.Accepted, s.Unknown, s.Generation
	for i, q := range s.Queues {
		c.queues[i] = QueueSetup{Size: q.Size, Desc: q.Desc, Avail: q.Avail, Used: q.Used, Ready: q.Ready}
	}
}

// position returns where a queue is that no device uses.
func (q *Queue) position() (nextAvail, nextUsed uint16, quiet bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nextAvail, q.nextUsed, q.flags&usedNoNotify != 0
}

// resumeAt makes a new queue go on where another was.
func (q *Queue) resumeAt(s *queueState) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nextAvail, q.knownAvail, q.nextUsed, q.untold = s.NextAvail, s.NextAvail, s.NextUsed, s.NextUsed
	if s.Quiet {
		q.quiet, q.flags = true, usedNoNotify
	}
}
