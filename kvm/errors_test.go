package kvm

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestErrors(t *testing.T) {
	capErr := &CapError{Missing: []Cap{CapIRQFD, CapSignalMSI}}
	tests := []struct {
		name  string
		err   error
		text  string
		is    []error
		isNot []error
	}{
		{
			name:  "ioctl",
			err:   &Error{Op: kvmCreateVM.String(), Err: unix.EBUSY},
			text:  "kvm: KVM_CREATE_VM: device or resource busy",
			is:    []error{unix.EBUSY},
			isNot: []error{unix.EINVAL, fs.ErrClosed, errors.ErrUnsupported},
		},
		{
			name: "open, missing",
			err:  &Error{Op: "open", Path: "/dev/kvm", Err: unix.ENOENT},
			text: "kvm: open /dev/kvm: no such file or directory",
			is:   []error{unix.ENOENT, fs.ErrNotExist},
		},
		{
			name: "open, forbidden",
			err:  &Error{Op: "open", Path: "/dev/kvm", Err: unix.EACCES},
			text: "kvm: open /dev/kvm: permission denied",
			is:   []error{unix.EACCES, fs.ErrPermission},
		},
		{
			name: "closed",
			err:  &Error{Op: kvmRun.String(), Err: fs.ErrClosed},
			text: "kvm: KVM_RUN: file already closed",
			is:   []error{fs.ErrClosed},
		},
		{
			name: "ioctl that the kernel does not know",
			err:  &Error{Op: kvmGetXsave.String(), Err: unix.ENOSYS},
			text: "kvm: KVM_GET_XSAVE: function not implemented",
			is:   []error{unix.ENOSYS, errors.ErrUnsupported},
		},
		{
			name:  "capabilities",
			err:   capErr,
			text:  "kvm: host lacks KVM_CAP_IRQFD, KVM_CAP_SIGNAL_MSI",
			is:    []error{errors.ErrUnsupported},
			isNot: []error{unix.EINVAL},
		},
		{
			name: "capability without a name",
			err:  &CapError{Missing: []Cap{9999}},
			text: "kvm: host lacks Cap(9999)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.text {
				t.Errorf("text is %q, want %q", got, tt.text)
			}
			for _, target := range tt.is {
				if !errors.Is(tt.err, target) {
					t.Errorf("is not %v", target)
				}
			}
			for _, target := range tt.isNot {
				if errors.Is(tt.err, target) {
					t.Errorf("is %v", target)
				}
			}
		})
	}
}

func TestOpenPathErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kvm")
	_, err := OpenPath(path)
	var e *Error
	if !errors.As(err, &e) || e.Op != "open" || e.Path != path || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing device gives %v", err)
	}
	_, err = OpenPath("/dev/null")
	if !errors.As(err, &e) || e.Op != "KVM_GET_API_VERSION" || !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a device of another kind gives %v", err)
	}
}

// TestClosed calls methods on things that were closed.
func TestClosed(t *testing.T) {
	d := &Device{handle{fd: -1}}
	m := &VM{handle: handle{fd: -1}}
	v := &VCPU{vm: m, fd: -1}
	calls := map[string]func() error{
		"Device.Check":          func() error { _, err := d.Check(CapIRQChip); return err },
		"Device.Require":        func() error { return d.Require(CapIRQChip) },
		"Device.SupportedCPUID": func() error { _, err := d.SupportedCPUID(); return err },
		"Device.CreateVM":       func() error { _, err := d.CreateVM(); return err },
		"VM.SetMemory":          func() error { return m.SetMemory(MemorySlot{}) },
		"VM.SetIRQLine":         func() error { return m.SetIRQLine(1, true) },
		"VM.SetGSIRouting":      func() error { return m.SetGSIRouting(nil) },
		"VM.CreateVCPU":         func() error { _, err := m.CreateVCPU(0); return err },
		"VCPU.Run":              func() error { _, err := v.Run(); return err },
		"VCPU.Regs":             func() error { _, err := v.Regs(); return err },
		"VCPU.SetXsave":         func() error { return v.SetXsave(new(Xsave)) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	v.SetImmediateExit(true)
	for name, err := range map[string]error{"Device": d.Close(), "VM": m.Close(), "VCPU": v.Close()} {
		if err != nil {
			t.Errorf("%s.Close gives %v the second time", name, err)
		}
	}
}

// TestBusyVCPU calls methods while another one is under way.
func TestBusyVCPU(t *testing.T) {
	v := &VCPU{fd: 1 << 20}
	v.mu.Lock()
	if _, err := v.Run(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Run gives %v", err)
	}
	if _, err := v.Regs(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Regs gives %v", err)
	}
	if err := v.Close(); !errors.Is(err, unix.EBUSY) {
		t.Errorf("Close gives %v", err)
	}
	v.mu.Unlock()
	if _, err := v.Regs(); !errors.Is(err, unix.EBADF) {
		t.Errorf("afterwards Regs gives %v", err)
	}
}

func TestDirtyLogBounds(t *testing.T) {
	// A negative descriptor would be found out before the slot is: these errors
	// come from this process, not from the kernel.
	m := &VM{handle: handle{fd: -1}}
	m.memory.bytes = map[uint32]int{3: 65 * pageSize}
	if err := m.DirtyLog(2, make([]uint64, 2)); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an unknown slot gives %v", err)
	}
	if err := m.DirtyLog(3, make([]uint64, 1)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a short bitmap gives %v", err)
	}
	for size, want := range map[int]int{0: 0, pageSize: 1, 64 * pageSize: 1, 65 * pageSize: 2} {
		if got := DirtyLogLen(size); got != want {
			t.Errorf("DirtyLogLen(%d) is %d, want %d", size, got, want)
		}
	}
}
