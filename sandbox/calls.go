package sandbox

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"govmm/kvm"
)

// A test runs guests that use everything, and fails if a call on these lists was not made (cmd/govmm/sandbox_linux_test.go).

// machineCalls are those of a running machine: vCPUs, devices and the console.
func machineCalls(debugger bool) []call {
	return []call{
		{unix.SYS_IOCTL, "KVM_RUN, interrupts and doorbells; the terminal; taps and disks", &check{arg: 1, values: requests(debugger)}},
		{unix.SYS_PPOLL, "devices wait for doorbells, taps and the console's reader", nil},
		{unix.SYS_PREADV2, "disk reads, and an attempt that does not wait", nil},
		{unix.SYS_PWRITEV2, "disk writes, and an attempt that does not wait", nil},
		{unix.SYS_READV, "packets from a tap", nil},
		{unix.SYS_WRITEV, "packets to a tap", nil},
		{unix.SYS_FDATASYNC, "flushes of disks", nil},
		{unix.SYS_FALLOCATE, "discards and zeroes of disks", nil},
		{unix.SYS_EVENTFD2, "an interrupt vector that a driver begins to use", nil},
		{unix.SYS_GETRANDOM, "the guest's random numbers, and the runtime's", nil},
		{unix.SYS_SCHED_GETATTR, "threads that carry packets are of a class of their own; of the calling thread only", &check{arg: 0, values: []uint32{0}}},
		{unix.SYS_SCHED_SETATTR, "the same", &check{arg: 0, values: []uint32{0}}},
		{unix.SYS_WAITID, "the end of the terminal's guard", nil},
	}
}

// requests are those of ioctl(2), the most frequent first.
func requests(debugger bool) []uint32 {
	var more []uint32
	if debugger {
		more = kvm.DebugRequests()
	}
	return slices.Concat(kvm.GuestRequests(), more, []uint32{
		unix.TIOCINQ,       // what a socket holds
		unix.SIOCGIFINDEX,  // the zone of a name server's address
		unix.TUNSETOFFLOAD, // a driver has chosen what a tap may do for it
		unix.TUNSETQUEUE,   // and how many queues it uses
		unix.BLKDISCARD,
		unix.TIOCGWINSZ, // the terminal has another size
		unix.TCGETS,
		unix.TCSETS, // and is put back at the end
	})
}

// goThread is how Go's runtime makes a thread: runtime/os_linux.go's cloneFlags, with the storage for threads on some architectures.
const goThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// runtimeCalls are those that Go's runtime and its package os cannot do without.
func runtimeCalls() []call {
	return []call{
		{unix.SYS_FUTEX, "locks, and threads that sleep", nil},
		{unix.SYS_READ, "files, pipes, eventfds, the terminal", nil},
		{unix.SYS_WRITE, "files, pipes, eventfds, the console", nil},
		{unix.SYS_NANOSLEEP, "the thread that watches the others, and spinning locks", nil},
		{unix.SYS_EPOLL_PWAIT, "the poller", nil},
		{unix.SYS_EPOLL_CTL, "the poller", nil},
		{unix.SYS_CLOCK_GETTIME, noVDSO, nil},
		{unix.SYS_SCHED_YIELD, "spinning locks", nil},
		{unix.SYS_RT_SIGRETURN, "the end of every signal handler", nil},
		{unix.SYS_RT_SIGPROCMASK, "the start of a thread", nil},
		{unix.SYS_SIGALTSTACK, "the start and end of a thread", nil},
		{unix.SYS_GETTID, "the start of a thread", nil},
		{unix.SYS_GETPID, "preemption", nil},
		{unix.SYS_TGKILL, "preemption of goroutines, and kicks of vCPUs; only to this process", &check{arg: 0, values: []uint32{uint32(os.Getpid())}}},
		{unix.SYS_CLONE, "threads; no processes", &check{arg: 0, values: []uint32{goThread, goThread | unix.CLONE_SETTLS}}},
		{unix.SYS_MMAP, "memory; none that can be executed", &check{arg: 2, mask: unix.PROT_EXEC, values: []uint32{0}}},
		{unix.SYS_MUNMAP, "memory", nil},
		{unix.SYS_MADVISE, "memory that goes back to the host, the guest's and the heap's", nil},
		{unix.SYS_PRCTL, naming, &check{arg: 0, values: []uint32{unix.PR_SET_VMA}}},
		{unix.SYS_CLOSE, "the end", nil},
		{unix.SYS_EXIT, "the end of a thread", nil},
		{unix.SYS_EXIT_GROUP, "the end", nil},
		{unix.SYS_RESTART_SYSCALL, goingOn, nil},
		{unix.SYS_RT_SIGACTION, dying, &check{arg: 0, not: true, values: []uint32{uint32(unix.SIGSYS)}}}, // which tells of violations
		{unix.SYS_SCHED_GETAFFINITY, settingProcs, &check{arg: 0, values: []uint32{0}}},
		{unix.SYS_PREAD64, settingProcs, nil},
	}
}

// Reasons of calls that no test can count on: it takes a race, or another host.
const (
	// The runtime looks once a second, until GOMAXPROCS is set, at the number of processors and the limit of its control group. Apply
	// sets it; what was begun before may go on.
	settingProcs = "what the runtime has begun before to set GOMAXPROCS"
	naming       = "names of mappings, on a host with CONFIG_ANON_VMA_NAME"
	noVDSO       = "the time, where the vDSO cannot tell it"
	goingOn      = "sleeps that go on after SIGSTOP and SIGCONT, if a thread slept"
	dying        = "the end by a second signal, while the first one has not ended the program yet"
)

// openSocketCalls are those for sockets that are there.
func openSocketCalls() []call {
	return []call{
		{unix.SYS_SENDTO, "datagrams", nil},
		{unix.SYS_RECVFROM, "datagrams", nil},
	}
}

// newSocketCalls are those of package usernet.
func newSocketCalls() []call {
	return []call{
		{unix.SYS_SOCKET, "connections of the guest's, by IPv4 and IPv6 only", &check{arg: 0, values: []uint32{unix.AF_INET, unix.AF_INET6}}},
		{unix.SYS_CONNECT, "connections of the guest's", nil},
		{unix.SYS_ACCEPT4, "connections to forwarded ports", nil},
		{unix.SYS_SHUTDOWN, "one direction of a connection ends", nil},
		{unix.SYS_SETSOCKOPT, "sockets' options", nil},
		{unix.SYS_GETSOCKOPT, "whether a connection came about, and how it ended", nil},
		{unix.SYS_GETSOCKNAME, "sockets' addresses", nil},
		{unix.SYS_GETPEERNAME, "sockets' addresses", nil},
		{unix.SYS_FCNTL, "package os asks whether a socket blocks", &check{arg: 1, values: []uint32{unix.F_GETFL}}},
	}
}

// debuggerCalls are those for connections of debuggers, to a socket that is open. With NewSockets they are there already.
func debuggerCalls() []call {
	return []call{
		{unix.SYS_ACCEPT4, "a debugger comes", nil},
		{unix.SYS_GETSOCKNAME, "the address at which it came", nil},
		{unix.SYS_SETSOCKOPT, "its packets are not delayed", &check{arg: 1, values: []uint32{unix.SOL_SOCKET, unix.IPPROTO_TCP}}},
	}
}

// readOnly is the access mode, and all that makes or changes a file, or that Landlock has no say in.
const readOnly = unix.O_ACCMODE | unix.O_CREAT | unix.O_TRUNC | unix.O_APPEND | unix.O_PATH

// readingCalls are those for the files of Policy.Readable.
func readingCalls() []call {
	return []call{
		{unix.SYS_OPENAT, "the host's name servers, for reading", &check{arg: 2, mask: readOnly, values: []uint32{unix.O_RDONLY}}},
		{unix.SYS_NEWFSTATAT, "whether the file with the host's name servers has changed", nil},
	}
}
