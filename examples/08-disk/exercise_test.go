package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"govmm/examples/internal/exercise"
)

func TestIdentify(t *testing.T) {
	exercise.Check(t, func(identify func([][]byte, string) uint32) error {
		for _, tt := range []struct {
			room []int // sizes of the segments
			name string
			want string
		}{
			{[]int{20}, "lesson-8", "lesson-8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
			{[]int{3, 17}, "lesson-8", "lesson-8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
			{[]int{20}, "twenty characters ok", "twenty characters ok"},
			{[]int{20}, "more than twenty characters", "more than twenty cha"},
			{[]int{5}, "lesson-8", "lesso"},
			{nil, "lesson-8", ""},
		} {
			var to [][]byte
			for _, n := range tt.room {
				to = append(to, bytes.Repeat([]byte{'?'}, n))
			}
			n, err := exercise.Call(func() uint32 { return identify(to, tt.name) })
			if err != nil {
				return fmt.Errorf("with %q in segments of %v bytes: %v", tt.name, tt.room, err)
			}
			if got := string(bytes.Join(to, nil)); got != tt.want || int(n) != len(tt.want) {
				return fmt.Errorf("with %q the segments of %v bytes have %q, and %d bytes are said to be written; it should be %q and %d",
					tt.name, tt.room, got, n, tt.want, len(tt.want))
			}
		}
		return nil
	}, identify, identifySolution)
}

type readOnlyAnswer struct {
	features  func(bool) uint64
	permitted func(uint32, bool) bool
}

func TestReadOnly(t *testing.T) {
	exercise.Check(t, func(a readOnlyAnswer) error {
		if a.features(true)&featureReadOnly == 0 {
			return errors.New("the driver of a read-only disk is not told")
		}
		if a.features(false) != featureFlush {
			return errors.New("the features of a disk that can be written have changed")
		}
		for kind, name := range map[uint32]string{out: "write", 11: "discard", 13: "write zeroes", 14: "secure erase"} {
			if a.permitted(kind, true) {
				return fmt.Errorf("a read-only disk permits type %d (%s)", kind, name)
			}
		}
		for kind := range uint32(20) {
			if !a.permitted(kind, false) {
				return fmt.Errorf("a disk that can be written does not permit type %d", kind)
			}
		}
		for _, kind := range []uint32{in, flush, getID} {
			if !a.permitted(kind, true) {
				return fmt.Errorf("a read-only disk does not permit type %d, which changes nothing", kind)
			}
		}
		return nil
	}, readOnlyAnswer{features, permitted}, readOnlyAnswer{featuresSolution, permittedSolution})
}

func TestCache(t *testing.T) {
	exercise.Check(t, func(newCache func(storage) storage) error {
		return exercise.Run(func() error { return checkCache(newCache) })
	}, newCache, newCacheSolution)
}

func checkCache(newCache func(storage) storage) error {
	p := &platter{data: bytes.Repeat([]byte{'.'}, 16)}
	c := newCache(p)
	write := func(off int64, s string) {
		b := []byte(s)
		if n, err := c.WriteAt(b, off); n != len(s) || err != nil {
			panic(fmt.Sprintf("WriteAt(%q, %d) returns %d, %v", s, off, n, err))
		}
		copy(b, "????") // it was the guest's memory, and the guest goes on
	}
	write(2, "aaaa")
	write(4, "bbbb")
	got := make([]byte, 16)
	if n, err := c.ReadAt(got, 0); n != 16 || err != nil || string(got) != "..aabbbb........" {
		return fmt.Errorf("after two writes %q is read (%d, %v), not \"..aabbbb........\"", got, n, err)
	}
	if string(p.data) != "................" {
		return errors.New("the writes have not stayed in the cache")
	}
	if err := c.Sync(); err != nil {
		return fmt.Errorf("Sync: %v", err)
	}
	if string(p.stable) != "..aabbbb........" {
		return fmt.Errorf("after Sync a power cut leaves %q, not \"..aabbbb........\"", p.stable)
	}
	want := []byte("..aabbbb........")
	for off, fail := range []*bool{&p.failsWrite, &p.failsSync} {
		write(int64(off), "c")
		want[off] = 'c'
		*fail = true
		if c.Sync() == nil {
			return errors.New("the storage below has failed, and Sync says that all is well")
		}
		*fail = false
		if err := c.Sync(); err != nil || !bytes.Equal(p.stable, want) {
			return fmt.Errorf("a failed Sync and one that works leave %q (%v), not %q", p.stable, err, want)
		}
	}
	return nil
}

// A platter is a storage that remembers what a power cut would leave. A Sync that fails drops what was written, as that of Linux may.
type platter struct {
	data, stable          []byte
	failsWrite, failsSync bool
}

func (p *platter) ReadAt(b []byte, off int64) (int, error) { return copy(b, p.data[off:]), nil }
func (p *platter) WriteAt(b []byte, off int64) (int, error) {
	if p.failsWrite {
		return 0, errors.New("input/output error")
	}
	return copy(p.data[off:], b), nil
}

func (p *platter) Sync() error {
	if p.failsSync {
		p.data = bytes.Clone(p.stable)
		return errors.New("input/output error")
	}
	p.stable = bytes.Clone(p.data)
	return nil
}
