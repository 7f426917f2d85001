package main

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"govmm/examples/internal/exercise"
)

func TestVersion(t *testing.T) {
	exercise.Check(t, func(version func([]byte) string) error {
		for _, tt := range []struct {
			field uint16
			text  string
			size  int
			want  string
		}{
			{0x100, "6.12.117-govmm #1\x00", 1024, "6.12.117-govmm #1"},
			{0x180, "1.0\x00rest", 1024, "1.0"},
			{0xfff0, "", 1024, ""},   // points out of the file
			{0x1fd, "1.0", 1024, ""}, // the file ends before the version does
			{0, "", 100, ""},         // a file too short for the field
		} {
			image := make([]byte, tt.size)
			if tt.size > 0x210 {
				binary.LittleEndian.PutUint16(image[0x20e:], tt.field)
			}
			if at := int(tt.field) + 0x200; at < tt.size {
				copy(image[at:], tt.text)
			}
			got, err := exercise.Call(func() string { return version(image) })
			if err != nil {
				return fmt.Errorf("with kernel_version %#x in a file of %d bytes: %v", tt.field, tt.size, err)
			}
			if got != tt.want {
				return fmt.Errorf("with kernel_version %#x in a file of %d bytes the version is %q, not %q", tt.field, tt.size, got, tt.want)
			}
		}
		return nil
	}, version, versionSolution)
}

func TestRAMPieces(t *testing.T) {
	const gib = 1 << 30
	exercise.Check(t, func(pieces func(uint64) []piece) error {
		for _, tt := range []struct {
			size uint64
			want []piece
		}{
			{256 << 20, []piece{{0, 0x9fc00}, {1 << 20, 255 << 20}}},
			{3 * gib, []piece{{0, 0x9fc00}, {1 << 20, 3*gib - 1<<20}}},
			{3*gib + 4096, []piece{{0, 0x9fc00}, {1 << 20, 3*gib - 1<<20}, {4 * gib, 4096}}},
			{8 * gib, []piece{{0, 0x9fc00}, {1 << 20, 3*gib - 1<<20}, {4 * gib, 5 * gib}}},
		} {
			got, err := exercise.Call(func() []piece { return pieces(tt.size) })
			if err != nil {
				return err
			}
			if !slices.Equal(got, tt.want) {
				return fmt.Errorf("%#x bytes are %#x, not %#x", tt.size, got, tt.want)
			}
		}
		return nil
	}, ramPieces, ramPiecesSolution)
}

func TestPlaceInitrd(t *testing.T) {
	const mib = 1 << 20
	type place func(size, ramEnd, limit uint64, kernel piece) (uint64, bool)
	exercise.Check(t, func(place place) error {
		for _, tt := range []struct {
			what         string
			size, ramEnd uint64
			limit        uint64
			kernel       piece
			want         uint64
			ok           bool
		}{
			{"at the end of RAM", 10 * mib, 256 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 246 * mib, true},
			{"not a multiple of 4096", 5000, 256 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 256*mib - 8192, true},
			{"below the limit", 10 * mib, 4096 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 2038 * mib, true},
			{"just above the kernel", 88 * mib, 128 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 40 * mib, true},
			{"below the kernel", 12 * mib, 48 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 4 * mib, true},
			{"below the kernel, 1 MiB at least", 15*mib + 1, 48 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 0, false},
			{"more than there is", 500 * mib, 256 * mib, 0x7fffffff, piece{16 * mib, 24 * mib}, 0, false},
		} {
			type result struct {
				addr uint64
				ok   bool
			}
			got, err := exercise.Call(func() (r result) { r.addr, r.ok = place(tt.size, tt.ramEnd, tt.limit, tt.kernel); return r })
			if err != nil {
				return fmt.Errorf("%s: %v", tt.what, err)
			}
			if got.ok != tt.ok || tt.ok && got.addr != tt.want {
				return fmt.Errorf("%s: %d bytes with RAM to %#x go to %#x, %v; it should be %#x, %v", tt.what, tt.size, tt.ramEnd, got.addr, got.ok, tt.want, tt.ok)
			}
		}
		return nil
	}, placeInitrd, placeInitrdSolution)
}
