package netif

import (
	"context"
	"errors"
)

// HeaderSize is the length of struct virtio_net_hdr with num_buffers (5.1.6), in bytes. It stands
// before every frame, in both directions.
const HeaderSize = 12

// MaxFrame is the most that a frame can have, without the header: a segment of 64 KiB for offloading, with an
// Ethernet header and a VLAN tag.
const MaxFrame = 65535 + 18

// Offloads are work on packets that one side leaves to the other.
type Offloads uint8

const (
	// Checksum: frames whose transport checksum is not filled in yet (VIRTIO_NET_HDR_F_NEEDS_CSUM).
	Checksum Offloads = 1 << iota
	// TSO4 and TSO6: TCP segments that are larger than the MTU. Both need Checksum.
	TSO4
	TSO6
)

// Info describes a Backend.
type Info struct {
	// Send is what the backend can do for the guest with frames that the guest sends.
	Send Offloads
	// Receive is what frames for the guest may need, if the guest can do it.
	Receive Offloads
	// MTU is the largest packet, without the Ethernet header, if it is known; 0 is not told to the guest.
	MTU uint16
	// Pairs is the number of queue pairs, at least 1.
	Pairs int
}

// ErrNoFrame says that no frame waits at the moment.
var ErrNoFrame = errors.New("no frame waits")

// A Backend carries frames between a Device and a network. What the guest sends is hostile, and so is what comes from
// the network.
type Backend interface {
	// Info returns the same values at every call.
	Info() Info
	// Start says which part of Info.Receive the driver can take from now on. The device calls it while it
	// neither sends nor receives, before the first frame and when another driver, or the same, takes others.
	Start(receive Offloads) error
	// Pair returns queue pair i, 0 to Info.Pairs-1.
	Pair(i int) Pair
}

// A PairSelector is a Backend that has to know which pairs are in use: one with several, whose frames for the guest may come by
// any of them.
type PairSelector interface {
	// UsePairs says that pairs 0 to n-1 are served from now on, and no others. The device calls it under the same rules as
	// Start, and the first time after it.
	UsePairs(n int) error
}

// A Pair is the backend's side of a receive queue and a transmit queue. Send is for one goroutine at a
// time, Receive and Wait are for another. None of them allocates on its usual way.
//
// Segments are guest memory that may change at any time. None is empty. The methods must not change the slice
// that lists them, nor keep it or them.
type Pair interface {
	// Send gives the network one frame with its header before it. The header is a segment of its own, which the guest cannot change, and asks for nothing that was not
	// negotiated; the frame is as the guest has written it. One that
	// the network does not take, or that makes no sense, is dropped. An error is the host's.
	Send(frame [][]byte) error
	// Receive fills the segments with the header and the next frame, and returns the length of both together. num_buffers
	// in the header is the caller's to set. A frame that has no room is dropped. The error is ErrNoFrame or
	// one of the host's.
	Receive(buffer [][]byte) (int, error)
	// Wait returns when Receive may have something to give; it may return without a reason. It ends with ctx.Err().
	Wait(ctx context.Context) error
}

// An Answerer is a Pair with a network in this process, which has its answer to some frames before Send returns. To wake another
// goroutine for that would take longer than the answer, so the one that sends receives it too: between Hold and Release it may call Receive,
// also while the other is in Wait. There is one Receive at a time.
type Answerer interface {
	Pair
	// Hold has frames that come from now on not end Wait.
	Hold()
	// Release ends Wait if there is a frame, or if more is set. Without a frame, Wait goes on.
	Release(more bool)
}
