package trace

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// newRecorder makes one that the test closes.
func newRecorder(t testing.TB, c Config) *Recorder {
	t.Helper()
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	r, err := NewRecorder(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// TestRing holds that a ring has the last events, in their order, and counts those that it has no more.
func TestRing(t *testing.T) {
	for _, tt := range []struct{ size, added, first int }{{4, 0, 0}, {4, 3, 0}, {4, 4, 0}, {4, 5, 1}, {4, 8, 4}, {4, 11, 7}, {1, 3, 2}} {
		ring := newRecorder(t, Config{CPUs: 1, Records: tt.size}).CPU(0)
		for i := range tt.added {
			ring.Add(&Record{Data: uint64(i)})
		}
		if got, want := ring.Len(), tt.added-tt.first; got != want {
			t.Errorf("%+v: %d events, want %d", tt, got, want)
		}
		for i := range ring.Len() {
			if got, want := ring.At(i).Data, uint64(tt.first+i); got != want {
				t.Errorf("%+v: event %d is number %d, want %d", tt, i, got, want)
			}
		}
		if got := ring.Lost(); got != uint64(tt.first) {
			t.Errorf("%+v: %d lost", tt, got)
		}
	}
}

// TestConcurrent has vCPUs and devices record at the same time. It is for the race detector, and counts.
func TestConcurrent(t *testing.T) {
	const cpus, devices, each = 4, 4, 1000
	r := newRecorder(t, Config{CPUs: cpus, Records: 128})
	var wg sync.WaitGroup
	for i := range cpus {
		wg.Go(func() {
			for range each {
				r.CPU(i).Add(&Record{Start: r.Now()})
			}
		})
	}
	for range devices {
		wg.Go(func() {
			for range each {
				r.Add(&Record{Kind: Request, Start: r.Now()})
			}
		})
	}
	wg.Wait()
	for i := range cpus {
		if ring := r.CPU(i); ring.Lost() != each-128 {
			t.Errorf("vCPU %d lost %d", i, ring.Lost())
		}
	}
	if lost := r.devices.Lost(); lost != devices*each-128 {
		t.Errorf("devices lost %d", lost)
	}
}

// TestLate holds that a device which records late, as a console's input may, disturbs neither the file nor the memory that is given back.
func TestLate(t *testing.T) {
	r := newRecorder(t, Config{CPUs: 1, Records: 128})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				r.Add(&Record{Kind: Interrupt, Start: r.Now(), Queue: NoVector})
			}
		}
	})
	for range 20 {
		var b bytes.Buffer
		if err := r.Write(&b, sampleLabels); err != nil {
			t.Error(err)
		}
		checkFormat(t, b.Bytes())
	}
	if err := r.Close(); err != nil { // a second time when the test ends
		t.Error(err)
	}
	r.Add(&Record{Kind: Interrupt})
	close(stop)
	wg.Wait()
}

func TestDoesNotAllocate(t *testing.T) {
	r := newRecorder(t, Config{CPUs: 1, Records: 16})
	ring := r.CPU(0)
	if n := testing.AllocsPerRun(100, func() {
		start := r.Now()
		ring.Add(&Record{Start: start, Duration: r.Now() - start})
		r.Add(&Record{Kind: Doorbell, Start: start})
	}); n != 0 {
		t.Errorf("%v allocations for two events", n)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []Config{{}, {CPUs: 1, Records: -1}, {CPUs: 1, Records: MaxRecords + 1}} {
		if r, err := NewRecorder(c); err == nil {
			t.Errorf("%+v was taken", c)
			r.Close()
		}
	}
	if r := newRecorder(t, Config{CPUs: 255}); r.CPUs() != 255 || len(r.CPU(254).records) != DefaultRecords {
		t.Errorf("%d vCPUs", r.CPUs())
	}
}

func BenchmarkExit(b *testing.B) {
	r := newRecorder(b, Config{CPUs: 1})
	ring := r.CPU(0)
	for b.Loop() {
		e := Record{Kind: Exit, Start: r.Now()}
		e.Duration = r.Now() - e.Start
		ring.Add(&e)
	}
}
