// Package wire is what the two halves of the nested test host say to each
// other: the program on the host and its init inside the machine.
//
// They share two byte streams, which are virtio-serial ports inside. Both carry
// frames: one byte of kind, the payload's length as a little-endian uint32, the
// payload. The control port carries everything but standard input:
//
//	init -> host   Hello                      the machine is up
//	host -> init   Start                      a Job
//	init -> host   Stdout, Stderr             the command's output, as it comes
//	host -> init   Resize, Signal             for its terminal, for the command
//	init -> host   Exit or Fail               the last frame
//
// The input port carries Stdin frames to the command, an empty one for the end.
// It is a port of its own because the command may leave its input unread for as
// long as it likes, which must not hold up anything else.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"sync"
)

// Names of the two virtio-serial ports.
const (
	ControlPort = "govmm.nested.control"
	InputPort   = "govmm.nested.input"
)

// A Kind says what a frame means.
type Kind uint8

// The kinds of frames.
const (
	Hello  Kind = iota + 1 // no payload
	Start                  // a Job as EncodeJob writes it
	Stdin                  // bytes; none is the end of the input
	Stdout                 // bytes
	Stderr                 // bytes
	Resize                 // a Size as its Bytes method writes it
	Signal                 // one byte, the signal's number
	Exit                   // one byte, the exit status
	Fail                   // why init could not do its part, one line
)

const (
	headerSize = 5

	// MaxPayload is the longest payload of a frame, in bytes. Only a Job comes
	// near it: arguments and environment of a Linux process are at most 6 MiB
	// (fs/exec.c, bprm_stack_limits).
	MaxPayload = 8 << 20
)

// A Writer writes frames. Its methods may be called from any goroutine.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer of frames to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// WriteFrame writes one frame with one call of the underlying Write.
func (w *Writer) WriteFrame(kind Kind, payload []byte) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("frame of %d bytes: the limit is %d", len(payload), MaxPayload)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf = append(w.buf[:0], byte(kind))
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(payload)))
	w.buf = append(w.buf, payload...)
	_, err := w.w.Write(w.buf)
	return err
}

// Stream returns an io.Writer whose writes become frames of the given kind.
func (w *Writer) Stream(kind Kind) io.Writer { return stream{w, kind} }

type stream struct {
	w    *Writer
	kind Kind
}

func (s stream) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, MaxPayload)
		if err := s.w.WriteFrame(s.kind, p[done:done+n]); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// A Reader reads frames. It is for one goroutine.
type Reader struct {
	r      io.Reader
	header [headerSize]byte
	buf    []byte
}

// NewReader returns a Reader of the frames in r.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// ReadFrame returns the next frame. The payload is valid until the next call.
// The error is io.EOF when the stream ends between two frames and
// io.ErrUnexpectedEOF when it ends inside one.
func (r *Reader) ReadFrame() (Kind, []byte, error) {
	if _, err := io.ReadFull(r.r, r.header[:]); err != nil {
		return 0, nil, err
	}
	kind := Kind(r.header[0])
	if kind < Hello || kind > Fail {
		return 0, nil, fmt.Errorf("frame of unknown kind %d", kind)
	}
	n := binary.LittleEndian.Uint32(r.header[1:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("frame of %d bytes: the limit is %d", n, MaxPayload)
	}
	if int(n) > cap(r.buf) {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return kind, r.buf, nil
}

// A Job is a command to run and its surroundings.
type Job struct {
	Args []string // the command and its arguments
	Env  []string // its whole environment, KEY=VALUE
	Dir  string   // its working directory
	// Terminal is the size of the terminal that the command gets for its standard
	// files; nil gives it three pipes.
	Terminal *Size
	// Shares are directories of the host, one for each 9p mount tag ShareTag(i),
	// that the command sees read-write at the same path.
	Shares []string
}

// ShareTag returns the 9p mount tag of the i-th shared directory.
func ShareTag(i int) string { return fmt.Sprintf("share%d", i) }

// RootTag is the 9p mount tag of the host's whole file system.
const RootTag = "host"

// EncodeJob returns the payload of a Start frame. Strings need not be UTF-8.
func EncodeJob(job Job) ([]byte, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(job); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// DecodeJob reads the payload of a Start frame.
func DecodeJob(p []byte) (Job, error) {
	var job Job
	err := gob.NewDecoder(bytes.NewReader(p)).Decode(&job)
	return job, err
}

// Size is the size of a terminal in characters.
type Size struct{ Rows, Cols uint16 }

// Bytes returns the payload of a Resize frame.
func (s Size) Bytes() []byte {
	return binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, s.Rows), s.Cols)
}

// ParseSize reads the payload of a Resize frame.
func ParseSize(p []byte) (Size, error) {
	if len(p) != 4 {
		return Size{}, fmt.Errorf("terminal size of %d bytes", len(p))
	}
	return Size{binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:])}, nil
}
