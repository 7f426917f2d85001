package probe

import (
	"errors"
	"flag"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxSamples  = 10_000
	latencyWork = 64 << 10 // bytes hashed after each sleep, about 0.3 ms
)

// latency sleeps and works in turn, as a service does that others share a machine with, and tells how late it was each time.
func latency(args []string, out io.Writer) error {
	var period, total time.Duration
	err := parse(args, func(f *flag.FlagSet) {
		f.DurationVar(&period, "period", 10*time.Millisecond, "time of each sleep")
		f.DurationVar(&total, "for", 5*time.Second, "time of all")
	})
	if err != nil {
		return err
	}
	if period <= 0 || total <= 0 {
		return errors.New("-period and -for: more than 0")
	}
	return say(out, Latency{Samples: sampleLatency(period, total)})
}

func sampleLatency(period, total time.Duration) []int64 {
	// The kernel's sleep, not Go's, whose timers have a lateness of their own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	samples := make([]int64, 0, min(maxSamples, int64(total/period)+1))
	for begin := time.Now(); time.Since(begin) < total && len(samples) < maxSamples; {
		start := time.Now()
		sleepOnce(period)
		hashZeros(latencyWork)
		samples = append(samples, (time.Since(start) - period).Nanoseconds())
	}
	return samples
}

// sleepOnce sleeps the whole of d, although Go's preemption interrupts it.
func sleepOnce(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}
