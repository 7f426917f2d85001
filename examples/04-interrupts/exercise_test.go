package main

import (
	"fmt"
	"runtime"
	"testing"

	"govmm/examples/internal/exercise"
	"govmm/examples/internal/vm"
	"govmm/kvm"
)

func TestDivisor(t *testing.T) {
	exercise.Check(t, func(divisor func(int) uint16) error {
		for _, tt := range []struct {
			hz   int
			want uint16
		}{
			{1000, 1193}, {100, 11932}, {250, 4773}, {19, 62799}, {18, 0}, {1, 0}, {1193182, 1}, {2_000_000, 1},
		} {
			if got := divisor(tt.hz); got != tt.want {
				return fmt.Errorf("for %d Hz you count from %d, not from %d", tt.hz, got, tt.want)
			}
		}
		return nil
	}, divisor, divisorSolution)
}

func TestDivideError(t *testing.T) {
	exercise.Check(t, func(handler []byte) error {
		if len(handler) > 0x100 {
			return fmt.Errorf("%d bytes are too many", len(handler))
		}
		said := ""
		prepare := func(m *vm.VM, cpu *kvm.VCPU) error {
			for addr, data := range map[uint64][]byte{
				code: {
					0xb8, 'A', 0x00, // mov ax, 'A'
					0xbd, 'B', 0x00, // mov bp, 'B'
					0x31, 0xdb, // xor bx, bx
					0xf6, 0xf3, // div bl: by zero
					0xe6, 0xe9, // out 0xe9, al
					0x95,       // xchg ax, bp
					0xe6, 0xe9, // out 0xe9, al
					0xf4, // hlt
				},
				timerHandler: handler,
				0:            {timerHandler & 0xff, timerHandler >> 8, 0, 0},
			} {
				if err := m.Load(addr, data); err != nil {
					return err
				}
			}
			return vm.RealMode(cpu, kvm.Regs{RIP: code, RSP: stackTop})
		}
		err := exercise.Run(func() error {
			return vm.Run(64<<10, prepare, func(exit *kvm.Exit) (bool, error) {
				switch exit.Reason {
				case kvm.ExitIO:
					if exit.IO().Port == 0xe9 {
						said += string(exit.IO().Data)
					}
					return len(said) > 3, nil
				case kvm.ExitHlt:
					return true, nil
				}
				return true, fmt.Errorf("the guest has stopped: %v", exit)
			})
		})
		if err == nil && said != "0AB" {
			err = fmt.Errorf("the handler, then AL, then BP say %q, not \"0AB\"", said)
		}
		return err
	}, divideError, divideErrorSolution)
}

func TestMessage(t *testing.T) {
	exercise.Check(t, func(message func(uint8, uint8) kvm.MSI) error {
		if got, want := message(3, 0x51), messageSolution(3, 0x51); got != want {
			return fmt.Errorf("interrupt 0x51 for APIC 3 is %#x at %#x, not %#x at %#x", got.Data, got.Addr, want.Data, want.Addr)
		}
		return exercise.Run(func() error { return interruptedBy(message(0, 0x40)) })
	}, message, messageSolution)
}

// interruptedBy sends the message to a guest whose interrupt 0x40 says "m".
func interruptedBy(message kvm.MSI) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m, err := vm.New(64 << 10)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.CreateIRQChip(); err != nil {
		return err
	}
	for addr, data := range map[uint64][]byte{
		code:         {0xfb, 0xf4, 0xeb, 0xfd}, // sti; hlt; jmp to hlt
		timerHandler: handler('m'),
		4 * 0x40:     {timerHandler & 0xff, timerHandler >> 8, 0, 0},
	} {
		if err := m.Load(addr, data); err != nil {
			return err
		}
	}
	cpu, err := m.CreateVCPU(0)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := vm.RealMode(cpu, kvm.Regs{RIP: code, RSP: stackTop}); err != nil {
		return err
	}
	apic, err := cpu.LAPIC()
	if err != nil {
		return err
	}
	apic.SetReg(0xf0, 0x1ff) // the guest's kernel would switch its APIC on
	if err := cpu.SetLAPIC(apic); err != nil {
		return err
	}
	if delivered, err := m.SignalMSI(message); err != nil || !delivered {
		return fmt.Errorf("no processor takes the message (%v)", err)
	}
	return vm.Loop(cpu, func(exit *kvm.Exit) (bool, error) {
		if exit.Reason == kvm.ExitIO && exit.IO().Data[0] == 'm' {
			return true, nil
		}
		return true, fmt.Errorf("the guest has stopped: %v", exit)
	})
}
