package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"govmm/examples/internal/exercise"
	"govmm/machine/memory"
)

func newRAM(t *testing.T) *memory.Memory {
	t.Helper()
	ram, err := memory.New([]memory.Range{{Size: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ram.Close() })
	return ram
}

func TestSubmit(t *testing.T) {
	for _, device := range []struct {
		name string
		make func(*memory.Memory) (device, error)
	}{{"by hand", byHand}, {"by the product", byProduct}} {
		t.Run(device.name, func(t *testing.T) {
			exercise.Check(t, func(submit func(*memory.Memory, []string) error) error {
				if err := submit(newRAM(t), []string{"a", "b", "c"}); err == nil {
					return fmt.Errorf("three texts fit a queue of 4 descriptors?")
				}
				ram := newRAM(t)
				if err := submit(ram, []string{"first", "the second"}); err != nil {
					return err
				}
				look, err := device.make(ram)
				if err != nil {
					return err
				}
				if err := look(); err != nil {
					return fmt.Errorf("the device finds: %w", err)
				}
				for i, want := range []string{"FIRST", "THE SECOND"} {
					got, err := ram.ReadSlice(answer+uint64(i)*room, room)
					if err != nil {
						return err
					}
					if got := string(bytes.TrimRight(got, "\x00")); got != want {
						return fmt.Errorf("answer %d is %q, not %q", i, got, want)
					}
				}
				return nil
			}, submit, submitSolution)
		})
	}
}

func TestInterruptWanted(t *testing.T) {
	exercise.Check(t, func(wanted func(event, before, now uint16) bool) error {
		for _, tt := range []struct {
			event, before, now uint16
			want               bool
		}{
			{5, 5, 6, true},
			{5, 6, 7, false},
			{5, 4, 5, false},
			{5, 4, 6, true},
			{5, 5, 5, false},
			{65535, 65535, 0, true},
			{65535, 65534, 2, true},
			{1, 65534, 2, true},
			{2, 65534, 2, false},
			{65533, 65534, 2, false},
		} {
			if got := wanted(tt.event, tt.before, tt.now); got != tt.want {
				return fmt.Errorf("event %d, used from %d to before %d: you say %v", tt.event, tt.before, tt.now, got)
			}
		}
		return nil
	}, interruptWanted, interruptWantedSolution)
}

func TestIndirect(t *testing.T) {
	const inner = 0x7000 // where the indirect table lies
	for _, tt := range []struct {
		name        string
		outer, rest []descriptor
		want        string // what is readable, or nothing for an error
		room        int    // how much is writable
	}{
		{"none", []descriptor{{0x5000, 3, next, 1}, {0x6000, 8, write, 0}}, nil, "abc", 8},
		{"the whole chain", []descriptor{{inner, 48, indirect, 0}}, []descriptor{{0x5000, 2, next, 2}, {0x6000, 8, write, 0}, {0x5002, 3, next, 1}}, "abcde", 8},
		{"behind a direct one", []descriptor{{0x5000, 1, next, 3}, {}, {}, {inner, 16, indirect, 0}}, []descriptor{{0x5001, 2, 0, 0}}, "abc", 0},
		{"write beside indirect", []descriptor{{inner, 16, indirect | write, 0}}, []descriptor{{0x5000, 1, 0, 0}}, "a", 0},
		{"in an indirect table", []descriptor{{inner, 16, indirect, 0}}, []descriptor{{inner, 16, indirect, 0}}, "", 0},
		{"a length of 17", []descriptor{{inner, 17, indirect, 0}}, []descriptor{{0x5000, 1, 0, 0}}, "", 0},
		{"empty", []descriptor{{inner, 0, indirect, 0}}, []descriptor{{0x5000, 1, 0, 0}}, "", 0},
		{"next behind its end", []descriptor{{inner, 16, indirect, 0}}, []descriptor{{0x5000, 1, next, 1}, {0x5000, 1, 0, 0}}, "", 0},
		{"a loop", []descriptor{{inner, 32, indirect, 0}}, []descriptor{{0x5000, 1, next, 1}, {0x5000, 1, next, 0}}, "", 0},
		{"a chain longer than the queue", []descriptor{{inner, 80, indirect, 0}},
			[]descriptor{{0x5000, 1, next, 1}, {0x5000, 1, next, 2}, {0x5000, 1, next, 3}, {0x5000, 1, next, 4}, {0x5000, 1, 0, 0}}, "", 0},
		{"a longer table with a short chain", []descriptor{{inner, 80, indirect, 0}}, []descriptor{{0x5000, 1, next, 4}, {}, {}, {}, {0x5001, 2, 0, 0}}, "abc", 0},
		{"no memory there", []descriptor{{1 << 40, 16, indirect, 0}}, nil, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exercise.Check(t, func(chain func(*queue, uint16) (readable, writable [][]byte, err error)) error {
				ram := newRAM(t)
				for addr, contents := range map[int64]any{table: tt.outer, inner: tt.rest, 0x5000: []byte("abcdefgh")} {
					data, err := binary.Append(nil, binary.LittleEndian, contents)
					if err != nil {
						return err
					}
					if _, err := ram.WriteAt(data, addr); err != nil {
						return err
					}
				}
				readable, writable, err := chain(newQueue(ram), 0)
				got, space := string(bytes.Join(readable, nil)), len(bytes.Join(writable, nil))
				switch {
				case tt.want == "" && err == nil:
					return fmt.Errorf("this is forbidden, but you take it for %d bytes to read and %d to write", len(got), space)
				case tt.want != "" && err != nil:
					return fmt.Errorf("this is allowed, but you say: %w", err)
				case tt.want != "" && (got != tt.want || space != tt.room):
					return fmt.Errorf("you find %.8q to read and room for %d bytes, not %q and %d", got, space, tt.want, tt.room)
				}
				return nil
			}, chainWithIndirect, chainWithIndirectSolution)
		})
	}
}
