package sandbox

import (
	"cmp"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data (seccomp(2)), which is what a filter sees of a system call.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16 // of 8 bytes each; the low half is first where bytes are little-endian
)

const auditArch = unix.AUDIT_ARCH_X86_64

// x32 is set in numbers of a second interface that kernels may have on the same architecture.
const x32 = 0x40000000

// A check compares the low half of an argument, which is all that the kernel takes of the arguments that are checked: each is an int or a word of flags.
type check struct {
	arg    int
	mask   uint32   // what is looked at; zero means all of it
	values []uint32 // what it may be
}

// A call is a system call that the process may make.
type call struct {
	nr    uint32
	why   string
	check *check
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

// jump skips yes instructions if what is loaded is k, and no otherwise.
func jump(k uint32, yes, no int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: near(yes), Jf: near(no)}
}

const (
	allow = uint32(unix.SECCOMP_RET_ALLOW)
	trap  = uint32(unix.SECCOMP_RET_TRAP)
	kill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

// assemble makes the filter of a list: calls that are not on it raise SIGSYS, and those of other architectures' interfaces end the process at once.
// The kernel runs it for each number when it is installed, to remember those that need no more (Linux 5.11), and then only for calls with a check.
func assemble(calls []call) []unix.SockFilter {
	f := []unix.SockFilter{
		load(offsetArch),
		jump(auditArch, 1, 0),
		ret(kill),
		load(offsetNumber),
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: x32, Jt: 0, Jf: 1},
		ret(kill),
	}
	calls = slices.Clone(calls)
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.nr, b.nr) })
	return append(f, search(calls)...)
}

// search finds the number that is loaded among calls, which are sorted, by halves.
func search(calls []call) (f []unix.SockFilter) {
	if middle := len(calls) / 2; middle > 0 {
		left, right := search(calls[:middle]), search(calls[middle:])
		f = append(f, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: calls[middle].nr, Jt: near(len(left))})
		return slices.Concat(f, left, right)
	}
	for _, c := range calls {
		body := c.body()
		f = append(f, jump(c.nr, 0, len(body)))
		f = append(f, body...)
	}
	return append(f, ret(trap))
}

// near holds that a jump is one that the machine has: the lists are constant, and a test assembles the longest.
func near(n int) uint8 {
	if n > 255 {
		panic("sandbox: the list of system calls is too long for jumps of 255")
	}
	return uint8(n)
}

// body is what is done with the call, of 255 instructions at most.
func (c *call) body() []unix.SockFilter {
	if c.check == nil {
		return []unix.SockFilter{ret(allow)}
	}
	f := []unix.SockFilter{load(uint32(offsetArgs + 8*c.check.arg))}
	if c.check.mask != 0 {
		f = append(f, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.check.mask})
	}
	for i, v := range c.check.values {
		f = append(f, jump(v, len(c.check.values)-i, 0))
	}
	return append(f, ret(trap), ret(allow))
}

func seccompLayer() Layer {
	l := Layer{Name: "seccomp"}
	// It fails in a way that tells whether there is such an operation, before a filter is looked at.
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0)
	if l.Have = errors.Is(err, unix.EFAULT); l.Have {
		calls := program(Policy{})
		l.Detail = describe(len(calls))
		return l
	}
	l.Detail, l.Remedy = "not in this kernel", "a host kernel with CONFIG_SECCOMP_FILTER"
	return l
}

// program gives the system calls of a policy.
func program(p Policy) []call {
	calls := slices.Concat(machineCalls(), runtimeCalls())
	if p.Sockets >= OpenSockets {
		calls = append(calls, openSocketCalls()...)
	}
	if p.Sockets >= NewSockets {
		calls = append(calls, newSocketCalls()...)
	}
	if len(p.Readable) > 0 {
		calls = append(calls, readingCalls()...)
	}
	return calls
}

// A Permission is one system call that is left to the process.
type Permission struct {
	Name string // as in the kernel's tables
	Why  string
	Rare bool // it takes a race, or another host, for the call to be made
}

// Permissions gives the system calls that a policy leaves, for those who want to know.
func Permissions(p Policy) []Permission {
	var list []Permission
	for _, c := range program(p) {
		list = append(list, Permission{CallName(uint64(c.nr)), c.why, slices.Contains([]string{settingProcs, naming, dying}, c.why)})
	}
	return list
}
