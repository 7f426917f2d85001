package devices

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Snapshotter has state that outlives the process: a snapshot of the machine holds it, and
// a machine that is made from the snapshot gets it back.
//
// State is what the guest has made of the device, such as its registers. What the device is made of (its
// file, its size, its interrupt) is not: a restored device was made by its constructor as the saved one was.
//
// Both methods are called only while the machine is paused: no vCPU runs, no request is in
// flight.
type Snapshotter interface {
	// SaveState returns the state, the same for the same state.
	SaveState() (State, error)
	// RestoreState puts the device into a state that SaveState returned, perhaps in another version of
	// the program. s is untrusted: what no device of this kind could have saved is an error, and the device
	// is then as it was. RestoreState raises no interrupt.
	RestoreState(s State) error
}

// A State is the state of one device as plain data: JSON of a struct that consists of numbers, strings, bytes,
// slices and structs of these.
type State struct {
	// Version counts the formats of Data that devices of this kind have had, from 1 on.
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data"`
}

// maxStateSize bounds the Data of one device. The largest is a serial port's with all the input that waits.
const maxStateSize = 1 << 20

// ErrState is what every error wraps that is about the content of a State.
var ErrState = errors.New("invalid device state")

// EncodeState returns v, the struct of a device's state, as a State.
func EncodeState(version int, v any) (State, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return State{}, err
	}
	return State{Version: version, Data: data}, nil
}

// DecodeState fills v with the data of a state of the given version, the only one that the caller knows. It allows
// no unknown fields. The values of the fields are the caller's to check.
func DecodeState(s State, version int, v any) error {
	if s.Version != version {
		return fmt.Errorf("%w: version %d, not %d", ErrState, s.Version, version)
	}
	if len(s.Data) > maxStateSize {
		return fmt.Errorf("%w: %d bytes", ErrState, len(s.Data))
	}
	d := json.NewDecoder(bytes.NewReader(s.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %v", ErrState, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: data after its end", ErrState)
	}
	return nil
}
