package blk

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

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

	// statusWaits is never written: the request was only tried, and is to be
	// served again.
	statusWaits status = 0xff
)

const (
	headerSize  = 16 // type, reserved, sector
	segmentSize = 16 // struct virtio_blk_discard_write_zeroes
	flagUnmap   = 1  // in its flags
)

// A request is one chain, with its header copied out of guest memory.
type request struct {
	chain  *virtio.Chain
	status []byte // one byte of guest memory, or none where there is no room for it
	room   uint64 // bytes that can be written in front of the status
	kind   uint32
	sector uint64

	headless bool   // the chain is too short for a header
	features uint64 // negotiated

	// For a tracer.
	begun  time.Duration // on its clock
	length uint64        // bytes that are read, written or zeroed
	answer status
}

// stable says that the driver cannot flush, so that writes must be on stable
// storage when they complete (5.2.6.2).
func (r *request) stable() bool { return r.features&featureFlush == 0 }

// parse reads the header of c, and takes the status off its writable part.
func (d *Device) parse(c *virtio.Chain, features uint64) request {
	r := request{chain: c, features: features}
	if w := c.Writable(); len(w) > 0 {
		// The status is the last byte, wherever the descriptors end.
		last := w[len(w)-1]
		r.status = last[len(last)-1:]
		w[len(w)-1] = last[:len(last)-1]
		r.room = c.WritableLen()
	}
	var header [headerSize]byte
	if n, _ := c.Read(header[:]); n < headerSize {
		r.headless = true
		return r
	}
	r.kind = binary.LittleEndian.Uint32(header[0:])
	r.sector = binary.LittleEndian.Uint64(header[8:])
	return r
}

// serve does what the request asks for, writes its status, and returns the
// number of bytes written to the beginning of the writable part.
func (d *Device) serve(r *request) uint32 {
	n, _ := d.attempt(r, false)
	return n
}

// try is serve for a request for which nothing has to be waited. Otherwise it
// is not done, and the request stays as it was.
func (d *Device) try(r *request) (n uint32, done bool) { return d.attempt(r, true) }

func (d *Device) attempt(r *request, try bool) (uint32, bool) {
	if len(r.status) == 0 {
		r.answer = statusIOError
		return 0, true // nowhere to put it
	}
	n, s := d.dispatch(r, try)
	if s == statusWaits {
		return 0, false
	}
	r.status[0], r.answer = byte(s), s
	if uint64(n) == r.room {
		n++ // nothing is unwritten between the data and the status
	}
	return n, true
}

// dispatch returns the number of bytes written to the chain.
func (d *Device) dispatch(r *request, try bool) (uint32, status) {
	if r.headless {
		return 0, statusIOError
	}
	switch r.kind {
	case typeIn:
		return d.read(r, try)
	case typeOut:
		return 0, d.write(r, try)
	case typeGetID:
		_, _ = r.chain.Write(d.id[:]) // as much as there is room for
		return r.chain.Written(), statusOK
	case typeFlush, typeDiscard, typeWriteZeroes:
		if try && !d.readOnly {
			return 0, statusWaits
		}
		return 0, d.maintain(r)
	}
	return 0, statusUnsupported
}

// maintain serves the requests that transfer no data.
func (d *Device) maintain(r *request) status {
	switch {
	case r.kind == typeFlush:
		return d.sync(r)
	case !d.readOnly && r.features&featureOf(r.kind) == 0:
		return statusUnsupported
	case r.kind == typeDiscard:
		return d.zero(r, maxDiscardSegments)
	}
	return d.zero(r, maxWriteZeroesSegments)
}

// featureOf returns the feature that allows a discard or a write-zeroes
// request.
func featureOf(kind uint32) uint64 {
	if kind == typeDiscard {
		return featureDiscard
	}
	return featureWriteZeroes
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

func (d *Device) read(r *request, try bool) (uint32, status) {
	n := r.chain.WritableLen()
	r.length = n
	off, ok := d.dataOffset(r.sector, n)
	if !ok {
		return 0, statusIOError
	}
	var done int
	var err error
	switch {
	case !try:
		done, err = d.backend.ReadVec(r.chain.Writable(), off)
	case d.trier == nil || n > uint64(d.info.MaxTry):
		return 0, statusWaits
	default:
		done, err = d.trier.TryReadVec(r.chain.Writable(), off)
	}
	if err == nil && uint64(done) < n {
		err = io.ErrUnexpectedEOF // the guest must not take what was in its buffer before for the disk's content
	}
	switch {
	case err == nil:
		return uint32(done), statusOK
	case try && errors.Is(err, ErrWouldWait):
		return 0, statusWaits
	}
	d.logFailure("read", r.sector, err)
	return uint32(done), statusIOError
}

func (d *Device) write(r *request, try bool) status {
	n := r.chain.ReadableLen()
	r.length = n
	off, ok := d.dataOffset(r.sector, n)
	if !ok || d.readOnly {
		return statusIOError
	}
	var done int
	var err error
	switch {
	case !try:
		done, err = d.backend.WriteVec(r.chain.Readable(), off)
	case d.trier == nil || n > uint64(d.info.MaxTry) || r.stable():
		return statusWaits
	default:
		done, err = d.trier.TryWriteVec(r.chain.Readable(), off)
	}
	if err == nil && uint64(done) < n {
		err = io.ErrShortWrite
	}
	switch {
	case err == nil:
		return d.settle(r)
	case try && errors.Is(err, ErrWouldWait):
		return statusWaits
	}
	d.logFailure("write", r.sector, err)
	return statusIOError
}

// settle makes a completed write stable if the driver relies on it.
func (d *Device) settle(r *request) status {
	if !r.stable() {
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
		if s := d.zeroSegment(r, &segment); s != statusOK {
			return s
		}
	}
	if r.kind == typeDiscard {
		return statusOK
	}
	return d.settle(r)
}

func (d *Device) zeroSegment(r *request, segment *[segmentSize]byte) status {
	kind := r.kind
	sector := binary.LittleEndian.Uint64(segment[0:])
	count := binary.LittleEndian.Uint32(segment[8:])
	flags := binary.LittleEndian.Uint32(segment[12:])
	if r.length == 0 {
		r.sector = sector // the header has none
	}
	r.length += uint64(count) << sectorShift

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
	if kind == typeWriteZeroes {
		d.chargeZeroes(uint64(count) << sectorShift)
	}
	if err := d.backend.Zero(off, int64(count)<<sectorShift, mode); err != nil {
		d.logFailure(op, sector, err)
		return statusIOError
	}
	return statusOK
}
