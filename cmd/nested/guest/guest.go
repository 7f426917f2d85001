// Package guest is the init of the nested test host: the first process of the
// machine that QEMU runs. It loads the kernel's modules, puts the host's file
// system under a writable layer, makes that its root, and runs one command
// there, whose standard files and exit status go over virtio-serial (package
// wire).
//
// It trusts the host in everything.
package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"govmm/cmd/nested/wire"
)

const (
	// Name is the path of init in the initramfs, and with it its argv[0].
	Name = "/init"
	// ModuleDir is the directory of the initramfs with the modules. They are
	// loaded in the order of their names.
	ModuleDir = "/modules"
)

// IsInit reports whether this process is the init of a nested test host. A
// process of a container may be the first as well, but not by this name.
func IsInit() bool { return os.Getpid() == 1 && os.Args[0] == Name }

// Main is the life of init. It does not return.
func Main() {
	if err := boot(); err != nil {
		// The kernel log is all there is to tell it to.
		fmt.Fprintln(os.Stderr, "nested init:", err)
	}
	// The host has all it waits for and ends the machine; this is in case it cannot.
	time.Sleep(5 * time.Second)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// boot does everything up to the last frame.
func boot() error {
	if err := mountAll("/", systemMounts); err != nil {
		return err
	}
	if err := loadModules(ModuleDir); err != nil {
		return err
	}
	if err := stopHaltPolling(); err != nil {
		return err
	}
	control, err := openPort(wire.ControlPort)
	if err != nil {
		return err
	}
	input, err := openPort(wire.InputPort)
	if err != nil {
		return err
	}
	s := &session{
		out:   wire.NewWriter(control),
		in:    wire.NewReader(control),
		input: wire.NewReader(input),
	}
	status, err := s.serve()
	if err != nil {
		return errors.Join(err, s.out.WriteFrame(wire.Fail, []byte(err.Error())))
	}
	return s.out.WriteFrame(wire.Exit, []byte{status})
}

// serve gets the host's job, makes its surroundings and runs it.
func (s *session) serve() (status uint8, err error) {
	if err := enterRoot(); err != nil {
		return 0, err
	}
	if err := s.out.WriteFrame(wire.Hello, nil); err != nil {
		return 0, err
	}
	kind, payload, err := s.in.ReadFrame()
	if err != nil {
		return 0, err
	}
	if kind != wire.Start {
		return 0, fmt.Errorf("host began with a frame of kind %d", kind)
	}
	job, err := wire.DecodeJob(payload)
	if err != nil {
		return 0, err
	}
	if err := mountShares(job.Shares); err != nil {
		return 0, err
	}
	status, err = s.run(job)
	// Files that the command wrote to a share are the host's once this returns.
	unix.Sync()
	return status, err
}

// stopHaltPolling has KVM put an idle vCPU to sleep at once instead of looking for
// its next interrupt in a loop of PAUSE instructions first. QEMU leaves its own
// execution loop at each PAUSE, so that 200 us of polling take it tens of milliseconds, in which
// a virtual clock stands almost still.
func stopHaltPolling() error {
	return os.WriteFile("/sys/module/kvm/parameters/halt_poll_ns", []byte("0"), 0o644)
}

// openPort opens the virtio-serial port of the given name. Ports and their
// names are announced by the device some time after its driver was loaded.
func openPort(name string) (*os.File, error) {
	const class = "/sys/class/virtio-ports"
	for range 5000 {
		names, err := filepath.Glob(class + "/*/name")
		if err != nil {
			return nil, err
		}
		for _, path := range names {
			text, err := os.ReadFile(path)
			if err == nil && strings.TrimSpace(string(text)) == name {
				node := filepath.Join("/dev", filepath.Base(filepath.Dir(path)))
				return os.OpenFile(node, os.O_RDWR, 0)
			}
		}
		time.Sleep(time.Millisecond)
	}
	return nil, fmt.Errorf("no virtio-serial port %s", name)
}

// loadModules loads the modules of a directory in the order of their names.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return fmt.Errorf("module %s: %w", e.Name(), err)
		}
	}
	return nil
}
