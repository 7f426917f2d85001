// Package debugexit models the port through which a test kernel ends the
// machine and reports a result: QEMU's isa-debug-exit device (QEMU's
// hw/misc/debugexit.c), for which many such kernels are written. They expect
// it at port 0xf4, 4 ports wide, or at QEMU's default, 0x501, 2 ports wide.
//
// The value that the guest writes is the guest's, and any of 2^32.
//
// A Port has no state, and so is no devices.Snapshotter.
package debugexit

import "encoding/binary"

// A Port ends the machine when the guest writes to it. It is a
// devices.Handler for a region of any size; all its addresses are alike. Its
// methods may be called from any goroutine.
type Port struct {
	exit func(v uint32)
}

// New returns a Port that calls exit with what the guest writes: a value of 1,
// 2 or 4 bytes, or the low half of 8. exit is called on the vCPU thread,
// once for each write, with several vCPUs perhaps at the same time.
func New(exit func(v uint32)) *Port { return &Port{exit: exit} }

// Read gives zeroes, as QEMU's device does.
func (p *Port) Read(off uint64, b []byte) { clear(b) }

// Write calls the function that New was given.
func (p *Port) Write(off uint64, b []byte) {
	var v [8]byte
	copy(v[:], b)
	p.exit(binary.LittleEndian.Uint32(v[:]))
}

// Status returns the exit status that a process ends with for the value v:
// what QEMU's parent sees for the same guest.
//
// QEMU exits with v<<1 | 1, which is odd and so never the 0 that an orderly
// shutdown gives. Of an exit status, though, the parent of a process gets the
// low 8 bits only, so that values of 0x80 and above cannot be told from
// v&0x7f. Status returns those 8 bits: 1 to 255.
func Status(v uint32) int { return int(v<<1&0xff | 1) }
