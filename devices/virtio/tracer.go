package virtio

import "time"

// A Tracer is told what passes between one device and its driver, for those who want to see where time goes. Its methods are safe for
// concurrent use, and neither block nor allocate. Whoever calls one sees first that it is not nil.
type Tracer interface {
	// Now returns the time on the tracer's clock.
	Now() time.Duration
	// Doorbell says that the driver has rung for a queue, and that the goroutine that serves it is awake. A driver does not ring while
	// the device is at work (2.7.10).
	Doorbell(queue int)
	// Request says that a request was served; the driver has not been told yet.
	Request(r Request)
}

// A Request is what a Tracer is told of one.
type Request struct {
	Queue     int
	Operation Operation
	Status    uint8         // what the driver is told, 0 for success
	Begun     time.Duration // when the device took it, on the tracer's clock
	Offset    uint64        // of a disk: in bytes
	Bytes     uint32        // of data; of a network: without the header
}

// An Operation is what a Request asked for.
type Operation uint8

const (
	OtherOperation Operation = iota
	Read
	Write
	Flush
	Identify
	Discard
	WriteZeroes
	Send
	Receive
)

var operationNames = [...]string{"other", "read", "write", "flush", "identify", "discard", "write zeroes", "send", "receive"}

// String returns the name in lower case.
func (o Operation) String() string {
	if int(o) < len(operationNames) {
		return operationNames[o]
	}
	return operationNames[OtherOperation]
}
