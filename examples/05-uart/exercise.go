package main

import (
	"io"

	"govmm/devices"
)

// The exercises of lesson 5. Change what stands here, then: go test ./examples/05-uart -exercise

// A better UART. What it does not answer by itself is left to the one of the lesson, which has input for what has been received and not yet read.
type better struct {
	*uart
	irq devices.IRQ // irq.Trigger interrupts the guest
}

func newBetter(out io.Writer, irq devices.IRQ) *better {
	return &better{uart: newUART(out), irq: irq}
}

// Exercise 1: register 7 keeps what is written to it. Drivers look there whether there is a chip at all.
//
// Exercise 2: register 3, line control, keeps what is written to it too. While its bit 7 is set, registers 0 and 1 are not data and interrupt enable but
// the two bytes of the line's speed, which are kept. A driver that sets the speed must send nothing by that, nor take away what was received.
//
// Exercise 3: register 1 is interrupt enable. While its bit 0 is set, the guest is interrupted when a byte comes in, and when the bit is set while
// bytes are there already. Register 2 then tells why: 4 for received data, as long as there is any and the bit is set, and 1 for nothing.
// receive is called by another goroutine than Read and Write.

func (b *better) receive(c byte) { b.uart.receive(c) }

func (b *better) Read(off uint64, p []byte) { b.uart.Read(off, p) }

func (b *better) Write(off uint64, p []byte) { b.uart.Write(off, p) }
