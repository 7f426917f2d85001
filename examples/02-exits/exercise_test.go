package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"govmm/examples/internal/exercise"
	"govmm/examples/internal/vm"
	"govmm/kvm"
	"govmm/machine/memory"
)

// An inout answers accesses to ports.
type inout interface{ access(kvm.IO) }

func TestDoubler(t *testing.T) {
	exercise.Check(t, func(d inout) error {
		var said []byte
		err := runFor([]byte{
			0xb0, 21, // mov al, 21
			0xe6, 0x10, // out 0x10, al
			0xe4, 0x10, // in al, 0x10
			0xe6, 0xe9, // out 0xe9, al
			0xe4, 0x10, // in al, 0x10
			0xe6, 0xe9, // out 0xe9, al
			0xf4, // hlt
		}, func(_ *vm.VM, exit *kvm.Exit) {
			if a := exit.IO(); a.Port == 0xe9 {
				said = append(said, a.Data...)
			} else {
				d.access(a)
			}
		})
		if err != nil {
			return err
		}
		if string(said) != "\x2a\x2a" {
			return fmt.Errorf("the guest writes 21 and reads %d, not 42 twice", said)
		}
		return nil
	}, inout(&doubler{}), inout(&doublerSolution{}))
}

// A display answers accesses to memory, and shows what came of them.
type display interface {
	access(kvm.MMIO)
	text(n int) string
}

func TestScreen(t *testing.T) {
	exercise.Check(t, func(s display) error {
		err := runFor([]byte{
			0x66, 0xc7, 0x05, 0x00, 0x80, 0x0b, 0x00, 'O', 0x07, // mov word [0xb8000], 'O' and its color
			0xc6, 0x05, 0x02, 0x80, 0x0b, 0x00, 'K', // mov byte [0xb8002], 'K'
			0xa0, 0x00, 0x80, 0x0b, 0x00, // mov al, [0xb8000]
			0x2c, 1, // sub al, 1
			0xa2, 0x00, 0x80, 0x0b, 0x00, // mov [0xb8000], al: the letter before it
			0xa2, 0xa0, 0x8f, 0x0b, 0x00, // mov [0xb8fa0], al: behind the last of the 4000 bytes
			0x66, 0xc7, 0x05, 0x9f, 0x8f, 0x0b, 0x00, '?', 0x07, // mov word [0xb8f9f], '?' and a color: the last byte, and one behind it
			0xf4, // hlt
		}, func(_ *vm.VM, exit *kvm.Exit) {
			if exit.Reason == kvm.ExitMMIO {
				s.access(exit.MMIO())
			}
		})
		if err != nil {
			return err
		}
		if text := s.text(2); text != "NK" {
			return fmt.Errorf("the screen shows %q, not \"NK\"", text)
		}
		return nil
	}, display(&screen{}), display(&screenSolution{}))
}

func TestTake(t *testing.T) {
	write := []byte{0xe7, 0x11} // out 0x11, eax
	for _, tt := range []struct {
		name  string
		addr  uint32
		text  string // what lies there
		write []byte
		want  string
	}{
		{"a text", 0x100, "one exit\x00", write, "one exit"},
		{"a text at the end of memory", 0xfffc, "end\x00", write, "end"},
		{"no memory there", 0x7000_0000, "", write, ""},
		{"a text that is too long", 0x8000, strings.Repeat("x", 300), write, ""},
		{"memory ends before the text does", 0xfffd, "end", write, ""},
		{"one byte in place of four", 0x100, "one exit\x00", []byte{0xe6, 0x11}, ""}, // out 0x11, al
	} {
		t.Run(tt.name, func(t *testing.T) {
			exercise.Check(t, func(take func(*memory.Memory, kvm.IO) string) error {
				return takes(take, tt.addr, tt.text, tt.write, tt.want)
			}, take, takeSolution)
		})
	}
}

// takes runs a guest that writes addr to a port, by the instruction write.
func takes(take func(*memory.Memory, kvm.IO) string, addr uint32, text string, write []byte, want string) error {
	got := ""
	err := runFor(slices.Concat([]byte{
		0xb8, byte(addr), byte(addr >> 8), byte(addr >> 16), byte(addr >> 24), // mov eax, addr
	}, write, []byte{
		0xf4, // hlt
	}), func(m *vm.VM, exit *kvm.Exit) {
		_ = m.Load(uint64(addr), []byte(text)) // what has no memory is not there
		got = take(m.RAM, exit.IO())
	})
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("from address %#x you take %.40q, not %q", addr, got, want)
	}
	return nil
}

// runFor runs the guest until hlt, with each exit before it given to answer.
func runFor(guest []byte, answer func(*vm.VM, *kvm.Exit)) error {
	var machine *vm.VM
	prepare := func(m *vm.VM, cpu *kvm.VCPU) error {
		machine = m
		if err := m.Load(0, guest); err != nil {
			return err
		}
		return vm.ProtectedMode(cpu, kvm.Regs{RIP: 0})
	}
	return exercise.Run(func() error {
		return vm.Run(64<<10, prepare, func(exit *kvm.Exit) (bool, error) {
			switch exit.Reason {
			case kvm.ExitIO, kvm.ExitMMIO:
				answer(machine, exit)
				return false, nil
			case kvm.ExitHlt:
				return true, nil
			}
			return true, fmt.Errorf("the guest has stopped: %v", exit)
		})
	})
}
