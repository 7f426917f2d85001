package serial

import (
	"fmt"
	"slices"

	"govmm/devices"
)

const stateVersion = 1

// A savedState is the UART's registers, and the input that waits in its FIFO or came by loopback, oldest first. No byte is on its
// way to the host, for no vCPU runs.
type savedState struct {
	IER, LCR, MCR, SCR, DLL, DLM byte
	FIFOMode                     bool
	Trigger                      int
	Overrun                      bool
	ModemDelta                   byte
	Input, Looped                []byte
	THREPending                  bool
	Polls                        int
	Polling                      bool
	Signalled                    byte
}

// SaveState implements devices.Snapshotter.
func (u *UART) SaveState() (devices.State, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return devices.EncodeState(stateVersion, savedState{
		IER: u.ier, LCR: u.lcr, MCR: u.mcr, SCR: u.scr, DLL: u.dll, DLM: u.dlm,
		FIFOMode: u.fifoMode, Trigger: u.registers.trigger, Overrun: u.overrun, ModemDelta: u.modemDelta,
		Input: u.input.bytes(), Looped: u.looped.bytes(),
		THREPending: u.threPending, Polls: u.polls, Polling: u.polling, Signalled: byte(u.signalled),
	})
}

// RestoreState implements devices.Snapshotter. What Receive had already put into this UART is lost.
func (u *UART) RestoreState(s devices.State) error {
	var v savedState
	if err := devices.DecodeState(s, stateVersion, &v); err != nil {
		return err
	}
	r, err := v.registers()
	if err != nil {
		return fmt.Errorf("serial: %w: %w", devices.ErrState, err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	r.sending = u.sending
	u.registers = r
	u.signalRoom()
	return nil
}

// registers checks the state and returns what it describes.
func (v *savedState) registers() (registers, error) {
	r := registers{
		ier: v.IER, lcr: v.LCR, mcr: v.MCR, scr: v.SCR, dll: v.DLL, dlm: v.DLM,
		fifoMode: v.FIFOMode, trigger: v.Trigger, overrun: v.Overrun, modemDelta: v.ModemDelta,
		threPending: v.THREPending, polls: v.Polls, polling: v.Polling, signalled: cause(v.Signalled),
	}
	room := fifoSize
	if !v.FIFOMode {
		room = 1
	}
	switch {
	case v.IER&^ierMask != 0 || v.MCR&^mcrMask != 0 || v.ModemDelta&0xf0 != 0:
		return r, fmt.Errorf("IER %#x, MCR %#x, modem changes %#x", v.IER, v.MCR, v.ModemDelta)
	case !slices.Contains(triggerLevels[:], v.Trigger) || !v.FIFOMode && v.Trigger != triggerLevels[0]:
		return r, fmt.Errorf("trigger level %d", v.Trigger)
	case len(v.Input) > fifoSize || len(v.Looped) > room || len(v.Looped) > 0 && !r.loopback():
		return r, fmt.Errorf("%d and %d bytes in the FIFOs", len(v.Input), len(v.Looped))
	case v.Polls < 0 || v.Polls > pollThreshold+1 || v.Polls > pollThreshold && !v.Polling:
		return r, fmt.Errorf("%d polls", v.Polls)
	}
	r.input.push(v.Input)
	r.looped.push(v.Looped)
	// The last edge was for what is pending: updateInterrupt follows every change.
	if c := r.cause(); r.signalled != c {
		return r, fmt.Errorf("interrupt %#x with %#x pending", v.Signalled, byte(c))
	}
	return r, nil
}

// bytes returns the content, oldest first.
func (f *fifo) bytes() []byte {
	p := make([]byte, f.n)
	for i := range p {
		p[i] = f.buf[(f.head+i)%fifoSize]
	}
	return p
}
