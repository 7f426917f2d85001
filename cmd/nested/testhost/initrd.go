package testhost

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"govmm/bootimage/initramfs"
	"govmm/cmd/nested/guest"
)

// newInitrd returns a file of memory with the test host's initramfs: this
// program as init, and the modules of the kernel.
func newInitrd(modulesDir string) (*os.File, error) {
	self, err := staticSelf()
	if err != nil {
		return nil, err
	}
	tree, err := openModuleTree(modulesDir)
	if err != nil {
		return nil, err
	}
	modules, err := tree.resolve(wantedModules)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("initrd", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "initrd")
	if err := writeInitrd(f, self, modules); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// writeInitrd writes the archive. It is not compressed: the emulated processor
// would take longer to unpack it than QEMU takes to copy it.
func writeInitrd(w io.Writer, init []byte, modules []module) error {
	buf := bufio.NewWriterSize(w, 1<<20)
	a := initramfs.NewWriter(buf)
	const char = fs.ModeDevice | fs.ModeCharDevice
	errs := []error{
		// The kernel opens the console as init's standard files; without that the
		// Go runtime needs the other one.
		a.Mknod("dev/console", char|0o600, 5, 1),
		a.Mknod("dev/null", char|0o666, 1, 3),
		a.WriteFile(guest.Name, 0o755, init),
	}
	for i, m := range modules {
		errs = append(errs, a.WriteFile(fmt.Sprintf("%s/%03d-%s.ko", guest.ModuleDir, i, m.name), 0o644, m.data))
	}
	errs = append(errs, a.Close(), buf.Flush())
	return errors.Join(errs...)
}

// staticSelf returns this program's file, which has to run where there are no
// libraries.
func staticSelf() ([]byte, error) {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, errors.New("this program is linked dynamically and cannot be the init of the test host: build it with CGO_ENABLED=0 and without -race")
		}
	}
	return os.ReadFile("/proc/self/exe")
}
