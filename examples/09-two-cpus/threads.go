package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"govmm/examples/internal/vm"
	"govmm/kvm"
)

// donePort is where the guest says that it is done.
const donePort = 0xe9

// A processor is a virtual processor and the thread that runs it.
type processor struct {
	id   int
	cpu  *kvm.VCPU
	tid  int
	stop atomic.Bool
	end  chan error // gets one, when it does not run any more
}

// runBoth makes two processors, lets both run, and stops the second when the first is done.
func runBoth(m *vm.VM) error {
	start := make(chan struct{})
	var all []*processor
	for id := range 2 {
		p := &processor{id: id, end: make(chan error, 1)}
		made := make(chan error)
		go p.live(m, made, start)
		if err := <-made; err != nil {
			return err
		}
		defer p.cpu.Close()
		all = append(all, p)
	}
	close(start) // not before both are there, or the first could call one that is not
	err := <-all[0].end
	all[1].kick()
	if second := <-all[1].end; err == nil {
		err = second
	}
	return err
}

// live is a processor's life, on a thread of its own.
func (p *processor) live(m *vm.VM, made chan<- error, start <-chan struct{}) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.tid = unix.Gettid()
	cpu, err := m.CreateVCPU(p.id)
	if err == nil && p.id == 0 { // the other one waits until it is started
		err = vm.ProtectedMode(cpu, kvm.Regs{RIP: firstCode})
	}
	p.cpu = cpu
	made <- err
	if err == nil {
		<-start
		p.end <- p.loop()
	}
}

func (p *processor) loop() error {
	for !p.stop.Load() {
		exit, err := p.cpu.Run()
		switch {
		case err != nil:
			return err
		case exit.Reason == kvm.ExitIntr: // a signal; perhaps a kick
		case exit.Reason == kvm.ExitIO && exit.IO().Port == donePort:
			return nil
		default:
			return fmt.Errorf("processor %d has stopped: %v", p.id, exit)
		}
	}
	return nil
}

// kick has a processor leave the guest, wherever it is. One that is about to enter finds the flag, one that is inside is driven out by the signal.
func (p *processor) kick() {
	p.stop.Store(true)
	p.cpu.SetImmediateExit(true)
	_ = unix.Tgkill(os.Getpid(), p.tid, unix.SIGURG) // SIGURG is one that Go programs get at any time and do not mind
}
