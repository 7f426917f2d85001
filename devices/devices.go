// Package devices is the vocabulary that device models share: the Handler
// that answers register accesses, the IRQ that a device raises, and the Bus
// that finds the Handler for an address. Port I/O and memory-mapped I/O are
// both a Bus.
//
// A device knows neither KVM nor the machine it is part of. It gets its
// interrupt and whatever else it calls in its constructor.
//
// Addresses, access widths and data come from the guest and are hostile: a
// Bus answers every one of them, and never with an error, because hardware
// accesses do not fail.
package devices

// A Handler answers the guest's accesses to one region of a Bus.
//
// off is relative to the region's base. len(p) is 1, 2, 4 or 8 and
// [off, off+len(p)) lies inside the region; a Bus sees to both. Data is
// little-endian. p belongs to the caller and may alias memory that the kernel
// shares: it is valid during the call only.
//
// Both methods may be called from several vCPU threads at once; a Handler
// locks itself. They must not allocate.
type Handler interface {
	// Read fills all of p with what the guest reads.
	Read(off uint64, p []byte)
	// Write takes what the guest writes.
	Write(off uint64, p []byte)
}

// An IRQ is one interrupt line, or one message-signalled vector, as its
// device sees it.
type IRQ interface {
	// Trigger sends one edge. It does not block and may be called from any
	// number of goroutines at once. Edges may merge into one as long as the
	// guest has not taken it yet: whatever a device did before the call, the
	// guest is interrupted after it. An error is the host's, never the
	// guest's.
	Trigger() error
}
