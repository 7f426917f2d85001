package blk

import "testing"

// FuzzRequest serves one request, which is tried first, whose readable part is the input, behind two
// bytes that choose the size of the writable part and how both are split.
func FuzzRequest(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) < 2 || len(input) > 1<<14 {
			return
		}
		b := newBench(t, newDisk(16), Config{ID: "fuzz"})
		choice := input[1]
		b.device.trier = &tryDisk{b.disk, func() bool { return choice&1 != 0 }}
		room, split := 64*int(input[0]), []int{int(input[1]), 16, int(input[1]) * 8}
		input = input[2:]
		in, out := b.mem.Alloc(uint64(len(input)), 1), b.mem.Alloc(uint64(room)+1, 1)
		copy(b.mem.Bytes(in, uint64(len(input))), input)
		b.mem.Bytes(out+uint64(room), 1)[0] = 0xee
		bufs := cut(nil, in, len(input), false, split)
		bufs = cut(bufs, out, room+1, true, split)
		r := b.serve(b.ring.AddIndirect(bufs...), out, room)
		if r.status > byte(statusUnsupported) || int(r.used) > room+1 {
			t.Errorf("status %d, used %d of %d", r.status, r.used, room+1)
		}
		if len(b.disk.log) > maxDiscardSegments {
			t.Errorf("one request made the disk do %d things", len(b.disk.log))
		}
	})
}
