package main

import (
	"errors"

	"govmm/machine/memory"
)

// The exercises of lesson 7. Change what stands here, then: go test ./examples/07-virtqueue -exercise

// Exercise 1: the driver's side, for several texts and one ring of the doorbell. Text number i goes to question+64*i, its answer is wanted at
// answer+64*i. The queue has 4 descriptors and is not in use. If the texts need more, submit is an error and changes nothing.
func submit(ram *memory.Memory, texts []string) error { return errors.New("submit does nothing") }

// Exercise 2: when to interrupt. The driver has asked to hear when the chain with the index event is used (VIRTIO_F_EVENT_IDX). The device has just
// used those from index before to index now, which is not among them any more. All three count modulo 65536, and now may be smaller than before.
func interruptWanted(event, before, now uint16) bool { return true }

// Exercise 3: indirect descriptors. Where a descriptor has the flag indirect, it is no piece of a buffer: its bytes are a table of descriptors, which
// make the rest of the chain, beginning with number 0. Its other flags and its next mean nothing. In that table is no indirect descriptor, and no chain
// has more pieces than the queue has descriptors, wherever they are described. Whatever a driver does that the rules forbid is an error, soon.
const indirect = 4

func chainWithIndirect(q *queue, head uint16) (readable, writable [][]byte, err error) {
	return q.chain(head)
}
