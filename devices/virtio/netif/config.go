package netif

import (
	"encoding/binary"

	"govmm/devices/virtio"
)

// Offsets in struct virtio_net_config (5.1.4).
const (
	configMAC      = 0
	configStatus   = 6
	configMaxPairs = 8
	configMTU      = 10
	configSize     = 12

	statusLinkUp = 1 // VIRTIO_NET_S_LINK_UP
)

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) {
	var c [configSize]byte
	d.mu.Lock()
	copy(c[configMAC:], d.settings.mac[:])
	d.mu.Unlock()
	le := binary.LittleEndian
	if !d.linkDown.Load() {
		le.PutUint16(c[configStatus:], statusLinkUp)
	}
	if d.pairs > 1 {
		le.PutUint16(c[configMaxPairs:], uint16(d.pairs))
	}
	le.PutUint16(c[configMTU:], d.info.MTU)
	virtio.ReadConfig(c[:], off, p)
}

// Link reports whether the link is up, as it is at first.
func (d *Device) Link() bool { return !d.linkDown.Load() }

// SetLink plugs the cable in or out and tells the driver. While the link is down, frames are
// dropped in both directions.
func (d *Device) SetLink(up bool) {
	d.mu.Lock()
	if d.linkDown.Swap(!up) == !up {
		d.mu.Unlock()
		return
	}
	session := d.session
	if !d.running {
		// The machine may be paused, and then wants no interrupt.
		session, d.changed = nil, true
	}
	d.mu.Unlock()
	if session != nil {
		session.ConfigChanged()
	}
}
