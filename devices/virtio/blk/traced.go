package blk

import (
	"math"

	"govmm/devices/virtio"
)

// traced is what a tracer is told of a request of a queue that was served.
func (r *request) traced(queue int) virtio.Request {
	return virtio.Request{
		Queue: queue, Operation: r.operation(), Status: uint8(r.answer), Begun: r.begun,
		Offset: r.sector << sectorShift, Bytes: uint32(min(r.length, math.MaxUint32)),
	}
}

func (r *request) operation() virtio.Operation {
	if r.headless {
		return virtio.OtherOperation
	}
	switch r.kind {
	case typeIn:
		return virtio.Read
	case typeOut:
		return virtio.Write
	case typeFlush:
		return virtio.Flush
	case typeGetID:
		return virtio.Identify
	case typeDiscard:
		return virtio.Discard
	case typeWriteZeroes:
		return virtio.WriteZeroes
	}
	return virtio.OtherOperation
}
