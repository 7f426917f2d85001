// Package blk is the virtio block device: section 5.2 of the Virtual I/O
// Device specification, version 1.2, with one request queue.
//
// It serves reads, writes, flushes, discards, write-zeroes requests and the
// device's ID. Left out are several queues (VIRTIO_BLK_F_MQ), the toggling of
// the write cache (CONFIG_WCE), geometry and topology, secure erase, lifetime
// and zones; requests for them end with VIRTIO_BLK_S_UNSUPP.
//
// A request's header, its data and the way both are split into descriptors
// are the guest's. Sector ranges are checked without overflow, and the work of
// one request is bounded, because a reset and the end of the machine wait for
// those in flight: that of reads and writes by maxTransfer, as the memory that
// they name is no bound (their descriptors may all name the same), that of
// discards and write zeroes by limits that the driver is told. The contents of
// the disk are passed on and never looked at.
package blk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"govmm/devices/virtio"
)

// Feature bits (5.2.3).
const (
	featureSegMax      uint64 = 1 << 2  // VIRTIO_BLK_F_SEG_MAX
	featureReadOnly    uint64 = 1 << 5  // VIRTIO_BLK_F_RO
	featureFlush       uint64 = 1 << 9  // VIRTIO_BLK_F_FLUSH
	featureDiscard     uint64 = 1 << 13 // VIRTIO_BLK_F_DISCARD
	featureWriteZeroes uint64 = 1 << 14 // VIRTIO_BLK_F_WRITE_ZEROES
)

// Offsets in struct virtio_blk_config (5.2.4).
const (
	configCapacity            = 0
	configSegMax              = 12
	configMaxDiscardSectors   = 36
	configMaxDiscardSeg       = 40
	configDiscardAlignment    = 44
	configMaxWriteZeroes      = 48
	configMaxWriteZeroesSeg   = 52
	configWriteZeroesMayUnmap = 56
	configSize                = 60
)

const (
	sectorSize  = 512 // the protocol's unit, whatever the disk's (5.2.4)
	sectorShift = 9
	maxIDSize   = 20 // VIRTIO_BLK_ID_BYTES (5.2.6)

	defaultQueueSize = 256
	defaultWorkers   = 16

	// Not every descriptor of a chain is data: header and status take one each.
	overhead = 2
)

// maxTransfer is the most data, in bytes, of one read or write. A device may have
// such a limit if it is large (2.7.4): drivers ask for a few MiB at most. They
// are not told, for FreeBSD's refuses a disk whose size_max is smaller than its
// largest request.
const maxTransfer = 32 << 20

// Limits that the driver is told, in sectors and segments (5.2.5).
const (
	maxDiscardSectors      = 1 << 22 // 2 GiB a segment: deallocating costs little
	maxDiscardSegments     = 16
	maxWriteZeroesSectors  = 1 << 16 // 32 MiB, which the host may really have to write
	maxWriteZeroesSegments = 1
	discardAlignment       = 8 // 4 KiB, the usual block of the host's file systems
)

// A ZeroMode says what a Backend does with a range of the disk.
type ZeroMode int

const (
	// Discard frees the range if that is possible: nobody cares for its
	// contents any more. It is right to do nothing.
	Discard ZeroMode = iota
	// ZeroUnmap makes the range read as zeroes, and frees it if possible.
	ZeroUnmap
	// ZeroKeep makes the range read as zeroes, and keeps its space allocated
	// if possible.
	ZeroKeep
)

// Info describes a Backend.
type Info struct {
	Size     int64 // in bytes, a multiple of 512
	ReadOnly bool  // the device then never writes
}

// A Backend holds the contents of a disk. All methods are called from several
// goroutines at once. Ranges lie inside the disk. Segments are guest memory
// that may change at any time; the methods must not change the slice that
// lists them, nor keep it.
type Backend interface {
	// Info returns the same values at every call.
	Info() Info
	// ReadVec fills the segments in turn from byte offset off on. It returns
	// the number of bytes read, and an error if those are not all.
	ReadVec(segments [][]byte, off int64) (int, error)
	// WriteVec writes the segments in turn from byte offset off on, and
	// returns an error unless all was written.
	WriteVec(segments [][]byte, off int64) (int, error)
	// Sync returns when all writes that returned before it was called are on
	// stable storage.
	Sync() error
	// Zero treats the n bytes from off on as mode says.
	Zero(off, n int64, mode ZeroMode) error
}

// A Config says what a Device is made of. Backend is required.
type Config struct {
	Backend Backend

	// ID is what the guest reads as the disk's serial number: at most 20
	// bytes.
	ID string

	// QueueSize is the maximum number of descriptors in the queue, a power of
	// two from 4 to virtio.MaxQueueSize; 0 means 256.
	QueueSize uint16

	// Workers is the maximum number of requests served at the same time, each
	// of which holds a thread while the host works on it; 0 means 16.
	Workers int

	Log *slog.Logger // nil is silent
}

// A Device is a virtio.Device.
type Device struct {
	backend   Backend
	sectors   uint64
	readOnly  bool
	id        [maxIDSize]byte
	queueSize uint16
	workers   int
	config    [configSize]byte
	log       *slog.Logger
	failures  virtio.RateLimit
}

// New returns a Device. It does not close the Backend.
func New(cfg Config) (*Device, error) {
	if cfg.QueueSize == 0 {
		cfg.QueueSize = defaultQueueSize
	}
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := cfg.QueueSize
	switch {
	case cfg.Backend == nil:
		return nil, errors.New("blk: Backend is required")
	case len(cfg.ID) > maxIDSize:
		return nil, fmt.Errorf("blk: ID %q is longer than %d bytes", cfg.ID, maxIDSize)
	case n < 4 || n&(n-1) != 0 || n > virtio.MaxQueueSize:
		return nil, fmt.Errorf("blk: queue size %d is not a power of two from 4 to %d", n, virtio.MaxQueueSize)
	case cfg.Workers < 0:
		return nil, fmt.Errorf("blk: %d workers", cfg.Workers)
	}
	info := cfg.Backend.Info()
	if info.Size < 0 || info.Size%sectorSize != 0 {
		return nil, fmt.Errorf("blk: size %d is not a multiple of %d", info.Size, sectorSize)
	}
	d := &Device{
		backend:   cfg.Backend,
		sectors:   uint64(info.Size) >> sectorShift,
		readOnly:  info.ReadOnly,
		queueSize: n,
		workers:   cfg.Workers,
		log:       cfg.Log,
	}
	copy(d.id[:], cfg.ID)
	d.fillConfig()
	return d, nil
}

// fillConfig writes the configuration space, which never changes.
func (d *Device) fillConfig() {
	le := binary.LittleEndian
	c := d.config[:]
	le.PutUint64(c[configCapacity:], d.sectors)
	le.PutUint32(c[configSegMax:], uint32(d.queueSize)-overhead)
	if d.readOnly {
		return
	}
	le.PutUint32(c[configMaxDiscardSectors:], maxDiscardSectors)
	le.PutUint32(c[configMaxDiscardSeg:], maxDiscardSegments)
	le.PutUint32(c[configDiscardAlignment:], discardAlignment)
	le.PutUint32(c[configMaxWriteZeroes:], maxWriteZeroesSectors)
	le.PutUint32(c[configMaxWriteZeroesSeg:], maxWriteZeroesSegments)
	c[configWriteZeroesMayUnmap] = 1
}

// Type implements virtio.Device.
func (d *Device) Type() virtio.DeviceType { return virtio.TypeBlock }

// Features implements virtio.Device.
func (d *Device) Features() uint64 {
	if d.readOnly {
		return featureSegMax | featureFlush | featureReadOnly
	}
	return featureSegMax | featureFlush | featureDiscard | featureWriteZeroes
}

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 { return []uint16{d.queueSize} }

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) { virtio.ReadConfig(d.config[:], off, p) }

// logFailure reports that the host failed to serve a request.
func (d *Device) logFailure(op string, sector uint64, err error) {
	if suppressed, ok := d.failures.Allow(time.Now()); ok {
		d.log.Error("disk request failed", "op", op, "sector", sector, "err", err, "suppressed", suppressed)
	}
}
