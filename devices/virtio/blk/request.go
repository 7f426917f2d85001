package blk

import (
	"encoding/binary"

	"govmm/devices/virtio"
)

// Request types (5.2.6).
const (
	typeIn          = 0
	typeOut         = 1
	typeFlush       = 4
	typeGetID       = 8
	typeDiscard     = 11
	typeWriteZeroes = 13
)

// A status is the last byte of every request (5.2.6).
type status byte

const (
	statusOK          status = 0
	statusIOError     status = 1
	statusUnsupported status = 2
)

const (
	headerSize  = 16 // type, reserved, sector
	segmentSize = 16 // struct virtio_blk_discard_write_zeroes
	flagUnmap   = 1  // in its flags
)

// A request is one chain, with its header copied out of guest memory.
type request struct {
	chain  *virtio.Chain
	kind   uint32
	sector uint64

	// stable says that the driver cannot flush, so that writes must be on
	// stable storage when they complete (5.2.6.2).
	stable bool
}

// serve does what the chain c asks for, writes its status, and returns the
// number of bytes written to the beginning of the writable part.
func (d *Device) serve(c *virtio.Chain, features uint64) uint32 {
	w := c.Writable()
	if len(w) == 0 {
		return 0 // nowhere to put a status
	}
	// The status is the last byte, wherever the descriptors end.
	last := w[len(w)-1]
	statusByte := last[len(last)-1:]
	w[len(w)-1] = last[:len(last)-1]
	room := c.WritableLen()

	n, s := d.dispatch(c, features)
	statusByte[0] = byte(s)
	if uint64(n) == room {
		n++ // nothing is unwritten between the data and the status
	}
	return n
}

// dispatch parses the header. It returns the number of bytes written to the
// chain.
func (d *Device) dispatch(c *virtio.Chain, features uint64) (uint32, status) {
	var header [headerSize]byte
	if n, _ := c.Read(header[:]); n < headerSize {
		return 0, statusIOError
	}
	r := request{
		chain:  c,
		kind:   binary.LittleEndian.Uint32(header[0:]),
		sector: binary.LittleEndian.Uint64(header[8:]),
		stable: features&featureFlush == 0,
	}
	switch r.kind {
	case typeIn:
		return d.read(&r)
	case typeOut:
		return 0, d.write(&r)
	case typeFlush:
		return 0, d.sync(&r)
	case typeGetID:
		_, _ = c.Write(d.id[:]) // as much as there is room for
		return c.Written(), statusOK
	case typeDiscard:
		if !d.readOnly && features&featureDiscard == 0 {
			return 0, statusUnsupported
		}
		return 0, d.zero(&r, maxDiscardSegments)
	case typeWriteZeroes:
		if !d.readOnly && features&featureWriteZeroes == 0 {
			return 0, statusUnsupported
		}
		return 0, d.zero(&r, maxWriteZeroesSegments)
	}
	return 0, statusUnsupported
}

// offset returns the byte offset of sector if the n bytes from there on are
// whole sectors of the disk.
func (d *Device) offset(sector, n uint64) (int64, bool) {
	if n%sectorSize != 0 || sector > d.sectors || n>>sectorShift > d.sectors-sector {
		return 0, false
	}
	return int64(sector << sectorShift), true
}

// dataOffset is offset for the n bytes of a read or a write, which are at most
// maxTransfer.
func (d *Device) dataOffset(sector, n uint64) (int64, bool) {
	if n > maxTransfer {
		return 0, false
	}
	return d.offset(sector, n)
}

func (d *Device) read(r *request) (uint32, status) {
	off, ok := d.dataOffset(r.sector, r.chain.WritableLen())
	if !ok {
		return 0, statusIOError
	}
	n, err := d.backend.ReadVec(r.chain.Writable(), off)
	if err != nil {
		d.logFailure("read", r.sector, err)
		return uint32(n), statusIOError
	}
	return uint32(n), statusOK
}

func (d *Device) write(r *request) status {
	off, ok := d.dataOffset(r.sector, r.chain.ReadableLen())
	if !ok || d.readOnly {
		return statusIOError
	}
	if _, err := d.backend.WriteVec(r.chain.Readable(), off); err != nil {
		d.logFailure("write", r.sector, err)
		return statusIOError
	}
	return d.settle(r)
}

// settle makes a completed write stable if the driver relies on it.
func (d *Device) settle(r *request) status {
	if !r.stable {
		return statusOK
	}
	return d.sync(r)
}

// sync covers all writes that completed before the flush was made available,
// as their backend calls have returned.
func (d *Device) sync(r *request) status {
	if d.readOnly {
		return statusOK // nothing to write back
	}
	if err := d.backend.Sync(); err != nil {
		d.logFailure("flush", r.sector, err)
		return statusIOError
	}
	return statusOK
}

// zero serves discards and write-zeroes requests of up to maxSegments
// segments.
func (d *Device) zero(r *request, maxSegments uint64) status {
	n := r.chain.ReadableLen()
	if d.readOnly || n == 0 || n%segmentSize != 0 || n/segmentSize > maxSegments {
		return statusIOError
	}
	for range n / segmentSize {
		var segment [segmentSize]byte
		if k, _ := r.chain.Read(segment[:]); k < segmentSize {
			return statusIOError
		}
		if s := d.zeroSegment(r.kind, &segment); s != statusOK {
			return s
		}
	}
	if r.kind == typeDiscard {
		return statusOK
	}
	return d.settle(r)
}

func (d *Device) zeroSegment(kind uint32, segment *[segmentSize]byte) status {
	sector := binary.LittleEndian.Uint64(segment[0:])
	count := binary.LittleEndian.Uint32(segment[8:])
	flags := binary.LittleEndian.Uint32(segment[12:])

	op, mode, limit, known := "write zeroes", ZeroKeep, uint32(maxWriteZeroesSectors), uint32(flagUnmap)
	if kind == typeDiscard {
		op, mode, limit, known = "discard", Discard, maxDiscardSectors, 0
	}
	if flags&^known != 0 {
		return statusUnsupported // 5.2.6.2
	}
	if flags&flagUnmap != 0 {
		mode = ZeroUnmap
	}
	off, ok := d.offset(sector, uint64(count)<<sectorShift)
	if !ok || count > limit {
		return statusIOError
	}
	if count == 0 {
		return statusOK
	}
	if err := d.backend.Zero(off, int64(count)<<sectorShift, mode); err != nil {
		d.logFailure(op, sector, err)
		return statusIOError
	}
	return statusOK
}
