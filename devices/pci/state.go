package pci

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// functionState is what software wrote: the configuration space, and the MSI-X table if there is one.
type functionState struct {
	Space   []byte       `json:"space"`
	Entries []entryState `json:"entries,omitempty"`
}

type entryState struct {
	Addr    uint64 `json:"addr"`
	Data    uint32 `json:"data"`
	Masked  bool   `json:"masked"`
	Pending bool   `json:"pending"`
}

// SaveState implements devices.Snapshotter.
func (f *Function) SaveState() (devices.State, error) {
	f.mu.Lock()
	s := functionState{Space: bytes.Clone(f.space[:])}
	f.mu.Unlock()
	if f.msix != nil {
		s.Entries = f.msix.state()
	}
	return devices.EncodeState(stateVersion, s)
}

// RestoreState implements devices.Snapshotter. BARs that are enabled in the state answer when it returns.
func (f *Function) RestoreState(state devices.State) error {
	var s functionState
	if err := devices.DecodeState(state, stateVersion, &s); err != nil {
		return err
	}
	if err := f.check(&s); err != nil {
		return err
	}
	f.mu.Lock()
	copy(f.space[:], s.Space)
	f.mu.Unlock()
	f.changed()
	if f.msix != nil {
		f.msix.restore(f.word(f.msixAt), s.Entries)
	}
	return nil
}

// rootState is the host bridge's: what it has of its own, and its function. The others are saved by their transports.
type rootState struct {
	Address uint32        `json:"address"` // CONFIG_ADDRESS
	Bridge  devices.State `json:"bridge"`
}

// SaveState implements devices.Snapshotter, of the bus itself and of its host bridge, for software may stop between the access that selects a
// register and the one that it selects it for.
func (r *Root) SaveState() (devices.State, error) {
	bridge, err := r.slots[0].SaveState()
	if err != nil {
		return devices.State{}, err
	}
	return devices.EncodeState(stateVersion, rootState{r.address.Load(), bridge})
}

// RestoreState implements devices.Snapshotter.
func (r *Root) RestoreState(state devices.State) error {
	var s rootState
	if err := devices.DecodeState(state, stateVersion, &s); err != nil {
		return err
	}
	if s.Address&reservedAddress != 0 {
		return fmt.Errorf("%w: CONFIG_ADDRESS cannot be %#x", devices.ErrState, s.Address)
	}
	if err := r.slots[0].RestoreState(s.Bridge); err != nil {
		return err
	}
	r.address.Store(s.Address)
	return nil
}

// check finds what no function like f can have: other bits than the writable ones may not differ.
func (f *Function) check(s *functionState) error {
	if len(s.Space) != configSize {
		return fmt.Errorf("%w: %s: a configuration space of %d bytes", devices.ErrState, f.name, len(s.Space))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, v := range s.Space {
		if (v^f.space[i])&^f.writable[i] != 0 {
			return fmt.Errorf("%w: %s: byte %#x of the configuration space cannot be %#x", devices.ErrState, f.name, i, v)
		}
	}
	entries := 0
	if f.msix != nil {
		entries = f.msix.Len()
	}
	if len(s.Entries) != entries {
		return fmt.Errorf("%w: %s: %d MSI-X entries, not %d", devices.ErrState, f.name, len(s.Entries), entries)
	}
	for i, e := range s.Entries {
		control := binary.LittleEndian.Uint16(s.Space[f.msixAt:])
		masked := e.Masked || control&(msixEnable|msixMask) != msixEnable
		if e.Addr&3 != 0 || e.Pending && !masked {
			return fmt.Errorf("%w: %s: MSI-X entry %d cannot be %+v", devices.ErrState, f.name, i, e)
		}
	}
	return nil
}

func (m *MSIX) state() []entryState {
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := make([]entryState, len(m.entries))
	for i, e := range m.entries {
		s[i] = entryState{e.message.Addr, e.message.Data, e.control&vectorMasked != 0, e.pending}
	}
	return s
}

// restore takes a checked state.
func (m *MSIX) restore(control uint16, s []entryState) {
	m.mu.Lock()
	for i, e := range s {
		m.entries[i].message = Message{e.Addr, e.Data}
		m.entries[i].pending = e.Pending
		if m.entries[i].control = 0; e.Masked {
			m.entries[i].control = vectorMasked
		}
	}
	m.mu.Unlock()
	m.setControl(control)
}
