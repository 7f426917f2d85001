package virtio

import "io"

// A Chain is one buffer that the driver made available: a part that the
// device reads, followed by a part that it writes (2.7.4). Either may be
// empty, and how a part is split into segments says nothing about its
// contents. The segments are windows onto guest memory: copy what is to be
// checked before it is used.
//
// A Chain belongs to the caller from [Queue.Next] or [Queue.Pop] until
// [Queue.Push] or [Queue.Unpop], and must not be used after that: the queue
// uses it again. It is not safe for concurrent use, but chains of one queue are
// independent of each other.
type Chain struct {
	queue    *Queue
	segments [][]byte // storage of readable and writable, reused
	readable [][]byte // not yet consumed
	writable [][]byte
	capacity uint64 // bytes of the writable part
	written  uint32
	head     uint16
	index    uint16 // in the available ring, free-running
	inFlight bool
}

// Readable returns the segments of the part that the device reads, without
// what Read consumed. None of them is empty. The slices are the caller's to
// shorten; Read then continues with what they have become.
func (c *Chain) Readable() [][]byte { return c.readable }

// Writable returns the segments of the part that the device writes, without
// what Write filled, under the same rules as Readable.
func (c *Chain) Writable() [][]byte { return c.writable }

// ReadableLen returns the number of bytes in Readable, less than 1<<32.
func (c *Chain) ReadableLen() uint64 { return length(c.readable) }

// WritableLen returns the number of bytes in Writable, less than 1<<32.
func (c *Chain) WritableLen() uint64 { return length(c.writable) }

// Read reads from the readable part. It is an [io.Reader] whose end is the end
// of that part.
func (c *Chain) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(c.readable) > 0 {
		n += advance(&c.readable, copy(p[n:], c.readable[0]))
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Write writes to the writable part. It is an [io.Writer] that returns
// [io.ErrShortWrite] when the part is full.
func (c *Chain) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(c.writable) > 0 {
		n += advance(&c.writable, copy(c.writable[0], p[n:]))
	}
	c.written += uint32(n)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// Written returns the number of bytes that Write wrote: what Push is to be
// told by a device that fills chains with Write only.
func (c *Chain) Written() uint32 { return c.written }

// advance consumes n bytes of the first segment and returns n.
func advance(segments *[][]byte, n int) int {
	s := *segments
	if s[0] = s[0][n:]; len(s[0]) == 0 {
		*segments = s[1:]
	}
	return n
}

func length(segments [][]byte) uint64 {
	var n uint64
	for _, s := range segments {
		n += uint64(len(s))
	}
	return n
}
