package debian

import (
	"bytes"
	"fmt"
	"os"
)

// QEMU's emulation of VMRUN (helper_vmrun in target/i386/tcg/system/svm_helper.c, up to version 10 at least)
// delivers an external interrupt that the hypervisor injects, but leaves its vector in the
// virtual CPU's exception_index as well, as if it were still to be delivered. If the emulation is asked to
// pause before anything else happens in the guest, because of a timer, another thread's interrupt, or in virtual
// time the end of a slice, it comes again from there (cpu_handle_exception in accel/tcg/cpu-exec.c). The
// guest's handler then interrupts itself, with interrupts disabled, and waits for ever for a lock that it holds, or worse.
//
// The store to exception_index has no other purpose, so it is taken out of our copy of the program.
var (
	injection = []byte{
		0x44, 0x89, 0xab, 0xe0, 0x33, 0x00, 0x00, // mov %r13d,error_code(%rbx)
		0x89, 0xb3, 0x10, 0xd7, 0xff, 0xff, // mov %esi,exception_index(%rbx)
		0xc7, 0x83, 0xe4, 0x33, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // movl $0,exception_is_int(%rbx)
		0x48, 0xc7, 0x83, 0xe8, 0x33, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, // movq $-1,exception_next_eip(%rbx)
	}
	storeStart = 7
	noStore    = []byte{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00} // a nop of the store's length
)

// mend takes the fault out of the QEMU at path, which no process may be running. It is an error if
// this is not the build that the instructions are known of; then the file is unchanged.
func mend(path string) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := bytes.Count(program, injection); n != 1 {
		return fmt.Errorf("%s is another build than the one known: %d places instead of one", path, n)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(noStore, int64(bytes.Index(program, injection)+storeStart)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
