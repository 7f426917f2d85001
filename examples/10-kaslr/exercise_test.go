package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"govmm/bootimage/kaslr"
	"govmm/examples/internal/exercise"
)

const mib = 1 << 20

func TestCountPlaces(t *testing.T) {
	exercise.Check(t, func(count func(ram []kaslr.Range, lowest, size, align uint64) uint64) error {
		for _, tt := range []struct {
			ram                 []kaslr.Range
			lowest, size, align uint64
			want                uint64
		}{
			{[]kaslr.Range{{Addr: mib, Size: 255 * mib}}, 16 * mib, 24 * mib, 2 * mib, 109},
			{[]kaslr.Range{{Addr: mib, Size: 39 * mib}}, 16 * mib, 24 * mib, 2 * mib, 1},
			{[]kaslr.Range{{Addr: mib, Size: 39*mib - 1}}, 16 * mib, 24 * mib, 2 * mib, 0},
			{[]kaslr.Range{{Addr: 0, Size: 8 * mib}, {Addr: 17 * mib, Size: 27 * mib}, {Addr: 64 * mib, Size: 32 * mib}}, 16 * mib, 24 * mib, 2 * mib, 7},
			{nil, 16 * mib, 24 * mib, 2 * mib, 0},
			{[]kaslr.Range{{Addr: 0, Size: 16 * mib}}, 0, 1, 16 * mib, 1},
		} {
			got, err := exercise.Call(func() uint64 { return count(tt.ram, tt.lowest, tt.size, tt.align) })
			if err != nil {
				return err
			}
			if got != tt.want {
				return fmt.Errorf("%d MiB at multiples of %d MiB from %d MiB on, with RAM %v: %d places, not %d", tt.size/mib, tt.align/mib, tt.lowest/mib, text(tt.ram), got, tt.want)
			}
		}
		return nil
	}, countPlaces, countPlacesSolution)
}

func text(ram []kaslr.Range) (s []string) {
	for _, r := range ram {
		s = append(s, fmt.Sprintf("from %d to %d MiB", r.Addr/mib, (r.Addr+r.Size)/mib))
	}
	return s
}

func TestRelocate32(t *testing.T) {
	const linked = 0xffffffff81000000
	exercise.Check(t, func(relocate func([]byte, []uint64, uint64, uint32) bool) error {
		for _, tt := range []struct {
			places []uint64
			want   string // of the 12 bytes; empty if the places are wrong
		}{
			{nil, "\x01\x00\x00\x81\x02\x00\x00\x81\x03\x00\x00\x81"},
			{[]uint64{linked}, "\x01\x00\x20\x81\x02\x00\x00\x81\x03\x00\x00\x81"},
			{[]uint64{linked + 8, linked}, "\x01\x00\x20\x81\x02\x00\x00\x81\x03\x00\x20\x81"},
			{[]uint64{linked, linked + 12}, ""},
			{[]uint64{linked, linked + 9}, ""},
			{[]uint64{linked, linked - 1}, ""},
			{[]uint64{linked, 0}, ""},
			{[]uint64{linked, 0xffffffffffffffff}, ""},
		} {
			before := []byte("\x01\x00\x00\x81\x02\x00\x00\x81\x03\x00\x00\x81")
			load := bytes.Clone(before)
			ok, err := exercise.Call(func() bool { return relocate(load, tt.places, linked, 0x200000) })
			switch {
			case err != nil:
				return fmt.Errorf("with places %#x: %v", tt.places, err)
			case ok != (tt.want != ""):
				return fmt.Errorf("with places %#x it returns %v", tt.places, ok)
			case ok && string(load) != tt.want:
				return fmt.Errorf("with places %#x there are % x, not % x", tt.places, load, tt.want)
			case !ok && !bytes.Equal(load, before):
				return fmt.Errorf("with places %#x it returns false, and has changed the kernel", tt.places)
			}
		}
		ok, err := exercise.Call(func() bool { return relocate([]byte{1, 2, 3}, []uint64{linked}, linked, 1) })
		if err == nil && ok {
			err = errors.New("it returns true")
		}
		if err != nil {
			return fmt.Errorf("with a kernel of 3 bytes: %w", err)
		}
		return nil
	}, relocate32, relocate32Solution)
}

func TestChoose(t *testing.T) {
	exercise.Check(t, func(choose func(func() byte, int) int) error {
		for _, n := range []int{1, 2, 100, 255, 256} {
			var counts [256]int
			const draws = 200_000
			r := rand.New(rand.NewPCG(1, uint64(n)))
			_, err := exercise.Call(func() (none struct{}) {
				for range draws {
					counts[choose(func() byte { return byte(r.Uint32()) }, n)]++
				}
				return
			})
			if err != nil {
				return fmt.Errorf("with n = %d: %v", n, err)
			}
			for i, c := range counts {
				// Ten standard deviations, so that chance has no part in it.
				if even := draws / n; i < n && (c-even)*(c-even) > 100*even {
					return fmt.Errorf("with n = %d, %d came %d times in %d, not about %d times", n, i, c, draws, even)
				}
				if i >= n && c > 0 {
					return errors.New("a number that is not less than n")
				}
			}
		}
		return nil
	}, choose, chooseSolution)
}
