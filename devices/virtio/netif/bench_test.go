package netif

import (
	"sync"
	"testing"
)

// BenchmarkTransmit is a frame of 1518 bytes without the network and the queue's goroutine.
func BenchmarkTransmit(b *testing.B) {
	rig, p := newBench(b, 64), &sink{}
	tr := newTransmitter(newDevice(b, Config{Backend: newWire(everything)}), 0, p, rig.session(0), new(sync.Mutex))
	rig.publish(64, false)
	b.ReportAllocs()
	for b.Loop() {
		rig.ring.Publish(0)
		c, _ := rig.queue.Pop()
		tr.burst(c)
	}
}

// BenchmarkReceive is a frame of 1514 bytes into merged buffers.
func BenchmarkReceive(b *testing.B) {
	rig, p := newBench(b, 64), &sink{frame: frame(0, 1514)}
	const features = featureMergeable | featureGuestChecksum | featureGuestTSO4
	r := newReceiver(newDevice(b, Config{Backend: newWire(everything)}), 0, p, rig.session(features), guestOffloads(features), new(sync.Mutex))
	rig.publish(64, true)
	for i := range uint16(64) {
		rig.ring.Publish(i)
	}
	next := uint16(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.gather(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := r.receive(b.Context()); err != nil {
			b.Fatal(err)
		}
		for range r.written {
			rig.ring.Publish(next % 64)
			next++
		}
	}
}
