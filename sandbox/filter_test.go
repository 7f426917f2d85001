package sandbox

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// evaluate runs a filter as the kernel does, and gives what it returns.
func evaluate(t *testing.T, code []unix.SockFilter, data *[64]byte) uint32 {
	t.Helper()
	var a uint32
	for pc := 0; pc < len(code); pc++ {
		i, yes := code[pc], false
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.LittleEndian.Uint32(data[i.K:])
			continue
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
			continue
		case unix.BPF_RET | unix.BPF_K:
			return i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = a == i.K
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			yes = a >= i.K
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			yes = a > i.K
		default:
			t.Fatalf("instruction %d is %+v", pc, i)
		}
		if yes {
			pc += int(i.Jt)
		} else {
			pc += int(i.Jf)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}

// frame is what a filter sees of a call.
func frame(nr, arch uint32, arg int, value uint32) *[64]byte {
	var data [64]byte
	binary.LittleEndian.PutUint32(data[offsetNumber:], nr)
	binary.LittleEndian.PutUint32(data[offsetArch:], arch)
	binary.LittleEndian.PutUint32(data[offsetArgs+8*arg:], value)
	return &data
}

// TestFilterIsTheList asks filters for every number there is and will be for long, and arguments for all that is checked. Lists made
// by chance have rows of numbers at both ends and with checks in their midst.
func TestFilterIsTheList(t *testing.T) {
	lists := [][]call{program(Policy{}), program(Policy{Sockets: NewSockets, Debugger: true, Readable: []string{"/"}}), {{nr: 7}}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var list []call
		for nr := range uint32(40) {
			switch r.IntN(4) {
			case 0:
			case 1:
				list = append(list, call{nr: 3 + nr, check: &check{arg: r.IntN(6), mask: 0xff, values: []uint32{1, 2}, not: r.IntN(3) == 0}})
			default:
				list = append(list, call{nr: 3 + nr})
			}
		}
		lists = append(lists, list)
	}
	for _, list := range lists {
		code := assemble(list)
		for nr := range uint32(1000) {
			i := slices.IndexFunc(list, func(c call) bool { return c.nr == nr })
			for _, value := range []uint32{0, 1, 2, 3, 0x102, unix.PROT_EXEC, goThread} {
				want := trap
				var c *check
				if i >= 0 {
					c = list[i].check
					want = allow
				}
				arg := 0
				if c != nil {
					arg = c.arg
					if seen := value & mask(c); slices.Contains(c.values, seen) == c.not {
						want = trap
					}
				}
				if got := evaluate(t, code, frame(nr, auditArch, arg, value)); got != want {
					t.Fatalf("number %d with %#x: %#x, want %#x", nr, value, got, want)
				}
			}
		}
		for _, nr := range []uint32{0x40000000, 0x40000001, 0x80000000, 0xffffffff} {
			if got := evaluate(t, code, frame(nr, auditArch, 0, 0)); got != trap {
				t.Errorf("number %#x: %#x", nr, got)
			}
		}
		if got := evaluate(t, code, frame(0, unix.AUDIT_ARCH_I386, 0, 0)); got != kill {
			t.Errorf("another architecture: %#x", got)
		}
	}
}

func mask(c *check) uint32 {
	if c.mask == 0 {
		return 0xffffffff
	}
	return c.mask
}

// TestFilterIsShort holds what the kernel has to compile at each start.
func TestFilterIsShort(t *testing.T) {
	if n := len(assemble(program(Policy{}))); n > 90 {
		t.Errorf("the filter has %d instructions", n)
	}
}
