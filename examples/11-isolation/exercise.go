package main

// The exercises of lesson 11. Change what stands here, then: go test ./examples/11-isolation -exercise
//
// Each of the three functions works as long as the guest behaves, and is a fault that a monitor had.

// Exercise 1: is all of a range in the guest's memory, which goes from 0 to ramSize? addr and size are the guest's: any 64-bit number.
func inRAM(addr, size, ramSize uint64) bool {
	return addr+size <= ramSize
}

// A descriptor of a virtqueue (lesson 7). Next counts if there is one more in the chain.
type descriptor struct {
	Addr uint64
	Len  uint32
	More bool
	Next uint16
}

// A table of descriptors in the guest's memory.
type table interface {
	Len() int
	At(i uint16) descriptor // panics unless i is less than Len
}

// Exercise 2: the descriptors of a chain, in order. false if it is none: it leads out of the table or has no end.
func chain(t table, head uint16) ([]descriptor, bool) {
	found := []descriptor{t.At(head)}
	for d := t.At(head); d.More; d = t.At(d.Next) {
		found = append(found, t.At(d.Next))
	}
	return found, true
}

// A message lies in the guest's memory: its length, and that many bytes. Both methods read that memory now. Another of the guest's processors may
// write to it meanwhile, between any two instructions of ours.
type message interface {
	Length() uint32
	Read(p []byte) // fills p with the message's first len(p) bytes
}

// Exercise 3: copy a message into the buffer and tell how long it is. false if it does not fit.
func receive(m message, buffer []byte) (n int, ok bool) {
	if m.Length() > uint32(len(buffer)) {
		return 0, false
	}
	m.Read(buffer[:m.Length()])
	return int(m.Length()), true
}
