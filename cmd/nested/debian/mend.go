package debian

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A fault is a place in QEMU's program and what stands there when it is mended. Both are of the same length and
// occur once; the instructions around those that change are there to find the place by.
type fault struct {
	name          string
	broken, whole []byte
}

// The faults of QEMU, up to version 10 at least, that make the nested test host or its guests fail.
var faults = []fault{{
	// helper_vmrun (target/i386/tcg/system/svm_helper.c) delivers an external interrupt that the hypervisor
	// injects, but leaves its vector in the virtual CPU's exception_index as well, as if it were still to be
	// delivered. If the emulation is asked to pause before anything else happens in the guest, because of a
	// timer, another thread's interrupt, or in virtual time the end of a slice, it comes again from there
	// (cpu_handle_exception in accel/tcg/cpu-exec.c). The guest's handler then interrupts itself, with
	// interrupts disabled, and waits for ever for a lock that it holds, or worse. The store has no other purpose.
	name: "injected interrupt",
	broken: []byte{
		0x44, 0x89, 0xab, 0xe0, 0x33, 0x00, 0x00, // mov %r13d,error_code(%rbx)
		0x89, 0xb3, 0x10, 0xd7, 0xff, 0xff, // mov %esi,exception_index(%rbx)
		0xc7, 0x83, 0xe4, 0x33, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // movl $0,exception_is_int(%rbx)
		0x48, 0xc7, 0x83, 0xe8, 0x33, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, // movq $-1,exception_next_eip(%rbx)
	},
	whole: []byte{
		0x44, 0x89, 0xab, 0xe0, 0x33, 0x00, 0x00,
		0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00, // a nop of the store's length
		0xc7, 0x83, 0xe4, 0x33, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
		0x48, 0xc7, 0x83, 0xe8, 0x33, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff,
	},
}, {
	// Whenever a processor loads the state of its FPU, as at most context switches, cpu_clear_ignne
	// (target/i386/tcg/system/fpu_helper.c) clears a bit in hflags2 of the *first* processor, from its own thread and
	// by an ordinary read, change and write. If the first processor writes hflags2 in between, that write is undone.
	// There are the bits that VMRUN sets and #VMEXIT clears: nested paging, global interrupts, virtual interrupts. With
	// nested paging still on after a #VMEXIT, the hypervisor's next instruction is fetched through the guest's page
	// tables, which ends in a second #VMEXIT that stores the hypervisor's registers as the guest's. A locked
	// instruction on the one byte cannot undo anything, and is shorter.
	name: "flags of the first processor",
	broken: []byte{
		0x81, 0xa0, 0x74, 0x2c, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, // andl $~0x80,hflags2(%rax)
		0x48, 0x83, 0xc4, 0x08, // add $8,%rsp
	},
	whole: []byte{
		0xf0, 0x80, 0xa0, 0x74, 0x2c, 0x00, 0x00, 0x7f, // lock andb $0x7f,hflags2(%rax)
		0x66, 0x90, // a nop
		0x48, 0x83, 0xc4, 0x08,
	},
}, {
	// helper_vmrun notes that the guest has a virtual interrupt pending, as KVM has it when it waits for a guest to
	// take interrupts, in interrupt_request of its processor. Other threads set their bits there, for interrupts of
	// the test host, with QEMU's big lock held, which helper_vmrun does not take: it can undo theirs, and a timer that was
	// to tick once never ticks again. With a locked instruction at most its own bit is undone, by an interrupt
	// that ends the guest's turn, and the next VMRUN sets it again.
	name: "requests of interrupts",
	broken: []byte{
		0x81, 0x8b, 0x10, 0xd5, 0xff, 0xff, 0x00, 0x01, 0x00, 0x00, // orl $0x100,interrupt_request(%rbx)
		0xf6, 0x83, 0xb2, 0x00, 0x00, 0x00, 0x20, // testb $0x20,hflags+2(%rbx)
	},
	whole: []byte{
		0xf0, 0x80, 0x8b, 0x11, 0xd5, 0xff, 0xff, 0x01, // lock orb $1,interrupt_request+1(%rbx)
		0x66, 0x90, // a nop
		0xf6, 0x83, 0xb2, 0x00, 0x00, 0x00, 0x20,
	},
}, {
	// INT3 raises the exception #BP, and a hypervisor that intercepts that is to get it (AMD APM, volume 2, 15.12.4): so debuggers' breakpoints
	// work in KVM's guests. raise_interrupt2 (target/i386/tcg/excp_helper.c) takes it for one of the other INT instructions and asks
	// for their intercept instead, and the guest gets an exception that it knows nothing of. Vector 3 now goes the way of exceptions, a few instructions
	// before. The room for that comes from a shorter way to write 0x75, and from not copying %r9 to %rcx: both are zero here.
	name: "breakpoints",
	broken: []byte{
		0x4c, 0x89, 0xc9, // mov %r9,%rcx
		0x31, 0xd2, // xor %edx,%edx
		0xbe, 0x75, 0x00, 0x00, 0x00, // mov $SVM_EXIT_SWINT,%esi
		0xe8, 0xbf, 0x0a, 0xfb, 0xff, // call cpu_svm_check_intercept_param
	},
	whole: []byte{
		0x83, 0xfe, 0x03, // cmp $3,%esi
		0x74, 0x98, // je to where SVM_EXIT_EXCP_BASE is added to the vector
		0x6a, 0x75, // push $SVM_EXIT_SWINT
		0x5e,       // pop %rsi
		0x31, 0xd2, // xor %edx,%edx
		0xe8, 0xbf, 0x0a, 0xfb, 0xff,
	},
}}

// mended tells whether the QEMU at path has none of the faults.
func mended(path string) bool {
	program, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for _, f := range faults {
		if bytes.Count(program, f.whole) != 1 {
			return false
		}
	}
	return true
}

// mend takes out of the QEMU at path the faults that it still has. Processes that run it keep the program that
// they have. It is an error if this is not the build that the instructions are known of; then the file is unchanged.
func mend(path string) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, f := range faults {
		broken, whole := bytes.Count(program, f.broken), bytes.Count(program, f.whole)
		switch {
		case broken == 1 && whole == 0:
			copy(program[bytes.Index(program, f.broken):], f.whole)
		case broken == 0 && whole == 1:
		default:
			return fmt.Errorf("%s is another build than the one known: %s at %d places instead of one", path, f.name, broken+whole)
		}
	}
	return replace(path, program)
}

// replace gives the program at path other contents, in one step.
func replace(path string, program []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain after the rename
	_, err = f.Write(program)
	if err == nil {
		err = f.Chmod(0o755)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
