package machine

import (
	"runtime"
	"sync"

	"govmm/devices/wait"
)

// procsMu makes raising and lowering GOMAXPROCS, which belongs to the whole
// process, one step for machines that run side by side.
var procsMu sync.Mutex

// reserveProcs raises GOMAXPROCS for a machine of n vCPUs and gives a function that
// takes that back. A vCPU keeps its P while the guest runs, because giving it up
// around every exit costs more than the exit (kvm.VCPU.Run), and devices keep theirs
// while they wait for the guest (package wait): as many as there are vCPUs to keep
// them busy, and one for the world outside. With as many Ps more, the monitor's
// other goroutines still find one at once.
func reserveProcs(n int) (release func()) {
	waiters := n + 1
	add := func(sign int) {
		procsMu.Lock()
		defer procsMu.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + sign*(n+waiters))
		wait.Reserve(sign * waiters)
	}
	add(1)
	return func() { add(-1) }
}
