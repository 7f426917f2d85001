package main

import (
	"encoding/binary"
	"fmt"
	"testing"

	"govmm/examples/internal/exercise"
	"govmm/examples/internal/vm"
	"govmm/kvm"
	"govmm/machine/memory"
)

func TestIdentity(t *testing.T) {
	exercise.Check(t, func(identity func(uint64) []byte) error {
		const base = 0x10000
		tables := identity(base)
		if len(tables) != 3*4096 {
			return fmt.Errorf("three tables are %d bytes, not %d", 3*4096, len(tables))
		}
		ram, err := memory.New([]memory.Range{{Size: 1 << 20}})
		if err != nil {
			return err
		}
		defer ram.Close()
		if _, err := ram.WriteAt(tables, base); err != nil {
			return err
		}
		for _, addr := range []uint64{0, 0x1234, 1<<21 - 1, 1 << 21, 0x1234_5678, 1<<30 - 1} {
			if got, ok := walkSolution(ram, base, addr); !ok || got != addr {
				return fmt.Errorf("address %#x leads to %#x (present: %v)", addr, got, ok)
			}
		}
		if got, ok := walkSolution(ram, base, 1<<30); ok {
			return fmt.Errorf("behind the first GiB nothing is to be mapped, but %#x leads to %#x", 1<<30, got)
		}
		said, _, err := runWithin(map[uint64][]byte{codePage: guest, base: tables}, func(s *kvm.Sregs) { longMode(s); s.CR3 = base })
		if err == nil && said != "6" {
			err = fmt.Errorf("the guest says %q, not 6", said)
		}
		return err
	}, identity, identitySolution)
}

func runWithin(contents map[uint64][]byte, enter func(*kvm.Sregs)) (said string, physical uint64, err error) {
	err = exercise.Run(func() (err error) { said, physical, err = run(contents, enter, codePage); return err })
	return said, physical, err
}

func TestWalk(t *testing.T) {
	const root = 0x2000
	for _, tt := range []struct {
		name    string
		entries map[uint64]uint64 // what stands at which address
		virtual uint64
		want    uint64
		ok      bool
	}{
		{"a page of 4 KiB", map[uint64]uint64{0x2ff8: 0x3003, 0x3ff0: 0x4003, 0x4040: 0x5003, 0x5000: 0x1003}, 0xffffffff81000123, 0x1123, true},
		{"other bits of the entries", map[uint64]uint64{0x2000: 0x3067, 0x3000: 1<<63 | 0x4067, 0x4000: 0x5067, 0x5008: 1<<63 | 0x9163}, 0x1234, 0x9234, true},
		{"a page of 2 MiB", map[uint64]uint64{0x2000: 0x3003, 0x3000: 0x4003, 0x4008: 0x40000083}, 0x2abcde, 0x400abcde, true},
		{"a page of 1 GiB", map[uint64]uint64{0x2000: 0x3003, 0x3008: 0x80000083}, 0x52345678, 0x92345678, true},
		{"not present at level 4", map[uint64]uint64{0x2000: 0x3002}, 0x1234, 0, false},
		{"not present at level 1", map[uint64]uint64{0x2000: 0x3003, 0x3000: 0x4003, 0x4000: 0x5003, 0x5008: 0x9002}, 0x1234, 0, false},
		{"a table that is not in memory", map[uint64]uint64{0x2000: 0x7fff_f000_0003}, 0x1234, 0, false},
		{"a table that is its own entry", map[uint64]uint64{0x2000: 0x2003}, 0, 0x2000, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exercise.Check(t, func(walk func(*memory.Memory, uint64, uint64) (uint64, bool)) error {
				ram, err := memory.New([]memory.Range{{Size: 1 << 20}})
				if err != nil {
					return err
				}
				defer ram.Close()
				for addr, entry := range tt.entries {
					if _, err := ram.WriteAt(binary.LittleEndian.AppendUint64(nil, entry), int64(addr)); err != nil {
						return err
					}
				}
				got, ok := walk(ram, root, tt.virtual)
				if ok != tt.ok || ok && got != tt.want {
					return fmt.Errorf("%#x leads to %#x, %v; it is to be %#x, %v", tt.virtual, got, ok, tt.want, tt.ok)
				}
				return nil
			}, walk, walkSolution)
		})
	}
}

func TestToLong(t *testing.T) {
	exercise.Check(t, func(code []byte) error {
		const tables, gdt = 0x10000, 0x20000
		said := ""
		prepare := func(m *vm.VM, cpu *kvm.VCPU) error {
			descriptors := make([]byte, 4*8)
			binary.LittleEndian.PutUint64(descriptors[0x18:], 0x00209b00_00000000) // present, code, L
			for addr, data := range map[uint64][]byte{codePage: code, tables: identitySolution(tables), gdt: descriptors} {
				if err := m.Load(addr, data); err != nil {
					return err
				}
			}
			cpuid, err := m.Device.SupportedCPUID() // that the processor has a long mode
			if err != nil {
				return err
			}
			if err := cpu.SetCPUID2(cpuid); err != nil {
				return err
			}
			return vm.SetRegisters(cpu, kvm.Regs{RIP: codePage, RSP: 0x9000}, func(s *kvm.Sregs) {
				protectedMode(s)
				s.GDT = kvm.DTable{Base: gdt, Limit: 4*8 - 1}
			})
		}
		err := exercise.Run(func() error {
			return vm.Run(1<<20, prepare, func(exit *kvm.Exit) (bool, error) {
				switch exit.Reason {
				case kvm.ExitIO:
					said += string(exit.IO().Data)
					return false, nil
				case kvm.ExitHlt:
					return true, nil
				case kvm.ExitShutdown:
					return true, fmt.Errorf("a triple fault: something in the tables or registers does not fit")
				}
				return true, fmt.Errorf("the guest has stopped: %v", exit)
			})
		})
		if err == nil && said != "6" {
			err = fmt.Errorf("the guest says %q, not 6", said)
		}
		return err
	}, toLong, toLongSolution)
}
