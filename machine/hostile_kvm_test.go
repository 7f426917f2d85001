//go:build kvmtest

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"govmm/devices/virtio"
	"govmm/devices/virtio/rng"
)

const (
	hostileTimeVar = "GOVMM_HOSTILE_TIME" // how long for each device and transport
	hostileSeedVar = "GOVMM_HOSTILE_SEED" // to have the guests of a run once more

	hostileSteps = 6000 // of one guest's script
	promptly     = 10 * time.Second
)

// TestHostile lets hostile guests loose on each device over each transport, and holds that the monitor survives them, ends their runs
// promptly, comes to rest, holds afterwards what it held before, and that the host's files are what they were.
func TestHostile(t *testing.T) {
	duration, seed := hostileTime(t), hostileSeed(t)
	for _, target := range targets {
		for _, transport := range []Transport{PCI, MMIO} {
			name := fmt.Sprintf("%s over %s", target.name, []string{"pci", "mmio"}[transport])
			t.Run(name, func(t *testing.T) {
				t.Logf("%s=%d has the same guests", hostileSeedVar, seed)
				a := &attack{t: t, name: name, seed: seed, transport: transport, open: target.open, files: newHostFiles(t, target.name == "blk")}
				a.run(duration)
			})
		}
	}
}

func hostileTime(t *testing.T) time.Duration {
	s := os.Getenv(hostileTimeVar)
	if s == "" {
		return 800 * time.Millisecond
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func hostileSeed(t *testing.T) uint64 {
	s := os.Getenv(hostileSeedVar)
	if s == "" {
		return uint64(time.Now().UnixNano())
	}
	seed, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// An attack is all the guests that one device has to bear over one transport.
type attack struct {
	t         *testing.T
	name      string
	seed      uint64
	transport Transport
	open      func(*testing.T, string, *slog.Logger) target
	files     *hostFiles

	longestRun time.Duration // of one guest
	steps      int           // of one guest's script

	guests     uint64
	operations uint64
	ends       map[string]int
	longest    time.Duration // from the wish to end a run to its end
	peak       uint64        // most memory of the Go runtime's
	crashes    int           // of the monitor
	log        lineCount
}

// run lets guests loose, one after the other, until the time is over.
func (a *attack) run(duration time.Duration) {
	a.ends, a.longestRun, a.steps = make(map[string]int), min(duration/2, 3*time.Second), 1500
	if duration < 5*time.Second {
		a.steps = 200 // to have more than one guest
	}
	a.guest(false) // what the first one leaves is the runtime's
	before, started := weigh(a.t), time.Now()
	for time.Since(started) < duration && !a.t.Failed() {
		a.guest(a.guests%4 == 3)
	}
	took := time.Since(started)
	a.checkRest(nil)
	a.files.check(a.t)
	grown := before.check(a.t)
	a.checkBounds()
	a.t.Logf("%d guests, %d operations, %v; ends %v", a.guests, a.operations, took.Round(time.Millisecond), a.ends)
	for key, value := range map[string]string{
		"operations":                strconv.FormatUint(a.operations, 10),
		"guests":                    strconv.FormatUint(a.guests, 10),
		"crashes":                   strconv.Itoa(a.crashes),
		"seconds":                   fmt.Sprintf("%.1f s", took.Seconds()),
		"growth of Go heap":         fmt.Sprintf("%d KiB", grown.heap>>10),
		"growth of resident memory": fmt.Sprintf("%d KiB", grown.resident>>10),
		"growth of descriptors":     strconv.Itoa(grown.descriptors),
		"growth of goroutines":      strconv.Itoa(grown.goroutines),
		"longest end":               fmt.Sprintf("%d ms", a.longest.Milliseconds()),
		"log lines":                 strconv.FormatInt(a.log.Load(), 10),
		"threads":                   strconv.Itoa(len(threadTimes(a.t, nil))),
		"most Go memory":            fmt.Sprintf("%d MiB", a.peak>>20),
	} {
		a.t.Attr("reliability", fmt.Sprintf("hostile %s: %s=%s", a.name, key, value))
	}
}

// Bounds of what one guest can have the monitor do.
const (
	mostGoMemory = 128 << 20
	mostThreads  = 100
	mostLogLines = 50 // each is limited to one in ten seconds, and most guests do not live as long
)

// checkBounds holds that guests had no more from the monitor than they may have.
func (a *attack) checkBounds() {
	if a.peak > mostGoMemory {
		a.t.Errorf("the Go runtime had up to %d MiB", a.peak>>20)
	}
	if n := len(threadTimes(a.t, nil)); n > mostThreads {
		a.t.Errorf("there are %d threads", n)
	}
	if lines := uint64(a.log.Load()); lines > mostLogLines*a.guests {
		a.t.Errorf("%d guests made %d lines of log", a.guests, lines)
	}
}

// guest runs one guest. One that is to rest stands still at the end of its script, and the monitor has to come to rest too.
func (a *attack) guest(rest bool) {
	t, round := a.t, a.guests
	a.guests++
	// Whatever hangs, all goroutines say where they are.
	hangs := time.AfterFunc(9*promptly, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s, seed %d: guest %d does not end", a.name, a.seed, round))
	})
	defer hangs.Stop()
	target := a.open(t, a.files.dir, slog.New(&a.log))
	if target.close != nil {
		defer target.close()
	}
	if rest {
		target.meddle = nil
	}
	scripts, blob, patience := a.scripts(round, target.device, rest)
	cfg := Config{Memory: hostileMemory, Transport: a.transport, Console: io.Discard, Log: slog.New(&a.log)}
	if target.device != nil {
		// Another device to get in each other's way with.
		cfg.Devices = []virtio.Device{target.device, rng.New(rng.Config{Log: cfg.Log})}
	}
	m, err := newHostile(t, cfg, scripts)
	if err != nil {
		t.Fatalf("%v (make test-kvm runs this test where there is a KVM)", err)
	}
	defer m.Close()
	if _, err := m.Memory().WriteAt(blob, hostileBlob); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	target.during(ctx, m, func() {
		a.watch(m, rest, patience, cancel, func() (Outcome, error) { return m.Run(ctx) })
	})
	a.operations += operationsDone(m, len(scripts))
}

// watch runs a guest, ends it when its time is over, and says what it thinks of the end.
func (a *attack) watch(m *Machine, rest bool, patience time.Duration, cancel func(), run func() (Outcome, error)) {
	type result struct {
		o   Outcome
		err error
	}
	ended := make(chan result, 1)
	go func() {
		o, err := run()
		ended <- result{o, err}
	}()
	var r result
	select {
	case r = <-ended:
	case <-time.After(patience):
		if rest {
			a.checkRest(m)
		}
		at := time.Now()
		cancel()
		select {
		case r = <-ended:
		case <-time.After(6 * promptly):
			a.t.Fatalf("seed %d, guest %d: Run does not return", a.seed, a.guests-1)
		}
		a.longest = max(a.longest, time.Since(at))
		if a.longest > promptly {
			a.t.Errorf("seed %d, guest %d: Run returned after %v", a.seed, a.guests-1, a.longest)
		}
	}
	a.peak = max(a.peak, goMemory())
	a.judge(r.o, r.err)
}

// judge fails the test when a run ended by anything but the guest's wish, the guest's crash or the test's cancelling.
func (a *attack) judge(o Outcome, err error) {
	var crash *CrashError
	var panicked *PanicError
	end := o.Reason.String()
	switch {
	case errors.As(err, &panicked):
		a.crashes++
		a.t.Errorf("seed %d, guest %d: panic: %v\n%s", a.seed, a.guests-1, panicked.Value, panicked.Stack)
	case errors.As(err, &crash):
		end = "crash"
	case errors.Is(err, context.Canceled):
		end = "cancelled"
	case err != nil:
		a.t.Errorf("seed %d, guest %d: %v", a.seed, a.guests-1, err)
	}
	a.ends[end]++
}

// scripts makes up what the processors of a guest do, the content of its requests, and how long it may take.
func (a *attack) scripts(round uint64, device virtio.Device, rest bool) (scripts [][]operation, blob []byte, patience time.Duration) {
	h := newHostileScript(a.seed, round, a.transport, device)
	if len(h.blob) == 0 {
		h.content(bytes.Repeat([]byte("hostile\x80\xff"), 1<<10))
	}
	second := !rest && h.chance(3)
	if second {
		h.ops = append(h.ops, startUpSecond()...)
	}
	for range a.steps {
		h.step()
	}
	switch {
	case device == nil:
		h.serialFlood()
	case device.Type() == virtio.TypeBalloon && h.chance(4):
		h.handshake()
		h.inflateAll()
		h.repeat(opSpin, 1000, 0, 0)
	}
	// Most come to their end, some are ended at any moment.
	patience = a.longestRun
	if second || h.chance(3) {
		patience = time.Duration(h.IntN(300)) * time.Millisecond
	}
	if rest {
		h.add(opHalt, 0, 0)
		patience = min(time.Second, a.longestRun)
	}
	scripts = append(scripts, h.ops)
	if second {
		scripts = append(scripts, a.accomplice(h))
	}
	return scripts, h.blob, patience
}

// accomplice is what the second processor does: it accesses the same device at the same time, for ever.
func (a *attack) accomplice(h *hostile) []operation {
	h.ops = enableAPIC()
	for range a.steps / 10 {
		switch {
		case h.device == nil:
			h.platformStep()
		case h.chance(20):
			h.handshake()
		default:
			h.step()
		}
	}
	h.add(opJump, scriptAddr(1), 0)
	return h.ops
}
