package main

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"

	"govmm/kvm"
)

// measured are the instructions whose cost is shown, each in a loop of its own.
var measured = []struct {
	name  string
	code  []byte
	times uint32
	who   string
}{
	{"add al, 1", []byte{0x04, 1}, 1_000_000, "the processor alone"},
	{"cpuid", []byte{0x0f, 0xa2}, 1000, "KVM, in the kernel"},
	{"out 0x80, al", []byte{0xe6, 0x80}, 1000, "the monitor"},
	{"mov [0xb8000], al", []byte{0xa2, 0x00, 0x80, 0x0b, 0x00}, 1000, "KVM decodes it, then the monitor"},
	{"hlt", []byte{0xf4}, 1000, "the monitor"},
}

// markPort is where the guest says that its loop begins, and that it is over.
const markPort = 0xe9

// loop is the guest that executes code so often.
func loop(code []byte, times uint32) []byte {
	guest := []byte{
		0xe6, markPort, // out markPort, al
		0xbe, byte(times), byte(times >> 8), byte(times >> 16), byte(times >> 24), // mov esi, times
	}
	guest = append(guest, code...)
	return append(guest,
		0x4e,                         // dec esi
		0x75, byte(-(len(code) + 3)), // jnz back to code
		0xe6, markPort, // out markPort, al
	)
}

// measure prints what each of the instructions costs, and what a system call costs for comparison.
func measure(out io.Writer) error {
	call := systemCall()
	fmt.Fprintf(out, "%-18s %8d ns\n", "a system call", call.Nanoseconds())
	for _, m := range measured {
		took, err := timeLoop(loop(m.code, m.times))
		if err != nil {
			return err
		}
		each := took / time.Duration(m.times)
		fmt.Fprintf(out, "%-18s %8d ns  %8.2f system calls  %s\n", m.name, each.Nanoseconds(), float64(each)/float64(call), m.who)
	}
	return nil
}

// timeLoop is how long the guest takes from its first mark to its second.
func timeLoop(guest []byte) (took time.Duration, err error) {
	var begin time.Time
	err = run(guest, func(exit *kvm.Exit) (bool, error) {
		switch {
		case exit.Reason != kvm.ExitIO || exit.IO().Port != markPort:
		case begin.IsZero():
			begin = time.Now()
		default:
			took = time.Since(begin)
		}
		return took != 0, nil
	})
	return took, err
}

// systemCall is how long the smallest system call takes.
func systemCall() time.Duration {
	const times = 100_000
	begin := time.Now()
	for range times {
		unix.Getppid()
	}
	return time.Since(begin) / times
}
