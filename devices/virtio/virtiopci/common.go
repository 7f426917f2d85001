package virtiopci

import "encoding/binary"

// Offsets in struct virtio_pci_common_cfg (4.1.4.3). queue_notify_data and queue_reset follow where their features
// are offered.
const (
	commonDeviceFeatureSel = 0x00
	commonDeviceFeature    = 0x04
	commonDriverFeatureSel = 0x08
	commonDriverFeature    = 0x0c
	commonConfigVector     = 0x10
	commonNumQueues        = 0x12
	commonStatus           = 0x14
	commonGeneration       = 0x15
	commonQueueSel         = 0x16
	commonQueueSize        = 0x18
	commonQueueVector      = 0x1a
	commonQueueEnable      = 0x1c
	commonQueueNotifyOff   = 0x1e
	commonQueueDesc        = 0x20
	commonQueueDriver      = 0x28
	commonQueueDevice      = 0x30
	commonSize             = 0x38
)

// readCommon answers a read of the common configuration structure.
func (t *Transport) readCommon(off uint64, p []byte) {
	clear(p)
	if off < commonSize {
		s := t.common()
		copy(p, s[off:])
	}
}

// common returns the structure as it is now.
func (t *Transport) common() (s [commonSize]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	le := binary.LittleEndian
	le.PutUint32(s[commonDeviceFeatureSel:], t.deviceFeaturesSel)
	if t.deviceFeaturesSel < 2 {
		le.PutUint32(s[commonDeviceFeature:], uint32(t.controller.Features()>>(32*t.deviceFeaturesSel)))
	}
	le.PutUint32(s[commonDriverFeatureSel:], t.driverFeaturesSel)
	le.PutUint32(s[commonDriverFeature:], t.controller.DriverFeatures(t.driverFeaturesSel))
	le.PutUint16(s[commonConfigVector:], uint16(t.interrupt.config.Load()))
	le.PutUint16(s[commonNumQueues:], uint16(t.controller.NumQueues()))
	s[commonStatus] = t.controller.Status()
	s[commonGeneration] = byte(t.controller.ConfigGeneration())
	le.PutUint16(s[commonQueueSel:], t.queueSel)
	if int(t.queueSel) < t.controller.NumQueues() {
		t.queueFields(s[:])
	}
	return s
}

// queueFields fills in the fields of the selected queue. It is called with mu held.
func (t *Transport) queueFields(s []byte) {
	le := binary.LittleEndian
	q := t.controller.QueueSetup(uint32(t.queueSel))
	le.PutUint16(s[commonQueueSize:], uint16(q.Size))
	le.PutUint16(s[commonQueueVector:], uint16(t.interrupt.queues[t.queueSel].Load()))
	if q.Ready {
		le.PutUint16(s[commonQueueEnable:], 1)
	}
	le.PutUint16(s[commonQueueNotifyOff:], t.queueSel)
	le.PutUint64(s[commonQueueDesc:], q.Desc)
	le.PutUint64(s[commonQueueDriver:], q.Avail)
	le.PutUint64(s[commonQueueDevice:], q.Used)
}

// writeCommon takes a write to one field of the common configuration structure.
func (t *Transport) writeCommon(off uint64, p []byte) {
	switch {
	case off == commonStatus && len(p) == 1:
		t.setStatus(p[0])
	case len(p) == 2:
		t.write16(off, binary.LittleEndian.Uint16(p))
	case len(p) == 4:
		t.write32(off, binary.LittleEndian.Uint32(p))
	case len(p) == 8 && off%8 == 0 && off >= commonQueueDesc:
		t.write32(off, binary.LittleEndian.Uint32(p))
		t.write32(off+4, binary.LittleEndian.Uint32(p[4:]))
	}
}

// setStatus takes a write to device_status. A reset also takes away what was chosen here (4.1.4.3.1).
func (t *Transport) setStatus(v uint8) {
	t.controller.SetStatus(v)
	if v == 0 {
		t.interrupt.reset()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.deviceFeaturesSel, t.driverFeaturesSel, t.queueSel = 0, 0, 0
	}
}

func (t *Transport) write16(off uint64, v uint16) {
	t.mu.Lock()
	sel := t.queueSel
	if off == commonQueueSel {
		t.queueSel = v
	}
	t.mu.Unlock()
	exists := int(sel) < t.controller.NumQueues()
	switch off {
	case commonConfigVector:
		t.interrupt.setVector(&t.interrupt.config, v)
	case commonQueueVector:
		if exists {
			t.interrupt.setVector(&t.interrupt.queues[sel], v)
		}
	case commonQueueEnable:
		// Writing 0 is not allowed, and does nothing (4.1.4.3.2).
		if exists && v == 1 {
			t.controller.SetQueueReady(uint32(sel), true)
		}
	case commonQueueSize:
		t.mu.Lock()
		defer t.mu.Unlock()
		s := t.controller.QueueSetup(uint32(sel))
		s.Size = uint32(v)
		t.controller.ConfigureQueue(uint32(sel), s)
	}
}

func (t *Transport) write32(off uint64, v uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch off {
	case commonDeviceFeatureSel:
		t.deviceFeaturesSel = v
	case commonDriverFeatureSel:
		t.driverFeaturesSel = v
	case commonDriverFeature:
		t.controller.SetDriverFeatures(t.driverFeaturesSel, v)
	default:
		t.writeAddress(off, v)
	}
}

// writeAddress changes one half of an address of the selected queue. It is called with mu held.
func (t *Transport) writeAddress(off uint64, v uint32) {
	s := t.controller.QueueSetup(uint32(t.queueSel))
	var x *uint64
	switch off &^ 4 {
	case commonQueueDesc:
		x = &s.Desc
	case commonQueueDriver:
		x = &s.Avail
	case commonQueueDevice:
		x = &s.Used
	default:
		return
	}
	if off&4 == 0 {
		*x = *x&^0xffffffff | uint64(v)
	} else {
		*x = *x&0xffffffff | uint64(v)<<32
	}
	t.controller.ConfigureQueue(uint32(t.queueSel), s)
}
