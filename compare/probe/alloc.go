package probe

import (
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const allocStep = 16 * mib

// alloc touches N bytes of memory and tells after each 16 MiB how far it is, so that the last line says where a limit stands.
func alloc(args []string, out io.Writer) error {
	var n uint64
	if err := parse(args, func(f *flag.FlagSet) { f.Uint64Var(&n, "n", 64*mib, "bytes") }); err != nil {
		return err
	}
	return touch(n, out)
}

func touch(n uint64, out io.Writer) error {
	start := time.Now()
	for done := uint64(0); done < n; {
		step := min(allocStep, n-done)
		if err := touchStep(int(step)); err != nil {
			return fmt.Errorf("after %d bytes: %w", done, err)
		}
		done += step
		if err := say(out, Progress{Bytes: done, Nanoseconds: time.Since(start).Nanoseconds()}); err != nil {
			return err
		}
	}
	return nil
}

// touchStep takes memory that is never given back.
func touchStep(n int) error {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	for i, page := 0, os.Getpagesize(); i < n; i += page {
		p[i] = 1
	}
	return nil
}
