// Package serial models the 16550A UART of a PC's serial port: the register
// file that National Semiconductor's PC16550D data sheet describes (section
// 8, "Registers"), with its 16-byte receive FIFO, trigger levels, timeout
// indication, interrupt priorities, modem lines and loopback mode.
//
// # What it leaves out
//
// The line has no speed: the divisor latch is storage, a byte leaves as soon
// as it is written, and the four character times after which a FIFO below its
// trigger level reports a timeout are none. The line has no errors and no
// breaks, and the word length is storage too: all eight bits of every byte
// pass, both ways. The transmit FIFO is always empty. There is no DMA mode.
// The modem at the other end holds DCD, DSR and CTS up. OUT2, which gates the
// interrupt on a PC's board and not in the chip, does not gate it here.
//
// # Flow control of input
//
// A real line drops what arrives before anybody listens, and drivers count on
// that: Linux's 8250 driver turns the received-data interrupt on for a moment
// while it looks for the chip, and when it takes the chip into use it clears
// the FIFO and reads the receive buffer once, for luck. Input that a person
// piped into the monitor would lose its first bytes there. Therefore input is
// held back, invisible to the guest and untouched by what it clears or reads,
// except while the guest listens:
//
//   - the received-data interrupt is enabled (IER bit 0), or
//   - the guest has read the line status register more than 16 times in a row
//     with the transmitter idle, and has neither written THR nor read RBR in
//     between. A guest that polls for input does this, a driver that probes or
//     prints does not. It holds until the guest writes IER or FCR.
//
// In loopback mode the guest does not listen. A FIFO reset by a guest that
// listens discards the input that it could have read, at most 16 bytes; a
// change between FIFO mode and 16450 mode alone discards none, because Linux
// makes one just after it began to listen. The host side waits in Receive,
// without limit, so that there are no overruns outside loopback.
//
// # Interrupts
//
// The chip's INTR pin is a level, the IRQ an edge, as a PC's interrupt
// controller takes it. There is an edge whenever the interrupt that IIR
// identifies becomes another one, and again when the guest has taken one of
// several received bytes or has written a byte that left at once. That is as
// if INTR fell and rose for each cause. A driver that serves one cause, or one
// byte, for each interrupt therefore never gets stuck, and one that serves all
// of them sees now and then an interrupt without a cause.
//
// # The guest's inputs
//
// Every register access is the guest's, in any order and from any vCPU. None
// of them makes the UART hold more than 2*16 bytes.
package serial

import (
	"io"
	"log/slog"
	"sync"

	"govmm/devices"
)

// Ports is the number of addresses that the register file takes.
const Ports = 8

// Config says what a UART is connected to. The zero value is a UART that is
// connected to nothing.
type Config struct {
	// Out takes what the guest sends, one byte a call, in the order of the
	// guest's writes. Write is called on the vCPU thread that wrote the byte,
	// by one thread at a time, and that vCPU stands still until it returns.
	// It must not call back into the UART. A byte that it fails to take is
	// lost. nil discards.
	Out io.Writer
	// IRQ is the interrupt. nil is a line that is not connected.
	IRQ devices.IRQ
	// Log gets the first failure of Out and of IRQ. nil is silent.
	Log *slog.Logger
}

// A UART is a 16550A. It is a devices.Handler for a region of Ports
// addresses, and its methods may be called from any number of goroutines.
type UART struct {
	irq devices.IRQ
	log *slog.Logger

	mu sync.Mutex
	registers

	// room holds a token when the receive FIFO has become empty of input since
	// Receive last looked. To wake it for each byte that the guest takes would
	// cost a switch of threads for each.
	room chan struct{}
	// turn holds a token while a Receive is under way.
	turn chan struct{}

	// outMu is held across out.Write, to make its calls one at a time. It is
	// never held together with mu.
	outMu  sync.Mutex
	out    io.Writer
	outBuf [1]byte

	outFailed, irqFailed sync.Once
}

// New returns a UART in the state after a master reset.
func New(c Config) *UART {
	u := &UART{
		irq:       c.IRQ,
		log:       c.Log,
		registers: resetRegisters(),
		room:      make(chan struct{}, 1),
		turn:      make(chan struct{}, 1),
		out:       c.Out,
	}
	if u.out == nil {
		u.out = io.Discard
	}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	return u
}

// Read answers a guest's read. An access wider than a byte reads consecutive
// registers, lowest first, as an ISA bus splits it for an eight-bit device.
func (u *UART) Read(off uint64, p []byte) {
	for i := range p {
		p[i] = u.readByte(off + uint64(i))
	}
}

// Write takes a guest's write. It returns when the byte, if it was one to
// send, has been given to Config.Out. A wider access is split as in Read.
func (u *UART) Write(off uint64, p []byte) {
	for i, v := range p {
		u.writeByte(off+uint64(i), v)
	}
}

func (u *UART) readByte(off uint64) byte {
	u.mu.Lock()
	before := u.input.n
	v := u.readRegister(off)
	u.tookInput(before)
	edge := u.updateInterrupt()
	u.mu.Unlock()
	if edge {
		u.trigger()
	}
	return v
}

func (u *UART) writeByte(off uint64, v byte) {
	u.mu.Lock()
	before := u.input.n
	sent := u.writeRegister(off, v)
	u.tookInput(before)
	edge := u.updateInterrupt()
	u.mu.Unlock()
	if edge {
		u.trigger()
	}
	if sent {
		u.transmit(v)
	}
}

// send writes v to the host. The lock is given back also when Write panics, so that other vCPUs
// can leave their loops.
func (u *UART) send(v byte) error {
	u.outMu.Lock()
	defer u.outMu.Unlock()
	u.outBuf[0] = v
	_, err := u.out.Write(u.outBuf[:])
	return err
}

// transmit gives v to the host and then reports the transmitter empty. The
// guest sees that only now: what it does next, on whichever vCPU, comes after
// v on the line.
func (u *UART) transmit(v byte) {
	if err := u.send(v); err != nil {
		u.outFailed.Do(func() {
			u.log.Error("serial: output lost; further losses are not logged", "err", err)
		})
	}

	u.mu.Lock()
	u.sent()
	edge := u.updateInterrupt()
	u.mu.Unlock()
	if edge {
		u.trigger()
	}
}

// trigger sends an edge. The caller does not hold mu.
func (u *UART) trigger() {
	if u.irq == nil {
		return
	}
	if err := u.irq.Trigger(); err != nil {
		u.irqFailed.Do(func() {
			u.log.Error("serial: interrupt lost; further losses are not logged", "err", err)
		})
	}
}
