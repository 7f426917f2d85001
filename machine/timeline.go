package machine

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Stage is a moment in the life of a machine, in the order in which they usually come. Images and
// KVM are prepared side by side, so StageKVM may come after the two that follow it.
type Stage int

const (
	StageProcess     Stage = iota // the monitor's process began; the caller marks it
	StageKVM                      // VM, RAM, devices and vCPUs are made
	StageCacheHit                 // the unpacked kernel was found in the cache
	StageUnpacked                 // or: the kernel was unpacked on the host
	StageLoaded                   // kernel, initrd and tables are in RAM
	StageInstruction              // the first vCPU enters the guest for the first time
	StageKernel                   // the kernel proper is entered; not known of one that unpacks itself
	StageConsole                  // the guest wrote the first byte to its serial port
	StageInit                     // the guest said that its init runs (MarkPort)
	StageEnd                      // the run ended
	stages
)

var stageNames = [stages]string{
	"process start", "KVM set up", "cache hit", "kernel unpacked", "loaded",
	"first guest instruction", "kernel entry", "first console byte", "init", "end",
}

func (s Stage) String() string {
	if s < 0 || s >= stages {
		return fmt.Sprintf("Stage(%d)", int(s))
	}
	return stageNames[s]
}

// A Timeline records when a machine's stages were reached. The zero value is empty and ready, as is nil, which
// records nothing. Its methods may be called from any goroutine.
type Timeline struct {
	mu sync.Mutex
	at [stages]time.Time
}

// Mark records that s was reached now, unless it was before.
func (t *Timeline) Mark(s Stage) {
	if t != nil {
		t.MarkAt(s, time.Now())
	}
}

// MarkAt records that s was reached at a certain time, unless that is recorded already.
func (t *Timeline) MarkAt(s Stage, at time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at[s].IsZero() {
		t.at[s] = at
	}
}

// At returns when s was reached, the zero time if it was not.
func (t *Timeline) At(s Stage) time.Time {
	if t == nil {
		return time.Time{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[s]
}

// Stages are all that there are, in order.
func Stages() []Stage {
	all := make([]Stage, stages)
	for i := range all {
		all[i] = Stage(i)
	}
	return all
}

// markInit is the value that a guest writes to MarkPort to say that its init runs.
const markInit = 1

// guestMark takes what the guest writes to MarkPort.
func (t *Timeline) guestMark(v byte) {
	if v == markInit {
		t.Mark(StageInit)
	}
}

// firstByte marks StageConsole when the first byte passes through.
type firstByte struct {
	io.Writer
	timeline *Timeline
	seen     bool // writes come one at a time
}

func (f *firstByte) Write(p []byte) (int, error) {
	if !f.seen {
		f.seen = true
		f.timeline.Mark(StageConsole)
	}
	return f.Writer.Write(p)
}
