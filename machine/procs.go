package machine

import (
	"runtime"
	"sync"
)

// procsMu makes raising and lowering GOMAXPROCS, which belongs to the whole
// process, one step for machines that run side by side.
var procsMu sync.Mutex

// reserveProcs adds n to GOMAXPROCS and gives a function that takes them back. A
// vCPU keeps its P while the guest runs, because giving it up around every
// exit costs more than the exit (kvm.VCPU.Run); with a P more for each vCPU the
// monitor's other goroutines still find one at once.
func reserveProcs(n int) (release func()) {
	add := func(n int) {
		procsMu.Lock()
		defer procsMu.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	add(n)
	return func() { add(-n) }
}
