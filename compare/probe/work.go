package probe

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// cpu hashes N MiB of zeros.
func cpu(args []string, out io.Writer) error {
	var n uint64
	if err := parse(args, func(f *flag.FlagSet) { f.Uint64Var(&n, "n", 64, "MiB") }); err != nil {
		return err
	}
	if n == 0 || n > 1<<30 {
		return errors.New("-n: from 1 to 2^30 MiB")
	}
	start := time.Now()
	sum := hashZeros(n * mib)
	return say(out, Work{Units: n, Nanoseconds: time.Since(start).Nanoseconds(), Result: fmt.Sprintf("%x", sum)})
}

// syscalls makes N system calls that do nothing but enter and leave the kernel. They are raw, so that none of the time is Go's.
func syscalls(args []string, out io.Writer) error {
	var n uint64
	if err := parse(args, func(f *flag.FlagSet) { f.Uint64Var(&n, "n", 1_000_000, "calls") }); err != nil {
		return err
	}
	if n == 0 {
		return errors.New("-n: at least 1")
	}
	start := time.Now()
	for range n {
		unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
	}
	return say(out, Work{Units: n, Nanoseconds: time.Since(start).Nanoseconds()})
}
