package probe

import (
	"crypto/sha256"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Work is a piece of work and the time that it took, in nanoseconds by the clock of the place.
type Work struct{ Units, Nanoseconds int64 }

// Up is what sleep says when it sleeps.
type Up struct{ Sleeping bool }

// sleep sleeps until a signal ends it.
func sleep([]string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	if err := say(Up{true}); err != nil {
		return err
	}
	<-end
	return nil
}

// hash makes sums of -n MiB.
func hash(args []string) error {
	f := flags("cpu")
	n := f.Int64("n", 16, "MiB")
	if err := f.Parse(args); err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	begun := time.Now()
	for range *n {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	return say(Work{*n, time.Since(begun).Nanoseconds()})
}

// call makes -n system calls that do nothing.
func call(args []string) error {
	f := flags("syscalls")
	n := f.Int64("n", 100_000, "number")
	if err := f.Parse(args); err != nil {
		return err
	}
	begun := time.Now()
	for range *n {
		unix.Getppid()
	}
	return say(Work{*n, time.Since(begun).Nanoseconds()})
}

// Progress is how much memory alloc has.
type Progress struct{ Bytes uint64 }

// allocate takes -n bytes of memory, in steps, and tells of each.
func allocate(args []string) error {
	f := flags("alloc")
	n := f.Uint64("n", 64<<20, "bytes")
	if err := f.Parse(args); err != nil {
		return err
	}
	const step = 8 << 20
	for got := uint64(0); got < *n; got += step {
		if err := touch(step); err != nil {
			return err
		}
		if err := say(Progress{got + step}); err != nil {
			return err
		}
	}
	return nil
}

// touch takes memory and writes to all of it.
func touch(n int) error {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	for i := 0; i < n; i += os.Getpagesize() {
		p[i] = 1
	}
	return nil
}

// Latency is by how much each turn of sleeping and a little work was later than the period, in nanoseconds.
type Latency struct{ Samples []int64 }

// maxSamples bounds Latency.
const maxSamples = 10_000

func latency(args []string) error {
	f := flags("latency")
	period := f.Duration("period", 10*time.Millisecond, "of a turn")
	total := f.Duration("for", time.Second, "time")
	if err := f.Parse(args); err != nil {
		return err
	}
	var l Latency
	block := make([]byte, 4096)
	for begun := time.Now(); time.Since(begun) < *total && len(l.Samples) < maxSamples; {
		turn := time.Now()
		time.Sleep(*period)
		sha256.Sum256(block)
		l.Samples = append(l.Samples, (time.Since(turn) - *period).Nanoseconds())
	}
	return say(l)
}
