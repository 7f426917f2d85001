// Package virtio models the transport-independent half of a virtio device:
// chapters 2 (basic facilities) and 3 (general initialization and operation)
// of the Virtual I/O Device specification, version 1.2.
//
// A [Device] is one kind of hardware (a disk, a network card). It knows neither
// registers nor interrupts. A [Controller] owns a Device and does for it what
// every virtio device has to do: the status machine, feature negotiation,
// queue configuration and the configuration generation. A transport
// (virtiommio; later PCI) decodes registers on top of a Controller. A [Queue]
// is a split virtqueue as the device sees it, and a [Chain] is one buffer that
// the driver made available in it.
//
// Left out: packed virtqueues (2.8), in-order use (VIRTIO_F_IN_ORDER),
// notification data, queue reset (VIRTIO_F_RING_RESET), shared memory regions
// (2.10), the admin queue, and everything the specification calls legacy.
//
// # Hostile input
//
// All registers, and every byte of guest RAM, which includes the rings and the
// descriptor tables, belong to the guest and may change at any moment. Each
// ring field is read once into a local variable, checked and then used.
// Nothing the guest writes makes this package panic, touch memory outside the
// guest's RAM, spin, or hold more memory than [MaxQueueSize] implies. A ring
// that breaks the rules puts the device into DEVICE_NEEDS_RESET (2.1.2), and
// it works again after the driver has reset it.
package virtio

import (
	"context"
	"strconv"

	"govmm/devices/eventfd"
)

// A DeviceType is a virtio device ID (chapter 5).
type DeviceType uint32

const (
	TypeNet     DeviceType = 1
	TypeBlock   DeviceType = 2
	TypeConsole DeviceType = 3
	TypeEntropy DeviceType = 4
	TypeBalloon DeviceType = 5
	Type9P      DeviceType = 9
	TypeVsock   DeviceType = 19
	TypeFS      DeviceType = 26
	TypePMem    DeviceType = 27
)

// String returns the name that the specification gives the device type.
func (t DeviceType) String() string {
	switch t {
	case TypeNet:
		return "network"
	case TypeBlock:
		return "block"
	case TypeConsole:
		return "console"
	case TypeEntropy:
		return "entropy"
	case TypeBalloon:
		return "balloon"
	case Type9P:
		return "9p"
	case TypeVsock:
		return "socket"
	case TypeFS:
		return "file system"
	case TypePMem:
		return "pmem"
	}
	return "device type " + strconv.FormatUint(uint64(t), 10)
}

// Feature bits that belong to rings and transports, not to a device type
// (chapter 6). The Controller offers the ones marked so; a Device never does.
const (
	FeatureIndirectDesc uint64 = 1 << 28 // VIRTIO_F_INDIRECT_DESC, offered
	FeatureEventIdx     uint64 = 1 << 29 // VIRTIO_F_EVENT_IDX, offered
	FeatureVersion1     uint64 = 1 << 32 // VIRTIO_F_VERSION_1, offered, and the driver must accept it

	// reservedFeatures are bits 24 to 49: the specification keeps them for
	// queues and feature negotiation (2.2).
	reservedFeatures uint64 = (1<<50 - 1) &^ (1<<24 - 1)

	transportFeatures = FeatureIndirectDesc | FeatureEventIdx | FeatureVersion1
)

// MaxQueueSize is the largest maximum queue size that a Device may have. The
// format allows 32768 (2.7), but a hostile driver can make that many chains of
// that many descriptors available; with 1024 the lists that describe them
// take at most 24 MiB a queue.
const MaxQueueSize = 1024

// Memory is guest RAM, addressed by guest-physical addresses. The slices are
// windows onto memory that vCPUs change at any time, and stay valid until the
// Controller is closed. An error means that [addr, addr+n) does not lie inside
// one region of RAM. Both methods are safe for concurrent use and do not
// allocate when they succeed.
type Memory interface {
	// ReadSlice returns a window that the device only reads.
	ReadSlice(addr, n uint64) ([]byte, error)
	// WriteSlice returns a window that the device may write, so that an
	// implementation can count it as dirty. The windows of a used ring are
	// taken once, at activation, and written until the next reset.
	WriteSlice(addr, n uint64) ([]byte, error)
}

// A Device is one virtio device, without its transport.
//
// Type, Features and QueueSizes never change. ReadConfig may be called at any
// time from any goroutine, also while Run runs. Run is never called twice at
// the same time.
type Device interface {
	// Type returns the device ID, which is not 0.
	Type() DeviceType

	// Features returns the feature bits of this device type: bits 0 to 23 and
	// 50 to 63 only (2.2).
	Features() uint64

	// QueueSizes returns the maximum size of each queue, a power of two of at
	// most MaxQueueSize. Its length is the number of queues.
	QueueSizes() []uint16

	// ReadConfig fills p with the device-specific configuration space from
	// byte offset off on (2.5). off and len(p) are the guest's. p is zero when
	// ReadConfig is called; what lies beyond the structure stays so.
	// [ReadConfig] does this for a structure held as bytes.
	ReadConfig(off uint64, p []byte)

	// Run serves the queues of s, from the moment when the driver sets
	// DRIVER_OK until ctx is cancelled, which happens on reset, pause and
	// shutdown. Run returns only when no request is in flight: every chain
	// that it took has been pushed or put back, no goroutine that it started
	// is left, and guest memory is not touched any more. A driver's reset
	// waits for that.
	//
	// After a pause Run is called again with the same Session, whose queues go
	// on where they were. An error other than ctx's, such as one from
	// [Queue.Next], puts the device into DEVICE_NEEDS_RESET.
	Run(ctx context.Context, s *Session) error
}

// A ConfigWriter is a Device whose configuration space has fields that the
// driver writes. WriteConfig follows the rules of ReadConfig: off and p are
// the guest's, and writes that hit no such field are ignored.
type ConfigWriter interface {
	WriteConfig(off uint64, p []byte)
}

// A Resetter is a Device of whose configuration space a driver can change what the next one is to find as it was at first. Reset is called when a
// driver resets the device, and Run does not run.
type Resetter interface {
	Reset()
}

// A Session is what the driver negotiated, from DRIVER_OK to the next reset.
type Session struct {
	// Features are the feature bits that driver and device agreed on.
	Features uint64

	// Queues has one element for each of Device.QueueSizes. A queue that the
	// driver did not enable is there too: it stays empty.
	Queues []*Queue

	// Memory is guest RAM.
	Memory Memory

	// Tracer is told of the requests that the device serves. It is nil if nobody wants to know.
	Tracer Tracer

	// Restored says that the session began in the machine of which a snapshot was taken: state that the
	// device was restored with is of this session. Without it the session began after a reset.
	Restored bool

	configChanged func()
}

// ConfigChanged tells the driver that the device changed its configuration
// space: the generation count advances and a configuration change
// notification is sent (2.5.1, 2.3). Device.Run calls it after the change. It
// is safe for concurrent use.
func (s *Session) ConfigChanged() {
	if s.configChanged != nil {
		s.configChanged()
	}
}

// An Interrupter carries notifications from the device to the driver (2.3).
// The transport implements it: with one interrupt for everything, or with one
// for each queue. Both methods are safe for concurrent use and must not call
// back into the Controller.
type Interrupter interface {
	// Queue says that buffers of queue i were used.
	Queue(i int)
	// Config says that the configuration space or the status changed.
	Config()
}

// A Doorbell is an address at which the driver notifies the device of new
// buffers (2.3). A virtual machine monitor that lets the kernel watch the
// address (an ioeventfd) signals Event without involving the transport;
// otherwise the register write reaches the transport, which does the same.
type Doorbell struct {
	Offset uint64         // of the register, in the transport's region
	Size   int            // width of the write in bytes
	Value  uint64         // the value that rings this doorbell
	Queue  int            // index of the queue
	Event  *eventfd.Event // owned by the Controller
}

// ReadConfig copies the part of the structure config that starts at byte
// offset off to p, as Device.ReadConfig is to do. Bytes of p beyond the
// structure are left as they are.
func ReadConfig(config []byte, off uint64, p []byte) {
	if off < uint64(len(config)) {
		copy(p, config[off:])
	}
}
