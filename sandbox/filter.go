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

// A check compares the low half of an argument, which is all that the kernel takes of the arguments that are checked: each is an int or a word of flags.
type check struct {
	arg    int
	mask   uint32   // what is looked at; zero means all of it
	values []uint32 // what it may be
	not    bool     // or may not be
}

// A call is a system call that the process may make.
type call struct {
	nr    uint32
	why   string
	check *check
}

const (
	allow = uint32(unix.SECCOMP_RET_ALLOW)
	trap  = uint32(unix.SECCOMP_RET_TRAP)
	kill  = uint32(unix.SECCOMP_RET_KILL_PROCESS)
)

// An assembler makes a program that ends in two instructions to which all others jump: the kernel compiles it at each start, so it is to be short.
type assembler struct {
	code  []unix.SockFilter
	jumps []pending
}

// A pending jump is one to the end: if what is loaded is what is asked for, or if it is not.
type pending struct {
	at  int
	yes bool
	to  uint32 // allow or trap
}

// A span is system calls with numbers in a row, none of which has a check, or one call.
type span struct {
	first, last uint32
	check       *check
}

// spansOf gives the spans of a list, in the order of their numbers.
func spansOf(calls []call) []span {
	calls = slices.Clone(calls)
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.nr, b.nr) })
	var spans []span
	for _, c := range calls {
		if n := len(spans); n > 0 && c.check == nil && spans[n-1].check == nil && spans[n-1].last == c.nr-1 {
			spans[n-1].last = c.nr
			continue
		}
		spans = append(spans, span{c.nr, c.nr, c.check})
	}
	return spans
}

// assemble makes the filter of a list: calls that are not on it raise SIGSYS, and those of other architectures' interfaces end the process at once.
// x32, a second interface that kernels may have on the same architecture, has numbers above all of the list.
// The kernel runs it for each number when it is installed, to remember those that need no more (Linux 5.11), and then only for calls with a check.
func assemble(calls []call) []unix.SockFilter {
	a := assembler{make([]unix.SockFilter, 0, 256), make([]pending, 0, 256)} // more than there are
	a.load(offsetArch)
	a.jump(unix.BPF_JEQ, auditArch, 1, 0)
	a.ret(kill)
	a.load(offsetNumber)
	a.search(spansOf(calls), 0)
	a.end()
	return a.code
}

func (a *assembler) load(offset uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (a *assembler) ret(action uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action})
}

// jump compares what is loaded with k, and skips yes instructions or no.
func (a *assembler) jump(how uint16, k uint32, yes, no int) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | how, K: k, Jt: near(yes), Jf: near(no)})
}

// later has the last jump go to the end in one of its cases.
func (a *assembler) later(yes bool, to uint32) {
	a.jumps = append(a.jumps, pending{len(a.code) - 1, yes, to})
}

// A group is as many spans as are looked through one by one: fewer would take more instructions, and more would take more time.
const group = 4

// search finds the number that is loaded among spans, by halves. It is known to be at least least.
func (a *assembler) search(spans []span, least uint32) {
	if len(spans) <= group {
		for i, s := range spans {
			a.found(s, least, i == len(spans)-1)
			if s.first < s.last {
				least = s.last + 1
			}
		}
		return
	}
	middle := len(spans) / 2
	a.jump(unix.BPF_JGE, spans[middle].first, 0, 0)
	at := len(a.code)
	a.search(spans[:middle], least)
	a.code[at-1].Jt = near(len(a.code) - at)
	a.search(spans[middle:], spans[middle].first)
}

// found decides on the number that is loaded, which is at least least: it is in s, or in one that comes later, or, if s is the last, in none of the spans.
func (a *assembler) found(s span, least uint32, last bool) {
	if s.first < s.last {
		if least < s.first {
			a.jump(unix.BPF_JGE, s.first, 0, 0)
			a.later(false, trap)
		}
		a.jump(unix.BPF_JGT, s.last, 0, 0)
		a.later(false, allow)
		if last {
			a.later(true, trap)
		}
		return
	}
	a.jump(unix.BPF_JEQ, s.first, 0, 0)
	at := len(a.code)
	if last {
		a.later(false, trap)
	}
	if s.check == nil {
		a.later(true, allow)
		return
	}
	a.examine(s.check)
	if !last {
		a.code[at-1].Jf = near(len(a.code) - at)
	}
}

// examine decides on an argument.
func (a *assembler) examine(c *check) {
	a.load(uint32(offsetArgs + 8*c.arg))
	if c.mask != 0 {
		a.code = append(a.code, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: c.mask})
	}
	these, others := allow, trap
	if c.not {
		these, others = trap, allow
	}
	for _, v := range c.values {
		a.jump(unix.BPF_JEQ, v, 0, 0)
		a.later(true, these)
	}
	a.later(false, others) // the last of them
}

// end appends the two instructions and lets the jumps reach them.
func (a *assembler) end() {
	ends := map[uint32]int{allow: len(a.code), trap: len(a.code) + 1}
	for _, j := range a.jumps {
		distance := near(ends[j.to] - j.at - 1)
		if j.yes {
			a.code[j.at].Jt = distance
		} else {
			a.code[j.at].Jf = distance
		}
	}
	a.ret(allow)
	a.ret(trap)
}

// near holds that a jump is one that the machine has: the lists are constant, and a test assembles the longest.
func near(n int) uint8 {
	if n > 255 {
		panic("sandbox: the list of system calls is too long for jumps of 255")
	}
	return uint8(n)
}

// haveSeccomp asks in a way that fails, and that tells whether there is such an operation before a filter is looked at.
func haveSeccomp() bool {
	return errors.Is(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0), unix.EFAULT)
}

// noSeccomp is the layer where it is missing.
var noSeccomp = Layer{Name: "seccomp", Detail: "not in this kernel", Remedy: "a host kernel with CONFIG_SECCOMP_FILTER"}

func seccompLayer() Layer {
	if !haveSeccomp() {
		return noSeccomp
	}
	return Layer{Name: "seccomp", Have: true, Detail: describe(len(program(Policy{})))}
}

// program gives the system calls of a policy.
func program(p Policy) []call {
	calls := slices.Concat(machineCalls(p.Debugger), runtimeCalls())
	if p.Sockets >= OpenSockets {
		calls = append(calls, openSocketCalls()...)
	}
	if p.Sockets >= NewSockets {
		calls = append(calls, newSocketCalls()...)
	}
	if p.Debugger && p.Sockets < NewSockets {
		calls = append(calls, debuggerCalls()...)
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
		list = append(list, Permission{CallName(uint64(c.nr)), c.why, slices.Contains([]string{settingProcs, naming, dying, goingOn, noVDSO}, c.why)})
	}
	return list
}
