package machine

import "govmm/devices/wait"

// reserveProcs raises GOMAXPROCS for a machine of n vCPUs and gives a function that
// takes that back. A vCPU keeps its P while the guest runs, because giving it up
// around every exit costs more than the exit (kvm.VCPU.Run), and devices keep theirs
// while they wait for a guest that keeps them busy (package wait): as many as there are vCPUs
// to do so, and one for the world outside. With as many Ps more, the monitor's
// other goroutines still find one at once.
func reserveProcs(n int) (release func()) {
	waiters := n + 1
	wait.AddProcs(n)
	wait.Reserve(waiters)
	return func() {
		wait.Reserve(-waiters)
		wait.AddProcs(-n)
	}
}
