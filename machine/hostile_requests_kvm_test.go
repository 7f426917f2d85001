//go:build kvmtest

package machine

import (
	"encoding/binary"

	"govmm/devices/virtio"
)

const hostileDisk = 4 << 20 // size of the disk

// request makes up a request of the target's kind, and the queue that it is for.
func (h *hostile) request() (queue int, buffers []buffer) {
	queue = h.IntN(len(h.queues))
	switch h.device.Type() {
	case virtio.TypeBlock:
		return queue, h.diskRequest()
	case virtio.TypeNet:
		return queue, h.netRequest(queue)
	case virtio.TypeBalloon:
		return queue, h.balloonRequest(queue)
	case virtio.TypeConsole:
		return queue, h.consoleRequest(queue)
	}
	for range 1 + h.IntN(4) {
		buffers = append(buffers, h.in(h.Uint32N(8192)))
	}
	return queue, buffers
}

// diskRequest is one of 5.2.6, now and then of 4 GiB.
func (h *hostile) diskRequest() []buffer {
	kind := pick(h, 0, 0, 0, 1, 1, 1, 4, 8, 11, 13, h.Uint32N(32), h.Uint32())
	sector := pick(h, h.Uint64N(hostileDisk/512), h.Uint64N(hostileDisk/512), h.Uint64N(hostileDisk/512), hostileDisk/512-h.Uint64N(4), hostileDisk/512, h.anyValue())
	header := binary.LittleEndian.AppendUint32(nil, kind)
	header = binary.LittleEndian.AppendUint32(header, 0)
	buffers := []buffer{h.out(binary.LittleEndian.AppendUint64(header, sector))}
	switch {
	case kind == 11 || kind == 13:
		buffers = append(buffers, h.out(h.ranges()))
	case kind == 4:
	case h.chance(100): // the same 32 MiB again and again
		for range 128 {
			buffers = append(buffers, buffer{hostileMemory - 32<<20, 32 << 20, kind != 1})
		}
	default:
		for range 1 + h.IntN(8) {
			b := h.in(512 * (1 + h.Uint32N(pick[uint32](h, 16, 16, 16, 2048))))
			b.write = kind != 1
			buffers = append(buffers, b)
		}
	}
	return append(buffers, h.in(1))
}

// ranges are what a discard or write-zeroes request is about.
func (h *hostile) ranges() (p []byte) {
	for range 1 + h.IntN(20) {
		p = binary.LittleEndian.AppendUint64(p, pick(h, h.Uint64N(hostileDisk/512), h.anyValue()))
		p = binary.LittleEndian.AppendUint32(p, pick(h, h.Uint32N(64), h.Uint32N(hostileDisk/512), h.Uint32()))
		p = binary.LittleEndian.AppendUint32(p, pick(h, 0, 1, h.Uint32()))
	}
	return p
}

// balloonRequest has page frame numbers (5.5.6), statistics or free pages.
func (h *hostile) balloonRequest(queue int) (buffers []buffer) {
	switch queue {
	case 0, 1:
		var p []byte
		for range 1 + h.IntN(300) {
			page := uint32(hostileBuffer/pageSize + h.Uint64N((hostileMemory-hostileBuffer)/pageSize))
			number := pick(h, page, page, page, uint32(h.anyAddress()>>12), h.Uint32())
			if number < hostileRings/pageSize {
				number += hostileRings / pageSize // not its own code
			}
			p = binary.LittleEndian.AppendUint32(p, number)
		}
		return []buffer{h.out(p)}
	case 2:
		return []buffer{h.out(h.bytes(h.IntN(200)))}
	}
	for range 1 + h.IntN(8) {
		buffers = append(buffers, h.in(h.anyLength()))
	}
	return buffers
}

// inflateAll gives all of RAM away, the interpreter too, so that the guest ends with it.
func (h *hostile) inflateAll() {
	var p []byte
	for page := range uint32(hostileMemory / pageSize) {
		p = binary.LittleEndian.AppendUint32(p, hostileMemory/pageSize-1-page)
	}
	h.submit(0, []buffer{h.out(p)})
}

// consoleRequest is output, room for input, or a control message (5.3.6.2).
func (h *hostile) consoleRequest(queue int) []buffer {
	switch queue {
	case 0, 2:
		return []buffer{h.in(h.Uint32N(300))}
	case 1:
		if h.chance(50) {
			return []buffer{{hostileBuffer, 16 << 20, false}} // a flood
		}
		return []buffer{h.out(h.bytes(h.IntN(300)))}
	}
	message := binary.LittleEndian.AppendUint32(nil, pick(h, 0, 0, h.Uint32()))
	message = binary.LittleEndian.AppendUint16(message, pick(h, uint16(h.Uint32N(9)), uint16(h.Uint32())))
	message = binary.LittleEndian.AppendUint16(message, pick(h, 0, 1, uint16(h.Uint32())))
	return []buffer{h.out(append(message, h.bytes(h.IntN(8))...))}
}

// step adds one thing that a hostile driver does.
func (h *hostile) step() {
	if h.device == nil {
		h.platformStep()
		return
	}
	if !h.live || h.chance(60) {
		h.handshake()
	}
	switch n := h.IntN(100); {
	case n < 60:
		h.submit(h.request())
	case n < 70:
		h.anyRegister()
	case n < 75:
		h.reconfigure()
	case n < 78:
		h.jump(h.IntN(len(h.queues)))
	case n < 81:
		h.repeat(opSpin, h.Uint32N(300), 0, 0)
	case n < 84:
		h.add(opListen, 0, 0)
	case n < 87: // a storm of doorbells
		for range h.IntN(50) {
			h.notify(h.IntN(len(h.queues)))
		}
	case n < 89: // a reset in flight
		h.setStatus(0)
		h.live = false
	case n < 91: // a scribble on the rings
		h.add(pick(h, stores...), h.queueAddress(), h.anyValue())
	default:
		h.platformStep()
	}
}

// platformStep is about everything but the target.
func (h *hostile) platformStep() {
	switch n := h.IntN(20); {
	case n < 6:
		h.anyPort()
	case n < 10:
		h.anyMMIO()
	case h.transport == MMIO || n < 11:
		h.redirect(h.Uint64N(24), 0x20+h.Uint64N(0xd0))
	case n < 17:
		h.anyConfig()
	case n < 19 || len(h.queues) == 0:
		// KVM waits for a grace period at each, so they are not to take all of the time.
		if h.chance(4) {
			h.moveBAR()
		}
	case h.chance(3):
		h.anyVector()
	}
}

// serialFlood writes without end, with all interrupts of the serial port on.
func (h *hostile) serialFlood() {
	h.add(opOut8, serialPort+1, 0x0f)
	h.repeat(opString, 4<<10, serialPort, hostileBlob)
	h.repeat(opInput, 64, serialPort, hostileBuffer)
}
