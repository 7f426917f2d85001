package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"govmm/examples/internal/exercise"
	"govmm/examples/internal/vm"
	"govmm/kvm"
)

func TestStartUp(t *testing.T) {
	exercise.Check(t, func(startUp func(uint8, uint64) (uint32, uint32, bool)) error {
		for _, tt := range []struct {
			apic uint8
			addr uint64
			ok   bool
		}{{1, 0x2000, true}, {7, 0xff000, true}, {200, 0x8000, true}, {1, 0x2010, false}, {1, 0x100000, false}, {1, 1 << 40, false}} {
			high, low, ok := startUp(tt.apic, tt.addr)
			wantHigh, wantLow, _ := startUpSolution(tt.apic, tt.addr)
			if ok != tt.ok || ok && (high != wantHigh || low != wantLow) {
				return fmt.Errorf("processor %d at %#x: you say %#x, %#x, %v", tt.apic, tt.addr, high, low, ok)
			}
		}
		return nil
	}, startUp, startUpSolution)
}

// A lockCode is an answer to exercise 2.
type lockCode struct{ acquire, release []byte }

func TestLock(t *testing.T) {
	exercise.Check(t, func(code lockCode) error {
		return exercise.Run(func() error { return fight(code) })
	}, lockCode{acquire, release}, lockCode{acquireSolution, releaseSolution})
}

// fight runs two processors that want the lock at the same moment, over and over. In the first rounds whoever has it stays a little.
func fight(code lockCode) error {
	const enter, leave, rounds, slow = 0x10, 0x11, 300, 20
	round := slices.Concat([]byte{
		0x83, 0xc2, 0x02, // add edx, 2
		lock, 0xff, 0x05, 0x18, 0x80, 0x00, 0x00, // lock inc dword [0x8018]: how many arrivals there were
		// wait:
		0x39, 0x15, 0x18, 0x80, 0x00, 0x00, // cmp [0x8018], edx
		0x72, 0xf8, // jb wait
	}, code.acquire, []byte{0xe6, enter, 0xe6, leave}, code.release) // out enter, al; out leave, al
	guest := slices.Concat([]byte{0x31, 0xd2, 0xb9}, number(rounds), // xor edx, edx; mov ecx, rounds
		round,
		[]byte{0x49, 0x0f, 0x85}, number(-uint32(len(round)+7)), // dec ecx; jnz back to round
		[]byte{0xe6, donePort}, // out donePort, al
	)
	m, err := vm.New(64 << 10)
	if err != nil {
		return err
	}
	if err := m.Load(firstCode, guest); err != nil {
		return err
	}
	var inside, entered atomic.Int32
	ends := make(chan error, 2)
	for id := range 2 {
		go func() {
			ends <- runOne(m, id, func(exit *kvm.Exit) (bool, error) {
				if exit.Reason != kvm.ExitIO {
					return true, fmt.Errorf("the guest has stopped: %v", exit)
				}
				switch exit.IO().Port {
				case enter:
					if inside.Add(1) > 1 {
						return true, errors.New("both processors have the lock at the same time")
					}
					if entered.Add(1) <= slow {
						time.Sleep(time.Millisecond)
					}
				case leave:
					inside.Add(-1)
				case donePort:
					return true, nil
				}
				return false, nil
			})
		}()
	}
	for range 2 {
		if err := <-ends; err != nil {
			return err // the other processor may run on, in memory that therefore stays
		}
	}
	return m.Close()
}

// runOne runs one of several processors, from firstCode on.
func runOne(m *vm.VM, id int, handle func(*kvm.Exit) (bool, error)) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu, err := m.CreateVCPU(id)
	if err != nil {
		return err
	}
	defer cpu.Close()
	if err := vm.ProtectedMode(cpu, kvm.Regs{RIP: firstCode}); err != nil {
		return err
	}
	return vm.Loop(cpu, handle)
}

func TestRunFor(t *testing.T) {
	exercise.Check(t, func(runFor func(*kvm.VCPU, time.Duration) error) error {
		return exercise.Run(func() error {
			return vm.Run(64<<10, func(m *vm.VM, cpu *kvm.VCPU) error {
				if err := m.Load(firstCode, []byte{0xff, 0x05, 0x00, 0x80, 0x00, 0x00, 0xeb, 0xf8}); err != nil { // inc dword [counter]; jmp back
					return err
				}
				if err := vm.ProtectedMode(cpu, kvm.Regs{RIP: firstCode}); err != nil {
					return err
				}
				for before, i := uint32(0), 1; i <= 3; i++ {
					if err := runFor(cpu, 50*time.Millisecond); err != nil {
						return err
					}
					bytes, err := m.RAM.ReadSlice(counter, 4)
					if err != nil {
						return err
					}
					now := binary.LittleEndian.Uint32(bytes)
					if now == before {
						return fmt.Errorf("call %d: the guest counted no further than %d", i, now)
					}
					before = now
				}
				return goesOn(m, cpu)
			}, func(exit *kvm.Exit) (bool, error) { return true, nil })
		})
	}, runFor, runForSolution)
}

// goesOn has the guest halt, which it does unless it is still being kicked.
func goesOn(m *vm.VM, cpu *kvm.VCPU) error {
	if err := m.Load(firstCode, []byte{0xf4, 0xeb, 0xfd}); err != nil { // hlt; jmp to hlt
		return err
	}
	for range 100 {
		if exit, err := cpu.Run(); err != nil || exit.Reason == kvm.ExitHlt {
			return err
		}
	}
	return errors.New("after the last call KVM_RUN does not enter the guest any more; what is still set?")
}
