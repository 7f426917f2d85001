// Package markport models a port that a guest writes a byte to when it has come to some point of
// its start, so that the monitor can tell when that was. No PC has such a port; what the bytes mean is for the
// machine and its guests to agree on.
//
// The bytes are the guest's, as many and as often as it likes.
//
// A Port has no state, and so is no devices.Snapshotter.
package markport

// A Port calls a function with each byte that the guest writes. It is a devices.Handler
// for a region of any size; all its addresses are alike. Its methods may be called from
// any goroutine.
type Port struct {
	mark func(v byte)
}

// New returns a Port that calls mark with the first byte of each write, on the vCPU's thread, with
// several vCPUs perhaps at the same time.
func New(mark func(v byte)) *Port { return &Port{mark: mark} }

// Read gives zeroes.
func (p *Port) Read(off uint64, b []byte) { clear(b) }

// Write calls the function that New was given.
func (p *Port) Write(off uint64, b []byte) {
	if len(b) > 0 {
		p.mark(b[0])
	}
}
