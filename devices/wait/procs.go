package wait

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// procs makes raising and lowering GOMAXPROCS, which belongs to the whole process, one step for all who do it.
var procs struct {
	sync.Mutex
	reserved int // Ps that waiters may have beyond those that there would be without them
	raised   int // those of them that there are
}

var (
	// owed is whether there are reserved Ps that GOMAXPROCS was not raised for.
	owed atomic.Bool
	// spare is how many goroutines may still begin to keep their P.
	spare atomic.Int64
)

// AddProcs raises GOMAXPROCS by n at once; a negative n takes that back.
func AddProcs(n int) {
	procs.Lock()
	defer procs.Unlock()
	addProcs(n)
}

func addProcs(n int) { runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n) }

// Reserve lets n goroutines more keep their P in Waiter.Poll; a negative n takes that back. GOMAXPROCS is raised by as much, for else they could
// keep others from running for 10 ms, but only when the first of them is about to: a P that was used has memory of its own, and
// most machines wait for nothing that is quick.
func Reserve(n int) {
	procs.Lock()
	defer procs.Unlock()
	procs.reserved += n
	if over := procs.raised - procs.reserved; over > 0 {
		raise(-over)
	}
	owed.Store(procs.raised < procs.reserved)
}

// settle raises GOMAXPROCS for all who may keep their P.
func settle() {
	procs.Lock()
	defer procs.Unlock()
	if n := procs.reserved - procs.raised; n > 0 {
		raise(n)
	}
	owed.Store(false)
}

// raise is called with procs locked.
func raise(n int) {
	addProcs(n)
	procs.raised += n
	spare.Add(int64(n))
}
