// Command hostile does what a malicious kernel can do to the machine that it runs on, from a process of root's: it takes the virtio
// devices away from their drivers, and then writes structured and random rubbish to their configuration spaces, to their registers, to rings in
// memory whose physical addresses it knows, and to I/O ports. It is for tests of a monitor, whose guest it is.
//
//	hostile [-time 10s] [-seed N]
//
// Ports are reached by ioperm(2), because most kernels come without /dev/port; configuration space and registers by sysfs; registers of virtio-mmio
// devices by /dev/mem; physical addresses are those of /proc/self/pagemap. What the kernel forbids is told and left out. At the end
// it has devices write over the kernel. It prints how many writes it made, if it comes so far.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"
)

func main() {
	duration := flag.Duration("time", 10*time.Second, "how long")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random numbers")
	flag.Parse()
	if err := attack(*duration, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
}

// An attacker is the source of rubbish, and what it writes to.
type attacker struct {
	*rand.Rand
	memory  *pinned
	devices []*device
	ports   bool // may be used
	writes  uint64
}

func attack(duration time.Duration, seed uint64) error {
	// Permissions for ports are the thread's.
	runtime.LockOSThread()
	memory, err := pin(pinnedSize)
	if err != nil {
		return err
	}
	a := &attacker{Rand: rand.New(rand.NewPCG(seed, 0)), memory: memory}
	if err := allowPorts(); err != nil {
		fmt.Println("hostile: no ports:", err)
	} else {
		a.ports = true
	}
	a.devices = append(findPCI(), findMMIO()...)
	fmt.Printf("hostile: seed %d, %d devices, ports %v\n", seed, len(a.devices), a.ports)
	for _, d := range a.devices {
		fmt.Printf("hostile: %s of type %d\n", d.name, d.kind)
	}
	// The kernel does not survive the last part of the time, for then devices are told to write to its memory.
	a.run(duration*7/8, false)
	fmt.Printf("hostile: %d writes, and now at the kernel\n", a.writes)
	a.run(duration/8, true)
	fmt.Printf("hostile: %d writes\n", a.writes)
	return nil
}

// run does it for as long as said.
func (a *attacker) run(duration time.Duration, wild bool) {
	for end := time.Now().Add(duration); time.Now().Before(end); {
		for range 100 {
			a.step(wild)
		}
	}
}

// step writes one thing or a few that belong together.
func (a *attacker) step(wild bool) {
	if a.ports && a.IntN(20) == 0 {
		a.anyPort()
		return
	}
	if len(a.devices) == 0 {
		return
	}
	d := a.devices[a.IntN(len(a.devices))]
	switch n := a.IntN(40); {
	case n == 0 || !d.live:
		a.start(d)
	case n < 25:
		a.request(d, wild)
	case n < 32:
		a.anyRegister(d)
	case n < 35:
		a.doorbells(d)
	case n == 35:
		a.reset(d)
	case n < 38:
		a.anyConfig(d, wild)
	case d.bar != nil && !d.mmio:
		a.anyVector(d, wild)
	}
}

// anyPort accesses a port, but none that ends the machine, and not the serial one by which it is watched.
func (a *attacker) anyPort() {
	port := uint16(a.Uint32())
	if a.IntN(2) == 0 {
		port = []uint16{0x60, 0x61, 0x70, 0x71, 0x600, 0x602, 0xcf8, 0xcfc, 0xcfe, 0x1000, 0x1020, 0x1040, 0x690, 0x40, 0x43}[a.IntN(15)]
	}
	switch {
	case port >= 0x3f0 && port < 0x400, port >= 0x603 && port < 0x606, port == 0xcf9, port == 0x64, port == 0x63, port == 0x62,
		port >= 0x20 && port < 0x22, port >= 0xa0 && port < 0xa2:
		return
	}
	a.writes++
	v := a.Uint32()
	switch a.IntN(6) {
	case 0:
		outb(port, byte(v))
	case 1:
		outw(port, uint16(v))
	case 2:
		outl(port, v)
	case 3:
		inb(port)
	case 4:
		inw(port)
	case 5:
		inl(port)
	}
}
