package kaslr

import (
	"bytes"
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	mib = 1 << 20
	gib = 1 << 30
)

// testLimits are those of Debian's 6.12 cloud kernel in a guest of 5 GiB with a hole.
func testLimits() Limits {
	return Limits{
		Align: 2 * mib, PrefAddress: 16 * mib, Size: 58_572_800,
		Free:     []Range{{4 * gib, 2 * gib}, {0, 0x9fc00}, {mib, 3*gib - mib}},
		Reserved: []Range{{2 * gib, 0}, {3*gib - 100*mib, 100 * mib}, {32*mib + 5, 8}, {5*gib - 4096, 8192}},
	}
}

// checkChoice holds what Choose promises, worked out another way.
func checkChoice(t testing.TB, l Limits, phys, delta uint64) {
	t.Helper()
	if phys%l.Align != 0 || delta%l.Align != 0 || phys%(2*mib) != 0 {
		t.Errorf("%#x and %#x are not aligned to %#x", phys, delta, l.Align)
	}
	if phys < l.PrefAddress || phys < 16*mib {
		t.Errorf("%#x is too low", phys)
	}
	if end := l.PrefAddress + delta + l.Size; end > gib {
		t.Errorf("%#x makes the kernel end at %#x", delta, end)
	}
	end, inside := phys+l.Size, false
	for _, r := range l.Free {
		inside = inside || r.Addr <= phys && end <= r.Addr+r.Size
	}
	if !inside || end < phys {
		t.Errorf("%#x..%#x is not in free RAM", phys, end)
	}
	for _, r := range l.Reserved {
		if r.Size > 0 && phys < r.Addr+r.Size && r.Addr < end {
			t.Errorf("%#x..%#x overlaps what is reserved at %#x", phys, end, r.Addr)
		}
	}
}

func TestChoose(t *testing.T) {
	l := testLimits()
	seen, moved := make(map[uint64]bool), make(map[uint64]bool)
	both := [2]int{}
	for range 10_000 {
		phys, delta, err := Choose(rand.Reader, l)
		if err != nil {
			t.Fatal(err)
		}
		checkChoice(t, l, phys, delta)
		seen[phys], moved[delta] = true, true
		if phys < 4*gib {
			both[0]++
		} else {
			both[1]++
		}
	}
	// 477 virtual slots: that one is missed by all draws has a chance below 1 in a million.
	if want := (gib-16*mib-int(l.Size))/(2*mib) + 1; len(moved) != want {
		t.Errorf("%d different virtual offsets, want %d", len(moved), want)
	}
	if len(seen) < 2000 || both[0] < 4000 || both[1] < 2500 {
		t.Errorf("%d different addresses, %d below 4 GiB, %d above", len(seen), both[0], both[1])
	}
}

// TestChooseEnds draws the least and the greatest random numbers.
func TestChooseEnds(t *testing.T) {
	l := Limits{Align: 2 * mib, PrefAddress: 16 * mib, Size: 10 * mib, Free: []Range{{17 * mib, 47 * mib}}}
	for seed, want := range map[byte][2]uint64{0: {18 * mib, 0}, 0xff: {54 * mib, gib - 26*mib}} {
		phys, delta, err := Choose(bytes.NewReader(bytes.Repeat([]byte{seed}, 16)), l)
		if err != nil || phys != want[0] || delta != want[1] {
			t.Errorf("%#x: %#x, %#x, %v; want %#x", seed, phys, delta, err, want)
		}
		checkChoice(t, l, phys, delta)
	}
}

// TestChooseOnly has room for exactly one place.
func TestChooseOnly(t *testing.T) {
	l := Limits{Align: 4096, PrefAddress: 512 * mib, Size: 512 * mib, Free: []Range{{512*mib - 1, 512*mib + 1}}}
	phys, delta, err := Choose(rand.Reader, l)
	if err != nil || phys != 512*mib || delta != 0 {
		t.Errorf("%#x, %#x, %v", phys, delta, err)
	}
}

func TestChooseNoRoom(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"no RAM":          func(l *Limits) { l.Free = nil },
		"too little":      func(l *Limits) { l.Free = []Range{{0, 16*mib + l.Size - 1}} },
		"only low":        func(l *Limits) { l.PrefAddress = 0; l.Free = []Range{{0, 16 * mib}}; l.Size = mib },
		"all reserved":    func(l *Limits) { l.Reserved = []Range{{0, math.MaxUint64}} },
		"pieces":          func(l *Limits) { l.Free = []Range{{64 * mib, 128 * mib}}; l.Reserved = []Range{{100 * mib, 50 * mib}} },
		"in two ranges":   func(l *Limits) { l.Free = []Range{{64 * mib, 32 * mib}, {96 * mib, 32 * mib}} },
		"not aligned":     func(l *Limits) { l.Free = []Range{{64*mib + 1, l.Size + mib}} },
		"end of 64 bits":  func(l *Limits) { l.Free = []Range{{math.MaxUint64 - 4096, 4096}} },
		"virtual":         func(l *Limits) { l.Size = gib - 16*mib + 1 },
		"linked too high": func(l *Limits) { l.PrefAddress = gib },
	} {
		t.Run(name, func(t *testing.T) {
			l := testLimits()
			change(&l)
			if phys, delta, err := Choose(rand.Reader, l); !errors.Is(err, ErrNoRoom) {
				t.Errorf("%#x, %#x, %v; want ErrNoRoom", phys, delta, err)
			}
		})
	}
}

func TestChooseRefused(t *testing.T) {
	for name, change := range map[string]func(*Limits){
		"no alignment":           func(l *Limits) { l.Align = 0 },
		"odd alignment":          func(l *Limits) { l.Align = 3 * mib },
		"pref_address unaligned": func(l *Limits) { l.PrefAddress = 17 * mib },
		"no size":                func(l *Limits) { l.Size = 0 },
		"free wraps":             func(l *Limits) { l.Free = []Range{{math.MaxUint64, 2}} },
		"reserved wraps":         func(l *Limits) { l.Reserved = []Range{{1, math.MaxUint64}} },
	} {
		t.Run(name, func(t *testing.T) {
			l := testLimits()
			change(&l)
			if _, _, err := Choose(rand.Reader, l); err == nil || errors.Is(err, ErrNoRoom) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v", err)
			}
		})
	}
	broken := errors.New("broken")
	if _, _, err := Choose(iotest.ErrReader(broken), testLimits()); !errors.Is(err, broken) {
		t.Errorf("%v, want the reader's error", err)
	}
	if _, _, err := Choose(bytes.NewReader(make([]byte, 15)), testLimits()); err == nil {
		t.Error("no error in spite of too few random bytes")
	}
}
