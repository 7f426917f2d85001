// Package agent is how the host and a small init of ours in the guest run a command there: the frames that they exchange over a
// virtio console, what the guest is told to run, and the host's side. The guest's side is package agent/guest.
//
// Each side sends a stream of frames: a kind, a length and that many bytes. The guest begins with Ready, before which the host sends nothing:
// the console would echo it. Then the host sends Input and Signals, and the guest Output and Errors as the command writes them, unchanged; at last comes
// Exit or Failure, after which nothing matters. Neither side sends more than the other has room for, so that who reads no more stops the command, and not the stream.
//
// The host does not believe its guest: a frame is bounded, and one that makes no sense ends the session with an error.
package agent

import (
	"encoding/binary"
	"errors"
	"strconv"
)

// A Kind says what a frame carries.
type Kind byte

// From the guest.
const (
	Ready   Kind = iota + 1 // the guest listens; no bytes
	Output                  // of the command's standard output, or of its terminal
	Errors                  // of its standard error
	Exit                    // its exit status, a byte
	Failure                 // a byte, the exit status that a shell would give, and why the command does not run, a line
	Taken                   // how many bytes of Input the command has taken, four bytes, little-endian
)

// From the host.
const (
	Input  Kind = iota + 0x81 // for the command's standard input, or its terminal; no bytes mean its end
	Signal                    // the number of a signal for the command, a byte
	Resize                    // columns and rows of the terminal, two bytes each, little-endian
	Passed                    // how many bytes of Output and Errors were passed on, four bytes, little-endian
)

const (
	headerSize = 4
	// MaxPayload is the most bytes that a frame carries.
	MaxPayload = 16 << 10
	// Window is how many bytes of Input there are at most that were not Taken. The host waits, so that a command that does not read its
	// input can still be sent a signal.
	Window = 64 << 10
	// OutputWindow is how many bytes of Output and Errors together there are at most that were not Passed. The guest waits: its kernel waits for the console with a processor
	// that does nothing else.
	OutputWindow = 256 << 10
	// passedStep is how many are passed on before the guest is told.
	passedStep = OutputWindow / 4
)

// AppendFrame appends a frame to buf. The payload has at most MaxPayload bytes.
func AppendFrame(buf []byte, kind Kind, payload []byte) []byte {
	buf = append(buf, byte(kind), 0)
	buf = binary.LittleEndian.AppendUint16(buf, uint16(len(payload)))
	return append(buf, payload...)
}

var errFrame = errors.New("the agent's stream is broken")

// A streamError says what is wrong with a stream. It takes no package fmt, which would be a tenth of the guest's init.
type streamError string

func (e streamError) Error() string { return errFrame.Error() + ": " + string(e) }
func (e streamError) Unwrap() error { return errFrame }

func frameError(kind Kind, size int) error {
	return streamError("a frame of kind " + strconv.Itoa(int(kind)) + " with " + strconv.Itoa(size) + " bytes")
}

// A Decoder takes a stream in pieces of any size and gives its frames to Handle, one at a time, in order. The payload is valid until
// Handle returns. An error of Handle, or of the stream, is what Write returns from then on.
type Decoder struct {
	Handle func(kind Kind, payload []byte) error

	frame []byte // so far
	err   error
}

// Write implements io.Writer.
func (d *Decoder) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && d.err == nil; {
		rest = rest[d.take(rest):]
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// take moves bytes into the frame, up to its end, and handles it there.
func (d *Decoder) take(p []byte) (n int) {
	want := headerSize
	if len(d.frame) >= headerSize {
		want += int(binary.LittleEndian.Uint16(d.frame[2:]))
	}
	n = min(want-len(d.frame), len(p))
	d.frame = append(d.frame, p[:n]...)
	if len(d.frame) < headerSize {
		return n
	}
	size := int(binary.LittleEndian.Uint16(d.frame[2:]))
	switch {
	case size > MaxPayload || d.frame[1] != 0:
		d.err = frameError(Kind(d.frame[0]), size)
	case len(d.frame) == headerSize+size:
		d.err = d.Handle(Kind(d.frame[0]), d.frame[headerSize:])
		d.frame = d.frame[:0]
	}
	return n
}
