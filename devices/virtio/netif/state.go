package netif

import (
	"fmt"

	"govmm/devices"
)

const stateVersion = 1

// A state is what a snapshot has of a Device. Version 1.
type state struct {
	LinkUp       bool   `json:"link_up"`
	MAC          []byte `json:"mac"`
	Pairs        int    `json:"pairs"`
	Checksum     bool   `json:"guest_checksum"`
	TSO4         bool   `json:"guest_tso4"`
	TSO6         bool   `json:"guest_tso6"`
	Promiscuous  bool   `json:"promiscuous"`
	AllMulticast bool   `json:"all_multicast"`
}

// SaveState implements devices.Snapshotter. Frames are not part of the state: those that the network has not yet delivered are lost, as
// networks may.
func (d *Device) SaveState() (devices.State, error) {
	set := d.current()
	return devices.EncodeState(stateVersion, state{
		LinkUp:       d.Link(),
		MAC:          set.mac[:],
		Pairs:        set.pairs,
		Checksum:     set.offloads&Checksum != 0,
		TSO4:         set.offloads&TSO4 != 0,
		TSO6:         set.offloads&TSO6 != 0,
		Promiscuous:  set.promiscuous,
		AllMulticast: set.allMulticast,
	})
}

// RestoreState implements devices.Snapshotter. What the driver had set is for a session that is restored with it.
func (d *Device) RestoreState(s devices.State) error {
	var st state
	if err := devices.DecodeState(s, stateVersion, &st); err != nil {
		return err
	}
	set := settings{pairs: st.Pairs, promiscuous: st.Promiscuous, allMulticast: st.AllMulticast}
	for _, o := range []struct {
		on  bool
		bit Offloads
	}{{st.Checksum, Checksum}, {st.TSO4, TSO4}, {st.TSO6, TSO6}} {
		if o.on {
			set.offloads |= o.bit
		}
	}
	switch {
	case len(st.MAC) != len(set.mac) || !MAC(st.MAC).individual():
		return fmt.Errorf("%w: MAC address %x", devices.ErrState, st.MAC)
	case st.Pairs < 1 || st.Pairs > d.pairs:
		return fmt.Errorf("%w: %d queue pairs in use of %d", devices.ErrState, st.Pairs, d.pairs)
	case set.offloads&^d.info.Receive != 0 || set.offloads != 0 && set.offloads&Checksum == 0:
		return fmt.Errorf("%w: offloads %#x of %#x", devices.ErrState, set.offloads, d.info.Receive)
	}
	set.mac = MAC(st.MAC)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings, d.changed = set, false
	d.linkDown.Store(!st.LinkUp)
	return nil
}
