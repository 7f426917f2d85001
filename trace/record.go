// Package trace records what passes between a guest and its monitor, and writes it as a file of the Trace Event format, which Perfetto and
// Chromium's trace viewers open.
//
// A Recorder keeps the last events of each vCPU, and the last ones of all devices together, in rings whose size is fixed when it is made: to record
// one is to copy 48 bytes. It knows neither KVM nor virtio; numbers in a Record get their names when the file is written (Labels).
package trace

import "time"

// A Kind says what a Record tells of.
type Kind uint8

const (
	Exit      Kind = iota // KVM_RUN returned, and the monitor answered; in a vCPU's ring
	Doorbell              // the driver rang, and the device's goroutine woke
	Interrupt             // the device interrupted the guest
	Request               // the device served a request
)

// A Direction is that of an exit's data, as the guest sees it.
type Direction uint8

const (
	NoData Direction = iota
	In               // IN, or a read of memory
	Out              // OUT, or a write to memory
)

// NoVector is the Queue of an Interrupt by a line.
const NoVector = 0xffff

// A Record is one event. It holds no pointers, so that a ring of them is nothing to the garbage collector.
type Record struct {
	Start    time.Duration // on the Recorder's clock
	Duration time.Duration // Exit: until it was answered. Request: until it was served. Otherwise 0

	Addr uint64 // Exit: port or guest-physical address. Request: byte offset on the disk. Interrupt: the message's address, 0 for a line
	Data uint64 // Exit: the first 8 bytes, little-endian. Interrupt: the message's data, or the number of the line (GSI)
	Size uint32 // Exit, Request: bytes

	Device    uint16 // index in Labels.Devices
	Queue     uint16 // Doorbell, Request: the queue's index. Interrupt: the number of the MSI-X vector, or NoVector
	Kind      Kind
	Reason    uint8     // Exit: for Labels.Reason
	Operation uint8     // Request: for Labels.Operation
	Status    uint8     // Request: what the device answered; 0 is success
	Direction Direction // Exit
	Width     uint8     // Exit by a port: bytes of one access; a string instruction makes Size/Width of them
}
