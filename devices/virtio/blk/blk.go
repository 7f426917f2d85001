// Package blk is the virtio block device: section 5.2 of the Virtual I/O
// Device specification, version 1.2, with up to 32 request queues.
//
// It serves reads, writes, flushes, discards, write-zeroes requests and the
// device's ID. Left out are the toggling of the write cache (CONFIG_WCE),
// geometry, secure erase, lifetime and zones; requests for them end with
// VIRTIO_BLK_S_UNSUPP.
//
// A request's header, its data and the way both are split into descriptors
// are the guest's. Sector ranges are checked without overflow, and the work of
// one request is bounded, because a reset and the end of the machine wait for
// those in flight: that of reads and writes by maxTransfer, as the memory that
// they name is no bound (their descriptors may all name the same), that of
// discards and write zeroes by limits that the driver is told. The contents of
// the disk are passed on and never looked at.
//
// A Device is not a devices.Snapshotter, for it has no state of its own: its
// configuration never changes, nothing is in flight while it is paused, and
// queues and features are the controller's to save. The contents of the disk
// and the tokens of its limits are no part of a snapshot.
package blk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"govmm/devices/throttle"
	"govmm/devices/virtio"
)

// Feature bits (5.2.3).
const (
	featureSegMax      uint64 = 1 << 2  // VIRTIO_BLK_F_SEG_MAX
	featureReadOnly    uint64 = 1 << 5  // VIRTIO_BLK_F_RO
	featureBlkSize     uint64 = 1 << 6  // VIRTIO_BLK_F_BLK_SIZE
	featureFlush       uint64 = 1 << 9  // VIRTIO_BLK_F_FLUSH
	featureTopology    uint64 = 1 << 10 // VIRTIO_BLK_F_TOPOLOGY
	featureMQ          uint64 = 1 << 12 // VIRTIO_BLK_F_MQ
	featureDiscard     uint64 = 1 << 13 // VIRTIO_BLK_F_DISCARD
	featureWriteZeroes uint64 = 1 << 14 // VIRTIO_BLK_F_WRITE_ZEROES
)

// Offsets in struct virtio_blk_config (5.2.4).
const (
	configCapacity            = 0
	configSegMax              = 12
	configBlkSize             = 20
	configPhysicalBlockExp    = 24 // log2 of the logical blocks in a physical one
	configMinIOSize           = 26 // in logical blocks
	configNumQueues           = 34
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

	defaultMaxTry    = 64 << 10
	defaultQueueSize = 256
	defaultWorkers   = 16 // for one queue; each further one brings one more
	maxQueues        = 32
	maxBlockSize     = 64 << 10

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
	Size     int64 // in bytes, a multiple of BlockSize
	ReadOnly bool  // the device then never writes

	// BlockSize is the unit in which the contents of the disk are laid out,
	// partition tables for one: a power of two of at least 512; 0 means 512.
	// PhysicalBlockSize is a multiple of it below which a write costs more,
	// because what is around has to be read; 0 means BlockSize. Both are
	// advice to the guest: ranges are of 512 bytes whatever they say.
	BlockSize, PhysicalBlockSize int

	// MaxTry is the most data, in bytes, of a read or write that a Trier had better try; 0 means 64 KiB.
	MaxTry int
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

// ErrWouldWait is the answer of a Trier that would have to wait.
var ErrWouldWait = errors.New("blk: the host would have to wait")

// A Trier is a Backend that can serve requests for which nothing has to be
// waited, such as reads of what the host has in its page cache, on the spot.
// Then one goroutine serves one request after the other, and none has to be
// woken for the next. Both methods follow the rules of ReadVec and WriteVec,
// but that they may have done a part of the transfer, and return
// ErrWouldWait, where going on would mean to wait; the whole is then done
// again. While they wait after all, the other requests of the queue do too.
type Trier interface {
	TryReadVec(segments [][]byte, off int64) (int, error)
	TryWriteVec(segments [][]byte, off int64) (int, error)
}

// A Config says what a Device is made of. Backend is required.
type Config struct {
	Backend Backend

	// ID is what the guest reads as the disk's serial number: at most 20
	// bytes.
	ID string

	// Queues is the number of request queues, 1 to 32; 0 means 1. A driver uses
	// as many as it has processors.
	Queues int

	// QueueSize is the maximum number of descriptors in each queue, a power of
	// two from 4 to virtio.MaxQueueSize; 0 means 256.
	QueueSize uint16

	// Workers is the maximum number of requests served at the same time, each
	// of which holds a thread while the host works on it. All queues share them, but
	// each has at least one; 0 means 15 more than that.
	Workers int

	// Ops and Bytes are the most requests and the most bytes read and written
	// in a second, on average; 0 is no limit. One second's worth may come at
	// once. A flush and a discard count as requests and for no bytes.
	Ops, Bytes uint64

	Log *slog.Logger // nil is silent
}

// A Device is a virtio.Device.
type Device struct {
	backend    Backend
	trier      Trier // backend, or nil if it is none
	info       Info
	sectors    uint64
	readOnly   bool
	id         [maxIDSize]byte
	queues     int
	queueSize  uint16
	workers    int
	ops, bytes throttle.Bucket
	config     [configSize]byte
	log        *slog.Logger
	failures   virtio.RateLimit
}

// New returns a Device. It does not close the Backend.
func New(cfg Config) (*Device, error) {
	if cfg.Queues == 0 {
		cfg.Queues = 1
	}
	if cfg.QueueSize == 0 {
		cfg.QueueSize = defaultQueueSize
	}
	if cfg.Workers == 0 {
		cfg.Workers = cfg.Queues + defaultWorkers - 1
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
	case cfg.Queues < 0 || cfg.Queues > maxQueues:
		return nil, fmt.Errorf("blk: %d queues, not 1 to %d", cfg.Queues, maxQueues)
	case n < 4 || n&(n-1) != 0 || n > virtio.MaxQueueSize:
		return nil, fmt.Errorf("blk: queue size %d is not a power of two from 4 to %d", n, virtio.MaxQueueSize)
	case cfg.Workers < 0:
		return nil, fmt.Errorf("blk: %d workers", cfg.Workers)
	}
	info, err := checkInfo(cfg.Backend.Info())
	if err != nil {
		return nil, err
	}
	d := &Device{
		backend:   cfg.Backend,
		info:      info,
		sectors:   uint64(info.Size) >> sectorShift,
		readOnly:  info.ReadOnly,
		queues:    cfg.Queues,
		queueSize: n,
		workers:   cfg.Workers,
		ops:       throttle.Bucket{Rate: cfg.Ops},
		bytes:     throttle.Bucket{Rate: cfg.Bytes},
		log:       cfg.Log,
	}
	d.trier, _ = cfg.Backend.(Trier)
	copy(d.id[:], cfg.ID)
	d.fillConfig()
	return d, nil
}

// checkInfo returns info with its defaults filled in.
func checkInfo(info Info) (Info, error) {
	if info.BlockSize == 0 {
		info.BlockSize = sectorSize
	}
	if info.PhysicalBlockSize == 0 {
		info.PhysicalBlockSize = info.BlockSize
	}
	if info.MaxTry <= 0 {
		info.MaxTry = defaultMaxTry
	}
	logical, physical := info.BlockSize, info.PhysicalBlockSize
	if logical < sectorSize || logical&(logical-1) != 0 || physical&(physical-1) != 0 || physical < logical || physical > maxBlockSize {
		return info, fmt.Errorf("blk: blocks of %d and %d bytes are not powers of two from %d to %d", logical, physical, sectorSize, maxBlockSize)
	}
	if info.Size < 0 || info.Size%int64(logical) != 0 {
		return info, fmt.Errorf("blk: size %d is not a multiple of %d", info.Size, logical)
	}
	return info, nil
}

// fillConfig writes the configuration space, which never changes.
func (d *Device) fillConfig() {
	le := binary.LittleEndian
	c := d.config[:]
	le.PutUint64(c[configCapacity:], d.sectors)
	le.PutUint32(c[configSegMax:], uint32(d.queueSize)-overhead)
	le.PutUint32(c[configBlkSize:], uint32(d.info.BlockSize))
	perPhysical := uint(d.info.PhysicalBlockSize / d.info.BlockSize)
	c[configPhysicalBlockExp] = byte(bits.Len(perPhysical) - 1)
	le.PutUint16(c[configMinIOSize:], uint16(perPhysical))
	le.PutUint16(c[configNumQueues:], uint16(d.queues))
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
	f := featureSegMax | featureBlkSize | featureTopology | featureFlush
	if d.queues > 1 {
		f |= featureMQ
	}
	if d.readOnly {
		return f | featureReadOnly
	}
	return f | featureDiscard | featureWriteZeroes
}

// QueueSizes implements virtio.Device.
func (d *Device) QueueSizes() []uint16 {
	sizes := make([]uint16, d.queues)
	for i := range sizes {
		sizes[i] = d.queueSize
	}
	return sizes
}

// ReadConfig implements virtio.Device.
func (d *Device) ReadConfig(off uint64, p []byte) { virtio.ReadConfig(d.config[:], off, p) }

// logFailure reports that the host failed to serve a request.
func (d *Device) logFailure(op string, sector uint64, err error) {
	if suppressed, ok := d.failures.Allow(time.Now()); ok {
		d.log.Error("disk request failed", "op", op, "sector", sector, "err", err, "suppressed", suppressed)
	}
}
