package main

import (
	"context"
	"encoding/binary"
	"io"
	"log"

	"govmm/devices/virtio"
)

// Types of requests, status bytes and feature bits (virtio 1.2, 5.2.3 and 5.2.6).
const (
	in, out, flush, getID = 0, 1, 4, 8

	ok, ioError, unsupported = 0, 1, 2

	featureReadOnly, featureFlush = 1 << 5, 1 << 9
)

const sectorSize = 512

// A storage is what is behind the disk: a file, for one.
type storage interface {
	io.ReaderAt
	io.WriterAt
	Sync() error // returns when all that was written is where a power cut does not reach it
}

// A disk is a virtio.Device. log gets a line for each request.
type disk struct {
	storage  storage
	sectors  uint64
	readOnly bool
	log      *log.Logger
}

func (d *disk) Type() virtio.DeviceType { return virtio.TypeBlock }
func (d *disk) Features() uint64        { return features(d.readOnly) }
func (d *disk) QueueSizes() []uint16    { return []uint16{64} }

// ReadConfig gives what the driver finds in the configuration space: the capacity, in sectors.
func (d *disk) ReadConfig(off uint64, p []byte) {
	virtio.ReadConfig(binary.LittleEndian.AppendUint64(nil, d.sectors), off, p)
}

// Run serves the queue, one request after the other.
func (d *disk) Run(ctx context.Context, s *virtio.Session) error {
	for {
		c, err := s.Queues[0].Next(ctx) // waits for the driver (lesson 7)
		if err != nil {
			return err
		}
		s.Queues[0].Push(c, d.serve(c))
	}
}

// serve serves a request: a header of 16 bytes, data, and a byte for the status. It returns how many bytes the guest's memory got.
func (d *disk) serve(c *virtio.Chain) (written uint32) {
	var header [16]byte
	data := c.Writable()
	if _, err := io.ReadFull(c, header[:]); err != nil || len(data) == 0 {
		return 0 // there is no place to complain
	}
	kind, sector := binary.LittleEndian.Uint32(header[0:]), binary.LittleEndian.Uint64(header[8:])
	last := &data[len(data)-1]
	status := (*last)[len(*last)-1:]
	*last = (*last)[:len(*last)-1]

	written, status[0] = d.do(kind, sector, c.Readable(), data)
	return written + 1
}

func (d *disk) do(kind uint32, sector uint64, from, to [][]byte) (written uint32, status byte) {
	switch {
	case !permitted(kind, d.readOnly):
		return 0, ioError
	case kind == in:
		return d.transfer("read ", sector, to, d.storage.ReadAt)
	case kind == out:
		_, status = d.transfer("write", sector, from, d.storage.WriteAt)
		return 0, status
	case kind == flush:
		d.log.Print("flush")
		if d.storage.Sync() != nil {
			return 0, ioError
		}
		return 0, ok
	case kind == getID:
		n := identify(to, "lesson-8")
		if n == 0 {
			return 0, unsupported
		}
		return n, ok
	}
	return 0, unsupported
}

// transfer has do read or write segments of the guest's memory, one behind the other, from the sector on.
func (d *disk) transfer(what string, sector uint64, segments [][]byte, do func([]byte, int64) (int, error)) (n uint32, status byte) {
	var size uint64
	for _, s := range segments {
		size += uint64(len(s))
	}
	d.log.Printf("%s sectors %d to %d", what, sector, sector+size/sectorSize-1)
	if sector > d.sectors || size > (d.sectors-sector)*sectorSize { // not sector*512+size > d.sectors*512: the guest chooses sector
		return 0, ioError
	}
	off := int64(sector * sectorSize)
	for _, s := range segments {
		if _, err := do(s, off); err != nil {
			return n, ioError
		}
		n, off = n+uint32(len(s)), off+int64(len(s))
	}
	return n, ok
}
