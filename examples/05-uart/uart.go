package main

import "io"

// Registers of a UART, counted from its first port. Reading and writing the same port may be two different registers.
const (
	data       = 0 // read: the byte received; write: the byte to send
	lineStatus = 5

	dataReady     = 1 << 0 // lineStatus: a byte has been received
	senderIsEmpty = 1 << 5 // lineStatus: the next byte may be written
)

// A uart is as much of a 16550 as a guest needs that asks before each byte whether it may. It is a devices.Handler.
type uart struct {
	out   io.Writer
	input chan byte
}

func newUART(out io.Writer) *uart { return &uart{out: out, input: make(chan byte, 1024)} }

// receive is called when a byte comes in, by any goroutine.
func (u *uart) receive(c byte) { u.input <- c }

// Read answers `in` from port number off of the chip.
func (u *uart) Read(off uint64, p []byte) {
	clear(p) // what this chip does not have reads as zeros
	switch off {
	case data:
		select {
		case p[0] = <-u.input:
		default: // nobody looks first whether there is one: then it is a zero
		}
	case lineStatus:
		p[0] = senderIsEmpty // always: a byte is gone as soon as it is written
		if len(u.input) > 0 {
			p[0] |= dataReady
		}
	}
}

// Write takes `out` to it.
func (u *uart) Write(off uint64, p []byte) {
	if off == data {
		_, _ = u.out.Write(p[:1]) // a line has no way to say that nobody listens
	}
}
